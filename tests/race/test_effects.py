"""Which knobs act, and turns that have no effect to tell of."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import KNOBS, Knobs
from engine.stats import StepStats, StepTimes
from pitwall_tui.race.effects import Effect, Effects, acting, changed, times

EVERY = st.builds(
    Knobs,
    **{
        knob.name: st.sampled_from([*knob.values, *([] if knob.low is None else [1, 7])])
        for knob in KNOBS
    },
)


def race(*turns: tuple[float, Knobs], until: float = 9.0) -> list[Effect]:
    """Ten steps a second, twice as many tokens from 3 s on; turned to these knobs at these times,
    as the race's state would tell of it."""
    effects, knobs, found = Effects(0.0), Knobs(), list[Effect]()
    for tenth in range(1, round(until * 10) + 1):
        time = tenth / 10
        turned = next((to for at, to in reversed(turns) if at < time), Knobs())
        if turned != knobs:
            found += effects.finish()
            effects.turn(", ".join(f"{n} {v}" for n, v in turned.changes(since=knobs)))
            knobs = turned
        tokens = (("1-KES", tuple(range(4 if time > 3 else 2))),)
        step = StepStats(tenth, time, knobs, tokens, running=1, ms=StepTimes(0, 1, 0, 0))
        found += effects.add(step, time)
    return found


@pytest.mark.parametrize(
    "inert",
    [
        Knobs(draft_length=5),
        Knobs(acceptance="ratio"),
        Knobs(quality="off"),
        Knobs(static_batch=7),
    ],
)
def test_knobs_that_change_no_step_do_not_act(inert: Knobs) -> None:
    assert acting(inert) == Knobs()
    assert race((3, inert)) == []


@pytest.mark.parametrize(
    ("knobs", "name", "value"),
    [
        (Knobs(speculation="ngram"), "draft_length", 5),
        (Knobs(speculation="junior"), "acceptance", "ratio"),
        (Knobs(weights="int8"), "quality", "off"),
        (Knobs(kv_dtype="int8"), "quality", "off"),
        (Knobs(batching="static"), "static_batch", 7),
        (Knobs(), "max_batch", 7),
        (Knobs(), "paging", "contiguous"),
    ],
)
def test_they_act_where_something_asks_for_them(knobs: Knobs, name: str, value: str | int) -> None:
    turned = knobs.with_value(name, str(value))
    assert acting(turned) == turned
    assert changed(turned, knobs) == f"{name} {value}"


@given(EVERY, EVERY)
def test_a_change_is_told_where_knobs_act_otherwise_and_only_there(a: Knobs, b: Knobs) -> None:
    assert acting(acting(a)) == acting(a)
    assert bool(changed(a, b)) == (acting(a) != acting(b))
    told = {part.partition(" ")[0] for part in changed(a, b).split(", ")}
    assert told <= {"", *(field.name for field in fields(Knobs))}


def test_a_turn_that_ends_where_it_began_has_no_effect() -> None:
    assert race((3, Knobs(weights="int8")), (3.3, Knobs())) == []


def test_of_several_turns_only_what_they_came_to_is_told() -> None:
    eight = Knobs(weights="int8", draft_length=5)
    (effect,) = race((3, replace(eight, quality="off")), (3.3, eight))
    assert effect.label == "weights int8"
    assert effect.ratio == pytest.approx(2)


def test_what_is_left_of_a_rate_is_never_told_as_nothing() -> None:
    assert [times(ratio) for ratio in (2.567, 0.1, 0.099, 0.0066)] == [
        *("2.57x", "0.10x", "0.099x", "0.007x"),
    ]
