"""Who ran when: a row for each slot of the batch, or for each car, over the race's time."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import ceil

from pitwall_tui.draw.cells import Row, Rows, Span, cut, fit, fit_box, heading, row_width, width
from pitwall_tui.race.batching import BatchCar, BatchingView
from pitwall_tui.race.timeline import NOBODY, Kind, Run
from pitwall_tui.race.view import RaceView

LABEL = 10  # cells before the first moment
_NOTHING = "nothing has run yet: the cars wait on the grid"
_TICK = 12  # cells from one time to the next, at least
# Seconds that a cell may stand for.
SCALES = tuple(step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5))
_SIGNS: dict[Kind, tuple[str, str, str]] = {
    "decode": ("━", "team", ""),
    "prefill": ("▒", "state.formation", ""),
    "parked": ("╍", "state.parked", ""),
    "pit": ("P", "ink bold", "state.pit"),
    "waiting": ("┈", "dim", ""),
    "idle": ("╱", "chart.mark", ""),
    "spare": ("·", "dim", ""),
}
WORDS: dict[Kind | None, str] = {
    "decode": "run",
    "prefill": "form",
    "parked": "park",
    "pit": "PIT",
    "waiting": "wait",
    None: "end",
}
_EMPTY: dict[Kind, str] = {"idle": "idle", "spare": "free"}
_MEANS: tuple[tuple[Kind, str], ...] = (
    ("parked", "parked"),
    ("waiting", "waits"),
    ("spare", "free"),
    ("pit", "preempted"),
    ("idle", "idle, cars wait"),
    ("prefill", "prefill"),
    ("decode", "decode"),
)
Cell = tuple[int, Kind] | None


@dataclass(frozen=True, slots=True)
class Look:
    """How the timeline is looked at.

    `cars`: rows are cars, else slots. `scale` is seconds a cell, None for as many as show all of
    the race; `until` the time at the right edge, None for now; `picked` the index of a car.
    """

    cars: bool = False
    scale: float | None = None
    until: float | None = None
    picked: int | None = None


def scale_of(view: BatchingView, look: Look, cells: int) -> float:
    """Seconds a cell in a picture that is `cells` wide."""
    if look.scale is not None:
        return look.scale
    inside = max(1, cells - LABEL)
    seconds = view.now - view.start
    return next((scale for scale in SCALES if seconds <= scale * inside), SCALES[-1])


def draw_gantt(view: RaceView, look: Look, cells: int, height: int) -> Rows:
    """Rows over a line of times, a blank one between them where there is room; over them where
    knobs changed, under them the picked car."""
    batching = view.details.batching
    title = "CARS" if look.cars else "SLOTS"
    if batching is None:
        return fit_box((heading(title, (), cells), (Span(f" {_NOTHING}", "dim"),)), cells, height)
    picked = _picked(batching, look)
    window = _Window.of(batching, look, cells)
    about = _about(batching.cars[picked]) if picked is not None and height >= 6 else None
    marked = height >= 5
    lines = max(0, height - 2 - marked - (about is not None))
    names = _cars(batching) if look.cars else _slots(batching)
    chosen = next((row for row, line in enumerate(names) if line.car == picked), 0)
    first = max(0, min(chosen - lines // 2, len(names) - lines)) if picked is not None else 0
    shown = names[first : first + lines]
    if len(shown) < len(names):
        title = f"{title} {first + 1}-{first + len(shown)} of {len(names)}"
    teams = _team_roles(view, batching)
    rows: list[Row] = [heading(title, _legend(look, window.scale), cells)]
    if marked:
        rows.append((Span(" " * LABEL), *_marks(batching, window)))
    apart = 2 * len(shown) <= lines
    drawn = [_row(line, batching, teams, window, look, picked) for line in shown]
    body = [line for row in drawn for line in (row, *[()] * apart)]
    rows += [*body, *[()] * (lines - len(body))]
    rows.append((Span(" " * LABEL), Span(_times(batching, window), "dim")))
    if about is not None:
        rows.append(about)
    return fit_box(rows, cells, height)


@dataclass(frozen=True, slots=True)
class _Line:
    """A row: what is said before it, the car that it speaks of (or NOBODY), what was when."""

    label: str
    car: int
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class _Window:
    """`columns` cells of `scale` seconds each from `origin` on, which is a whole number of cells
    after the start, so that nothing flickers while time goes on."""

    origin: float
    scale: float
    columns: int

    @classmethod
    def of(cls, view: BatchingView, look: Look, cells: int) -> "_Window":
        columns, scale = max(1, cells - LABEL), scale_of(view, look, cells)
        until = view.now if look.until is None else min(max(look.until, view.start), view.now)
        before = max(0, ceil((until - view.start) / scale - 1e-9) - columns)
        return cls(view.start + before * scale, scale, columns)

    def column(self, time: float) -> int:
        return int((time - self.origin) / self.scale + 1e-9)

    def cells(self, runs: tuple[Run, ...]) -> list[Cell]:
        """What was done for longest in each; a preemption is shown however short."""
        found: list[Cell] = [None] * self.columns
        most = [0.0] * self.columns
        for run in runs[bisect_right(runs, self.origin, key=lambda run: run.end) :]:
            start = max(0.0, (run.start - self.origin) / self.scale)
            end = min(float(self.columns), (run.end - self.origin) / self.scale)
            if start >= self.columns:
                break
            for column in range(int(start), ceil(end)):
                share = min(end, column + 1) - max(start, column)
                if run.kind == "pit":
                    share += 1
                if share > most[column]:
                    most[column], found[column] = share, (run.car, run.kind)
        return found


def _picked(view: BatchingView, look: Look) -> int | None:
    return look.picked if look.picked is not None and look.picked < len(view.cars) else None


def _team_roles(view: RaceView, batching: BatchingView) -> list[str]:
    """The role of each car's team."""
    index = {short: f"team.{number}" for number, (short, _) in enumerate(view.teams)}
    return [index.get(car.team, "text") for car in batching.cars]


