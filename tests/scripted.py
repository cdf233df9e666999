"""A race written by hand: simulated bodies, one character a token, and steps of our own making.

It stands in for an engine where only the events matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from engine.config import Knobs
from engine.stats import (
    EngineSnapshot,
    FinishReason,
    ModelInfo,
    PageCounts,
    PageMap,
    RequestStats,
    State,
    StepStats,
    StepTimes,
    Verdict,
)
from pitwall_tui.race.briefing import draw_race
from pitwall_tui.race.circuits import circuit
from pitwall_tui.race.events import CarStart, EngineReady, FeedEvent, Loading, Progress, RaceStarted
from pitwall_tui.race.simulator import simulate

PAGE_SIZE = 16
PAGES = 2048
MODEL = ModelInfo(
    "chief", 25_000_000, 8, 1024, "fp32", 10**8, PAGE_SIZE, 65536, PAGES, 4096, "cpu", 2, 30.0, ""
)


@dataclass
class Car:
    start: CarStart
    body: str
    prompt_tokens: int
    done: int = 0
    state: State = "waiting"
    preemptions: int = 0
    first_token: float | None = None
    finished: float | None = None

    def stats(self) -> RequestStats:
        return RequestStats(
            id=self.start.id,
            state=self.state,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.done,
            pages=self.pages,
            hit_tokens=0,
            preemptions=self.preemptions,
            submitted=0.5,
            first_token=self.first_token,
            finished=self.finished,
            finish_reason="stop" if self.finished is not None else None,
        )

    @property
    def pages(self) -> int:
        if self.state in ("waiting", "finished"):
            return 0
        return -(-(self.prompt_tokens + self.done) // PAGE_SIZE)


@dataclass
class Script:
    """A race of `cars` cars over `laps` laps, whose luck in the engine is drawn from `seed`."""

    name: str = "monza"
    laps: int = 4
    cars: int = 20
    seed: int = 1
    preempting: float = 0.02
    grid: list[Car] = field(init=False)
    start: RaceStarted = field(init=False)

    def __post_init__(self) -> None:
        briefing, entrants = draw_race(circuit(self.name), self.laps, self.seed)
        bodies = simulate(briefing, entrants, self.seed)
        self.grid = [
            Car(
                CarStart(str(e.number), e.number, e.code, e.team, e.grid, e.tyre),
                body,
                len(briefing.text() + e.text()),
            )
            for e, body in zip(entrants[: self.cars], bodies, strict=False)
        ]
        starts = tuple(car.start for car in self.grid)
        self.start = RaceStarted(1, self.name, self.laps, self.seed, 0.8, briefing.text(), starts)

    def events(self, knobs: Sequence[Knobs] = (Knobs(),)) -> Iterator[FeedEvent]:
        """The race from loading to the chequered flag; `knobs` take turns, 100 steps each."""
        yield self.start
        for index, title in enumerate(["import", "chief", "tokenizer", "warm-up", "grid"]):
            yield Loading(index, title, "", 0.1)
        yield EngineReady(MODEL)
        rng = Random(self.seed)
        time, number = 1.0, 0
        while any(car.finished is None for car in self.grid):
            steps: list[StepStats] = []
            pieces: dict[str, list[str]] = {}
            overruled: dict[str, list[str]] = {}
            for _ in range(rng.randint(1, 6)):
                number += 1
                time += rng.choice([0.01, 0.02, 0.03])
                used = knobs[number // 100 % len(knobs)]
                steps.append(self._step(rng, number, time, used, pieces))
                if used.speculation != "off":
                    steps[-1] = _drafted(steps[-1], overruled)
            requests = tuple(car.stats() for car in self.grid)
            owners = b"".join(bytes([i]) * r.pages for i, r in enumerate(requests))
            kinds = b"\x02" * len(owners) + b"\x00" * (PAGES - len(owners))
            yield Progress(
                EngineSnapshot(
                    time=time,
                    knobs=steps[-1].knobs,
                    paused=False,
                    pace=0.0,
                    steps=tuple(steps),
                    requests=requests,
                    page_map=PageMap(kinds, owners.ljust(PAGES, b"\xff")),
                    pages=steps[-1].pages,
                    weights_bytes=MODEL.weights_bytes,
                    weights_held=MODEL.weights_bytes,
                ),
                tuple((id, tuple(text)) for id, text in pieces.items()),
                tuple((id, tuple(text)) for id, text in overruled.items()),
            )

    def _step(
        self, rng: Random, number: int, time: float, knobs: Knobs, pieces: dict[str, list[str]]
    ) -> StepStats:
        tokens, preempted = [], []
        finished: list[tuple[str, FinishReason]] = []
        for car in rng.sample(self.grid, len(self.grid)):
            if car.state == "finished":
                continue
            if car.state == "decode" and rng.random() < self.preempting:
                car.state = "waiting"
                car.preemptions += 1
                preempted.append((car.start.id, car.prompt_tokens + car.done))
            elif car.state == "waiting":
                car.state = "prefill" if rng.random() < 0.5 else "waiting"
            elif rng.random() < 0.9:
                car.state = "decode"
                if car.first_token is None:
                    car.first_token = time
                take = rng.randint(1, 3)
                text = list(car.body[car.done : car.done + take])
                car.done += len(text)
                pieces.setdefault(car.start.id, []).extend(text)
                tokens.append((car.start.id, tuple(ord(letter) for letter in text)))
                if car.done == len(car.body):
                    car.state, car.finished = "finished", time
                    finished.append((car.start.id, "stop"))
        held = [car for car in self.grid if car.state not in ("waiting", "finished")]
        used = sum(car.pages for car in held)
        slots = sum(car.prompt_tokens + car.done for car in held)
        return StepStats(
            step=number,
            time=time,
            knobs=knobs,
            tokens=tuple(tokens),
            decode_rows=len(tokens),
            preempted=tuple(preempted),
            finished=tuple(finished),
            waiting=sum(car.state == "waiting" for car in self.grid),
            running=len(held),
            prefix_queries=4,
            prefix_hits=3,
            pages=PageCounts(PAGES, used, 0, PAGES - used, 0, used * PAGE_SIZE - slots, 65536),
            ms=StepTimes(0.1, 9.0, 0.5, 0.4),
        )


def _drafted(step: StepStats, overruled: dict[str, list[str]]) -> StepStats:
    """The same tokens, all but the last of each car drafted, and a question mark in its place."""
    verdicts = []
    for id, tokens in step.tokens:
        verdicts.append(Verdict(id, (*tokens[:-1], ord("?"), ord("?")), len(tokens) - 1))
        overruled.setdefault(id, []).append("?")
    return replace(
        step,
        verdicts=tuple(verdicts),
        draft_length=4,
        ms=replace(step.ms, draft=3.0),
    )
