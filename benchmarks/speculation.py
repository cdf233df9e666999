"""Does the junior pay? `python -m benchmarks.speculation [--draft DIR,DIR] [--weights fp32]`.

The same cars are raced without drafts and with each draft length, all in turn in each round, by 1
to 20 cars, greedy and at the race's temperature; every other round in reverse. The texts are the
same whatever drafts, so rates compare directly: medians of a round's rate over that round's without
drafts. Where races of the same code differ by more than drafts do, "of own" tells more: a race's
rate over that of its own steps without drafts, where `auto` makes some. Only decode steps count:
every car's briefing is run before.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from engine.config import EngineConfig, Knobs, Request
from engine.core import Engine
from engine.draft_counts import counted, together
from engine.stats import StepStats
from pitwall_tui.feed.grid import line_up
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.feed.text import Vocabulary
from pitwall_tui.paths import asset

LENGTHS: tuple[int | str, ...] = (1, 2, 3, 4, 5, 6, 8, 12, 16, "auto")
CARS = (1, 2, 4, 8, 20)
# A car's tokens, the fewer the more cars there are: as many steps of enough work.
TOKENS = {1: 600, 2: 400, 4: 300, 8: 200, 20: 120}


@dataclass(frozen=True, slots=True)
class Ride:
    """One race's figures, over its decode steps; `draft_ms` and the like are medians of theirs."""

    tokens_per_second: float
    of_own: float | None  # rate over that of its steps without drafts; None where none has any
    acceptance: float | None  # of all drafts; None where there were none
    length: float | None  # tokens a round
    draft_ms: float
    forward_ms: float
    rest_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--draft", default=str(asset("models/junior")), metavar="DIR,DIR")
    parser.add_argument("--weights", default="fp32")
    parser.add_argument("--cars", default=",".join(map(str, CARS)), metavar="N,N")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)), metavar="K,K")
    parser.add_argument("--tokens", type=int, help="a car's, the fewer the more cars if not given")
    parser.add_argument("--temperatures", default="0.8,0", metavar="T,T")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    plain = Knobs(weights=args.weights, quality="off")
    lengths = [text if text == "auto" else int(text) for text in args.lengths.split(",")]
    drafting = [replace(plain, speculation="junior", draft_length=k) for k in lengths]
    found: list[dict[str, Any]] = []
    for temperature in map(float, args.temperatures.split(",")):
        print(f"\nT = {temperature:g}, weights {args.weights}\n{HEAD}")
        for cars in map(int, args.cars.split(",")):
            # Engines of their own for each: what `auto` learns is of these cars alone.
            engines = [(Path(d).name, load(d, drafting[0])) for d in args.draft.split(",")]
            requests = grid(temperature, cars, args.tokens)
            rows = list(measure(engines, requests, plain, drafting, args.rounds))
            for row in rows:
                print(line(cars, row), flush=True)
                found.append({"temperature": temperature, "cars": cars, **row})
    if args.json:
        args.json.write_text(json.dumps({"schema": 1, "rows": found}, indent=1) + "\n")


HEAD = (
    f"{'cars':>4} {'draft':12}{'k':>5}{'tokens/s':>10}{'speed-up':>9}{'of own':>8}{'accepted':>9}"
    f"{'a round':>8}{'draft ms':>9}{'verify ms':>10}{'rest ms':>8}"
)


def line(cars: int, row: dict[str, Any]) -> str:
    accepted = "-" if row["acceptance"] is None else f"{row['acceptance']:.1%}"
    own = "-" if row["of_own"] is None else f"{row['of_own']:.3f}"
    length = "-" if row["length"] is None else f"{row['length']:.2f}"
    return (
        f"{cars:4} {row['draft']:12}{row['k']:>5}{row['tokens_per_second']:10.0f}"
        f"{row['speed_up']:8.2f}x{own:>8}{accepted:>9}{length:>8}"
        f"{row['draft_ms']:9.2f}{row['forward_ms']:10.2f}{row['rest_ms']:8.2f}"
    )


def load(draft: str, knobs: Knobs) -> Engine:
    """The chief with a draft model."""
    engine = Engine.load(EngineConfig(str(asset("models/chief")), draft), knobs)
    engine.prepare(knobs)
    engine.warm_up()
    return engine


def grid(temperature: float, cars: int, tokens: int | None) -> list[Request]:
    """The race's first cars, for so many tokens each, or as many as are usually measured."""
    settings = RaceSettings(temperature=temperature, cars=cars)
    _, requests = line_up(settings.race(1), settings, Vocabulary.load(settings.model), 4096)
    most = tokens or TOKENS.get(cars, 2400 // cars)
    return [
        replace(request, sampling=replace(request.sampling, max_tokens=most, ignore_eos=True))
        for request in requests
    ]


def measure(
    engines: list[tuple[str, Engine]],
    requests: list[Request],
    plain: Knobs,
    drafting: list[Knobs],
    rounds: int,
) -> Iterator[dict[str, Any]]:
    """A row for no drafts, then one for each draft model and length."""
    settings = [(name, engine, knobs) for name, engine in engines for knobs in drafting]
    settings = [("-", engines[0][1], plain), *settings]
    rides: list[list[Ride]] = [[] for _ in settings]
    texts: set[tuple[tuple[int, ...], ...]] = set()
    for number in range(rounds + 1):
        for place in range(len(settings))[:: -1 if number % 2 else 1]:
            _, engine, knobs = settings[place]
            ride = race(engine, requests, knobs)
            texts.add(tuple(tuple(engine.tokens(request.id)) for request in requests))
            if number:  # the first one warms up, and `auto` learns
                rides[place].append(ride)
    assert len(texts) == 1, "drafts have changed a text"
    base = [ride.tokens_per_second for ride in rides[0]]
    for (name, _, knobs), of_setting in zip(settings, rides, strict=True):
        middle = sorted(of_setting, key=lambda ride: ride.tokens_per_second)[rounds // 2]
        ratios = [r.tokens_per_second / b for r, b in zip(of_setting, base, strict=True)]
        owns = [ride.of_own for ride in of_setting if ride.of_own is not None]
        yield {
            "draft": name,
            "k": 0 if name == "-" else knobs.draft_length,
            "speed_up": median(ratios),
            **{field: getattr(middle, field) for field in Ride.__dataclass_fields__},
            "of_own": median(owns) if owns else None,
        }


def race(engine: Engine, requests: list[Request], knobs: Knobs) -> Ride:
    """Served to the last token, once all have begun."""
    engine.reset()
    engine.set_knobs(knobs)
    for request in requests:
        engine.submit(request)
    while any(not engine.tokens(request.id) for request in requests):
        engine.step()
    steps = []
    start = perf_counter()
    while engine.has_work:
        steps.append(engine.step())
    seconds = perf_counter() - start
    counts = together(map(counted, steps))
    return Ride(
        tokens_per_second=sum(step.output_tokens for step in steps) / seconds,
        of_own=of_own(steps),
        acceptance=counts.used,
        length=counts.mean_length,
        draft_ms=median(step.ms.draft for step in steps),
        forward_ms=median(step.ms.forward for step in steps),
        rest_ms=median(step.ms.total - step.ms.draft - step.ms.forward for step in steps),
    )


def of_own(steps: list[StepStats]) -> float | None:
    without = [step for step in steps if not step.draft_length]
    if len(without) in (0, len(steps)):
        return None
    return rate(steps) / rate(without)


def rate(steps: list[StepStats]) -> float:
    """Tokens a millisecond."""
    return sum(step.output_tokens for step in steps) / sum(step.ms.total for step in steps)


if __name__ == "__main__":
    main()
