"""Dots of braille, curves of them and marks over them, between two axes."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise

from pitwall_tui.draw.cells import DOTS, Row, Span, fit, width

Dashes = tuple[int, int]  # dots drawn, dots left out
Points = Sequence[tuple[float, float]]  # (x, y), x in rising order
SOLID: Dashes = (1, 0)
AXIS = 6  # cells of the axis at the left: a number and its tick


class Dots:
    """A box of `cells` by `lines` cells, each two dots wide and four high."""

    def __init__(self, cells: int, lines: int) -> None:
        self._masks = [[0] * cells for _ in range(lines)]
        self._roles = [[""] * cells for _ in range(lines)]

    def put(self, x: int, y: int, role: str) -> None:
        """A dot, counted from the upper left; all of its cell takes its role."""
        self._masks[y // 4][x // 2] |= DOTS[y % 4][x % 2]
        self._roles[y // 4][x // 2] = role

    def rows(self, over: Mapping[tuple[int, int], tuple[str, str]]) -> list[Row]:
        """The box, the top line first; `over` it glyphs and their roles, by (line, cell)."""
        rows = []
        for line, (masks, roles) in enumerate(zip(self._masks, self._roles, strict=True)):
            dots = [
                (chr(0x2800 + mask), role) if mask else (" ", "")
                for mask, role in zip(masks, roles, strict=True)
            ]
            glyphs = [over.get((line, cell), dot) for cell, dot in enumerate(dots)]
            rows.append(
                tuple(
                    Span("".join(glyph for glyph, _ in run), role)
                    for role, run in groupby(glyphs, key=lambda pair: pair[1])
                )
            )
        return rows


class Plot:
    """A box of `cells` by `lines` cells, x from 0 to `right`, y from 0 to `top` upwards."""

    def __init__(self, cells: int, lines: int, right: float, top: float) -> None:
        self._cells, self._lines = cells, lines
        self._right, self._top = right, top
        self._dots = Dots(cells, lines)
        self._marks: dict[tuple[int, int], tuple[str, str]] = {}

    def curve(self, value: Callable[[float], float], role: str, dashes: Dashes = SOLID) -> None:
        """`value` at every x."""
        columns = 2 * self._cells
        last = max(1, columns - 1)
        self._draw({x: value(self._right * x / last) for x in range(columns)}, role, dashes)

    def through(self, points: Points, role: str, dashes: Dashes = SOLID) -> None:
        """Straight lines from point to point; where several share a column, their mean."""
        held: dict[int, list[float]] = {}
        for x, y in points:
            column = int(x / self._right * 2 * self._cells)
            held.setdefault(min(2 * self._cells - 1, column), []).append(y)
        means = {column: sum(ys) / len(ys) for column, ys in held.items()}
        found = dict(means)
        for first, last in pairwise(means):
            for column in range(first + 1, last):
                share = (column - first) / (last - first)
                found[column] = means[first] + share * (means[last] - means[first])
        self._draw(dict(sorted(found.items())), role, dashes)

    def _draw(self, values: Mapping[int, float], role: str, dashes: Dashes) -> None:
        """A value for each of the columns of dots; within a dash, no gap where it is steep."""
        on, off = dashes
        before: int | None = None
        for x, value in values.items():
            y = self._dot(value)
            drawn = x % (on + off) < on
            if drawn:
                for between in range(y, y + 1) if before is None else range(*_between(before, y)):
                    self._dots.put(x, between, role)
            before = y if drawn else None

    def upright(self, x: float, role: str) -> None:
        """A dotted line over all of the height."""
        column = round(x / self._right * (2 * self._cells - 1))
        for row in range(0, 4 * self._lines, 2):
            self._dots.put(column, row, role)

    def drop(self, x: float, y: float, role: str) -> None:
        """A dotted line from a point down to the axis."""
        column = min(round(x / self._right * (2 * self._cells - 1)), 2 * self._cells - 1)
        for row in range(self._dot(y), 4 * self._lines, 3):
            self._dots.put(column, row, role)

    def mark(self, x: float, y: float, text: str, role: str) -> bool:
        """Text that begins at a point, over the curves; whether it is there, for one that would lie
        on another yields."""
        column = min(int(x / self._right * (self._cells - 1) + 0.5), self._cells - width(text))
        line = self._dot(y) // 4
        places = [(line, column + i) for i in range(width(text))]
        free = column >= 0 and not any(place in self._marks for place in places)
        if free:
            self._marks |= {place: (glyph, role) for place, glyph in zip(places, text, strict=True)}
        return free

    def rows(self) -> list[Row]:
        """The box, the top line first."""
        return self._dots.rows(self._marks)

    def _dot(self, y: float) -> int:
        """The row of dots of a value, from the top; values out of the box lie on its edge."""
        share = min(max(y / self._top, 0.0), 1.0)
        return round((1 - share) * (4 * self._lines - 1))


def _between(before: int, now: int) -> tuple[int, int]:
    """The dots from beside `before` to `now`."""
    if now > before:
        return before + 1, now + 1
    return (now, before) if now < before else (now, now + 1)


def framed(plot: Plot, top: float, ticks: Sequence[str], cells: int, unit: str = "x") -> list[Row]:
    """The plot with its axis at the left, of multiples or another unit, and `ticks` spread under
    it."""
    drawn = plot.rows()
    numbers = {0: f"{top:g}{unit}", len(drawn) - 1: "0"}
    if len(drawn) >= 7:
        numbers[(len(drawn) - 1) // 2] = f"{top / 2:g}{unit}"
    rows: list[Row] = [
        (
            Span(f"{numbers[line]:>{AXIS - 1}}┤" if line in numbers else f"{'│':>{AXIS}}", "dim"),
            *row,
        )
        for line, row in enumerate(drawn)
    ]
    inside = cells - AXIS
    text = [" "] * inside
    for index, tick in enumerate(ticks):
        place = round(index / max(1, len(ticks) - 1) * (inside - 1))
        start = min(max(0, place - len(tick) // 2), max(0, inside - len(tick)))
        text[start : start + len(tick)] = tick
    return [*rows, (Span(" " * AXIS), Span(fit("".join(text), inside), "dim"))]
