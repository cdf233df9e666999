"""When to stop and what to fit: the cheapest way to the flag, found by dynamic programming."""

from collections.abc import Sequence
from functools import lru_cache
from random import Random

from pitwall_tui.race.tyres import COMPOUNDS, SLICKS, Window, tyre_loss

NO_STOP = 999
SHORTEST_STINT = 4  # laps before the flag in which nobody stops for fresh tyres
TWO_COMPOUND_LAPS = 20  # from this distance on, a dry race must use two slick compounds
_LONGEST_RACE = 99
_LONG_RAIN = 9


class Planner:
    """Costs in seconds of every stint at one wear factor and pit loss."""

    def __init__(self, wear: float, pit_loss: float) -> None:
        self._stints: dict[str, list[float]] = {}
        for letter in SLICKS:
            longest = int(1.3 * COMPOUNDS[letter].life / wear) + 1
            costs = [0.0]
            for age in range(1, min(longest, _LONGEST_RACE) + 1):
                costs.append(costs[-1] + tyre_loss(letter, age, wear))
            self._stints[letter] = costs
        self._rest = [0.0]
        for laps in range(1, _LONGEST_RACE + 1):
            self._rest.append(pit_loss + min(self.best(letter, laps)[0] for letter in SLICKS))

    def best(self, letter: str, laps: int, shortest_rest: int = 0) -> tuple[float, int]:
        """(cost, stint length) of the best plan that starts on a compound, for ``laps`` laps.

        At least ``shortest_rest`` laps are left to later stints.
        """
        costs, rest = self._stints[letter], self._rest
        longest = max(1, min(laps - shortest_rest, len(costs) - 1))
        return min((costs[n] + rest[laps - n], n) for n in range(1, longest + 1))

    def choose(
        self, laps: int, rng: Random, *, spread: float, exclude: frozenset[str] = frozenset()
    ) -> str:
        """A slick for the next ``laps`` laps; ``spread`` is the strategists' disagreement in s."""
        return min(
            (self.best(letter, laps)[0] + rng.gauss(0.0, spread), letter)
            for letter in SLICKS
            if letter not in exclude
        )[1]

    def stint(self, letter: str, laps: int, rng: Random, *, must_stop: bool) -> int:
        """The age at which to stop, or NO_STOP where the set is meant to last ``laps`` laps."""
        n = self.best(letter, laps, SHORTEST_STINT if must_stop else 0)[1]
        if n >= laps:
            return NO_STOP
        latest = laps - (SHORTEST_STINT if must_stop else 2)
        return max(2, min(round(n * rng.uniform(0.86, 1.10)), latest))


@lru_cache(maxsize=256)
def planner(wear: float, pit_loss: float) -> Planner:
    """The planner of a wear factor and a pit loss; cached, as all 20 cars share it."""
    return Planner(wear, pit_loss)


def dry_laps(lap: int, laps: int, rain: Sequence[Window]) -> int:
    """Laps after ``lap`` until rain or the flag, whichever comes first; at least 1."""
    starts = [first - lap - 1 for first, _ in rain if first > lap]
    return max(1, min([laps - lap, *starts]))


def rain_laps(lap: int, rain: Sequence[Window]) -> int:
    """Laps of rain after ``lap`` in the window that holds or follows it at once; 0 when dry."""
    return max((last - lap for first, last in rain if first <= lap + 1 <= last), default=0)


def rain_tyre(lap: int, rain: Sequence[Window], rng: Random) -> str:
    """Wets for long rain, intermediates for a shower."""
    wet = rain_laps(lap, rain) >= _LONG_RAIN
    return "W" if wet != (rng.random() < 0.12) else "I"
