"""How good race texts are: are they legal, and do their lap times follow the simulator's?"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from pitwall_tui.race.briefing import Briefing, Entrant
from pitwall_tui.race.errors import GrammarError
from pitwall_tui.race.grammar import LapLine, OutLine, legal, parse_line, parse_prompt
from pitwall_tui.race.strategy import TWO_COMPOUND_LAPS
from pitwall_tui.race.tyres import tyre_loss, water, water_loss, within

AGE_BUCKET = 5
_DRYING_LAPS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is right and wrong with one body.

    ``ended``: the last line, complete with its line end, is the last lap or a retirement.
    ``two_compounds``: a finished dry race over the distance that asks for it used two.
    ``faults``: one text for each line that does not parse or is not legal, and for a bad end.
    """

    lines: int
    parsed: int
    legal: int
    ended: bool
    two_compounds: bool
    faults: tuple[str, ...]


def judge(prompt: str, body: str) -> Verdict:
    """Judge one car's race. Raises GrammarError where the prompt itself is not one."""
    briefing, entrant = parse_prompt(prompt)
    faults: list[str] = []
    previous: LapLine | None = None
    end: OutLine | None = None
    parsed = fine = 0
    compounds: set[str] = set()
    texts = body.removesuffix("\n").split("\n") if body else []
    for number, text in enumerate(texts, start=1):
        try:
            line = parse_line(text)
        except GrammarError as error:
            faults.append(f"line {number}: {error}")
            continue
        parsed += 1
        fault = "line after a retirement" if end else legal(previous, line, briefing, entrant)
        if fault:
            faults.append(f"line {number}: {fault}")
        else:
            fine += 1
        if isinstance(line, OutLine):
            end = line
        else:
            previous = line
            compounds.add(line.compound)
    finished = previous is not None and previous.lap == briefing.laps
    ended = body.endswith("\n") and (end is not None or finished)
    if not ended:
        faults.append("the race has no end")
    ruled = finished and not briefing.rain and briefing.laps >= TWO_COMPOUND_LAPS
    return Verdict(
        lines=len(texts),
        parsed=parsed,
        legal=fine,
        ended=ended,
        two_compounds=not ruled or len(compounds) > 1,
        faults=tuple(faults),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """Mean lap times in s over the expected one, of two sets of races, for one bucket of ages.

    ``age`` is the bucket's first age; ``n`` the smaller of the two sample counts.
    """

    compound: str
    age: int
    n: int
    mean_a: float
    mean_b: float

    @property
    def diff(self) -> float:
        return self.mean_b - self.mean_a


class LapTimes:
    """Clean lap times by compound and tyre age, less what the simulator expects of each lap.

    Two sets of races can then be compared although their cars stop on different laps.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], float] = defaultdict(float)
        self._counts: dict[tuple[str, int], int] = defaultdict(int)

    def add(self, prompt: str, body: str) -> None:
        """Add one car's race; lines that do not parse are passed over."""
        briefing, entrant = parse_prompt(prompt)
        for line in _clean_laps(briefing, body):
            key = line.compound, (line.age - 1) // AGE_BUCKET * AGE_BUCKET + 1
            self._sums[key] += line.time - _expected(line, briefing, entrant)
            self._counts[key] += 1

    def compare(self, other: "LapTimes", min_samples: int = 30) -> tuple[Row, ...]:
        """This set's means (a) beside the other's (b), where both have enough laps."""
        rows = []
        for key in sorted(self._counts):
            n = min(self._counts[key], other._counts.get(key, 0))
            if n >= min_samples:
                compound, age = key
                rows.append(Row(compound, age, n, self._mean(key), other._mean(key)))
        return tuple(rows)

    def _mean(self, key: tuple[str, int]) -> float:
        return self._sums[key] / self._counts[key]


def _expected(line: LapLine, briefing: Briefing, entrant: Entrant) -> float:
    """What the simulator expects of a lap in these conditions, without noise and traffic."""
    level = water(line.lap, briefing.rain)
    return (
        sum(briefing.base)
        + entrant.pace
        + briefing.fuel * (briefing.laps - line.lap)
        + tyre_loss(line.compound, line.age, briefing.wear)
        + water_loss(line.compound, level)
    )


def _clean_laps(briefing: Briefing, body: str) -> Iterator[LapLine]:
    wet = tuple((first, last + _DRYING_LAPS) for first, last in briefing.rain)
    for text in body.splitlines():
        try:
            line = parse_line(text)
        except GrammarError:
            continue
        if isinstance(line, LapLine) and _is_racing(line) and not within(line.lap, wet):
            yield line


def _is_racing(line: LapLine) -> bool:
    """No safety car, standing start or out-lap (the first lap on a set)."""
    return not line.safety and line.lap > 1 and line.age > 1
