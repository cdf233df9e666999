"""One car: its text folded into laps, sectors and timing marks as it is written."""

import re
from collections import deque
from dataclasses import dataclass, field
from math import inf

from pitwall_tui.race.errors import GrammarError
from pitwall_tui.race.events import CarStart
from pitwall_tui.race.grammar import LapLine, Line, OutLine, line_progress, parse_line
from pitwall_tui.race.view import Author, SectorColour, SectorView

# Timing marks of a lap: its start, and the end of each sector.
MARKS = 4
_NO_SECTORS = (SectorView("", "none"),) * 3
# A model of another language may never end its line; no lap line comes near this.
_LONGEST = 400
# Pieces that are kept by author: more than a line of the wall shows.
_WRITTEN_PIECES = 96
_WRITTEN = re.compile(
    r"L(\d\d) ([SMHIW])(\d\d)(?: ([1-9]\d\.\d\d))?(?: ([1-9]\d\.\d\d))?(?: ([1-9]\d\.\d\d))?"
)


@dataclass(slots=True)
class Bests:
    """The best sector and lap times so far, in s: of one car, or of all."""

    sectors: list[float] = field(default_factory=lambda: [inf, inf, inf])
    lap: float = inf


def colour(time: float, own: float, best: float) -> SectorColour:
    """Purple beats every car so far, green the car's own best, yellow neither."""
    if time < best:
        return "purple"
    return "green" if time < own else "yellow"


@dataclass(frozen=True, slots=True)
class LineDone:
    """A line that a car has completed: `line` is None where it is not in the language.

    `fastest` says that it is the race's fastest lap so far.
    """

    text: str
    line: Line | None
    fastest: bool = False


