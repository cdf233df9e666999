"""The race as the wall knows it: events folded into the frozen view that screens draw."""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

from engine.config import KNOBS, Knobs
from engine.stats import (
    DraftInfo,
    EngineSnapshot,
    ModelInfo,
    RequestStats,
    StepStats,
)
from pitwall_tui.race.car import Bests, Car, LineDone
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.details import Instruments
from pitwall_tui.race.effects import Effect, Effects, times
from pitwall_tui.race.entries import TEAMS
from pitwall_tui.race.events import (
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    Progress,
    RaceStarted,
    RecordingStopped,
    RedFlag,
    Refused,
)
from pitwall_tui.race.follow import follow, writing
from pitwall_tui.race.ghost import Ghosts, Run
from pitwall_tui.race.grammar import LapLine, OutLine
from pitwall_tui.race.ledger import Ledger
from pitwall_tui.race.pool import pool
from pitwall_tui.race.results import clock_time, results, totals
from pitwall_tui.race.speculation import Speculation
from pitwall_tui.race.standings import THIRDS, standings
from pitwall_tui.race.timing import Chart, Quality, Traffic, Window
from pitwall_tui.race.view import (
    NOBODY,
    Flag,
    FollowView,
    KnobView,
    LightView,
    RaceView,
    RadioView,
    StatusView,
    WritingView,
)

LIGHTS = 5
_RADIO_KEPT = 200
_YELLOW_SHARE = 0.85
_ANNOUNCED: dict[Flag, str] = {"safety": "safety car", "yellow": "yellow flag"}
# A flag that comes back within so many seconds is the same one, not news.
_QUIET = 5.0
# What a knob, or one value of it, means for the cars' texts where they do not stay the same.
_MEANS = {
    "weights": ": from here it is another model",
    "kv_dtype": ": from here it is another model",
    "acceptance ratio": ": drafts lead to other tokens from here, as likely ones",
}
_UNKNOWN_TEAM = "#888888"
# The engine's finish reasons of a car whose text has not ended its race.
_ENDS = {"length": "out of tokens", "abort": "withdrawn", "stop": "stopped early"}

Speaker = Literal["radio", "control", "knob"]


