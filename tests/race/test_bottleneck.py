"""What bounds steps: kinds told apart, sums of what was made, and the word for it."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Knobs
from engine.stats import StepStats, StepTimes, Verdict
from pitwall_tui.race.bottleneck import (
    EXPLAINS,
    PHASES,
    STAGES,
    Bottleneck,
    Phase,
    Setting,
    Work,
    phase_of,
)
from pitwall_tui.race.details import DETAILS, Instruments
from pitwall_tui.race.state import RaceState
from tests.scripted import MODEL, Script

MACHINE = replace(MODEL, read_gbs=20.0, float_gflops=100.0, int8_gops=400.0)
_numbers = count(1)


def step(rows: int = 0, prefill: int = 0, drafts: int = 0, **changes: object) -> StepStats:
    """A step of so many decoding requests (that had `drafts` each, one of them kept), or prompt
    tokens, in which 10 ms of 12 are the forward."""
    knobs = changes.pop("knobs", Knobs())
    verdicts = tuple(Verdict(str(i), (1,) * drafts, 1) for i in range(rows)) if drafts else ()
    made = StepStats(
        step=next(_numbers),
        time=0.0,
        knobs=knobs,  # type: ignore[arg-type]
        tokens=tuple((str(i), (1,) * (2 if drafts else 1)) for i in range(rows)),
        prefill_tokens=prefill,
        decode_rows=rows,
        running=rows,
        weight_bytes=100_000_000,
        kv_bytes=1_000_000 * max(rows, 1),
        flops=50_000_000 * (rows * (1 + drafts) + prefill),
        ms=StepTimes(plan=0.5, forward=10.0, sample=1.0, commit=0.5),
        verdicts=verdicts,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "phase"),
    [
        (step(prefill=256), "prefill"),
        (step(rows=3, prefill=256), "mixed"),
        (step(rows=3), "decode"),
        (step(rows=3, drafts=4), "verify"),
        (step(rows=3, knobs=Knobs(speculation="ngram")), "decode"),
        (step(prefill=70, knobs=Knobs(kv_cache="off")), "recompute"),
        (step(weight_bytes=0, kv_bytes=0), None),
    ],
)
def test_kinds_of_steps_are_told_by_what_they_did(made: StepStats, phase: Phase | None) -> None:
    assert phase_of(made) == phase


def test_figures_are_sums_of_steps_over_their_forward() -> None:
    tracker = Bottleneck()
    for time in (1.0, 2.0):
        tracker.add(step(rows=4), time)
    view = tracker.view(MACHINE, 2.0)
    (phase,) = view.phases
    work = phase.work
    assert (phase.phase, phase.age, view.now) == ("decode", 0.0, "decode")
    assert (work.steps, work.tokens) == (2, 8)
    assert work.gbs == pytest.approx(104e6 / 0.010 / 1e9)
    assert work.gflops == pytest.approx(200e6 / 0.010 / 1e9)
    assert work.intensity == pytest.approx(200 / 104)
    assert work.mbu == pytest.approx(10.4 / 20)
    assert work.mfu == pytest.approx(20 / 100)
    assert work.outside == pytest.approx(2 / 12)
    assert work.tokens_per_second == pytest.approx(8 / 0.024)
    assert work.step_ms == pytest.approx(12)
    # Floors are shares of a whole step: what reading alone takes of 12 ms.
    assert work.memory_floor == pytest.approx(104e6 / 20e9 / 0.012)
    assert work.compute_floor == pytest.approx(200e6 / 100e9 / 0.012)
    assert work.bound == "memory"


def test_tokens_are_those_that_the_work_was_for() -> None:
    tracker = Bottleneck()
    tracker.add(step(prefill=256), 1.0)
    tracker.add(step(rows=4, prefill=100), 1.0)
    tracker.add(step(rows=3, drafts=4), 1.0)
    off = Knobs(kv_cache="off")
    tracker.add(step(prefill=500, running=2, tokens=(("a", (1,)), ("b", (1,))), knobs=off), 1.0)
    found = {p.phase: p.work.tokens for p in tracker.view(MACHINE, 1.0).phases}
    assert found == {"prefill": 256, "mixed": 104, "verify": 6, "recompute": 2}
    assert list(found) == [phase for phase in PHASES if phase in found]


def test_int8_activations_are_held_against_their_own_peak() -> None:
    tracker = Bottleneck()
    for weights in ("fp32", "bf16", "int8", "int4"):
        for _ in range(6):
            tracker.add(step(rows=8, knobs=Knobs(weights=weights)), 1.0)
    view = tracker.view(MACHINE, 1.0)
    peaks = {work.setting.weights: work.peak_gflops for _, work in view.past}
    assert peaks == {"int4": 400.0, "int8": 400.0, "bf16": 100.0, "fp32": 100.0}
    assert view.peak("int4") == 400.0


def test_what_is_now_is_of_the_newest_form_alone() -> None:
    tracker = Bottleneck()
    for _ in range(9):
        tracker.add(step(rows=8), 1.0)
    tracker.add(step(rows=8, knobs=Knobs(weights="int8")), 1.0)
    view = tracker.view(MACHINE, 1.0)
    assert [(p.work.steps, p.work.setting.weights) for p in view.phases] == [(1, "int8")]
    assert [work.steps for _, work in view.past] == [9]  # one step is too little to stay


def test_settings_keep_their_letters_and_the_newest_comes_first() -> None:
    tracker = Bottleneck()
    for rows in (20, 3, 20):
        for _ in range(6):
            tracker.add(step(rows=rows), 1.0)
    past = tracker.view(MACHINE, 1.0).past
    assert [(letter, work.setting.label, work.steps) for letter, work in past] == [
        ("a", "fp32 17-32 cars", 12),
        ("b", "fp32 3-4 cars", 6),
    ]


@pytest.mark.parametrize(
    ("setting", "label"),
    [
        (Setting("decode", "fp32", "fp32", "native", 1), "fp32 1 car"),
        (Setting("decode", "int8", "int8", "torch", 2), "int8 kv int8 torch 2 cars"),
        (Setting("prefill", "fp32", "fp32", "native", 256), "fp32 129-256 tok"),
    ],
)
def test_a_setting_says_what_is_not_usual(setting: Setting, label: str) -> None:
    assert setting.label == label


def test_what_happened_long_ago_has_its_age_and_is_not_now() -> None:
    tracker = Bottleneck()
    for _ in range(20):
        tracker.add(step(prefill=256), 1.0)
    tracker.add(step(rows=2), 9.0)
    view = tracker.view(MACHINE, 9.5)
    assert {p.phase: p.age for p in view.phases} == {"prefill": 8.5, "decode": 0.0}
    assert view.now == "decode"
    assert tracker.view(MACHINE, 60.0).now is None


def test_now_is_what_most_of_the_time_goes_into_not_what_came_last() -> None:
    tracker = Bottleneck()
    for turn in range(200):
        tracker.add(step(rows=4), turn * 0.012)
        if turn % 10 == 0:
            tracker.add(step(prefill=9), turn * 0.012)
    tracker.add(step(prefill=9), 2.4)
    assert tracker.view(MACHINE, 2.4).now == "decode"
    for turn in range(200):
        tracker.add(step(rows=4, drafts=2), 2.4 + turn * 0.012)
    assert tracker.view(MACHINE, 5.0).now == "verify"


def test_steps_without_counted_arithmetic_are_told() -> None:
    tracker = Bottleneck()
    tracker.add(step(rows=2, flops=0), 1.0)
    view = tracker.view(MACHINE, 1.0)
    assert not view.counted
    assert view.phases[0].work.mfu is None
    assert view.phases[0].work.mbu is not None
    assert view.phases[0].work.bound == ""


def test_without_measured_peaks_nothing_is_said_of_shares() -> None:
    tracker = Bottleneck()
    tracker.add(step(rows=2), 1.0)
    for model in (None, MODEL, replace(MACHINE, read_gbs=0.0)):
        work = tracker.view(model, 1.0).phases[0].work
        assert work.bound == ""
        assert work.mbu is None or work.mfu is None


def test_a_race_of_many_settings_takes_bounded_memory() -> None:
    tracker = Bottleneck()
    for rows in range(1, 2000):
        for weights in ("fp32", "int8"):
            tracker.add(step(rows=1, prefill=rows, knobs=Knobs(weights=weights)), float(rows))
            tracker.add(step(prefill=2**rows), float(rows))
    assert len(tracker._settings) == 64
    assert all(len(recent) <= 40 for recent in tracker._recent.values())


# The word

ms = st.floats(0.0, 50.0)
works = st.builds(
    lambda times, nbytes, flops, gbs, peak: Work(
        Setting("decode", "fp32", "fp32", "native", 1), 1, 1, nbytes, 0, flops,
        tuple(times), gbs, peak,
    ),
    st.lists(ms, min_size=len(STAGES), max_size=len(STAGES)).map(lambda t: [*t[:1], 1.0, *t[2:]]),
    st.integers(1, 10**9),
    st.integers(1, 10**12),
    st.floats(0.1, 1000),
    st.floats(0.1, 1e5),
)  # fmt: skip


@given(work=works)
def test_the_word_names_what_takes_most_of_a_step(work: Work) -> None:
    memory, compute, outside = work.memory_floor, work.compute_floor, work.outside
    assert memory is not None
    assert compute is not None
    assert work.mbu is not None
    assert 0 <= outside < 1
    match work.bound:
        case "memory":
            assert memory >= max(compute, outside, EXPLAINS)
            assert work.mbu <= 1
        case "compute":
            assert compute >= max(outside, EXPLAINS)
            assert compute >= memory or work.mbu > 1
        case "overhead":
            assert outside >= max(compute, EXPLAINS)
        case "neither":
            assert max(memory, compute, outside) < EXPLAINS
        case "cache":
            assert work.mbu > 1
            assert max(compute, outside) < EXPLAINS
        case other:
            raise AssertionError(other)


def test_every_word_is_found_by_its_cause() -> None:
    decode = Setting("decode", "fp32", "fp32", "native", 1)
    usual = dict(zip(STAGES, (0.5, 10.0, 0.5, 0.5, 0.0, 0.0), strict=True))

    def word(nbytes: float, flops: float, **ms: float) -> str:
        times = tuple((usual | ms).values())
        return Work(
            decode, 1, 1, int(nbytes), 0, int(flops), times, read_gbs=20.0, peak_gflops=100.0
        ).bound

    assert word(160e6, 200e6) == "memory"  # 8 ms and 2 of 11.5
    assert word(60e6, 800e6) == "compute"
    assert word(160e6, 200e6, commit=90.0) == "overhead"
    assert word(10e6, 30e6) == "neither"
    assert word(400e6, 30e6) == "cache"  # 40 GB/s of memory that gives 20
    assert word(400e6, 800e6) == "compute"


# On the race


def test_a_race_draws_it_up_for_those_who_look_alone() -> None:
    state = RaceState()
    for event in Script(cars=3, laps=3).events():
        state.apply(event)
    assert "bottleneck" in DETAILS
    assert state.view(0.0).details.bottleneck is None
    found = state.view(0.0, ("bottleneck",)).details.bottleneck
    assert found is not None
    assert found.read_gbs == MODEL.read_gbs
    assert found.phases == ()  # its script runs no forward


def test_instruments_fold_steps_into_it() -> None:
    instruments = Instruments(Script(cars=1, laps=3).start, 0.0, MACHINE)
    instruments.add_step(step(rows=1), 3.0)
    view = instruments.view(("bottleneck",)).bottleneck
    assert view is not None
    assert [phase.phase for phase in view.phases] == ["decode"]
