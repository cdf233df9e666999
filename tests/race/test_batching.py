"""The batch as it is read off steps, held to the planner that really seated everybody."""

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Knobs
from engine.stats import StepStats, StepTimes
from pitwall_tui.feed.reading import events_of
from pitwall_tui.paths import asset
from pitwall_tui.race.batching import Batching, BatchingView
from pitwall_tui.race.events import EngineReady, Progress, Refused
from pitwall_tui.race.latency import Gaps, bucket, middle, percentile
from pitwall_tui.race.seating import Seating, limit
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.timeline import NOBODY, Line, Run
from tests.batched import RACE, SUBMITTED, Batched, tour, toured
from tests.scripted import MODEL

VALUES: dict[str, tuple[str, ...]] = {
    "kv_cache": ("on", "on", "off"),
    "paging": ("paged", "contiguous"),
    "prefix_cache": ("on", "off"),
    "batching": ("none", "static", "continuous"),
    "max_batch": ("1", "3", "5", "20"),
    "static_batch": ("1", "2", "4"),
    "prefill_chunk": ("0", "8", "40", "256"),
}


def batching_of(state: RaceState) -> BatchingView:
    view = state.view(0.0, ("batching",)).details.batching
    assert view is not None
    return view


def folded(batched: Batched, knobs: Knobs | None = None) -> tuple[list[StepStats], BatchingView]:
    """All of a race, on a tour or with these knobs, and what comes of it."""
    tracker, steps = Batching(RACE), []
    for progress in batched.events(tour if knobs is None else lambda _: knobs):
        for step in progress.snapshot.steps:
            steps.append(step)
            tracker.add_step(step, step.time)
        tracker.add_snapshot(progress.snapshot, progress.snapshot.time)
    view = tracker.view()
    assert view is not None
    return steps, view


# Who sits where


def live(seed: int) -> Counter[str]:
    """A race whose knobs are turned at random: at every step the planner's word."""
    rng = Random(seed)
    batched = Batched(cars=12, seed=seed, pages=rng.choice((11, 13, 16, 200)), tokens=(2, 70))
    seating = Seating(start.id for start in batched.starts)
    knobs, seen = Knobs(), Counter[str]()
    while batched.course.has_work:
        if rng.random() < 0.12:
            name = rng.choice(list(VALUES))
            knobs = knobs.with_value(name, rng.choice(VALUES[name]))
        empty_handed = {s.id for s in batched.course.planner.running if not s.pages}
        step = batched.step(knobs)
        truth = batched.truth[-1]
        assert not seating.begin(step)
        doing = seating.doing(step)
        parked = {id for id, kind in doing.items() if kind == "parked"}
        # Where pages are short, one that holds none of them may not get its turn.
        starved = truth.parked - parked
        assert starved <= empty_handed
        assert parked - {id for id, _ in step.finished} <= truth.parked
        if not starved:
            assert seating.rows(step) == len(truth.rows)
        slots = list(seating.seats.values())
        assert len(set(slots)) == len(slots)
        assert len(seating.active) <= seating.slots
        assert bool(seating.why(step)) == (step.waiting > 0)
        seating.end(step)
        assert tuple(seating.queue) == truth.waiting
        assert tuple(seating.seats) == truth.running
        seen += Counter(doing.values())
        seen["starved"] += len(starved)
        seen["preempted"] += len(step.preempted)
        seen["held"] += bool(step.held)
        seen[knobs.batching] += 1
        seen["cut"] += len(step.tokens) < len(truth.rows)
        seen["recomputed"] += knobs.kv_cache == "off"
        seen["beyond"] += len(seating.seats) > limit(knobs)
    return seen


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_everybody_sits_where_the_planner_had_them(seed: int) -> None:
    live(seed)


def test_these_lives_have_all_that_can_happen_in_them() -> None:
    seen = sum(map(live, range(8)), Counter[str]())
    happened = "prefill decode parked preempted held none static continuous cut recomputed beyond"
    assert all(seen[name] > 5 for name in happened.split()), seen
    assert seen["starved"] < 0.01 * seen["decode"]


