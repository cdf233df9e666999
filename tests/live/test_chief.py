"""The shipped chief on its own race: no knob turned mid-race changes a token of any car."""

from collections import Counter
from dataclasses import replace

import pytest

from engine.config import Knobs, Request
from engine.core import Engine
from pitwall_tui.feed.grid import line_up
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.feed.text import Vocabulary
from pitwall_tui.race.quality import judge

SETTINGS = RaceSettings(laps=3, cars=5)
# Turned in this order, some steps each, over and over.
TURNS = (
    Knobs(prefill_chunk=64),
    Knobs(batching="static"),
    Knobs(batching="static", kv_cache="off"),
    Knobs(batching="none"),
    Knobs(paging="contiguous", max_batch=3),
    Knobs(prefix_cache="off"),
    Knobs(kernels="torch"),
    Knobs(),
)
STEPS_EACH = 6


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(SETTINGS.model)


@pytest.fixture(scope="module")
def cars(vocabulary: Vocabulary) -> tuple[Request, ...]:
    return line_up(SETTINGS.race(1), SETTINGS, vocabulary, 4096)[1]


def race(
    settings: RaceSettings, cars: tuple[Request, ...], turns: tuple[Knobs, ...]
) -> tuple[dict[str, list[int]], Counter[str]]:
    """Each car's tokens, and what happened on the way."""
    engine = Engine.load(settings.engine_config())
    for car in cars:
        engine.submit(car)
    seen: Counter[str] = Counter()
    while engine.has_work:
        engine.set_knobs(turns[seen["steps"] // STEPS_EACH % len(turns)])
        stats = engine.step()
        engine.check()
        seen["steps"] += 1
        seen["preemptions"] += len(stats.preempted)
        seen["hits"] += stats.prefix_hits
        seen[f"rows {stats.decode_rows}"] += 1
        seen.update({str(change) for change in stats.knobs.changes(Knobs())})
    return {car.id: engine.tokens(car.id) for car in cars}, seen


@pytest.fixture(scope="module")
def undisturbed(cars: tuple[Request, ...]) -> dict[str, list[int]]:
    tokens, seen = race(SETTINGS, cars, (Knobs(),))
    assert seen["preemptions"] == 0
    return tokens


def test_knobs_turned_mid_race_change_no_token(
    cars: tuple[Request, ...], undisturbed: dict[str, list[int]]
) -> None:
    # Memory for two or three cars: the youngest lose their pages.
    tokens, seen = race(replace(SETTINGS, kv_memory_mib=3), cars, TURNS)
    assert tokens == undisturbed
    assert seen["preemptions"] > 0
    assert seen["hits"] > 0
    assert seen["rows 1"] > 0
    turned = {str(change) for knobs in TURNS for change in knobs.changes(Knobs())}
    assert all(seen[change] >= STEPS_EACH for change in turned)


def test_its_laps_are_legal_and_its_races_end(
    cars: tuple[Request, ...], undisturbed: dict[str, list[int]], vocabulary: Vocabulary
) -> None:
    verdicts = [
        judge(vocabulary.decode(car.prompt), vocabulary.decode(undisturbed[car.id])) for car in cars
    ]
    assert all(verdict.ended for verdict in verdicts), verdicts
    assert sum(verdict.parsed for verdict in verdicts) == sum(v.lines for v in verdicts)
