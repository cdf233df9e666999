"""Every setting in turn, round by round, on one and the same engine; medians of the rounds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from statistics import median
from typing import Any, TypeVar

from engine.client import EngineClient
from engine.config import Knobs, Request, Sampling
from engine.stats import ModelInfo, QualitySample
from pitwall_tui.cli.bench.engine import Run, quality, ready, run
from pitwall_tui.cli.bench.settings import (
    FIRST_TOKENS,
    LONG_CONTEXT,
    LONG_TOKENS,
    Course,
    Plan,
    Setting,
)
from pitwall_tui.feed.grid import line_up
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.feed.text import Vocabulary
from pitwall_tui.race.briefing import draw_race
from pitwall_tui.race.circuits import circuit
from pitwall_tui.race.simulator import simulate

Measured = TypeVar("Measured")


@dataclass(frozen=True, slots=True)
class Row:
    """A setting, and the medians of its runs; `run.view.quality` was measured beside them."""

    setting: Setting
    run: Run


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a plan, in its order."""

    race: RaceSettings
    model: ModelInfo
    repeats: int
    plan: Plan
    rows: tuple[Row, ...]
    stacked: tuple[Row, ...]


def measure(
    client: EngineClient,
    race: RaceSettings,
    plan: Plan,
    repeats: int,
    say: Callable[[str], None],
) -> Results:
    """Every setting is run once to warm up and then `repeats` times, all in turn in each round, so
    that a machine whose speed drifts favours none of them.

    Raises EngineError, EngineGoneError.
    """
    info = ready(client)
    courses = _courses(race, info)
    every = (*plan.settings, *plan.stacked)
    runs: list[list[Run]] = [[] for _ in every]
    for number in range(repeats + 1):
        for setting, found in zip(every, runs, strict=True):
            say(f"round {number} of {repeats}: {setting.name} ({setting.group})")
            requests = courses[setting.course][: setting.cars]
            one = run(client, requests, setting.knobs, info)
            if number:  # the first round warms up
                found.append(one)
    rows = [Row(s, middle(found)) for s, found in zip(every, runs, strict=True)]
    rows = list(_with_quality(client, courses["race"], rows, say))
    alone = len(plan.settings)
    return Results(race, info, repeats, plan, tuple(rows[:alone]), tuple(rows[alone:]))


def _with_quality(
    client: EngineClient,
    requests: tuple[Request, ...],
    rows: Sequence[Row],
    say: Callable[[str], None],
) -> Iterator[Row]:
    """What was timed was not watched: each lossy form is measured once more, for all its rows."""
    known: dict[Knobs, QualitySample | None] = {}
    for row in rows:
        form = _form(row.setting.knobs)
        if not row.run.view.exact and form not in known:
            say(f"quality: weights {form.weights}, kv_dtype {form.kv_dtype}")
            known[form] = quality(client, requests, form)
        view = replace(row.run.view, quality=known.get(form))
        yield replace(row, run=replace(row.run, view=view))


def _form(knobs: Knobs) -> Knobs:
    """What of them makes texts what they are: drafts that must be equal, say, do not."""
    return Knobs(weights=knobs.weights, kv_dtype=knobs.kv_dtype, kernels=knobs.kernels)


def middle(found: Sequence[Measured]) -> Measured:
    """The median of each figure, of the runs that have it; what is no figure is the first's."""
    first: Any = found[0]
    medians: dict[str, Any] = {}
    for field in fields(first):
        values = [getattr(each, field.name) for each in found]
        values = [value for value in values if value is not None]
        match values[0] if values else None:
            case bool() | str() | Knobs() | None:
                pass
            case int():
                medians[field.name] = round(median(values))
            case float():
                medians[field.name] = median(values)
            case value if is_dataclass(value):
                medians[field.name] = middle(values)
            case _:  # the buckets of a distribution, of which there is no median
                medians[field.name] = ()
    return replace(first, **medians)  # type: ignore[no-any-return]


def _courses(race: RaceSettings, info: ModelInfo) -> dict[Course, tuple[Request, ...]]:
    """The race's cars; one that has already driven some 500 tokens of its own; their starts."""
    vocabulary = Vocabulary.load(race.model)
    _, cars = line_up(race.race(1), race, vocabulary, info.max_context)
    full = circuit(race.circuit)
    briefing, entrants = draw_race(full, full.laps, race.seed)
    driven = simulate(briefing, entrants, race.seed)[0]
    text = briefing.text() + entrants[0].text() + driven
    sampling = Sampling(LONG_TOKENS, race.temperature, race.seed, ignore_eos=True)
    return {
        "race": cars,
        "long context": (Request("lone", vocabulary.encode(text)[:LONG_CONTEXT], sampling),),
        "first tokens": tuple(
            replace(car, sampling=replace(car.sampling, max_tokens=FIRST_TOKENS, ignore_eos=True))
            for car in cars
        ),
    }
