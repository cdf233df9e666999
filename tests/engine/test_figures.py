"""What a snapshot tells of pages, against the engine's own tables and against what it then does."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import KNOBS, KV_FORMATS, Knobs, Request, Sampling
from engine.core import Engine
from engine.stats import PAGE_SHARED, PageMap, block_table
from tests.engine.toy import Toy, save_junior

pytestmark = pytest.mark.usefixtures("one_thread")
TOY = Toy()
PAGE = 4
TEXT = tuple((17 * i + 5) % 57 + 4 for i in range(40))


def request(id: str, own: int, most: int = 12) -> Request:
    """Twelve tokens that all begin with, then one of its own."""
    return Request(id, (*TEXT[:12], own), Sampling(max_tokens=most, ignore_eos=True))


def racing(folder: Path, pages: int = 64, knobs: Knobs | None = None) -> Engine:
    """Five requests, some steps into their race."""
    engine = TOY.load(folder, pages, PAGE, knobs)
    for own in range(5):
        engine.submit(request(str(own), 20 + own, 12 + own))
    for _ in range(5):
        engine.step()
    return engine


@given(st.lists(st.integers(0, 2**16 - 1)), st.sampled_from([2**16, 2**16 + 1]))
def test_a_table_is_read_as_it_was_written(pages: list[int], total: int) -> None:
    table = block_table(pages, total)
    assert len(table) == len(pages) * (2 if total == 2**16 else 4)
    assert PageMap(bytes(total), bytes(total), (table,)).table(0) == tuple(pages)


def test_tables_are_those_of_the_requests_and_explain_every_reference(toy_folder: Path) -> None:
    engine = racing(toy_folder)
    engine.submit(request("waits", 9))
    told = engine.snapshot((), 0.0)
    tables = [told.page_map.table(row) for row in range(len(told.requests))]
    assert {r.id: t for r, t in zip(told.requests, tables, strict=True)} == {
        id: tuple(sequence.pages) for id, sequence in engine._sequences.items()
    }
    refs = Counter(page for table in tables for page in table)
    assert [refs[page] for page in range(told.pages.total)] == engine._pool.refs
    shared = {page for page, kind in enumerate(told.page_map.kinds) if kind == PAGE_SHARED}
    assert shared == {page for page, count in refs.items() if count > 1}
    assert len(shared) == 3  # the twelve tokens
    assert tables[-1] == ()


def test_a_request_tells_how_long_it_is_and_may_become(toy_folder: Path) -> None:
    engine = racing(toy_folder)
    for found in engine.snapshot((), 0.0).requests:
        sequence = engine._sequences[found.id]
        assert found.prompt_tokens + found.max_tokens == sequence.request.max_length
        assert 0 < found.computed == sequence.computed <= found.pages * PAGE
        assert found.drafted == 0


def test_the_drafts_share_is_told(toy_folder: Path) -> None:
    engine = TOY.load(
        toy_folder, 64, PAGE, Knobs(speculation="junior"), (TOY, save_junior(TOY, toy_folder))
    )
    engine.submit(request("a", 9))
    for _ in range(3):
        engine.step()
    told = engine.snapshot((), 0.0)
    assert 0 < told.requests[0].drafted == engine._sequences["a"].drafted
    assert all(form.draft_bytes for form in told.kv_formats)


def test_what_is_unreserved_is_what_contiguous_then_takes(toy_folder: Path) -> None:
    """The comparison, against the switch itself."""
    engine = racing(toy_folder)
    before = engine.snapshot((), 0.0).pages
    assert before.unreserved is not None
    assert before.unreserved > 0
    engine.set_knobs(Knobs(paging="contiguous"))
    after = engine.step().pages
    assert after.used == before.used + before.unreserved
    assert after.unreserved == 0


def test_evicted_pages_are_counted(toy_folder: Path) -> None:
    """Texts that are not alike, one after the other, in a pool for little more than one."""
    engine = TOY.load(toy_folder, 12, PAGE)
    published = []
    for own in range(4):
        prompt = tuple((own + token) % 50 + 5 for token in range(21))
        engine.submit(Request(str(own), prompt, Sampling(max_tokens=6, ignore_eos=True)))
        while engine.has_work:
            engine.step()
        published.append(engine.snapshot((), 0.0).pages)
    assert published[0].evicted == 0
    assert (published[-1].evicted or 0) > 6
    for number, found in enumerate(published, 1):  # each leaves six full pages
        assert found.published == found.cached == 6 * number - (found.evicted or 0)


def test_formats_are_those_of_the_pool_that_serves_them(toy_folder: Path) -> None:
    engine = TOY.load(toy_folder, 64, PAGE)
    told = engine.snapshot((), 0.0).kv_formats
    assert [form.kv_dtype for form in told] == list(KV_FORMATS)
    assert next(knob for knob in KNOBS if knob.name == "kv_dtype").values == KV_FORMATS
    for form in told:
        engine.set_knobs(replace(engine.knobs, kv_dtype=form.kv_dtype))
        engine.step()
        counts = engine.snapshot((), 0.0).pages
        assert (form.page_bytes + form.draft_bytes, form.pages) == (counts.page_bytes, counts.total)