class Car:
    """A car of the race, `laps` long, whose text comes in piece by piece.

    `marks[m]` is the time at which it passed timing mark m (4 a lap, from the start of lap 1 to
    the finish), None where its text skipped it. `completed` is the number of the last lap that
    it completed, `lines` how many lap lines it has written; `written` is the end of its text by
    who wrote it.
    """

    def __init__(self, start: CarStart, team: int, laps: int) -> None:
        self.start = start
        self.team = team
        self.laps = laps
        self.partial = ""
        self.written: deque[tuple[Author, str]] = deque(maxlen=_WRITTEN_PIECES)
        self.marks: list[float | None] = []
        self.completed = 0
        self.lines = 0
        self.sectors = _NO_SECTORS
        self.bests = Bests()
        self.last_lap: float | None = None
        self.last_lap_colour: SectorColour = "none"
        self.tyre = start.tyre
        self.tyre_age = 0
        self.stops = 0
        self.retired = ""
        self.note = ""

    @property
    def finished(self) -> bool:
        return self.completed >= self.laps

    @property
    def over(self) -> bool:
        """Its last line is written; what its text says after that is no part of the race."""
        return self.finished or bool(self.retired)

    @property
    def lap(self) -> int:
        """The lap that it is on; 0 before the start."""
        return min(self.completed + 1, self.laps) if self.marks else 0

    @property
    def best_lap(self) -> float | None:
        return self.bests.lap if self.bests.lap < inf else None

    @property
    def order(self) -> tuple[bool, int, float, int]:
        """Sorts cars from first to last: on track before out, then by marks, time and grid."""
        last = self.marks[-1] if self.marks else None
        return bool(self.retired), -len(self.marks), last or 0.0, self.start.grid

    def progress(self, sectors: tuple[float, float]) -> float:
        """Its place on the lap, 0 to 1, on a circuit whose first two sectors end at `sectors`."""
        return 0.0 if self.finished else line_progress(self.partial, sectors)

    def gap(self, ahead: "Car", now: float) -> float | None:
        """Seconds behind `ahead` at the last mark that both have passed; None before any.

        0 where `ahead` was still behind there and has gone past since. More where `ahead` has been
        past this car's next mark for longer: a car that stands falls behind at once.
        """
        following = len(self.marks)
        passed = ahead.marks[following] if following < len(ahead.marks) else None
        least = now - passed if passed is not None else 0.0
        for mark in range(min(len(self.marks), len(ahead.marks)) - 1, -1, -1):
            mine, theirs = self.marks[mark], ahead.marks[mark]
            if mine is not None and theirs is not None:
                return max(least, mine - theirs)
        return None

    def laps_behind(self, ahead: "Car") -> int:
        """Whole laps between them."""
        return max(0, len(ahead.marks) - len(self.marks)) // MARKS

    def write(self, pieces: tuple[str, ...], accepted: int, overruled: str) -> None:
        """Notes who wrote the next pieces of its text: the first `accepted` were drafts, and what
        comes after them stands in the place of the draft `overruled`, "" where there was none."""
        self.written += [("accepted", piece) for piece in pieces[:accepted]]
        if overruled:
            self.written.append(("overruled", overruled))
        self.written += [("chief", piece) for piece in pieces[accepted:]]

    def add(self, piece: str, time: float, bests: Bests) -> list[LineDone]:
        """Takes the next piece of its text, committed at `time`; the lines that it completed.

        `bests` are those of all cars, and are kept up to date.
        """
        self._pass(0, time)
        *whole, rest = (self.partial + piece).split("\n")
        done = [self._close(text, time, bests) for text in whole if not self.over]
        # A retired car stays where its last line ended.
        self.partial = rest[:_LONGEST] if not self.over else done[-1].text if done else self.partial
        self._read_sectors(self.partial, time, bests)
        return done

    def stop(self, time: float, bests: Bests) -> list[LineDone]:
        """Its text has come to its own end: a last line needs no line end."""
        return self.add("\n", time, bests) if self.partial else []

    def retire(self, reason: str) -> None:
        """Out of the race without saying so itself."""
        if not self.over:
            self.retired = self.note = reason

    def _pass(self, mark: int, time: float) -> None:
        if mark >= len(self.marks):
            self.marks += [None] * (mark - len(self.marks)) + [time]

    def _read_sectors(self, text: str, time: float, bests: Bests) -> None:
        match = _WRITTEN.match(text)
        if match is None or not self.completed < int(match[1]) <= self.laps:
            return
        self.tyre, self.tyre_age = match[2], int(match[3])
        first_mark = MARKS * (int(match[1]) - 1)
        views = list(self.sectors)
        for index, written in enumerate(match.groups()[3:]):
            if written is None or views[index].text:
                continue
            seconds = float(written)
            own = self.bests.sectors
            views[index] = SectorView(written, colour(seconds, own[index], bests.sectors[index]))
            own[index] = min(own[index], seconds)
            bests.sectors[index] = min(bests.sectors[index], seconds)
            self._pass(first_mark + index + 1, time)
        self.sectors = (views[0], views[1], views[2])

    def _close(self, text: str, time: float, bests: Bests) -> LineDone:
        self._read_sectors(text, time, bests)
        try:
            line = parse_line(text)
        except GrammarError:
            self.note = "unreadable line"
            self.sectors = _NO_SECTORS
            return LineDone(text, None)
        if isinstance(line, OutLine):
            self.retired = self.note = line.reason
            return LineDone(text, line)
        self.lines += 1
        if not self.completed < line.lap <= self.laps:
            self.note = f"lap {line.lap} after {self.completed}"
            self.sectors = _NO_SECTORS
            return LineDone(text, line)
        return LineDone(text, line, self._complete(line, time, bests))

    def _complete(self, line: LapLine, time: float, bests: Bests) -> bool:
        skipped = line.lap != self.completed + 1
        self.note = f"lap {line.lap} after {self.completed}" if skipped else ""
        self.completed = line.lap
        self._pass(MARKS * line.lap, time)
        self.last_lap = round(line.time, 2)
        self.last_lap_colour = colour(self.last_lap, self.bests.lap, bests.lap)
        fastest = self.last_lap < bests.lap
        self.bests.lap = min(self.bests.lap, self.last_lap)
        bests.lap = min(bests.lap, self.last_lap)
        self.stops += line.box is not None
        if not self.finished:
            self.sectors = _NO_SECTORS
        return fastest
