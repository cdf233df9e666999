"""The circuit in braille, with the cars on it as whole-cell glyphs."""

from bisect import bisect_left
from functools import lru_cache
from itertools import pairwise
from math import hypot

from pitwall_tui.draw.cells import DOTS, Row, Rows, Span, clean, cut, fit, fit_box, heading, width
from pitwall_tui.race.view import CarView, Flag, RaceView

Point = tuple[float, float]
_TRACK: dict[Flag, str] = {"yellow": "flag.yellow", "safety": "flag.safety", "red": "flag.red"}
_GLYPHS = {"pit": "○", "parked": "◌", "out": "×"}
_TURN = 1.2  # times as large, from which an outline is turned
GRID_STEP = 0.008  # of a lap, between two places of the starting grid


def _bounds(points: tuple[Point, ...]) -> tuple[Point, Point]:
    """Least and greatest x, least and greatest y."""
    xs, ys = [x for x, _ in points] or [0.0], [y for _, y in points] or [0.0]
    return (min(xs), max(xs)), (min(ys), max(ys))


def _scale(points: tuple[Point, ...], box: tuple[int, int]) -> float:
    """The most by which points can grow within a box of dots."""
    (left, right), (low, top) = _bounds(points)
    return min(box[0] / max(right - left, 1e-9), box[1] / max(top - low, 1e-9))