def test_a_car_takes_the_lowest_free_slot_and_keeps_it() -> None:
    steps, view = folded(Batched(), Knobs(max_batch=4))
    seats: dict[str, int] = {}
    for step in steps:
        for id in step.admitted:
            seats[id] = min(set(range(5)) - set(seats.values()))
            row = view.slots[seats[id]]
            car = next(i for i, start in enumerate(RACE.cars) if start.id == id)
            assert any(run.car == car and run.start <= step.time <= run.end for run in row)
        for id, _ in step.finished:
            del seats[id]
    assert len(view.slots) == 4


def test_an_ended_car_s_slot_is_idle_until_its_group_is_done() -> None:
    batched = Batched()
    _, view = folded(batched, Knobs(batching="static", static_batch=4))
    ends = [batched.ended[start.id] for start in RACE.cars]
    for group in range(0, 16, 4):  # the last group ends when nobody waits any more
        cars = range(group, group + 4)
        last = max(ends[car] for car in cars)
        for slot, car in enumerate(cars):
            tail = [run for run in view.slots[slot] if run.start == ends[car] and run.end <= last]
            if ends[car] < last:
                assert [(run.car, run.kind, run.end) for run in tail] == [(NOBODY, "idle", last)]
    assert {run.kind for row in view.slots for run in row if run.start >= max(ends[12:16])} == {
        "prefill",
        "decode",
        "spare",
    }


def test_the_two_readings_tell_the_same() -> None:
    _, view = folded(Batched(pages=26))
    in_slots: dict[tuple[int, str], float] = defaultdict(float)
    for row in view.slots:
        for run in row:
            if run.car != NOBODY and run.kind != "pit":
                in_slots[run.car, run.kind] += run.end - run.start
    assert {kind for _, kind in in_slots} == {"prefill", "decode", "parked"}
    assert sum(dict(car.seconds)["pit"] for car in view.cars) > 0
    for index, car in enumerate(view.cars):
        seconds = dict(car.seconds)
        for kind in ("prefill", "decode", "parked"):
            assert in_slots[index, kind] == pytest.approx(seconds[kind])
        of_runs: dict[str, float] = defaultdict(float)
        for before, run in pairwise(car.runs):
            assert before.end == pytest.approx(run.start)
        for run in car.runs:
            of_runs[run.kind] += run.end - run.start
        assert of_runs == pytest.approx({k: s for k, s in seconds.items() if s})


def test_knobs_leave_marks_where_their_first_step_began() -> None:
    steps, view = folded(Batched())
    turned = [before.time for before, step in pairwise(steps) if before.knobs != step.knobs]
    assert [time for time, _ in view.marks] == turned
    assert [label for _, label in view.marks] == [
        "batching static, max_batch 20",
        "batching none",
        "batching continuous, max_batch 12",
    ]


# Modes


def test_occupancy_is_what_the_planner_ran() -> None:
    batched = Batched()
    steps, view = folded(batched)
    found = {mode.name: mode for mode in view.modes}
    assert sum(mode.seconds for mode in view.modes) == pytest.approx(view.now - view.start)
    for name, mode in found.items():
        mine = [
            (step, truth)
            for step, truth in zip(steps, batched.truth, strict=True)
            if step.knobs.batching == name
        ]
        rows = [len(truth.rows) for _, truth in mine]
        slots = [limit(step.knobs) for step, _ in mine]
        assert mode.steps == len(mine) > 20
        assert mode.rows == pytest.approx(sum(rows) / len(mine))
        assert mode.sizes == tuple(sorted(set(slots)))
        # A race in ample memory, whose chunk has room for everybody, has a row in every seat.
        empty = sum(most - count for most, count in zip(slots, rows, strict=True))
        assert mode.idle + mode.spare == pytest.approx(empty / sum(slots))
        tokens = sum(step.output_tokens for step, _ in mine)
        seconds = sum(step.ms.total for step, _ in mine) / 1e3
        assert mode.tokens_per_second == pytest.approx(tokens / seconds)
        assert mode.step_ms == pytest.approx(1e3 * seconds / len(mine))
    assert found["static"].idle > 0.1 > found["none"].idle == 0
    assert found["continuous"].spare > 0


