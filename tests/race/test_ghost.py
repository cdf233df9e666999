"""What turning a knob did, and the race against its ghost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Knobs
from engine.stats import StepStats, StepTimes
from pitwall_tui.race.effects import Effect, Effects
from pitwall_tui.race.events import CarStart, RaceStarted
from pitwall_tui.race.ghost import Ghosts, GhostView, Run

RACE = RaceStarted(
    1, "monza", 5, 7, 0.8, "briefing", (CarStart("1-KES", 7, "KES", "NOVA", 1, "S"),)
)


def step(time: float, tokens: int, cars: int = 1, **knobs: object) -> StepStats:
    """So many tokens a car."""
    rows = tuple((f"{number}-KES", tuple(range(tokens))) for number in range(cars))
    used = replace(Knobs(), **knobs)  # type: ignore[arg-type]
    return StepStats(0, time, used, tokens=rows, running=cars, ms=StepTimes(0, 1, 0, 0))


def drive(effects: Effects, start: float, until: float, tokens: int, cars: int = 1) -> list[Effect]:
    """Ten steps a second of so many tokens a car."""
    found: list[Effect] = []
    for tenth in range(round(start * 10) + 1, round(until * 10) + 1):
        found += effects.add(step(tenth / 10, tokens, cars), tenth / 10)
    return found


# Effects


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 20), st.integers(1, 20))
def test_an_effect_is_the_rate_after_over_the_rate_before(
    before: int, after: int, cars_before: int, cars_after: int
) -> None:
    effects = Effects(0.0)
    assert drive(effects, 0, 4, before, cars_before) == []
    assert effects.turn("weights int8") == pytest.approx(10 * before * cars_before)
    (effect,) = drive(effects, 4, 7, after, cars_after)
    assert effect.label == "weights int8"
    assert (effect.time, effect.seconds) == pytest.approx((4, 2))
    rates = 10 * before * cars_before, 10 * after * cars_after
    assert (effect.before, effect.after) == pytest.approx(rates)
    assert (effect.cars_before, effect.cars_after) == pytest.approx((cars_before, cars_after))
    assert effect.ratio == pytest.approx(rates[1] / rates[0])


def test_a_change_with_nothing_before_it_has_no_effect() -> None:
    effects = Effects(0.0)
    assert effects.turn("paging contiguous") is None
    assert drive(effects, 0, 0.4, 3) == []
    assert effects.turn("weights int8") is None
    assert drive(effects, 0.4, 5, 3) == []


def test_the_time_in_which_first_prompts_are_read_is_no_before() -> None:
    effects = Effects(0.0)
    for tenth in range(1, 21):  # every tenth of a second one more of 20 cars has a first token
        having = replace(step(tenth / 10, 1, tenth // 2), running=20)
        assert effects.add(having, tenth / 10) == ()
    assert effects.turn("weights int8") is None
    assert drive(effects, 2, 4, 1, 20) == []
    assert effects.turn("kv_dtype int8") == pytest.approx(200)


def test_knobs_turned_at_once_are_one_change() -> None:
    effects = Effects(0.0)
    drive(effects, 0, 3, 5)
    assert effects.turn("weights int8") == pytest.approx(50)
    assert drive(effects, 3, 3.2, 10) == []
    assert effects.finish() == ()
    assert effects.turn("kv_dtype int8") is None
    (effect,) = drive(effects, 3.2, 6, 10)
    assert effect.label == "weights int8, kv_dtype int8"
    assert effect.ratio == pytest.approx(2)


def test_the_next_change_ends_the_judging_of_the_last() -> None:
    effects = Effects(0.0)
    drive(effects, 0, 3, 5)
    effects.turn("weights int8")
    drive(effects, 3, 4, 10)
    (first,) = effects.finish()
    assert (first.seconds, first.ratio) == pytest.approx((1, 2))
    assert effects.turn("batching none") == pytest.approx(75)  # of two seconds: half and half
    (second,) = drive(effects, 4, 6.5, 5)
    assert second.label == "batching none"
    assert second.ratio == pytest.approx(50 / 75)


# Ghosts


def run(ghosts: Ghosts, start: float, every: float, steps: int, tokens: int = 2) -> list[float]:
    """So many steps, and the marks that they make, one in ten steps."""
    marks = []
    for number in range(1, steps + 1):
        time = start + every * number
        ghosts.add(step(time, tokens), time)
        if number % 10 == 0:
            marks.append(time)
    return marks


def seen(ghosts: Ghosts, marks: list[float]) -> GhostView:
    view = ghosts.view({"KES": marks})
    assert view is not None
    return view


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(10, 100), st.integers(1, 100))
def test_the_delta_is_the_time_between_two_runs_at_the_same_token(
    every: float, later: float, steps: int, reached: int
) -> None:
    ghosts = Ghosts()
    ghosts.begin(RACE, 5.0)
    marks = run(ghosts, 5.0, every, steps)
    ghosts.keep(ghosts.run(RACE, {"KES": marks}))
    again = replace(RACE, race_number=2, cars=(replace(RACE.cars[0], id="2-KES"),))
    ghosts.begin(again, 100.0)
    passed = run(ghosts, 100.0, later, min(reached, steps))
    view = seen(ghosts, passed)
    assert not view.projection
    assert view.label == "the same knobs"
    assert view.delta == pytest.approx(min(reached, steps) * (later - every), abs=1e-6)
    if passed:
        assert view.cars["KES"] == pytest.approx(10 * len(passed) * (later - every), abs=1e-6)


def test_a_ghost_says_how_it_ran_otherwise() -> None:
    ghosts = Ghosts()
    ghosts.begin(RACE, 0.0)
    ghosts.add(step(1.0, 2, weights="int8"), 1.0)
    ghosts.keep(ghosts.run(RACE, {}))
    ghosts.begin(RACE, 2.0)
    ghosts.add(step(2.5, 2), 2.5)
    assert seen(ghosts, []) == GhostView("weights int8", -0.5, False, {})


@pytest.mark.parametrize(
    "other",
    [
        replace(RACE, seed=8),
        replace(RACE, circuit="spa"),
        replace(RACE, temperature=0.0),
        replace(RACE, briefing="rain"),
        replace(RACE, cars=RACE.cars * 2),
    ],
)
def test_another_race_is_no_ghost(other: RaceStarted) -> None:
    ghosts = Ghosts()
    ghosts.begin(RACE, 0.0)
    run(ghosts, 0.0, 0.1, 10)
    ghosts.keep(ghosts.run(RACE, {}))
    ghosts.begin(other, 5.0)
    run(ghosts, 5.0, 0.1, 10)
    assert ghosts.view({}) is None


def test_a_race_that_never_began_is_no_ghost() -> None:
    ghosts = Ghosts()
    ghosts.begin(RACE, 0.0)
    ghosts.keep(ghosts.run(RACE, {}))
    ghosts.begin(RACE, 1.0)
    run(ghosts, 1.0, 0.1, 5)
    assert ghosts.view({}) is None


def test_a_race_past_what_the_ghost_ever_had_has_none() -> None:
    ghosts = Ghosts([Run(RACE, Knobs(), (0.0, 1.0), (0, 4), {})])
    ghosts.begin(RACE, 0.0)
    run(ghosts, 0.0, 0.1, 2)
    assert seen(ghosts, []).delta == pytest.approx(-0.8)
    run(ghosts, 0.2, 0.1, 1)
    assert ghosts.view({}) is None


def test_without_another_run_the_ghost_keeps_the_rate_before_the_change() -> None:
    ghosts = Ghosts()
    ghosts.begin(RACE, 0.0)
    run(ghosts, 0.0, 0.1, 20)
    ghosts.turn("weights int8", 20.0)
    assert ghosts.view({}) is None  # nothing has been made since
    run(ghosts, 2.0, 0.05, 40)  # twice as fast for two seconds
    view = seen(ghosts, [])
    assert view.projection
    assert view.label == "weights int8"
    assert view.delta == pytest.approx(-2.0)


def test_a_long_race_keeps_its_ends_and_its_shape() -> None:
    ghosts = Ghosts()
    ghosts.begin(RACE, 0.0)
    run(ghosts, 0.0, 0.01, 50_000)
    found = ghosts.run(RACE, {})
    assert len(found.times) <= 4096 + 1
    assert (found.times[0], found.tokens[0]) == (0.0, 0)
    assert (found.times[-1], found.tokens[-1]) == pytest.approx((500.0, 100_000))
    assert found.time_of(50_000) == pytest.approx(250.0, abs=0.5)
