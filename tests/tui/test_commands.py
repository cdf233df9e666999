"""The registry of commands and knobs, and what their keys do to values."""

import pytest

from engine.config import KNOBS, Knobs
from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import (
    COMMANDS,
    DEFAULTS,
    KNOB_KEY,
    KNOB_KEYS,
    PACES,
    changed_pace,
    turned,
)


def test_every_knob_of_the_engine_has_a_key_and_steps_that_it_accepts() -> None:
    assert [keys.name for keys in KNOB_KEYS] == [knob.name for knob in KNOBS]
    for keys in KNOB_KEYS:
        for value in keys.steps:
            Knobs().with_value(keys.name, value)
        assert DEFAULTS[keys.name] in keys.steps


def test_no_key_is_given_twice() -> None:
    keys = [key for command in COMMANDS for key in command.keys.split(",")]
    keys += [key for knob in KNOB_KEYS for key in (knob.key, knob.down, knob.up) if key]
    assert len(keys) == len(set(keys))


def test_every_action_exists() -> None:
    for command in COMMANDS:
        name = command.action.partition("(")[0]
        assert hasattr(PitWallApp, f"action_{name}"), command.id


@pytest.mark.parametrize("keys", KNOB_KEYS, ids=lambda keys: keys.name)
def test_turning_a_knob_visits_every_step_and_back(keys: object) -> None:
    name = keys.name  # type: ignore[attr-defined]
    steps = KNOB_KEY[name].steps
    value, seen = DEFAULTS[name], []
    for _ in steps:
        value = turned(name, value)
        seen.append(value)
        assert turned(name, turned(name, value), -1) == value
    assert set(seen) == set(steps)
    assert value == DEFAULTS[name]


def test_values_between_the_steps_go_to_their_neighbours() -> None:
    assert turned("max_batch", "17") == "20"
    assert turned("max_batch", "17", -1) == "16"
    assert turned("max_batch", "99") == "1"
    assert turned("prefill_chunk", "5000", -1) == "1024"
    assert turned("draft_length", "7") == "8"
    assert turned("draft_length", "9", -1) == "8"


def test_pace_goes_down_from_what_the_engine_does_and_up_to_flat_out() -> None:
    assert changed_pace(0, 287.4, -1) == 200
    assert changed_pace(200, 199, -1) == 150
    assert changed_pace(PACES[0], 10, -1) == PACES[0]
    assert changed_pace(0, 0.0, -1) == PACES[-1]
    assert changed_pace(150, 150, 1) == 200
    assert changed_pace(PACES[-1], 400, 1) == 0
    assert changed_pace(0, 400, 1) == 0