def test_a_mode_that_was_not_run_has_no_figures() -> None:
    _, view = folded(Batched(), Knobs(batching="none"))
    assert [(mode.name, mode.steps > 0) for mode in view.modes] == [
        ("none", True),
        ("static", False),
        ("continuous", False),
    ]
    nothing = view.modes[1]
    assert (nothing.sizes, nothing.seconds, nothing.e2e.p50) == ((), 0.0, None)
    assert all(typical.count == 0 for typical in view.mixed)


def test_latencies_go_to_the_mode_that_all_of_their_time_was_spent_in() -> None:
    batched = Batched()
    steps, view = folded(batched)

    def modes(since: float, until: float) -> set[str]:
        return {step.knobs.batching for step in steps if since < step.time <= until}

    expected: dict[tuple[str, str], list[float]] = defaultdict(list)
    for start in RACE.cars:
        first, end = batched.first[start.id], batched.ended[start.id]
        tokens = batched.course.sequences[start.id].output_length
        for name, since, until, ms in (
            ("ttft", SUBMITTED, first, first - SUBMITTED),
            ("tpot", first - 1e-9, end, (end - first) / (tokens - 1)),
            ("e2e", SUBMITTED, end, end - SUBMITTED),
        ):
            ran = modes(since, until)
            expected[name, ran.pop() if len(ran) == 1 else "mixed"].append(1e3 * ms)
    assert {mode for _, mode in expected} == {"static", "continuous", "mixed"}
    for mode in view.modes:
        for name in ("ttft", "tpot", "e2e"):
            values = expected[name, mode.name]
            typical = getattr(mode, name)
            assert typical.count == len(values)
            assert typical.p50 == (pytest.approx(percentile(values, 50)) if values else None)
    for name, typical in zip(("ttft", "tpot", "e2e"), view.mixed, strict=True):
        assert typical.count == len(expected[name, "mixed"])


# Latencies


@pytest.mark.parametrize("source", ["recording", "planner"])
def test_latencies_are_those_of_the_race_s_document(source: str) -> None:
    state = RaceState()
    if source == "recording":
        for event in events_of(asset("races/monza.jsonl.gz")):
            state.apply(event)
    else:
        state.apply(RACE)
        for progress in Batched(pages=26).events(tour):
            state.apply(progress)
    document = state.summary()
    for found in batching_of(state).latencies[:3]:
        told = document[f"{found.name.lower()}_ms"]
        assert found.count == 20
        expected = pytest.approx((told["p50"], told["p99"]))  # type: ignore[index]
        assert (found.p50, found.p99) == expected
        assert sum(many for _, many in found.buckets) == 20


def test_gaps_between_tokens_are_those_between_steps() -> None:
    steps, view = folded(Batched(pages=26))
    last: dict[str, float] = {}
    gaps = []
    for step in steps:
        for id, _ in step.tokens:
            if id in last:
                gaps.append(1e3 * (step.time - last[id]))
            last[id] = step.time
    race, recent = view.latencies[3:]
    assert race.count == recent.count == len(gaps)  # a race of less than 3 s
    for percent, found in ((50, race.p50), (90, race.p90), (99, race.p99)):
        assert found == pytest.approx(percentile(gaps, percent), rel=0.011)


