"""The lap-line language: frozen values, their text, and a strict parser."""

import re
from dataclasses import dataclass

from pitwall_tui.race.briefing import Briefing, Entrant
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.errors import GrammarError
from pitwall_tui.race.tyres import Window, within

REASONS = (
    "gearbox",
    "engine",
    "hydraulics",
    "brakes",
    "suspension",
    "puncture",
    "collision",
    "spun off",
    "crash",
    "electrical",
    "fuel pump",
    "water leak",
    "oil pressure",
    "clutch",
    "driveshaft",
    "overheating",
)
MAX_RADIO = 100

_RADIO = r"(?: \| (?P<radio>[a-z0-9]+(?:(?: |[,.'?!-] ?)[a-z0-9]+)*[.?!]?))?"
_LAP = re.compile(
    r"L(?P<lap>\d\d) (?P<compound>[SMHIW])(?P<age>\d\d)"
    r" (?P<s1>[1-9]\d\.\d\d) (?P<s2>[1-9]\d\.\d\d) (?P<s3>[1-9]\d\.\d\d)"
    r" P(?P<position>0[1-9]|1\d|20)(?P<safety> SC)?(?: BOX (?P<box>[SMHIW]))?" + _RADIO,
    re.ASCII,
)
_OUT = re.compile(rf"L(?P<lap>\d\d) OUT (?P<reason>{'|'.join(REASONS)})" + _RADIO, re.ASCII)
_WINDOWS = r"(?:NONE|L\d\d L\d\d(?: L\d\d L\d\d)?)"
_EVERY_LAP = r"(?:NONE|L\d\d(?: L\d\d)*)"
_PROMPT = re.compile(
    r"RACE (?P<circuit>[A-Z]+) LAPS L(?P<laps>\d\d) PIT (?P<pit>\d\d\.\d) WEAR (?P<wear>\d\.\d\d)\n"
    r"BASE (?P<s1>\d\d\.\d\d) (?P<s2>\d\d\.\d\d) (?P<s3>\d\d\.\d\d) FUEL (?P<fuel>\d\.\d\d\d)\n"
    r"TRACK (?P<track>\d\d) AIR (?P<air>\d\d)\n"
    rf"RAIN (?P<rain>{_WINDOWS})\n"
    rf"SAFETY (?P<safety>{_EVERY_LAP})\n"
    r"GRID (?P<grid>[A-Z]{3}(?: [A-Z]{3}){19})\n"
    r"CAR (?P<number>\d\d) (?P<code>[A-Z]{3}) (?P<team>[A-Z]{1,6}) P(?P<slot>0[1-9]|1\d|20)"
    r" (?P<tyre>[SMHIW]) PACE (?P<pace>[+-]\d\.\d\d)\n",
    re.ASCII,
)

# Length of an unfinished line at the end of each sector time: "Lnn Cnn ss.ss ss.ss ss.ss".
_SECTOR_ENDS = (13, 19, 25)
_TIMES_DONE = 0.97  # the rest of the line is written on the way to the finish


def _tail(radio: str | None) -> str:
    return f" | {radio}" if radio else ""


@dataclass(frozen=True, slots=True)
class LapLine:
    """One completed lap: sector times in s, ``box`` the compound to be fitted at its end."""

    lap: int
    compound: str
    age: int
    sectors: tuple[float, float, float]
    position: int
    safety: bool = False
    box: str | None = None
    radio: str | None = None

    @property
    def time(self) -> float:
        return sum(self.sectors)

    def text(self) -> str:
        s1, s2, s3 = self.sectors
        return (
            f"L{self.lap:02d} {self.compound}{self.age:02d} {s1:.2f} {s2:.2f} {s3:.2f}"
            f" P{self.position:02d}{' SC' if self.safety else ''}"
            f"{f' BOX {self.box}' if self.box else ''}{_tail(self.radio)}"
        )


@dataclass(frozen=True, slots=True)
class OutLine:
    """A retirement on a lap that was not completed."""

    lap: int
    reason: str
    radio: str | None = None

    def text(self) -> str:
        return f"L{self.lap:02d} OUT {self.reason}{_tail(self.radio)}"


Line = LapLine | OutLine


