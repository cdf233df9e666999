"""The race simulator: it writes the lap lines of all cars of a race."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import fsum
from random import Random

from pitwall_tui.race.briefing import MIN_LAPS, Briefing, Entrant, draw_race
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.grammar import REASONS, LapLine, OutLine
from pitwall_tui.race.radio import message
from pitwall_tui.race.strategy import (
    NO_STOP,
    SHORTEST_STINT,
    TWO_COMPOUND_LAPS,
    dry_laps,
    planner,
    rain_laps,
    rain_tyre,
)
from pitwall_tui.race.tyres import COMPOUNDS, SLICKS, tyre_loss, water, water_loss, within

NOISE = 0.12  # standard deviation of a lap time, s
SAFETY_FACTOR = 1.4  # a lap behind the safety car against a base lap
SAFETY_PIT = 0.55  # share of the pit loss that a stop costs behind it
_SECTOR_NOISE = NOISE / 3**0.5
_RETIRE = 0.0028
_RETIRE_FIRST_LAP = 0.007
_CRASHES = ("collision", "spun off", "crash")
_PARTS = ("gearbox", "engine", "hydraulics", "brakes", "suspension", "fuel pump", "clutch")
_MACHINE = tuple(reason for reason in REASONS if reason not in _CRASHES)
_CLOSE = 2.5  # s: near enough to answer a rival's stop
_SLOW_STOP = 0.04
_WORTH_SLICKS = 5  # dry laps below which rain tyres stay on
_PLURALS = {"S": "softs", "M": "mediums", "H": "hards", "I": "inters", "W": "wets"}


@dataclass(slots=True)
class _Car:
    entrant: Entrant
    tyre: str
    clock: float = 0.0
    age: int = 0
    target: int = NO_STOP
    position: int = 0
    best: float = 999.0
    sectors: tuple[float, float, float] = (0.0, 0.0, 0.0)
    out_lap: bool = False
    slow_stop: bool = False
    rival_stopped: bool = False
    used: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)


def simulate(briefing: Briefing, entrants: Sequence[Entrant], seed: int) -> tuple[str, ...]:
    """The bodies (lap lines) of all entrants' documents, in their order."""
    return _Race(briefing, entrants, Random(f"simulate/{seed}")).run()


def documents(seed: int, races: int) -> Iterator[tuple[str, str]]:
    """(prompt, body) of all cars of ``races`` random races; each race depends on (seed, index)."""
    circuits = tuple(CIRCUITS.values())
    for index in range(races):
        rng = Random(f"documents/{seed}/{index}")
        circuit = rng.choice(circuits)
        # A distance that a circuit often has would teach its name instead of the briefing's laps.
        longest = 20 if rng.random() < 0.35 else circuit.laps
        laps = rng.randint(MIN_LAPS, longest)
        briefing, entrants = draw_race(circuit, laps, rng.getrandbits(48))
        shared = briefing.text()
        bodies = simulate(briefing, entrants, rng.getrandbits(48))
        for entrant, body in zip(entrants, bodies, strict=True):
            yield shared + entrant.text(), body