def test_an_aborted_car_leaves_its_slot_and_has_no_latencies() -> None:
    batched, tracker = Batched(), Batching(RACE)
    progress = batched.progress(Knobs(max_batch=4), 10)
    for step in progress.snapshot.steps:
        tracker.add_step(step, step.time)
    tracker.add_snapshot(progress.snapshot, batched.time)
    before = tracker.view()
    assert before is not None
    assert before.cars[0].ttft_ms is not None
    gone = RACE.cars[0].id
    batched.course.abort(gone)
    step = batched.step(Knobs(max_batch=4))
    tracker.add_step(replace(step, finished=((gone, "abort"),)), step.time)
    view = tracker.view()
    assert view is not None
    assert (view.cars[0].kind, view.cars[0].ttft_ms, view.cars[0].e2e_ms) == (None, None, None)
    # The next one in the queue has it with the very same step.
    assert (view.slots[0][-1].car, view.slots[0][-1].start) == (4, before.now)
    known = [car for car in view.cars if car.ttft_ms is not None]
    assert view.latencies[0].count == len(known)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(1e-3, 1e6)), min_size=1, max_size=60))
def test_recent_gaps_are_those_of_the_last_seconds(steps: list[tuple[float, float]]) -> None:
    gaps, time, seen = Gaps(3.0), 0.0, []
    for wait, ms in steps:
        time += wait
        gaps.add(time, {ms: 2})
        seen += [(time, ms)] * 2
    race, recent = gaps.view()
    assert race.count == len(seen)
    values = [ms for moment, ms in seen if moment > time - 3.0]
    assert recent.count == len(values)
    assert recent.p50 == pytest.approx(percentile(values, 50), rel=0.011)
    assert race.p99 == pytest.approx(percentile([ms for _, ms in seen], 99), rel=0.011)


@given(st.floats(1e-3, 1e9))
def test_a_bucket_s_middle_stands_for_all_in_it(ms: float) -> None:
    assert middle(bucket(ms)) == pytest.approx(ms, rel=0.011)


# Bounds, and what else may happen


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.floats(1e-4, 10), min_size=2, max_size=30),
    cars=st.lists(st.integers(-1, 3), min_size=2, max_size=7),
)
def test_a_line_is_bounded_and_loses_no_time(lengths: list[float], cars: list[int]) -> None:
    line, time, sums = Line(), 0.0, defaultdict(float)
    for number in range(1500):
        kind = ("decode", "prefill", "idle")[number % 3]
        line.set(time, cars[number % len(cars)], kind)  # type: ignore[arg-type]
        length = lengths[number % len(lengths)]
        time += length
        sums[kind] += length
    runs = line.runs(time)
    assert len(runs) <= 601
    assert (runs[0].start, runs[-1].end) == (0.0, time)
    assert all(before.end == after.start for before, after in pairwise(runs))
    for kind, seconds in sums.items():
        assert line.total(kind, time) == pytest.approx(seconds)  # type: ignore[arg-type]


def test_short_runs_yield_to_long_ones() -> None:
    line, time = Line(), 0.0
    for number in range(700):
        line.set(time, 0, "decode")
        time += 1.0 if number < 50 else 0.01
        line.set(time, 0, "pit")
        time += 0.001
    runs = line.runs(time)
    assert sum(run.kind == "decode" and run.end - run.start >= 1 for run in runs) == 50
    assert len(runs) < 602


def test_an_hour_of_steps_is_no_more_than_a_minute_of_them() -> None:
    """Cars take turns at being preempted, at every other step."""
    tracker, time, number = Batching(RACE), 0.0, 0
    ids = [start.id for start in RACE.cars[:4]]
    everybody = tuple((id, (1,)) for id in ids)

    def add(**changes: object) -> None:
        nonlocal time, number
        time, number = time + 0.6, number + 1
        step = StepStats(number, time, Knobs(max_batch=4), everybody, ms=StepTimes(1, 597, 1, 1))
        tracker.add_step(replace(step, **changes), time)  # type: ignore[arg-type]

    add(admitted=tuple(ids))
    sizes = []
    for turn in range(3000):
        out = ids[turn % 4]
        add(preempted=((out, 5),), tokens=tuple(t for t in everybody if t[0] != out), waiting=17)
        add(admitted=(out,))
        if turn in (200, 2999):
            view = tracker.view()
            assert view is not None
            sizes.append(sum(map(len, view.slots)) + sum(len(car.runs) for car in view.cars))
    assert time > 3600
    assert sizes[1] < 2 * sizes[0] + 4000
    assert dict(view.cars[0].seconds)["pit"] == pytest.approx(0.6 * 3000 / 4, rel=0.01)


