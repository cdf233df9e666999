"""Who runs when, and what waiting costs: the batch of a race step by step, and its latencies."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engine.config import Knobs
from engine.stats import EngineSnapshot, StepStats
from pitwall_tui.race.events import CarStart, RaceStarted
from pitwall_tui.race.latency import Gaps, LatencyView, latencies, percentile
from pitwall_tui.race.seating import Doing, Seating, limit
from pitwall_tui.race.timeline import NOBODY, Kind, Line, Run

MODES = ("none", "static", "continuous")
SPENT: tuple[Kind, ...] = ("waiting", "prefill", "decode", "parked", "pit")
_MARKS = 200


@dataclass(frozen=True, slots=True)
class BatchCar:
    """A car over time: `kind` is what it does now, None once it has ended.

    `seconds` are those it has spent waiting, in prefill, in decode, parked and in the pit;
    latencies are in milliseconds, None until they are known.
    """

    code: str
    team: str
    kind: Kind | None
    runs: tuple[Run, ...]
    seconds: tuple[tuple[Kind, float], ...]
    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None


@dataclass(frozen=True, slots=True)
class Typical:
    """The median of `count` latencies in milliseconds, None of none."""

    count: int
    p50: float | None


@dataclass(frozen=True, slots=True)
class ModeView:
    """Steps under one mode of batching in this race; none, and all of it 0, where it was not run.

    `sizes` are the slots that its knob gave, `seconds` the race's time; `rows` ran in a step on
    average. `idle` is the share of all slots that nobody held while somebody waited, `spare` of
    those that nobody wanted. Tokens/s and `step_ms` are of the time that steps took, whatever the
    pace between them. Latencies are of cars for which all of the time that they speak of was
    spent in this mode.
    """

    name: str
    now: bool
    sizes: tuple[int, ...]
    seconds: float
    steps: int
    rows: float
    idle: float
    spare: float
    tokens_per_second: float
    step_ms: float
    ttft: Typical
    tpot: Typical
    e2e: Typical


@dataclass(frozen=True, slots=True)
class Queued:
    """A car (its index) that has been waiting for so many seconds; `again` after a preemption."""

    car: int
    seconds: float
    again: bool


@dataclass(frozen=True, slots=True)
class BatchingView:
    """The batch from `start` to `now`, seconds on the race's clock, where the last step ended.

    `slots` has a line for each slot that there was, as far as there are cars for them; there are
    `limit` now. `marks` holds (time, label) where knobs changed. `mixed` has latencies of cars that
    were served in more than one mode. `paced`: the engine was held back for a part of the race.
    """

    start: float
    now: float
    limit: int
    cars: tuple[BatchCar, ...]
    slots: tuple[tuple[Run, ...], ...]
    marks: tuple[tuple[float, str], ...]
    modes: tuple[ModeView, ...]
    mixed: tuple[Typical, Typical, Typical]
    latencies: tuple[LatencyView, ...]
    queue: tuple[Queued, ...]
    why: str
    paced: bool


@dataclass(slots=True)
class _Car:
    """A request's times on the race's clock. `first_stretch` and `last_stretch` number the stretch
    of one mode in which its first token came and it ended; they all begin in the first, 0."""

    start: CarStart
    line: Line = field(default_factory=Line)
    tokens: int = 0
    submitted: float | None = None
    first: float | None = None
    last: float | None = None
    ended: float | None = None
    served: bool = False
    first_stretch: int = 0
    last_stretch: int = 0

    @property
    def ttft(self) -> float | None:
        """Not of those that were aborted: they say nothing about the engine."""
        aborted = self.ended is not None and not self.served
        return None if aborted else _ms(self.submitted, self.first)

    @property
    def e2e(self) -> float | None:
        return _ms(self.submitted, self.ended) if self.served else None

    @property
    def tpot(self) -> float | None:
        """As vLLM has it: of the time after the first token, for each token after it."""
        if not self.served or self.tokens < 2 or self.first is None:
            return None
        found = _ms(self.first, self.ended)
        return None if found is None else found / (self.tokens - 1)


@dataclass(slots=True)
class _Mode:
    sizes: set[int] = field(default_factory=set)
    seconds: float = 0.0
    ms: float = 0.0
    steps: int = 0
    rows: int = 0
    slots: int = 0
    idle: int = 0
    spare: int = 0
    tokens: int = 0


class Batching:
    """Folds the steps of one race. All times are on the race's clock: see RaceState."""

    def __init__(self, race: RaceStarted) -> None:
        self._cars = {car.id: _Car(car) for car in race.cars}
        self._index = {id: index for index, id in enumerate(self._cars)}
        self._seating = Seating(self._cars)
        self._slots = [Line() for _ in self._cars]
        self._gaps = Gaps()
        self._modes = {name: _Mode() for name in MODES}
        self._stretches: list[str] = []  # the mode of each stretch
        self._knobs: Knobs | None = None
        self._marks: deque[tuple[float, str]] = deque(maxlen=_MARKS)
        self._start: float | None = None
        self._time = 0.0
        self._why = ""
        self._shown: tuple[object, ...] = ()
        self._paced = False

    def add_step(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        if self._start is None:
            self._begin(time - step.ms.total / 1e3)
        began, self._time = self._time, max(self._time, time)
        self._note_knobs(step.knobs, began)
        seating = self._seating
        seated = tuple(seating.seats)
        lost = seating.begin(step)
        for id in seated if lost else seating.sent:
            self._cars[id].line.set(began, self._index[id], "pit")
        wanted = step.waiting > 0 or len(seating.seats) > len(seating.active)
        doing = seating.doing(step)
        shown = (doing, seating.slots, seating.sent, wanted)
        if lost or shown != self._shown:
            self._shown = shown
            self._run(doing, began)
            self._fill(began, "idle" if wanted else "spare")
        self._count(step, began, wanted)
        self._why = seating.why(step)
        self._take_tokens(step)
        for id, reason in step.finished:
            self._end(id, reason != "abort")
        seating.end(step)

    def add_snapshot(self, snapshot: EngineSnapshot, time: float) -> None:
        """What came with the last of its steps, at `time`."""
        offset = time - snapshot.time
        self._paced |= snapshot.pace > 0
        for request in snapshot.requests:
            car = self._cars.get(request.id)
            if car is not None and car.submitted is None:
                car.submitted = request.submitted + offset

    def view(self) -> BatchingView | None:
        """None before the first step."""
        if self._start is None or self._knobs is None:
            return None
        return BatchingView(
            start=self._start,
            now=self._time,
            limit=limit(self._knobs),
            cars=tuple(map(self._car_view, self._cars.values())),
            slots=self._slot_lines(),
            marks=tuple(self._marks),
            modes=tuple(map(self._mode_view, MODES)),
            mixed=self._typical(None),
            latencies=(*self.latencies(), self._gaps.view()[1]),
            queue=tuple(self._queued()),
            why=self._by_code(self._why),
            paced=self._paced,
        )

    def latencies(self) -> tuple[LatencyView, ...]:
        """TTFT, TPOT, E2E and ITL of the race."""
        cars = self._cars.values()
        return (
            latencies("TTFT", "race", _known(car.ttft for car in cars)),
            latencies("TPOT", "race", _known(car.tpot for car in cars)),
            latencies("E2E", "race", _known(car.e2e for car in cars)),
            self._gaps.view()[0],
        )

    # Folding

    def _begin(self, time: float) -> None:
        self._start = self._time = time
        for id, car in self._cars.items():
            car.line.set(time, self._index[id], "waiting")

    def _note_knobs(self, knobs: Knobs, began: float) -> None:
        before, self._knobs = self._knobs, knobs
        if before is not None and before != knobs:
            changes = knobs.changes(before)
            self._marks.append((began, ", ".join(f"{name} {value}" for name, value in changes)))
        if not self._stretches or self._stretches[-1] != knobs.batching:
            self._stretches.append(knobs.batching)

    def _run(self, doing: Mapping[str, Doing], began: float) -> None:
        """What every car that sits does from here on, in its slot too."""
        for id, kind in doing.items():
            index = self._index[id]
            self._cars[id].line.set(began, index, kind)
            self._slots[self._seating.seats[id]].set(began, index, kind)

    def _fill(self, began: float, empty: Kind) -> None:
        """What the slots do that nobody sits in."""
        seating, lines = self._seating, self._slots
        for id, slot in seating.sent.items():
            lines[slot].set(began, self._index[id], "pit")
        free = [slot for slot in seating.free(len(lines)) if slot not in seating.sent.values()]
        count = min(seating.slots, len(lines)) - len(seating.active) - len(seating.sent)
        for place, slot in enumerate(free):
            if place < count:
                lines[slot].set(began, NOBODY, empty)
            else:
                lines[slot].stop(began)

    def _count(self, step: StepStats, began: float, wanted: bool) -> None:
        mode, seating = self._modes[step.knobs.batching], self._seating
        empty = seating.slots - len(seating.active)
        mode.sizes.add(limit(step.knobs))
        mode.seconds += self._time - began
        mode.ms += step.ms.total
        mode.steps += 1
        mode.rows += seating.rows(step)
        mode.slots += seating.slots
        mode.idle += empty if wanted else 0
        mode.spare += 0 if wanted else empty
        mode.tokens += step.output_tokens

    def _take_tokens(self, step: StepStats) -> None:
        time, before = self._time, Counter[float]()  # when those had their last tokens
        for id, tokens in step.tokens:
            car = self._cars.get(id)
            if car is None:
                continue
            if car.last is None:
                car.first, car.first_stretch = time, self._stretch
            else:
                before[car.last] += 1
            car.last = time
            car.tokens += len(tokens)
        self._gaps.add(time, {(time - last) * 1e3: many for last, many in before.items()})

    def _end(self, id: str, served: bool) -> None:
        car = self._cars.get(id)
        if car is not None and car.ended is None:  # a new engine may end it once more
            car.ended, car.served, car.last_stretch = self._time, served, self._stretch
            car.line.stop(self._time)

    @property
    def _stretch(self) -> int:
        return len(self._stretches) - 1

    # The picture

    def _car_view(self, car: _Car) -> BatchCar:
        return BatchCar(
            code=car.start.code,
            team=car.start.team,
            kind=car.line.kind,
            runs=car.line.runs(self._time),
            seconds=tuple((kind, car.line.total(kind, self._time)) for kind in SPENT),
            ttft_ms=car.ttft,
            tpot_ms=car.tpot,
            e2e_ms=car.e2e,
        )

    def _slot_lines(self) -> tuple[tuple[Run, ...], ...]:
        """Those that there have ever been."""
        lines = [line.runs(self._time) for line in self._slots]
        used = max((number for number, runs in enumerate(lines, 1) if runs), default=0)
        return tuple(lines[:used])

    def _mode_view(self, name: str) -> ModeView:
        mode = self._modes[name]
        ttft, tpot, e2e = self._typical(name)
        return ModeView(
            name=name,
            now=self._stretches[-1] == name,
            sizes=tuple(sorted(mode.sizes)),
            seconds=mode.seconds,
            steps=mode.steps,
            rows=mode.rows / max(mode.steps, 1),
            idle=mode.idle / max(mode.slots, 1),
            spare=mode.spare / max(mode.slots, 1),
            tokens_per_second=1e3 * mode.tokens / max(mode.ms, 1e-9),
            step_ms=mode.ms / max(mode.steps, 1),
            ttft=ttft,
            tpot=tpot,
            e2e=e2e,
        )

    def _typical(self, name: str | None) -> tuple[Typical, Typical, Typical]:
        """TTFT, TPOT and E2E of spans wholly in a mode; None: of those in more than one."""
        cars = self._cars.values()
        return (
            _median(car.ttft for car in cars if self._in(name, 0, car.first_stretch)),
            _median(
                car.tpot for car in cars if self._in(name, car.first_stretch, car.last_stretch)
            ),
            _median(car.e2e for car in cars if self._in(name, 0, car.last_stretch)),
        )

    def _in(self, name: str | None, first: int, last: int) -> bool:
        if first != last:
            return name is None
        return name == self._stretches[first]

    def _queued(self) -> Iterator[Queued]:
        """Those that wait, apart from such as the engine has refused."""
        for id in self._seating.queue:
            car = self._cars[id]
            if car.submitted is not None:
                seconds = self._time - car.line.since
                yield Queued(self._index[id], seconds, car.line.kind == "pit")

    def _by_code(self, why: str) -> str:
        """The engine's words, with the car's code in the place of its request's id."""
        head, colon, rest = why.partition(": ")
        id, space, words = rest.partition(" ")
        car = self._cars.get(id)
        return f"{head}{colon}{car.start.code}{space}{words}" if car else why


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else (end - start) * 1e3


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _median(values: Iterable[float | None]) -> Typical:
    known = list(_known(values))
    return Typical(len(known), percentile(known, 50))
