"""Tyres and water: what each compound costs in seconds a lap."""

from collections.abc import Sequence
from dataclasses import dataclass

Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Compound:
    """One compound; seconds a lap, life in laps at a wear factor of 1."""

    letter: str
    name: str
    offset: float
    rate: float
    life: float


COMPOUNDS: dict[str, Compound] = {
    "S": Compound("S", "soft", -0.55, 0.085, 18.0),
    "M": Compound("M", "medium", 0.0, 0.050, 27.0),
    "H": Compound("H", "hard", 0.45, 0.030, 38.0),
    "I": Compound("I", "intermediate", 0.0, 0.045, 30.0),
    "W": Compound("W", "wet", 0.0, 0.035, 40.0),
}
SLICKS = ("S", "M", "H")
RAIN_TYRES = ("I", "W")

_CLIFF_RATE = 0.25
_CLIFF_LIMIT = 5.0
# Water on the track: it builds up from a window's first lap and is gone three laps after its last.
_WETTING = (0.60, 0.75, 0.85, 0.95, 1.0)
_DRYING = (0.55, 0.25)
_WET_START = 2  # rain from lap 1 has been falling before the start


def tyre_loss(letter: str, age: int, wear: float) -> float:
    """Seconds a lap lost to the compound and its age (1 = the first lap on the set)."""
    compound = COMPOUNDS[letter]
    past_life = max(0.0, age - compound.life / wear)
    cliff = min(_CLIFF_LIMIT, _CLIFF_RATE * past_life)
    return compound.offset + compound.rate * wear * age + cliff


def water(lap: int, rain: Sequence[Window]) -> float:
    """Water on the track on a lap, 0 (dry) to 1."""
    level = 0.0
    for first, last in rain:
        if first <= lap <= last:
            step = lap - first + (_WET_START if first == 1 else 0)
            level = max(level, _WETTING[min(step, len(_WETTING) - 1)])
        elif last < lap <= last + len(_DRYING):
            level = max(level, _DRYING[lap - last - 1])
    return level


def water_loss(letter: str, level: float) -> float:
    """Seconds a lap lost to a wet track, or to rain tyres on a dry one."""
    if letter == "I":
        return 4.0 * (1.0 - level) + 1.5 * level + 10.0 * max(0.0, level - 0.7)
    if letter == "W":
        return 6.0 * (1.0 - level) + 3.2 * level
    return 9.5 * level


def within(lap: int, windows: Sequence[Window]) -> bool:
    """Whether a lap lies in one of the windows, whose ends are included."""
    return any(first <= lap <= last for first, last in windows)