def test_a_lost_engine_s_cars_are_in_the_pit_until_the_next_one_has_them() -> None:
    batched, tracker = Batched(cars=4), Batching(replace(RACE, cars=RACE.cars[:4]))
    knobs = Knobs(max_batch=4)
    for _ in range(10):
        step = batched.step(knobs)
        tracker.add_step(step, step.time)
    reborn = Batched(cars=4, seed=9)
    time = batched.time
    for number in range(3):
        step = reborn.step(knobs)
        tracker.add_step(step, time + 0.02 * (number + 1))
    view = tracker.view()
    assert view is not None
    assert len(view.slots) == 4
    for car in view.cars[1:]:  # the first one is admitted at once, the others share its briefing
        kinds = [run.kind for run in car.runs if run.start >= time]
        assert kinds[:2] == ["pit", "prefill"]
    assert all(car.ttft_ms is None for car in view.cars)  # nobody has told when they were submitted


def test_a_car_that_the_engine_refused_is_in_no_queue() -> None:
    batched = Batched(cars=19)
    state = RaceState()
    state.apply(RACE)
    state.apply(Refused("too long", RACE.cars[19].id))
    state.apply(EngineReady(MODEL))
    state.apply(batched.progress(Knobs(batching="none")))
    queue = batching_of(state).queue
    assert [RACE.cars[waiting.car].id for waiting in queue] == list(batched.truth[-1].waiting)
    assert len(queue) == 18


@pytest.mark.parametrize(
    ("pages", "knobs", "said"),
    [
        (2000, Knobs(max_batch=3), "all 3 slots are taken"),
        (2000, Knobs(batching="none"), "the one slot is taken"),
        (2000, Knobs(batching="static"), "a group is filled once: 4 of its 4 still run"),
        (12, Knobs(), "pages are short: "),
    ],
)
def test_why_somebody_waits(pages: int, knobs: Knobs, said: str) -> None:
    batched, tracker = Batched(pages=pages), Batching(RACE)
    for _ in range(4):
        step = batched.step(knobs)
        tracker.add_step(step, step.time)
    view = tracker.view()
    assert view is not None
    assert view.why.startswith(said)
    if pages == 12:
        waits = next(start for start in RACE.cars if start.id == batched.truth[-1].waiting[0])
        assert view.why.startswith(f"{said}{waits.code} needs ")


def test_a_race_that_was_held_back_says_so() -> None:
    progress = Batched().progress(Knobs())
    for pace in (0.0, 50.0):
        state = RaceState()
        state.apply(RACE)
        state.apply(Progress(replace(progress.snapshot, pace=pace), progress.text))
        assert batching_of(state).paced == (pace > 0)


def test_nothing_is_drawn_up_that_nobody_looks_at() -> None:
    state = RaceState()
    state.apply(RACE)
    assert state.view(0.0, ("batching",)).details.batching is None
    state.apply(Batched().progress(Knobs()))
    assert state.view(0.0).details.batching is None
    assert state.view(0.0, ("batching",)).details.batching is not None


def test_the_tour_shows_every_sign() -> None:
    view = toured(pages=26).details.batching
    assert view is not None
    kinds = {run.kind for row in view.slots for run in row}
    assert kinds == {"prefill", "decode", "parked", "pit", "idle", "spare"}
    assert {run.kind for car in view.cars for run in car.runs} >= {"waiting", "pit"}
    assert all(isinstance(run, Run) for row in view.slots for run in row)