def parse_line(text: str) -> Line:
    """The value of one line, without its line end. Raises GrammarError."""
    if match := _LAP.fullmatch(text):
        lap, age = int(match["lap"]), int(match["age"])
        _check(lap > 0 and age > 0 and len(match["radio"] or "") <= MAX_RADIO, text)
        return LapLine(
            lap=lap,
            compound=match["compound"],
            age=age,
            sectors=(float(match["s1"]), float(match["s2"]), float(match["s3"])),
            position=int(match["position"]),
            safety=match["safety"] is not None,
            box=match["box"],
            radio=match["radio"],
        )
    if match := _OUT.fullmatch(text):
        _check(int(match["lap"]) > 0 and len(match["radio"] or "") <= MAX_RADIO, text)
        return OutLine(int(match["lap"]), match["reason"], match["radio"])
    raise GrammarError(f"not a lap line: {text[:80]!r}")


def parse_prompt(text: str) -> tuple[Briefing, Entrant]:
    """The briefing and the entry that a prompt is made of. Raises GrammarError."""
    match = _PROMPT.fullmatch(text)
    if match is None or match["circuit"].lower() not in CIRCUITS:
        raise GrammarError(f"not a race prompt: {text[:80]!r}")
    briefing = Briefing(
        circuit=match["circuit"].lower(),
        laps=int(match["laps"]),
        pit_loss=float(match["pit"]),
        wear=float(match["wear"]),
        base=(float(match["s1"]), float(match["s2"]), float(match["s3"])),
        fuel=float(match["fuel"]),
        track_temp=int(match["track"]),
        air_temp=int(match["air"]),
        rain=_windows(match["rain"]),
        safety=_joined(match["safety"]),
        grid=tuple(match["grid"].split()),
    )
    entrant = Entrant(
        number=int(match["number"]),
        code=match["code"],
        team=match["team"],
        grid=int(match["slot"]),
        tyre=match["tyre"],
        pace=float(match["pace"]),
    )
    return briefing, entrant


def legal(previous: LapLine | None, line: Line, briefing: Briefing, entrant: Entrant) -> str | None:
    """Why a line cannot follow the previous one (None on the first lap), or None if it can."""
    expected = previous.lap + 1 if previous else 1
    if line.lap != expected:
        return f"lap {line.lap} where {expected} was due"
    if line.lap > briefing.laps:
        return f"lap {line.lap} of {briefing.laps}"
    if isinstance(line, OutLine):
        return None
    compound, age = _next_tyre(previous, entrant)
    if line.compound != compound:
        return f"compound {line.compound} where {compound} was fitted"
    if line.age != age:
        return f"tyre age {line.age} where {age} was due"
    if line.safety != within(line.lap, briefing.safety):
        return "safety car mark does not fit the briefing"
    if line.box and line.lap == briefing.laps:
        return "pit call on the last lap"
    return None


def line_progress(partial: str, sectors: tuple[float, float] = (1 / 3, 2 / 3)) -> float:
    """How far round the lap an unfinished line is, in [0, 1); never falls as the text grows.

    ``sectors`` are the fractions of the lap at which the first two sectors end. A car whose
    line turns out to be a retirement stays where it was.
    """
    length = 4 if partial[4:5] == "O" else len(partial)
    first, second, third = _SECTOR_ENDS
    if length <= first:
        return sectors[0] * length / first
    if length <= second:
        return sectors[0] + (sectors[1] - sectors[0]) * (length - first) / (second - first)
    if length <= third:
        return sectors[1] + (_TIMES_DONE - sectors[1]) * (length - second) / (third - second)
    extra = length - third
    return _TIMES_DONE + (1.0 - _TIMES_DONE) * extra / (extra + 10)


def _next_tyre(previous: LapLine | None, entrant: Entrant) -> tuple[str, int]:
    if previous is None:
        return entrant.tyre, 1
    if previous.box:
        return previous.box, 1
    return previous.compound, previous.age + 1


def _laps(text: str) -> list[int]:
    return [int(word[1:]) for word in text.split() if word != "NONE"]


def _windows(text: str) -> tuple[Window, ...]:
    laps = _laps(text)
    return tuple(zip(laps[::2], laps[1::2], strict=True))


def _joined(text: str) -> tuple[Window, ...]:
    """The windows that a list of every lap is made of."""
    windows: list[Window] = []
    for lap in _laps(text):
        if windows and windows[-1][1] == lap - 1:
            windows[-1] = (windows[-1][0], lap)
        else:
            windows.append((lap, lap))
    return tuple(windows)


def _check(fine: bool, text: str) -> None:
    if not fine:
        raise GrammarError(f"not a lap line: {text[:80]!r}")