def _cars(view: BatchingView) -> list[_Line]:
    return [
        _Line(f"{fit(car.code, 3)} {WORDS[car.kind]}", number, car.runs)
        for number, car in enumerate(view.cars)
    ]


def _slots(view: BatchingView) -> list[_Line]:
    lines = []
    for number, runs in enumerate(view.slots, 1):
        last = runs[-1] if runs and runs[-1].end >= view.now else None
        car = last.car if last else NOBODY
        name = view.cars[car].code if car != NOBODY else _EMPTY[last.kind] if last else ""
        lines.append(_Line(f"{number:>3} {name}", car, runs))
    return lines


def _legend(look: Look, scale: float) -> list[Span]:
    """What the signs mean; the last ones stay where there is little room."""
    spans: list[Span] = []
    for kind, word in _MEANS:
        if kind in (("idle", "spare") if look.cars else ("waiting",)):
            continue
        glyph, role, back = _SIGNS[kind]
        spans += [Span(f" {glyph} {word} ", "dim" if role == "team" else role, back)]
    return [*spans, Span(f" {scale:g} s a cell", "title bold")]


def _row(
    line: _Line,
    view: BatchingView,
    teams: list[str],
    window: _Window,
    look: Look,
    picked: int | None,
) -> Row:
    chosen = picked is not None and line.car == picked
    action = f"screen.pick({line.car})" if line.car != NOBODY else ""
    mark = Span("▸" if chosen else " ", "knob.key bold", "", action)
    role = "text bold" if chosen else "text" if line.car != NOBODY else "dim"
    label = Span(fit(line.label, LABEL - 2), role, "title-back" if chosen else "", action)
    spans = [mark, label, Span("│", "dim")]
    found = window.cells(line.runs)
    for car, group in groupby(found, key=lambda cell: NOBODY if cell is None else cell[0]):
        kinds = [None if cell is None else cell[1] for cell in group]
        if car == NOBODY:
            spans += [_sign(kind, "dim") for kind in kinds]
            continue
        letters = {} if look.cars else _letters(kinds, view.cars[car].code)
        for place, kind in enumerate(kinds):
            spans.append(_run(kind, teams[car], letters.get(place, ""), car, car == picked))
    return tuple(spans)


@lru_cache(4096)
def _run(kind: Kind | None, team: str, letter: str, car: int, picked: bool) -> Span:
    """A cell of a car's stretch."""
    sign = Span(letter, f"{team} bold") if letter else _sign(kind, team)
    back = "title-back" if picked and kind != "pit" else sign.back
    return Span(sign.text, sign.role, back, f"screen.pick({car})")


def _letters(kinds: list[Kind | None], code: str) -> dict[int, str]:
    """Where a car's letters stand in its stretch: behind its prefill, or behind the first sign of
    it where there is nothing more to see."""
    begin = next((place for place, kind in enumerate(kinds) if kind != "prefill"), 1)
    places = [place for place in range(begin, len(kinds)) if kinds[place] != "pit"]
    letters = [letter for letter in code if width(letter) == 1]
    return dict(zip(places[: len(letters)], letters, strict=False))


def _sign(kind: Kind | None, team: str) -> Span:
    if kind is None:
        return Span(" ")
    glyph, role, back = _SIGNS[kind]
    return Span(glyph, team if role == "team" else role, back)


def _marks(view: BatchingView, window: _Window) -> Row:
    """Where knobs changed, with as much of what they became as there is room for."""
    columns = [(window.column(time), label) for time, label in view.marks if time >= window.origin]
    inside = [mark for mark in columns if 0 <= mark[0] < window.columns]
    row: list[Span] = []
    for number, (column, label) in enumerate(inside):
        following = inside[number + 1][0] if number + 1 < len(inside) else window.columns
        if row_width(row) > column:
            continue
        row.append(Span(" " * (column - row_width(row))))
        row.append(Span(f"▾{cut(label, following - column - 2)}", "chart.mark"))
    return tuple(row)


def _times(view: BatchingView, window: _Window) -> str:
    """Seconds since the first step, at their places."""
    step = next((scale for scale in SCALES if scale >= _TICK * window.scale), SCALES[-1])
    text = ""
    number = ceil((window.origin - view.start) / step - 1e-9)
    while (column := window.column(view.start + number * step)) < window.columns:
        text = text.ljust(column)[:column] + f"╵{number * step:g} s"
        number += 1
    return text[: window.columns]


def _about(car: BatchCar) -> Row:
    """How the picked car has spent its time."""
    spans = [Span(f"▸{car.code} ", "knob.key bold")]
    spans += [
        Span(f" {word} {seconds:.2f} s", "text")
        for (kind, seconds), word in zip(car.seconds, _SPENT, strict=True)
        if seconds > 0 or kind == "waiting"
    ]
    for name, ms in (("TTFT", car.ttft_ms), ("TPOT", car.tpot_ms), ("E2E", car.e2e_ms)):
        if ms is not None:
            spans += [Span(f"  {name} ", "dim"), Span(duration(ms), "text bold")]
    return tuple(spans)


_SPENT = ("waited", "prefill", "decode", "parked", "preempted")


def duration(ms: float) -> str:
    """Milliseconds, or seconds where they are many."""
    if ms >= 10_000:
        return f"{ms / 1000:.0f} s" if ms >= 100_000 else f"{ms / 1000:.1f} s"
    return f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms"