class RaceState:
    """Folds a feed's events; `source` names the feed, `knobs` are those it starts with.

    The race's clock is the engine's: it stands still while the engine is paused or gone, and goes
    on where it was when a lost engine is replaced by one whose own clock starts anew. What has been
    before a race leaves nothing in it but the engine as it stands. A state is plain data: it can be
    pickled, and goes on from there to the same views.
    """

    def __init__(
        self, source: str = "engine", knobs: Knobs | None = None, runs: Iterable[Run] = ()
    ) -> None:
        self._source = source
        self._asked = knobs or Knobs()
        self._lights = [LightView("", "", None)] * LIGHTS
        self._model: ModelInfo | None = None
        self._radio: deque[RadioView] = deque(maxlen=_RADIO_KEPT)
        self._snapshot: EngineSnapshot | None = None
        self._step: StepStats | None = None
        self._lost: str | None = None
        self._ended = ""
        # Of an engine that is lost: whether it had been paused, and its pace.
        self._held_still, self._held_pace = False, 0.0
        self._red_flags = 0
        self._draft: DraftInfo | None = None
        self._offset = 0.0
        self._time = 0.0
        self._ghosts = Ghosts(runs)
        self._seen: dict[tuple[frozenset[str], frozenset[int]], RaceView] = {}
        self._begin(RaceStarted(0, "", 0, 0, 0.0, "", ()))

    def apply(self, event: FeedEvent) -> None:
        """Takes the next event of the feed."""
        self._seen = {}
        match event:
            case RaceStarted():
                self._ghosts.keep(self.run())
                self._begin(event)
            case Loading():
                if 0 <= event.index < LIGHTS:
                    light = LightView(event.title, event.detail, event.seconds)
                    self._lights[event.index] = light
            case EngineReady():
                self._model = self._instruments.model = event.model
                if self._lost is not None:
                    self._replace_engine()
            case Progress():
                self._progress(event)
            case RedFlag():
                self._lost = event.reason
                self._red_flags += 1
                self._forget_engine()
                self._lights = [replace(light, seconds=None) for light in self._lights]
                self._control(f"red flag: {event.reason}")
            case Refused():
                self._control(f"refused: {event.reason}")
                if event.id in self._cars:
                    self._cars[event.id].retire("refused")
                    self._ledger.accounts[event.id].reason = "abort"
            case RecordingStopped():
                self._control(f"recording stopped: {event.reason}")
            case FeedEnded():
                self._ended = event.reason
                if event.fault:
                    self._lost = event.reason
                    self._forget_engine()
                self._control(event.reason)

    @property
    def flag(self) -> Flag:
        return self._flag()[0]

    @property
    def over(self) -> bool:
        """Every car's request has ended: its last line is followed by one token more."""
        return bool(self._cars) and all(
            self._ledger.accounts[id].reason is not None for id in self._cars
        )

    def run(self) -> Run:
        """How this race has run so far, for a later one to be compared with."""
        return self._ghosts.run(self._race, self._marks())

    def summary(self) -> dict[str, object]:
        """The race as the JSON document of `pitwall race --json`."""
        laps = {id: car.completed for id, car in self._cars.items()}
        return self._ledger.summary(self._model, laps, self._red_flags)

    def view(
        self, now: float, details: Collection[str] = (), followed: Collection[int] = ()
    ) -> RaceView:
        """The picture of the race at `now`, which is the time of the screen's own clock.

        `details` names the views of `Details` that somebody looks at, `followed` the numbers of the
        cars that somebody follows.
        """
        looked_at = (frozenset(details), frozenset(followed))
        if looked_at not in self._seen:  # between two events nothing but the time goes on
            self._seen = {looked_at: self._view(details, followed)}
        return replace(self._seen[looked_at], time=now)

    def _view(self, details: Collection[str], followed: Collection[int]) -> RaceView:
        cars = self._classified()
        circuit = CIRCUITS.get(self._race.circuit)
        return RaceView(
            time=0.0,
            race_number=self._race.race_number,
            circuit=self._race.circuit,
            title=circuit.title if circuit else self._race.circuit,
            laps=self._race.laps,
            leader_lap=cars[0].lap if cars else 0,
            outline=circuit.outline if circuit else (),
            teams=self._teams,
            cars=standings(
                cars,
                self._ledger,
                self._requests,
                circuit.sectors if circuit else THIRDS,
                None if self._still else self._window,
                self._time,
            ),
            status=self._status(),
            lights=tuple(self._lights),
            pages=pool(self._snapshot, self._model, cars),
            chart=self._chart.view(),
            traffic=self._traffic.view(self._model.read_gbs if self._model else 0.0),
            quality=self._quality.view(),
            draft=self._draft.name if self._draft else "",
            speculation=self._speculation.view(),
            writing=self._writing(cars),
            radio=tuple(self._radio),
            knobs=self._knob_views(),
            results=results(cars, self._ledger, self._lights_out),
            totals=totals(self._ledger, self._model, self._red_flags),
            details=self._instruments.view(details),
            ghost=self._ghosts.view(self._marks()),
            followed=self._followed(cars, followed),
        )

    # Folding

    def _begin(self, race: RaceStarted) -> None:
        colours = {team.short: team.colour for team in TEAMS}
        colours |= {car.team: _UNKNOWN_TEAM for car in race.cars if car.team not in colours}
        self._teams = tuple(colours.items())
        teams = {short: index for index, short in enumerate(colours)}
        self._radio.clear()
        self._offset = 0.0
        self._time = self._snapshot.time if self._snapshot else 0.0
        self._race = race
        self._cars = {car.id: Car(car, teams[car.team], race.laps) for car in race.cars}
        self._bests = Bests()
        self._ledger = Ledger(race)
        self._requests: dict[str, RequestStats] = {}
        self._window = Window(self._time)
        self._chart = Chart(self._time)
        self._traffic = Traffic()
        self._quality = Quality()
        self._speculation = Speculation(self._draft)
        self._instruments = Instruments(race, self._time, self._model)
        self._effects = Effects(self._time)
        self._ghosts.begin(race, self._time)
        self._lights_out: float | None = None
        self._quiet_until: dict[Flag, float] = {}
        self._red_flags = 0

    def _forget_engine(self) -> None:
        """What a lost engine held is gone; its knobs are what the next one is asked for."""
        if self._snapshot is not None:
            self._asked, self._held_still = self._snapshot.knobs, self._snapshot.paused
            self._held_pace = self._snapshot.pace
        self._snapshot = self._step = None
        self._requests = {}

    def _replace_engine(self) -> None:
        """The new engine's clock starts where the lost one's stopped."""
        self._lost = None
        self._offset = self._time
        running = sum(not car.over for car in self._cars.values())
        if running:
            self._control(f"the engine is back: {running} cars go on from the tokens they have")

    def _progress(self, event: Progress) -> None:
        snapshot = event.snapshot
        self._lost = None
        self._snapshot = snapshot
        self._requests = {r.id: r for r in snapshot.requests if r.id in self._cars}
        self._meet(snapshot.draft)
        self._ledger.weights_bytes = snapshot.weights_bytes
        self._ledger.add_requests(self._requests.values(), self._offset)
        text, overruled = self._texts(event.text), self._texts(event.overruled)
        for step in snapshot.steps:
            self._fold_step(step, text, overruled)
        self._time = max(self._time, snapshot.time + self._offset)
        self._instruments.add_snapshot(snapshot, self._time)
        for request in self._requests.values():
            self._fold_end(request)
        self._window.advance(self._time)
        if not self.over:  # what the engine does after the flag is not the race's
            self._chart.advance(self._time)
            self._ledger.note_pace(snapshot.pace, self._time)
        self._announce_flag()

    def _meet(self, draft: DraftInfo | None) -> None:
        """The draft model as this snapshot has it."""
        if self._draft is not None and draft is not None and draft.name != self._draft.name:
            self._say("knob", f"draft model {draft.name}: its figures begin anew")
        self._draft = draft
        self._speculation.meet(draft)

    def _texts(self, texts: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, Iterator[str]]:
        """What is left to read of each car's."""
        return {id: iter(()) for id in self._cars} | {id: iter(text) for id, text in texts}

    def _fold_step(
        self, step: StepStats, text: dict[str, Iterator[str]], overruled: dict[str, Iterator[str]]
    ) -> None:
        self._step = step
        self._time = time = max(self._time, step.time + self._offset)
        changes = self._ledger.add_step(step, time)
        if changes:
            self._tell_effects(self._effects.finish())
            label = ", ".join(f"{name} {value}" for name, value in changes)
            rate = self._effects.turn(label)
            if rate is not None:
                self._ghosts.turn(label, rate)
        for name, value in changes:
            self._chart.mark(time, f"{name} {value}")
            means = _MEANS.get(name, _MEANS.get(f"{name} {value}", ""))
            self._say("knob", f"{name} {value}{means}")
        counts = tuple((id, len(tokens)) for id, tokens in step.tokens if id in self._cars)
        self._window.add(time, counts, step.ms.total)
        self._traffic.add(step)
        self._quality.add(step)
        self._speculation.add(step, time)
        self._instruments.add_step(step, time)
        self._ghosts.add(step, time)
        self._tell_effects(self._effects.add(step, time))
        accepted = {verdict.id: verdict.accepted for verdict in step.verdicts}
        self._chart.add(time, sum(count for _, count in counts))
        for id, count in counts:
            if count and self._lights_out is None:
                self._lights_out = time
                self._control("lights out")
            car = self._cars[id]
            pieces = tuple(islice(text[id], count))
            refused = next(overruled[id], "") if id in accepted else ""
            car.write(pieces, accepted.get(id, 0), refused)
            for piece in pieces:
                for done in car.add(piece, time, self._bests):
                    self._tell(car, done)
        for id, lost in step.preempted:
            if preempted := self._cars.get(id):
                code = preempted.start.code
                self._control(f"{code} pits: pages taken, {lost} tokens to recompute", preempted)

    def _fold_end(self, request: RequestStats) -> None:
        car = self._cars[request.id]
        if request.finish_reason is None or car.over:
            return
        if request.finish_reason == "stop":
            for done in car.stop(self._time, self._bests):
                self._tell(car, done)
        if not car.over:
            car.retire(_ENDS[request.finish_reason])
            self._control(f"{car.start.code} out: {car.retired}", car)

    def _tell(self, car: Car, done: LineDone) -> None:
        """What a completed line has to say on the radio."""
        line, code = done.line, car.start.code
        if line is None:
            self._say("radio", done.text, car)
            return
        if line.radio:
            self._say("radio", line.radio, car, line.lap)
        match line:
            case OutLine(reason=reason):
                self._control(f"{code} out: {reason}", car)
            case LapLine(lap=lap, time=time):
                if done.fastest and lap > 1:
                    self._control(f"fastest lap: {code}, {clock_time(time)} on lap {lap}", car)
                if car.finished and sum(other.finished for other in self._cars.values()) == 1:
                    self._control(f"chequered flag: {code} wins", car)

    def _tell_effects(self, effects: Iterable[Effect]) -> None:
        """What knobs did, once it is known."""
        for effect in effects:
            self._instruments.add_effect(effect)
            cars = f"{effect.cars_before:.0f} to {effect.cars_after:.0f}"
            others = f", cars {cars}" if len(set(cars.split(" to "))) == 2 else ""
            self._say(
                "knob",
                f"{effect.label} gave {times(effect.ratio)}: {effect.before:.0f} to"
                f" {effect.after:.0f} tokens/s in {effect.seconds:.1f} s{others}",
                ratio=effect.ratio,
            )

    def _announce_flag(self) -> None:
        flag, reason = self._flag()
        if flag not in _ANNOUNCED:
            return
        if self._time > self._quiet_until.get(flag, -1.0):
            self._control(f"{_ANNOUNCED[flag]}: {reason}")
        self._quiet_until[flag] = self._time + _QUIET

    def _control(self, text: str, car: Car | None = None) -> None:
        self._say("control", text, car)

    def _say(
        self,
        kind: Speaker,
        text: str,
        car: Car | None = None,
        lap: int = 0,
        ratio: float | None = None,
    ) -> None:
        """Adds to the feed; `lap` is the one spoken of, that which the car is on where 0."""
        code, team, on = (car.start.code, car.team, car.lap) if car else ("", NOBODY, 0)
        self._radio.append(RadioView(self._time, kind, code, team, lap or on, text, ratio))

    # The picture

    def _marks(self) -> dict[str, list[float | None]]:
        return {car.start.code: car.marks for car in self._cars.values()}

    def _classified(self) -> list[Car]:
        return sorted(self._cars.values(), key=lambda car: car.order)

    def _writing(self, cars: list[Car]) -> WritingView | None:
        """Of the car in front that still writes, where somebody drafts."""
        drafting = self._step is not None and self._step.knobs.speculation != "off"
        car = next((car for car in cars if not car.over), None)
        return writing(car) if car is not None and drafting else None

    def _followed(self, cars: list[Car], numbers: Collection[int]) -> dict[int, FollowView]:
        return {
            car.start.number: follow(
                car,
                cars,
                self._ledger.accounts[car.start.id],
                self._requests.get(car.start.id),
                None if self._still else self._window.latency(car.start.id),
                self._time,
            )
            for car in cars
            if car.start.number in numbers
        }

    @property
    def _still(self) -> bool:
        """No step is being made: what the last ones did is not what happens now."""
        return self._paused or self._lost is not None or bool(self._ended)

    @property
    def _paused(self) -> bool:
        return self._snapshot.paused if self._snapshot else self._held_still

    def _flag(self) -> tuple[Flag, str]:
        step, snapshot = self._step, self._snapshot
        if self._lost is not None:
            return "red", self._lost
        if self.over:
            return "chequered", ""
        if self._lights_out is None:
            return "lights", ""
        if step is not None and step.held and step.waiting:
            return "safety", self._by_code(step.held)
        if snapshot is not None and snapshot.pages.used > _YELLOW_SHARE * snapshot.pages.total:
            share = 100 * snapshot.pages.used / snapshot.pages.total
            return "yellow", f"{share:.0f} % of the KV pages are in use"
        return "green", ""

    def _by_code(self, held: str) -> str:
        """The engine's words, which begin with a request's id, with the car's code in its place."""
        id, space, rest = held.partition(" ")
        car = self._cars.get(id)
        return f"{car.start.code}{space}{rest}" if car else held

    def _status(self) -> StatusView:
        flag, reason = self._flag()
        requests = () if self._ended else self._requests.values()
        states = Counter(request.state for request in requests)
        return StatusView(
            flag=flag,
            reason=self._ended or reason,
            tokens_per_second=0.0 if self._still else self._window.total_rate,
            step_ms=0.0 if self._still else self._window.step_ms,
            running=states["prefill"] + states["decode"],
            waiting=states["waiting"],
            parked=states["parked"],
            paused=self._paused,
            pace=self._snapshot.pace if self._snapshot else self._held_pace,
            preemptions=self._ledger.preemptions,
            prefix_hit_percent=self._ledger.prefix_hit_percent,
            source=self._source,
        )

    def _knob_views(self) -> tuple[KnobView, ...]:
        asked = self._snapshot.knobs if self._snapshot else self._asked
        used = self._step.knobs if self._step else asked
        pending = dict(asked.changes(since=used))
        return tuple(
            KnobView(
                name=knob.name,
                value=str(getattr(used, knob.name)),
                pending=str(pending[knob.name]) if knob.name in pending else None,
                help=knob.help,
            )
            for knob in KNOBS
        )
