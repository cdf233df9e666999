"""Block tables, bytes over time and the prefix index, folded from steps and snapshots."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Knobs
from engine.stats import (
    PAGE_CACHED,
    PAGE_FREE,
    PAGE_SHARED,
    PAGE_USED,
    EngineSnapshot,
    KVFormat,
    PageCounts,
    PageMap,
    RequestStats,
    StepStats,
    StepTimes,
    block_table,
)
from pitwall_tui.race.events import CarStart, RaceStarted
from pitwall_tui.race.memory import HeldView, Levels, Memory, fitting
from tests.scripted import MODEL, PAGE_SIZE

CARS = tuple(CarStart(str(i), i, code, "NOVA", i, "M") for i, code in enumerate(["AAA", "BBB"]))
RACE = RaceStarted(1, "monza", 4, 1, 0.8, "", CARS)
BYTES = 1024


def counts(used: int, empty: int, **more: int | None) -> PageCounts:
    told: dict[str, int | None] = {"unreserved": 0, "published": 0, "evicted": 0}
    return PageCounts(100, used, 0, 100 - used, 0, empty, BYTES, **(told | more))


def step(time: float, pages: PageCounts, **more: object) -> StepStats:
    made = StepStats(1, time, Knobs(), pages=pages, ms=StepTimes(0, 500, 0, 0))
    return replace(made, **more)  # type: ignore[arg-type]


def request(car: int, **more: object) -> RequestStats:
    made = RequestStats(
        str(car), "decode", 20, 14, 3, 16, 0, 0.0, 0.1, None, None, max_tokens=80, computed=33
    )
    return replace(made, **more)  # type: ignore[arg-type]


def snapshot(*tables: list[int], **more: object) -> EngineSnapshot:
    kinds = [PAGE_SHARED, PAGE_USED, PAGE_USED, PAGE_FREE, PAGE_CACHED, PAGE_USED, PAGE_FREE]
    made = EngineSnapshot(
        time=1.0,
        knobs=Knobs(),
        paused=False,
        pace=0.0,
        steps=(),
        requests=tuple(request(car) for car in range(len(tables))),
        page_map=PageMap(bytes(kinds), bytes(7), tuple(block_table(t, 7) for t in tables)),
        pages=counts(4, 5, published=3),
        weights_bytes=0,
        weights_held=0,
        kv_formats=(KVFormat("fp32", 900, 124, 100), KVFormat("int8", 300, 41, 300)),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def memory(*steps: StepStats, told: EngineSnapshot | None = None) -> Memory:
    folded = Memory(RACE, 0.0)
    for found in steps:
        folded.add_step(found, found.time)
    if told is not None:
        folded.add_snapshot(told)
    return folded


# Tables


def test_a_table_says_who_else_holds_its_pages() -> None:
    view = memory(told=snapshot([0, 1, 2], [0, 5])).view(MODEL)
    first, second = view.tables
    assert (first.code, first.pages, first.holders) == ("AAA", (0, 1, 2), (2, 1, 1))
    assert (second.code, second.pages, second.holders) == ("BBB", (0, 5), (2, 1))
    assert (first.shared, first.length, first.most, first.computed) == (1, 34, 100, 33)
    index = view.index
    assert (index.shared, index.spared, index.sharers) == (1, 1, ("AAA", "BBB"))
    assert (index.published, index.cached) == (3, 0)


def test_rows_are_in_the_order_of_the_grid_and_strangers_have_none() -> None:
    told = snapshot([1], [2], [3])
    told = replace(told, requests=(request(7), request(1), request(0)))
    view = memory(told=told).view(MODEL)
    assert [(table.code, table.pages) for table in view.tables] == [("AAA", (3,)), ("BBB", (2,))]


def test_free_runs_are_of_pages_that_nobody_holds() -> None:
    view = memory(told=snapshot([0, 1, 2], [0, 5])).view(MODEL)
    assert (view.free_run, view.unheld) == (2, 3)


def test_before_anything_runs_there_is_an_empty_picture() -> None:
    view = Memory(RACE, 0.0).view(None)
    assert not view.begun
    assert (view.tables, view.past, view.formats, view.now.held) == ((), (), (), 0)


def test_an_older_recording_is_read_as_one_that_does_not_say() -> None:
    old = replace(counts(4, 5), unreserved=None, published=None, evicted=None)
    told = snapshot([0], pages=old, kv_formats=())
    told = replace(told, page_map=PageMap(told.page_map.kinds, told.page_map.owners))
    view = memory(step(0.5, old), told=told).view(MODEL)
    assert view.begun
    assert view.tables == ()
    assert view.now.reserved is None
    assert {held.reserved for held in view.past} == {None}
    assert (view.index.published, view.index.evicted) == (None, None)


# Bytes over time


@given(
    st.lists(st.tuples(st.floats(0.001, 40.0), st.integers(0, 100)), min_size=1, max_size=40),
    st.floats(0, 1000),
)
def test_means_keep_what_passed_however_wide_buckets_are(
    spans: list[tuple[float, int]], start: float
) -> None:
    levels, now = Levels(start, 1), start
    for seconds, level in spans:
        now += seconds
        levels.add(now, (level,))
    found = [mean for (mean,) in levels.means()]
    assert len(found) <= 240
    assert all(0 <= mean <= 100 + 1e-6 for mean in found)
    # All but the newest last a bucket each.
    newest = now - start - levels.bucket * (len(found) - 1)
    whole = sum(found[:-1]) * levels.bucket + found[-1] * newest
    assert whole == pytest.approx(sum(s * level for s, level in spans), rel=1e-6, abs=1e-6)


def test_an_hour_fits_into_the_same_number_of_buckets() -> None:
    levels = Levels(0.0, 1)
    for second in range(3600):
        levels.add(second + 1.0, (float(second < 1800),))
    found = [mean for (mean,) in levels.means()]
    assert 120 <= len(found) <= 240
    assert sum(found) * levels.bucket == pytest.approx(1800, rel=0.02)


def test_held_tokens_and_reserved_are_bytes() -> None:
    view = memory(step(1.0, counts(10, 32, unreserved=30))).view(MODEL)
    assert view.now == HeldView(10 * BYTES, 8 * BYTES, 40 * BYTES)
    assert view.now.waste_percent == pytest.approx(20)
    # Half a second before the first step nothing was held.
    assert [held.held for held in view.past] == [0, 10 * BYTES]


def test_waste_is_weighed_by_time_and_bytes_for_each_paging() -> None:
    contiguous = Knobs(paging="contiguous")
    view = memory(
        step(1.0, counts(10, 16)),  # half a second, of which 1/10 is empty
        step(2.0, counts(30, 16)),  # a second of 1/30
        step(3.0, counts(40, 320), knobs=contiguous),
    ).view(MODEL)
    wastes = dict(view.wastes)
    assert wastes["paged"] == pytest.approx(100 * (0.5 + 1) / (5 + 30))
    assert wastes["contiguous"] == pytest.approx(50)
    assert view.worst == HeldView(40 * BYTES, 20 * BYTES, 40 * BYTES)
    assert view.marks == ((6, "paging contiguous"),)


def test_what_a_step_held_gives_way_to_what_is_held_once_nothing_runs() -> None:
    folded = memory(step(1.0, counts(10, 32)))
    folded.add_snapshot(snapshot([0], steps=(step(1.0, counts(10, 32)),)))
    assert folded.view(MODEL).now.held == 10 * BYTES
    folded.add_snapshot(snapshot([], pages=counts(0, 0)))
    assert folded.view(MODEL).now.held == 0


# The prefix index


def test_hits_are_summed_and_evictions_counted_from_where_the_race_began() -> None:
    pages = [counts(9, 0, evicted=evicted) for evicted in (40, 42, 47, 0, 3)]
    view = memory(
        *(step(i + 1.0, p, prefix_queries=50, prefix_hits=i) for i, p in enumerate(pages)),
        told=snapshot([0]),
    ).view(MODEL)
    assert (view.index.queries, view.index.hits) == (250, 10)
    # Of an engine that was lost, then of the next one.
    assert view.index.evicted == 7 + 0 + 3


# What fits


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 60))
def test_so_many_cars_fit_and_not_one_more(total: int, pages: int, shared: int) -> None:
    cars, common = fitting(total, pages, shared), min(shared, pages - 1)

    def needed(number: int) -> int:
        return common + number * (pages - common) if number else 0

    assert needed(cars) <= total < needed(cars + 1)


def test_formats_count_cars_by_their_maximum_and_by_what_there_is() -> None:
    requests = (request(0), request(1, output_tokens=30, hit_tokens=99, preemptions=1))
    told = snapshot([0, 1], [0], requests=requests)
    view = memory(step(1.0, counts(4, 5)), told=told).view(MODEL)
    assert (view.longest, view.most, view.briefing) == (50, 100, 16 // PAGE_SIZE)
    fp32, int8 = view.formats
    assert (fp32.served, int8.served) == (True, False)
    assert fp32.reserved == 100 // 7
    assert fp32.paged == (100 - 1) // 6
    assert fp32.so_far == (100 - 1) // 3
    assert int8.so_far == (300 - 1) // 3
