"""Pages and requests as figures: what queues and page tables look like from outside. No torch."""

from collections.abc import Sequence as Several

from engine.pages import PagePool, pages_for
from engine.sequence import Sequence
from engine.stats import (
    PAGE_CACHED,
    PAGE_FREE,
    PAGE_RESERVED,
    PAGE_SHARED,
    PAGE_USED,
    PageCounts,
    PageMap,
    RequestStats,
    block_table,
)

_NOBODY = 255


def request_stats(sequence: Sequence) -> RequestStats:
    """How a request stands."""
    return RequestStats(
        id=sequence.id,
        state=sequence.state,
        prompt_tokens=len(sequence.request.prompt),
        output_tokens=sequence.output_length,
        pages=len(sequence.pages),
        hit_tokens=sequence.hit_tokens,
        preemptions=sequence.preemptions,
        submitted=sequence.submitted,
        first_token=sequence.first_token,
        finished=sequence.finished,
        finish_reason=sequence.finish_reason,
        max_tokens=sequence.request.sampling.max_tokens,
        computed=sequence.computed,
        drafted=sequence.drafted,
    )


def page_counts(
    pool: PagePool, running: Several[Sequence], page_size: int, page_bytes: int
) -> PageCounts:
    """The pool's pages by what they are."""
    reserved = empty = unreserved = 0
    for sequence in running:
        reserved += len(sequence.pages) - pages_for(sequence.computed, page_size)
        empty += len(sequence.pages) * page_size - sequence.computed
        most = pages_for(sequence.request.max_length, page_size)
        unreserved += most - len(sequence.pages)
    return PageCounts(
        total=pool.total,
        used=pool.used,
        cached=pool.cached,
        free=pool.free,
        reserved=reserved,
        empty_slots=empty,
        page_bytes=page_bytes,
        unreserved=unreserved,
        published=pool.published,
        evicted=pool.evicted,
    )


def page_map(pool: PagePool, sequences: Several[Sequence], page_size: int) -> PageMap:
    """Each page of the pool, which of the sequences holds it, and their block tables."""
    kinds = bytearray(
        PAGE_CACHED if pool.is_cached(page) else PAGE_FREE for page in range(pool.total)
    )
    owners = bytearray([_NOBODY]) * pool.total
    for owner, sequence in enumerate(sequences):
        written = pages_for(sequence.computed, page_size)
        for number, page in enumerate(sequence.pages):
            if pool.refs[page] > 1:
                kinds[page] = PAGE_SHARED
            else:
                kinds[page] = PAGE_USED if number < written else PAGE_RESERVED
            if owners[page] == _NOBODY:
                owners[page] = min(owner, _NOBODY - 1)
    tables = tuple(block_table(sequence.pages, pool.total) for sequence in sequences)
    return PageMap(bytes(kinds), bytes(owners), tables)