class Raster:
    """A closed outline scaled into a box of cells, its proportions kept.

    A cell is taken to be twice as high as wide, so that its 2 x 4 dots are square. An outline
    that would come out much larger is turned by a quarter.
    """

    def __init__(self, outline: tuple[Point, ...], cells: int, height: int) -> None:
        # A stroke is two dots wide and high, so that the last dot starts no line.
        box = (max(1, cells * 2 - 2), max(1, height * 4 - 2))
        turned = tuple((y, -x) for x, y in outline)
        lying = _scale(turned, box) > _TURN * _scale(outline, box)
        points = turned if lying else outline
        closed = (*points, *points[:1])
        (left, right), (low, top) = _bounds(closed)
        scale = _scale(closed, box)
        start_x = (box[0] - (right - left) * scale) / 2
        start_y = (box[1] - (top - low) * scale) / 2
        self._dots = [
            (start_x + (x - left) * scale, start_y + (top - y) * scale) for x, y in closed
        ]
        self._ends = [0.0]  # distance along the outline at each point
        for (x1, y1), (x2, y2) in pairwise(self._dots):
            self._ends.append(self._ends[-1] + hypot(x2 - x1, y2 - y1))
        self.lines = self._draw(cells, height)

    def cell(self, fraction: float) -> tuple[int, int]:
        """Column and row of the place `fraction` of the way round."""
        x, y = self._at((fraction % 1.0) * self._ends[-1])
        return int(x + 1) // 2, int(y + 1) // 4

    def has(self, x: int, y: int) -> bool:
        """Whether a cell lies in the box."""
        return 0 <= y < len(self.lines) and 0 <= x < len(self.lines[y])

    def _at(self, distance: float) -> Point:
        at = bisect_left(self._ends, distance, 1)
        if at == len(self._ends):
            return self._dots[-1] if self._dots else (0.0, 0.0)
        (start, end), (a, b) = self._ends[at - 1 : at + 1], self._dots[at - 1 : at + 1]
        part = (distance - start) / (end - start) if end > start else 0.0
        return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part

    def _draw(self, cells: int, height: int) -> tuple[str, ...]:
        masks = [[0] * cells for _ in range(height)]
        for (x1, y1), (x2, y2) in pairwise(self._dots):
            steps = max(1, round(2 * max(abs(x2 - x1), abs(y2 - y1))))
            for step in range(steps + 1):
                x = int(x1 + (x2 - x1) * step / steps + 0.5)
                y = int(y1 + (y2 - y1) * step / steps + 0.5)
                for dot_x, dot_y in ((x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)):
                    if dot_x < cells * 2 and dot_y < height * 4:
                        masks[dot_y // 4][dot_x // 2] |= DOTS[dot_y % 4][dot_x % 2]
        return tuple(
            "".join(chr(0x2800 + mask) if mask else " " for mask in line) for line in masks
        )


@lru_cache(64)
def raster(outline: tuple[Point, ...], cells: int, height: int) -> Raster:
    """The raster of an outline at one size, made once."""
    return Raster(outline, cells, height)


def _place(car: CarView) -> float:
    """Where on the lap a car is drawn: on its grid slot until it has set off."""
    waits = car.state in ("grid", "formation") and car.fraction == 0 and car.lap <= 1
    return -GRID_STEP * car.position if waits else car.fraction


def _on_track(
    view: RaceView, ground: Raster, labels: int, followed: int | None
) -> dict[tuple[int, int], Span]:
    """Glyphs over the track by cell: the car in front lies on top, but for the one that is
    followed; codes where there is room. A click on either follows the car."""
    marks = {ground.cell(0.0): Span("▞", "text bold")}
    cars = [car for car in view.cars if car.state != "finished"]
    cars.sort(key=lambda car: car.number != followed)
    for car in reversed(cars):
        role = "dim" if car.state == "out" else f"team.{car.team} bold"
        glyph = Span(_GLYPHS.get(car.state, "●"), role, "", f"app.follow({car.number})")
        marks[ground.cell(_place(car))] = glyph
    boxed = cars[0] if cars and cars[0].number == followed else None
    if boxed is not None:
        _box(marks, ground, boxed)
    for car in cars[:labels]:
        if car.state != "out" or car is boxed:
            _label(marks, ground, car, "follow-back" if car is boxed else "")
    return marks


def _box(marks: dict[tuple[int, int], Span], ground: Raster, car: CarView) -> None:
    """Brackets about a car, where they hide no other; itself on the ground of a mark."""
    x, y = ground.cell(_place(car))
    marks[x, y] = marks[x, y]._replace(back="follow-back")
    for cell, bracket in (((x - 1, y), "["), ((x + 1, y), "]")):
        if ground.has(*cell) and cell not in marks:
            marks[cell] = Span(bracket, "text bold", "follow-back", marks[x, y].action)


def _label(
    marks: dict[tuple[int, int], Span], ground: Raster, car: CarView, back: str = ""
) -> None:
    """A car's code beside it: off the track where there is room, never over another glyph."""
    x, y = ground.cell(_place(car))
    code = cut(car.code, 3)
    middle = max(0, min(x - 1, len(ground.lines[0]) - len(code)))
    starts = ((x + 2, y), (x - 1 - len(code), y), (middle, y - 1), (middle, y + 1))
    spots = [[(start + i, line) for i in range(len(code))] for start, line in starts]
    free = [cells for cells in spots if all(ground.has(*c) and c not in marks for c in cells)]
    blank = [cells for cells in free if all(ground.lines[cy][cx] == " " for cx, cy in cells)]
    for cells in (blank or free)[:1]:
        span = Span("", f"team.{car.team} bold", back, f"app.follow({car.number})")
        marks |= {c: span._replace(text=char) for c, char in zip(cells, code, strict=True)}


def _overlay(line: str, y: int, marks: dict[tuple[int, int], Span], role: str) -> Row:
    spans, done = [], 0
    for x in sorted(column for column, row in marks if row == y):
        spans += [Span(line[done:x], role), marks[x, y]]
        done = x + 1
    return tuple(span for span in (*spans, Span(line[done:], role)) if span.text)


def legend(teams: tuple[tuple[str, str], ...], cells: int, least: int) -> Rows:
    """The teams' colours and names in as few rows as allow `least` cells for each."""
    if not teams or cells < 8:
        return ()
    lines = min(len(teams), -(-len(teams) * least // (cells - 1)))
    each = -(-len(teams) // lines)
    room = (cells - 1) // each
    entries = [
        (Span("●", f"team.{index}"), Span(fit(name[: room - 2], room - 1), "dim"))
        for index, (name, _) in enumerate(teams)
    ]
    return tuple(
        (Span(" "), *(span for entry in entries[start : start + each] for span in entry))
        for start in range(0, len(entries), each)
    )


def draw_track(view: RaceView, cells: int, height: int, followed: int | None = None) -> Rows:
    """The map: a head, the circuit with its cars, the legend by team; car number `followed` is
    boxed."""
    name = view.title if width(clean(view.title)) <= cells - 9 else view.circuit.capitalize()
    head = heading("TRACK", (Span(cut(name, cells - 9), "dim"),), cells)
    names = legend(view.teams, cells, 8 if height >= 16 else 6) if height >= 10 else ()
    lines = height - 1 - len(names)
    if lines < 1 or cells < 3:
        return fit_box((head,), cells, height)
    ground = raster(view.outline, cells - 2, lines)
    marks = _on_track(view, ground, 3 if cells >= 40 and lines >= 12 else 1, followed)
    role = _TRACK.get(view.status.flag, "track")
    rows = [(Span(" "), *_overlay(line, y, marks, role)) for y, line in enumerate(ground.lines)]
    return fit_box((head, *rows, *names), cells, height)
