"""The ghost: the same race as it ran before, or as it would go on without the last change."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.config import Knobs
from engine.stats import StepStats
from pitwall_tui.race.events import RaceStarted

# Points of a run's curve at most; then every second one goes.
_MOST_POINTS = 4096
_RUNS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Run:
    """How a race ran: `times` in s since its start at which all cars together had `tokens`, and
    by car code the times at which it passed its timing marks (see Car), None where it skipped one.

    `knobs` are those that it ended with.
    """

    race: RaceStarted
    knobs: Knobs
    times: tuple[float, ...]
    tokens: tuple[int, ...]
    marks: Mapping[str, tuple[float | None, ...]]

    def time_of(self, tokens: float) -> float | None:
        """When it had so many tokens, by linear interpolation; None where it never had."""
        at = bisect_left(self.tokens, tokens)
        if at == len(self.tokens):
            return None
        if at == 0 or self.tokens[at] == tokens:
            return self.times[at]
        low, high = self.tokens[at - 1], self.tokens[at]
        share = (tokens - low) / (high - low)
        return self.times[at - 1] + share * (self.times[at] - self.times[at - 1])


@dataclass(frozen=True, slots=True)
class GhostView:
    """The race against its ghost: `delta` in s, less than 0 where the race is ahead.

    `label` says how the ghost ran otherwise, such as "weights fp32". `projection` where nobody ran
    it: it goes on at the rate there was before the last change of knobs. `cars` holds a car's own
    delta at its last timing mark by its code, of a ghost that ran.
    """

    label: str
    delta: float
    projection: bool
    cars: Mapping[str, float]


@dataclass(slots=True)
class _Pace:
    """A race's tokens by time, as they come."""

    times: list[float] = field(default_factory=lambda: [0.0])
    tokens: list[int] = field(default_factory=lambda: [0])

    def add(self, time: float, tokens: int) -> None:
        self.times.append(time)
        self.tokens.append(self.tokens[-1] + tokens)
        if len(self.times) > _MOST_POINTS:
            # The first and the last stay: a run begins and ends where it did.
            del self.times[-2:0:-2], self.tokens[-2:0:-2]


@dataclass(frozen=True, slots=True)
class _Projected:
    """A race that goes on at `rate` tokens/s from `time`, at which it had `tokens`."""

    label: str
    time: float
    tokens: int
    rate: float


class Ghosts:
    """Finds and follows the ghost of each race; `runs` may hold some from elsewhere.

    The same race is one in which every car is asked the same. Of several runs of it the newest is
    the ghost; where there is none, a projection from the last change of knobs on.
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs = deque(runs, maxlen=_RUNS_KEPT)
        self._ghost: Run | None = None
        self._projected: _Projected | None = None
        self._start = 0.0
        self._pace = _Pace()
        self._knobs = Knobs()

    def begin(self, race: RaceStarted, start: float) -> None:
        """A race begins at `start` of the race's clock."""
        same = (run for run in reversed(self._runs) if _asked(run.race) == _asked(race))
        self._ghost = next(same, None)
        self._projected = None
        self._start = start
        self._pace = _Pace()

    def add(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        self._knobs = step.knobs
        if step.output_tokens:
            self._pace.add(time - self._start, step.output_tokens)

    def turn(self, label: str, rate: float) -> None:
        """Knobs are turned to `label` from here on; so far `rate` tokens/s were made."""
        pace = self._pace
        self._projected = _Projected(label, pace.times[-1], pace.tokens[-1], rate)

    def run(self, race: RaceStarted, marks: Mapping[str, Sequence[float | None]]) -> Run:
        """The race as it has run so far; `marks` are times of the race's clock, by car code."""
        since = {
            code: tuple(None if mark is None else mark - self._start for mark in passed)
            for code, passed in marks.items()
        }
        return Run(race, self._knobs, tuple(self._pace.times), tuple(self._pace.tokens), since)

    def keep(self, run: Run) -> None:
        """A race is over, or left: what it did may be another's ghost."""
        if run.tokens[-1]:
            self._runs.append(run)

    def view(self, marks: Mapping[str, Sequence[float | None]]) -> GhostView | None:
        """The race against its ghost; None where there is none, or it never came so far."""
        time, tokens = self._pace.times[-1], self._pace.tokens[-1]
        if self._ghost is not None:
            return self._against_run(self._ghost, time, tokens, marks)
        if self._projected is None or tokens <= self._projected.tokens:
            return None
        ghost = self._projected
        then = ghost.time + (tokens - ghost.tokens) / ghost.rate
        return GhostView(ghost.label, time - then, True, {})

    def _against_run(
        self, ghost: Run, time: float, tokens: int, marks: Mapping[str, Sequence[float | None]]
    ) -> GhostView | None:
        then = ghost.time_of(tokens)
        if then is None or not tokens:
            return None
        other = ghost.knobs.changes(since=self._knobs)
        label = ", ".join(f"{name} {value}" for name, value in other) or "the same knobs"
        found = {
            code: _delta(ghost.marks.get(code, ()), passed, self._start)
            for code, passed in marks.items()
        }
        deltas = {code: delta for code, delta in found.items() if delta is not None}
        return GhostView(label, time - then, False, deltas)


def _asked(race: RaceStarted) -> RaceStarted:
    """A race without what is another with each running of it."""
    return replace(race, race_number=0, cars=tuple(replace(car, id="") for car in race.cars))


def _delta(
    theirs: Sequence[float | None], own: Sequence[float | None], start: float
) -> float | None:
    """A car's delta at the last mark that it has passed in both."""
    for mine, other in reversed(list(zip(own, theirs, strict=False))):
        if mine is not None and other is not None:
            return mine - start - other
    return None
