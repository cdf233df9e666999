"""What a race's prompt says: the briefing that all cars share, and each car's entry line."""

from dataclasses import dataclass
from random import Random

from pitwall_tui.race.circuits import Circuit
from pitwall_tui.race.entries import BY_CODE, ENTRIES
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.strategy import dry_laps, planner, rain_tyre
from pitwall_tui.race.tyres import Window, within

MIN_LAPS = 3
MIN_PACE, MAX_PACE = -0.60, 1.80


def _windows(windows: tuple[Window, ...]) -> str:
    return " ".join(f"L{first:02d} L{last:02d}" for first, last in windows) or "NONE"


def _every_lap(windows: tuple[Window, ...]) -> str:
    """All laps of the windows: a model finds a lap in a list better than between two ends."""
    laps = (lap for first, last in windows for lap in range(first, last + 1))
    return " ".join(f"L{lap:02d}" for lap in laps) or "NONE"


@dataclass(frozen=True, slots=True)
class Briefing:
    """The facts of one race. Times in s, ``fuel`` in s per lap of fuel left, windows of laps."""

    circuit: str
    laps: int
    pit_loss: float
    wear: float
    base: tuple[float, float, float]
    fuel: float
    track_temp: int
    air_temp: int
    rain: tuple[Window, ...]
    safety: tuple[Window, ...]
    grid: tuple[str, ...]

    def text(self) -> str:
        s1, s2, s3 = self.base
        return (
            f"RACE {self.circuit.upper()} LAPS L{self.laps:02d}"
            f" PIT {self.pit_loss:.1f} WEAR {self.wear:.2f}\n"
            f"BASE {s1:.2f} {s2:.2f} {s3:.2f} FUEL {self.fuel:.3f}\n"
            f"TRACK {self.track_temp:02d} AIR {self.air_temp:02d}\n"
            f"RAIN {_windows(self.rain)}\n"
            f"SAFETY {_every_lap(self.safety)}\n"
            f"GRID {' '.join(self.grid)}\n"
        )


@dataclass(frozen=True, slots=True)
class Entrant:
    """One car's entry; ``pace`` in s/lap relative to the base time, ``tyre`` the starting set."""

    number: int
    code: str
    team: str
    grid: int
    tyre: str
    pace: float

    def text(self) -> str:
        return (
            f"CAR {self.number:02d} {self.code} {self.team} P{self.grid:02d} {self.tyre}"
            f" PACE {self.pace:+.2f}\n"
        )


def draw_race(circuit: Circuit, laps: int, seed: int) -> tuple[Briefing, tuple[Entrant, ...]]:
    """A race's briefing and its entrants in grid order; the same for the same arguments.

    Raises RaceError where the circuit's race has no such distance.
    """
    if not MIN_LAPS <= laps <= circuit.laps:
        raise RaceError(f"laps must be {MIN_LAPS} to {circuit.laps} at {circuit.name}, not {laps}")
    rng = Random(f"race/{circuit.name}/{laps}/{seed}")
    track_temp = rng.randint(18, 50)
    heat = 1.0 + 0.006 * (track_temp - 32)
    evolution = rng.uniform(0.985, 1.015)
    s1, s2, s3 = (
        round(sector * evolution * rng.uniform(0.997, 1.003), 2) for sector in circuit.base
    )
    paces = {entry.code: _pace(entry.skill, rng) for entry in ENTRIES}
    grid = sorted(paces, key=lambda code: paces[code] + rng.gauss(0.0, 0.3))
    briefing = Briefing(
        circuit=circuit.name,
        laps=laps,
        pit_loss=round(circuit.pit_loss + rng.uniform(-1.0, 1.0), 1),
        wear=round(circuit.wear * heat * rng.uniform(0.9, 1.1), 2),
        base=(s1, s2, s3),
        fuel=round(circuit.length_km * rng.uniform(0.0055, 0.0075), 3),
        track_temp=track_temp,
        air_temp=max(10, round(track_temp * 0.55 + rng.uniform(2, 8))),
        rain=_draw_windows(rng, laps, (0.70, 0.25), first=1, length=(0.12, 0.5)),
        safety=_draw_windows(rng, laps, (0.58, 0.34), first=2, length=(0.0, 0.06)),
        grid=tuple(grid),
    )
    entrants = tuple(
        Entrant(
            number=BY_CODE[code].number,
            code=code,
            team=BY_CODE[code].team.short,
            grid=slot,
            tyre=_starting_tyre(briefing, rng),
            pace=paces[code],
        )
        for slot, code in enumerate(grid, start=1)
    )
    return briefing, entrants


def _pace(skill: float, rng: Random) -> float:
    # "+ 0.0" turns a negative zero, which would print as -0.00, into a plain one.
    return round(min(max(skill + rng.gauss(0.0, 0.22), MIN_PACE), MAX_PACE), 2) + 0.0


def _draw_windows(
    rng: Random,
    laps: int,
    shares: tuple[float, float],
    *,
    first: int,
    length: tuple[float, float],
) -> tuple[Window, ...]:
    """No window, one, or (the rest of the shares) two, apart by at least three laps."""
    roll = rng.random()
    count = 0 if roll < shares[0] else 1 if roll < sum(shares) else 2
    windows: list[Window] = []
    for _ in range(count):
        start = 1 if first == 1 and rng.random() < 0.15 else rng.randint(first, laps - 1)
        low, high = length
        end = min(laps, start + 1 + round(laps * rng.uniform(low, high)) + rng.randint(0, 2))
        if all(end + 3 < other[0] or other[1] + 3 < start for other in windows):
            windows.append((start, end))
    return tuple(sorted(windows))


def _starting_tyre(briefing: Briefing, rng: Random) -> str:
    if within(1, briefing.rain):
        return rain_tyre(0, briefing.rain, rng)
    horizon = dry_laps(0, briefing.laps, briefing.rain)
    return planner(briefing.wear, briefing.pit_loss).choose(horizon, rng, spread=4.0)
