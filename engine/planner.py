"""Who runs which tokens in the next step. No torch: tables and queues only.

There are no phases. A request has `tokens`, of which `computed` have keys and values; a step
runs as many of the rest as it may. Prefill, chunks of it, prefix hits, resuming after
preemption and decoding are this one rule.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from engine.config import Knobs
from engine.pages import InvariantError, PagePool, PrefixKey, pages_for
from engine.plan import NO_DRAFTS, Ration, Row, StepPlan
from engine.prefix import NoPrefixCache, PrefixCache, PrefixIndex
from engine.sequence import Sequence


def no_drafts(requests: int) -> Ration:
    """For none of so many requests."""
    return NO_DRAFTS


class Planner:
    """Queues and page tables. `running` is in order of admission, the youngest last."""

    def __init__(self, pool: PagePool, page_size: int) -> None:
        self.pool = pool
        self.page_size = page_size
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._gang: set[Sequence] = set()
        self._prefix_cache = PrefixCache(pool, page_size)
        self._no_prefix_cache = NoPrefixCache()

    def prefix_index(self, knobs: Knobs) -> PrefixIndex:
        """Without a KV cache there is nothing to share."""
        if knobs.prefix_cache == "on" and knobs.kv_cache == "on":
            return self._prefix_cache
        return self._no_prefix_cache

    def plan(
        self,
        knobs: Knobs,
        preempted: Iterable[tuple[str, int]] = (),
        ration: Callable[[int], Ration] = no_drafts,
    ) -> StepPlan:
        """Choose rows; hand out pages; preempt and admit. Only tables and queues change.

        `preempted` are those that this step has preempted already: it admits nobody then. `ration`
        says how many drafts a step of so many rows is to carry, where there are pages for them.
        """
        step = _Step(knobs)
        step.preempted += preempted
        active = self._active(knobs)
        for sequence in self.running:
            sequence.state = "parked"
        for sequence in active:
            if sequence in self.running:  # not preempted meanwhile by an older one
                self._schedule(sequence, step)
        if not step.preempted:
            self._admit(step)
        rows = step.rows
        drafts = ration(len(rows)) if rows else NO_DRAFTS
        if drafts.length:
            rows = [
                self._with_room(sequence, row, drafts.length if place < drafts.requests else 0)
                for place, (sequence, row) in enumerate(zip(step.sequences, rows, strict=True))
            ]
        return StepPlan(
            knobs=knobs,
            rows=tuple(rows),
            admitted=tuple(step.admitted),
            preempted=tuple(step.preempted),
            held=step.held,
            prefix_queries=step.prefix_queries,
            prefix_hits=step.prefix_hits,
            draft_length=drafts.length,
            trial=0 < drafts.requests < len(rows),
        )

    def give_back(self, sequence: Sequence, lent: int) -> None:
        """Release those of its last `lent` pages that no draft which was kept needs."""
        own = len(sequence.pages) - lent
        self._cut(sequence, max(own, pages_for(sequence.computed, self.page_size)))

    def note_drafted(self, sequence: Sequence, reached: int) -> None:
        """The draft model has seen its tokens up to there, of which those count that were kept."""
        whole = sequence.drafted // self.page_size
        sequence.drafted = min(reached, sequence.computed)
        for page in sequence.pages[whole : sequence.drafted // self.page_size]:
            self.pool.drafted[page] = True

    def drop(self, sequence: Sequence) -> None:
        """Forget a request that has ended: its pages go back, its place in a queue too."""
        self._release(sequence)
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def forget(self, sequence: Sequence) -> None:
        """Throw its keys and values away; it keeps its place."""
        self._release(sequence)

    def taint(self) -> None:
        """Other weights serve from here: running requests go on with the keys and values that they
        have, but nobody else is given any of them."""
        self.unpublish()
        for sequence in self.running:
            sequence.tainted |= sequence.computed > 0

    def unpublish(self) -> None:
        """Nobody is given what has been computed so far, unless it is published again."""
        self.pool.forget_published()
        for sequence in self.running:
            sequence.published = 0

    def forget_drafted(self) -> None:
        """Another draft model: it has yet to see every token."""
        self.pool.drafted = bytearray(self.pool.total)
        for sequence in self.running:
            sequence.drafted = 0

    def resize(self, total: int) -> tuple[list[int], list[tuple[str, int]]]:
        """Go on with `total` pages, of which the youngest requests may have to give up theirs.

        Returns the old numbers of the pages that are kept, which become 0, 1, ..., and the
        preempted as in StepPlan. Comes after `unpublish`: nothing may be published.
        """
        preempted: list[tuple[str, int]] = []
        for sequence in self.running:  # what is only reserved costs nobody a page
            self._cut(sequence, pages_for(sequence.computed, self.page_size))
        while self.pool.used > total:
            self._preempt(next(s for s in reversed(self.running) if s.pages), preempted)
        kept = self.pool.resize(total)
        number = {old: new for new, old in enumerate(kept)}
        for sequence in self.running:
            sequence.pages = [number[page] for page in sequence.pages]
        return kept, preempted

    # Who may run

    def _active(self, knobs: Knobs) -> list[Sequence]:
        """Running requests that this step may schedule, oldest first; the rest stay parked."""
        if knobs.batching != "static":
            self._gang.clear()
            return self.running[: self._limit(knobs)]
        if self._gang.isdisjoint((*self.running, *self.waiting)):
            self._gang.clear()
        # Parked requests take free seats before any that wait: they hold pages.
        for sequence in self.running:
            if len(self._gang) < knobs.static_batch:
                self._gang.add(sequence)
        return [sequence for sequence in self.running if sequence in self._gang]

    def _limit(self, knobs: Knobs) -> int:
        return {"none": 1, "static": knobs.static_batch, "continuous": knobs.max_batch}[
            knobs.batching
        ]

    def _may_join(self, sequence: Sequence, knobs: Knobs) -> bool:
        """Whether there is a seat. A static batch is filled once and never refilled."""
        if knobs.batching == "static":
            return sequence in self._gang or len(self._gang) < knobs.static_batch
        return len(self.running) < self._limit(knobs)

    # Tokens and pages

    def _schedule(self, sequence: Sequence, step: "_Step") -> None:
        count = step.allowance(sequence)
        if count == 0:
            sequence.state = "prefill"
        elif self._make_room(sequence, sequence.computed + count, step):
            step.add(sequence, count)

    def _make_room(self, sequence: Sequence, length: int, step: "_Step") -> bool:
        """Grow its table to `length` tokens, preempting younger ones if it must."""
        self._trim(sequence, length, step.knobs)
        need = pages_for(length, self.page_size) - len(sequence.pages)
        while need > self.pool.available:
            victim = self._youngest_after(sequence)
            if victim is None:
                # Only older ones hold what it needs: it waits for them with empty hands.
                if sequence.pages:
                    self._preempt(sequence, step.preempted)
                return False
            self._preempt(victim, step.preempted)
        want = pages_for(self._reservation(sequence, length, step.knobs), self.page_size)
        # Reserving is a wish that never costs another request its pages.
        grow = want - len(sequence.pages)
        sequence.pages += self.pool.acquire(grow if grow <= self.pool.available else max(need, 0))
        return True

    def _skip_drafted(self, sequence: Sequence) -> None:
        """What the draft model has seen of its pages for another, it need not see again."""
        while sequence.drafted + self.page_size <= sequence.computed:
            number, rest = divmod(sequence.drafted, self.page_size)
            if rest or not self.pool.drafted[sequence.pages[number]]:
                return
            sequence.drafted += self.page_size

    def _with_room(self, sequence: Sequence, row: Row, drafts: int) -> Row:
        """Room for drafts behind the request's last token, in its own last page and in free ones:
        no other request loses a page for them, nor does a prefix that one may come back for.

        One new token is the model's own, whatever becomes of them.
        """
        self._skip_drafted(sequence)
        if row.sampling is None or not drafts:
            return row
        held = (len(sequence.pages) + self.pool.free) * self.page_size
        room = min(drafts, sequence.request.max_length - row.end - 1, held - row.end)
        lent = max(pages_for(row.end + room, self.page_size) - len(sequence.pages), 0)
        sequence.pages += self.pool.acquire(lent)
        return replace(row, pages=tuple(sequence.pages), room=room, lent=lent)

    def _reservation(self, sequence: Sequence, length: int, knobs: Knobs) -> int:
        if knobs.paging == "contiguous" and knobs.kv_cache == "on":
            return sequence.request.max_length
        return length

    def _trim(self, sequence: Sequence, length: int, knobs: Knobs) -> None:
        """Give back what an earlier reservation holds beyond `length` tokens."""
        self._cut(sequence, pages_for(self._reservation(sequence, length, knobs), self.page_size))

    def _cut(self, sequence: Sequence, keep: int) -> None:
        """Give back all but its first `keep` pages."""
        if len(sequence.pages) > keep:
            self.pool.release(sequence.pages[keep:])
            del sequence.pages[keep:]

    def _youngest_after(self, sequence: Sequence) -> Sequence | None:
        for other in reversed(self.running):
            if other is sequence:
                return None
            if other.pages:
                return other
        raise InvariantError(f"request {sequence.id} is scheduled but not running")

    def _preempt(self, sequence: Sequence, preempted: list[tuple[str, int]]) -> None:
        """Take its pages; it will recompute them from its tokens."""
        preempted.append((sequence.id, sequence.computed))
        self._release(sequence)
        sequence.preemptions += 1
        sequence.state = "waiting"
        self.running.remove(sequence)
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.pages)
        sequence.pages = []
        sequence.computed = sequence.drafted = 0
        sequence.published = 0
        sequence.tainted = False

    # Admission

    def _admit(self, step: "_Step") -> None:
        """First come, first served. Whoever does not fit holds back all behind it."""
        if not self.waiting:
            return
        knobs = step.knobs
        index = self.prefix_index(knobs)
        writing: set[PrefixKey] = set()
        for sequence in self.running:
            if sequence in step.sequences:
                writing.update(index.unwritten(sequence))
        while self.waiting and self._may_join(self.waiting[0], knobs):
            sequence = self.waiting[0]
            if not step.budget:
                return
            hits = index.match(sequence)
            if self._next_key(index, sequence, len(hits)) & writing:
                # The page it needs next is being computed right now: share it a step later.
                return
            if not self._fits(sequence, hits, step):
                return
            self.waiting.popleft()
            self.running.append(sequence)
            if knobs.batching == "static":
                self._gang.add(sequence)
            self.pool.share(hits)
            sequence.pages = list(hits)
            sequence.computed = len(hits) * self.page_size
            sequence.published = len(hits)
            sequence.hit_tokens += sequence.computed
            if index is self._prefix_cache:
                step.prefix_queries += len(sequence.tokens)
                step.prefix_hits += sequence.computed
            step.admitted.append(sequence.id)
            self._schedule(sequence, step)
            writing.update(index.unwritten(sequence))

    def _next_key(self, index: PrefixIndex, sequence: Sequence, hits: int) -> set[PrefixKey]:
        sharable = (len(sequence.tokens) - 1) // self.page_size
        if hits >= sharable or index is self._no_prefix_cache:
            return set()
        return {sequence.keys(self.page_size, hits + 1)[hits]}

    def _fits(self, sequence: Sequence, hits: list[int], step: "_Step") -> bool:
        """Room for all its tokens, and a page for every running request that may still grow."""
        length = self._reservation(sequence, len(sequence.tokens), step.knobs)
        need = pages_for(length, self.page_size) - len(hits)
        left = self.pool.available - sum(self.pool.is_cached(page) for page in hits)
        left -= sum(
            len(other.pages) < pages_for(other.request.max_length, self.page_size)
            for other in self.running
        )
        if need <= left:
            return True
        step.held = f"{sequence.id} needs {need} pages, {max(left, 0)} can be had"
        return False

    def check(self, sequences: list[Sequence]) -> None:
        """Raises InvariantError where queues, tables and counters contradict each other."""
        queued = [*self.waiting, *self.running]
        ids = [sequence.id for sequence in queued]
        if len(set(ids)) != len(ids):
            raise InvariantError("a request is queued twice")
        unfinished = {sequence.id for sequence in sequences if sequence.finish_reason is None}
        if unfinished != set(ids):
            raise InvariantError("a live request is in no queue, or an ended one in some")
        for sequence in sequences:
            if not 0 <= sequence.computed <= len(sequence.tokens):
                raise InvariantError(f"{sequence.id}: computed {sequence.computed} out of range")
            if not 0 <= sequence.drafted <= sequence.computed:
                raise InvariantError(f"{sequence.id}: drafted {sequence.drafted} out of range")
            if len(sequence.pages) < pages_for(sequence.computed, self.page_size):
                raise InvariantError(f"{sequence.id}: computed tokens without a page")
            if sequence.published > sequence.computed // self.page_size:
                raise InvariantError(f"{sequence.id}: an incomplete page is published")
            if sequence.pages and sequence not in self.running:
                raise InvariantError(f"{sequence.id}: holds pages but does not run")
            full = len(sequence.tokens) // self.page_size
            keys = sequence.keys(self.page_size, full)
            parent = b""
            for number, key in enumerate(keys):
                start = number * self.page_size
                tokens = tuple(sequence.tokens[start : start + self.page_size])
                if key != PrefixKey(parent, tokens):
                    raise InvariantError(f"{sequence.id}: page {number} is keyed by other tokens")
                parent = key.digest()
            for number, page in enumerate(sequence.pages):
                found = self.pool.key_of(page)
                if found is not None and (number >= sequence.published or found != keys[number]):
                    raise InvariantError(f"{sequence.id}: page {page} is published as another's")
        self.pool.check(sequence.pages for sequence in sequences)


class _Step:
    """A plan in the making."""

    def __init__(self, knobs: Knobs) -> None:
        self.knobs = knobs
        self.rows: list[Row] = []
        self.sequences: list[Sequence] = []  # of the rows
        self.admitted: list[str] = []
        self.preempted: list[tuple[str, int]] = []
        self.held = ""
        self.prefix_queries = 0
        self.prefix_hits = 0
        # Without a KV cache a chunk would be forgotten before the next one: only wholes run.
        self._chunked = knobs.kv_cache == "on" and knobs.prefill_chunk > 0
        self.budget = knobs.prefill_chunk if self._chunked else 1

    def allowance(self, sequence: Sequence) -> int:
        """How many tokens it may run: a decode is free, the rest shares the chunk."""
        count = len(sequence.tokens) - sequence.computed
        return min(count, self.budget) if self._chunked and count > 1 else count

    def add(self, sequence: Sequence, count: int) -> None:
        start = sequence.computed
        end = start + count
        complete = end == len(sequence.tokens)
        if self._chunked and len(sequence.tokens) - start > 1:
            self.budget -= count
        sequence.state = "decode" if count == 1 and sequence.output_length else "prefill"
        self.sequences.append(sequence)
        self.rows.append(
            Row(
                id=sequence.id,
                start=start,
                tokens=tuple(sequence.tokens[start:end]),
                pages=tuple(sequence.pages),
                sampling=sequence.request.sampling if complete else None,
            )
        )