class _Race:
    """One race in progress: every lap is driven, ranked, then decided and written."""

    def __init__(self, briefing: Briefing, entrants: Sequence[Entrant], rng: Random) -> None:
        self.briefing = briefing
        self.rng = rng
        self.total = fsum(briefing.base)
        self.plan = planner(briefing.wear, briefing.pit_loss)
        self.two_compounds = not briefing.rain and briefing.laps >= TWO_COMPOUND_LAPS
        self.cars = [_Car(entrant, entrant.tyre) for entrant in entrants]
        for car in self.cars:
            self.fit(car, 0)
            car.position = car.entrant.grid

    def run(self) -> tuple[str, ...]:
        running = list(self.cars)
        for lap in range(1, self.briefing.laps + 1):
            _watch_rivals(running)
            running = self.drive(lap, running)
            running.sort(key=lambda car: car.clock)
            for place, car in enumerate(running, start=1):
                was, car.position = car.position, place
                self.write(lap, car, was)
        return tuple("".join(car.lines) for car in self.cars)

    # -- driving ----------------------------------------------------------------------------

    def drive(self, lap: int, running: list[_Car]) -> list[_Car]:
        """Drive one lap in track order; returns the cars that completed it."""
        rng = self.rng
        level = water(lap, self.briefing.rain)
        safety = within(lap, self.briefing.safety)
        retire = _RETIRE_FIRST_LAP if lap == 1 else _RETIRE
        finished: list[_Car] = []
        leader = running[0].clock if running else 0.0
        ahead = -99.0
        for car in running:
            start = car.clock
            if rng.random() < retire:
                self.retire(lap, car, level)
                continue
            car.age += 1
            if safety:
                # The field closes up: whoever is far back drives to the delta, not behind it.
                gap = max(0.0, start - leader - 0.7 * len(finished))
                loss = (SAFETY_FACTOR - 1.0) * self.total - min(0.4 * gap, 12.0)
            else:
                loss = self.loss(lap, car, level)
                if lap > 1 and start - ahead < 1.0:
                    loss += rng.uniform(0.05, 0.35)
            ahead = start
            self.set_sectors(lap, car, loss, safety)
            car.clock += fsum(car.sectors)
            finished.append(car)
        return finished

    def loss(self, lap: int, car: _Car, level: float) -> float:
        """Seconds over the base time of a racing lap, without noise and traffic."""
        briefing = self.briefing
        return (
            car.entrant.pace
            + briefing.fuel * (briefing.laps - lap)
            + tyre_loss(car.tyre, car.age, briefing.wear)
            + water_loss(car.tyre, level)
        )

    def set_sectors(self, lap: int, car: _Car, loss: float, safety: bool) -> None:
        rng = self.rng
        scale = 1.0 + loss / self.total
        s1, s2, s3 = (base * scale + rng.gauss(0.0, _SECTOR_NOISE) for base in self.briefing.base)
        if lap == 1:
            s1 += 3.0 + 0.15 * car.entrant.grid + abs(rng.gauss(0.0, 0.35))
        if car.out_lap:
            car.slow_stop = rng.random() < _SLOW_STOP
            s1 += self.briefing.pit_loss * (SAFETY_PIT if safety else 1.0) + rng.gauss(0.0, 0.25)
            s1 += rng.uniform(2.0, 6.0) if car.slow_stop else 0.0
        car.sectors = (round(s1, 2), round(s2, 2), round(s3, 2))

    def retire(self, lap: int, car: _Car, level: float) -> None:
        rng = self.rng
        crash = rng.random() < (0.7 if lap == 1 or level > 0.5 else 0.2)
        reason = rng.choice(_CRASHES if crash else _MACHINE)
        situation = "out_crash" if crash else "out_part" if reason in _PARTS else "out_machine"
        radio = message(situation, rng, part=reason) if rng.random() < 0.85 else None
        car.lines.append(OutLine(lap, reason, radio).text() + "\n")

    # -- decisions --------------------------------------------------------------------------

    def fit(self, car: _Car, lap: int) -> None:
        """Start a stint on the car's tyre after ``lap``: its age, and when it is to end."""
        briefing, rng = self.briefing, self.rng
        car.age = 0
        car.used.add(car.tyre)
        if car.tyre in SLICKS:
            horizon = dry_laps(lap, briefing.laps, briefing.rain)
            must_stop = self.two_compounds and len(car.used) < 2
            car.target = self.plan.stint(car.tyre, horizon, rng, must_stop=must_stop)
        else:
            life = COMPOUNDS[car.tyre].life / briefing.wear
            car.target = round(life * rng.uniform(0.95, 1.15))

    def pit_call(self, lap: int, car: _Car) -> tuple[str, str] | None:
        """(compound, why) where the car stops at the end of this lap."""
        rain = self.briefing.rain
        if self.briefing.laps - lap < 2 or (car.age < 2 and lap > 1):
            return None
        slick, wet = car.tyre in SLICKS, rain_laps(lap, rain)
        if slick and wet:
            raining = within(lap, rain)
            settled = raining and within(lap - 1, rain)
            chance = 0.1 if wet < 3 else 0.95 if settled else 0.65 if raining else 0.25
            if self.rng.random() < chance:
                return rain_tyre(lap, rain, self.rng), "box_rain" if raining else "box_early"
            return None
        if not slick and not wet:
            if dry_laps(lap, self.briefing.laps, rain) < _WORTH_SLICKS:
                return None
            level = water(lap + 1, rain)
            chance = 0.12 if level > 0.5 else 0.6 if level > 0.0 else 0.95
            return (self.slick(lap, car), "box_dry") if self.rng.random() < chance else None
        return self.tyre_call(lap, car)

    def tyre_call(self, lap: int, car: _Car) -> tuple[str, str] | None:
        """A stop for fresh tyres of the kind that the weather asks for."""
        briefing, rng = self.briefing, self.rng
        if car.target == NO_STOP or briefing.laps - lap < SHORTEST_STINT:
            return None
        if car.age >= car.target:
            why = "box_worn"
        elif (
            within(lap, briefing.safety)
            and within(lap + 1, briefing.safety)
            and car.age >= 0.4 * car.target
            and rng.random() < 0.6
        ):
            why = "box_safety"
        elif car.rival_stopped and car.age >= 0.75 * car.target and rng.random() < 0.3:
            why = "box_undercut"
        else:
            return None
        if car.tyre in SLICKS:
            return self.slick(lap, car), why
        return rain_tyre(lap, briefing.rain, rng), why

    def slick(self, lap: int, car: _Car) -> str:
        horizon = dry_laps(lap, self.briefing.laps, self.briefing.rain)
        rule_open = self.two_compounds and len(car.used) < 2
        exclude = frozenset(car.used) if rule_open else frozenset[str]()
        return self.plan.choose(horizon, self.rng, spread=2.0, exclude=exclude)

    # -- writing ----------------------------------------------------------------------------

    def write(self, lap: int, car: _Car, was: int) -> None:
        """Decide the pit call, write the lap's line, and fit the new tyres."""
        call = self.pit_call(lap, car)
        situation = self.situation(lap, car, was, call[1] if call else None)
        radio = None
        if situation:
            radio = message(
                situation,
                self.rng,
                p=f"p{car.position}",
                old=_PLURALS[car.tyre],
                new=_PLURALS[call[0]] if call else "",
                left=("", "one", "two", "three", "four", "five")[min(5, self.briefing.laps - lap)],
            )
        line = LapLine(
            lap=lap,
            compound=car.tyre,
            age=car.age,
            sectors=car.sectors,
            position=car.position,
            safety=within(lap, self.briefing.safety),
            box=call[0] if call else None,
            radio=radio,
        )
        car.lines.append(line.text() + "\n")
        car.best = min(car.best, fsum(car.sectors))
        car.out_lap = call is not None
        if call:
            car.tyre = call[0]
            self.fit(car, lap)

    def situation(self, lap: int, car: _Car, was: int, call: str | None) -> str | None:
        """What the radio speaks of on this lap, if anything."""
        for situation, chance in self.situations(lap, car, was, call):
            if self.rng.random() < chance:
                return situation
        return None

    def situations(
        self, lap: int, car: _Car, was: int, call: str | None
    ) -> Iterator[tuple[str, float]]:
        """What could be spoken of, most pressing first, each with its chance."""
        briefing = self.briefing
        left = briefing.laps - lap
        if call:
            yield call, 0.8
            return
        if left == 0:
            yield "win" if car.position == 1 else "podium" if car.position <= 3 else "flag", 0.8
            return
        if lap == 1:
            moved = was - car.position
            yield "start_gain" if moved > 0 else "start_loss" if moved < 0 else "start_hold", 0.25
            return
        if within(lap, briefing.safety):
            if not within(lap - 1, briefing.safety):
                yield "safety_start", 0.6
            elif not within(lap + 1, briefing.safety):
                yield "safety_end", 0.5
            yield "safety_run", 0.08
            return
        yield from self.weather(lap, car)
        if car.out_lap:
            yield ("out_slow", 0.7) if car.slow_stop else ("out_lap", 0.3)
        elif was > car.position:
            yield "lead" if car.position == 1 else "gain", 0.14
        elif was < car.position:
            yield "loss", 0.09
        if lap > 3 and fsum(car.sectors) < car.best - 0.1:
            yield "best_lap", 0.10
        if car.tyre in SLICKS and car.age > 0.8 * COMPOUNDS[car.tyre].life / briefing.wear:
            yield "worn", 0.08
        if left <= 5 and lap > 5:
            yield "late", 0.07
        if lap > briefing.laps // 3 and lap > 6:
            if car.position >= 17:
                yield "blue", 0.06
            elif car.position <= 3:
                yield "traffic", 0.05
        yield "quiet", 0.02

    def weather(self, lap: int, car: _Car) -> Iterator[tuple[str, float]]:
        rain = self.briefing.rain
        slick = car.tyre in SLICKS
        if within(lap, rain):
            yield ("rain_slick", 0.3) if slick else ("rain_run", 0.06)
        elif within(lap + 1, rain):
            yield "rain_soon", 0.3
        elif not slick and water(lap, rain) > 0.0:
            yield "dry_soon", 0.25


def _watch_rivals(running: Sequence[_Car]) -> None:
    """Note, at a lap's start, whose close neighbour has just stopped."""
    for car in running:
        car.rival_stopped = False
    for ahead, behind in pairwise(running):
        if behind.clock - ahead.clock < _CLOSE:
            ahead.rival_stopped |= behind.out_lap
            behind.rival_stopped |= ahead.out_lap
