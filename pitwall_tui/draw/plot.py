"""Curves of braille dots, and marks over them, between two axes."""

from collections.abc import Callable, Sequence
from itertools import groupby

from pitwall_tui.draw.cells import DOTS, Row, Span, fit, width

Dashes = tuple[int, int]  # dots drawn, dots left out
SOLID: Dashes = (1, 0)
AXIS = 6  # cells of the axis at the left: a number and its tick


class Plot:
    """A box of `cells` by `lines` cells, x from 0 to `right`, y from 0 to `top` upwards."""

    def __init__(self, cells: int, lines: int, right: float, top: float) -> None:
        self._cells, self._lines = cells, lines
        self._right, self._top = right, top
        self._masks = [[0] * cells for _ in range(lines)]
        self._roles = [[""] * cells for _ in range(lines)]
        self._marks: dict[tuple[int, int], tuple[str, str]] = {}

    def curve(self, value: Callable[[float], float], role: str, dashes: Dashes = SOLID) -> None:
        """`value` at every x, without a gap where it is steep."""
        on, off = dashes
        before: int | None = None
        for column in range(2 * self._cells):
            dot = self._dot(value(self._right * column / max(1, 2 * self._cells - 1)))
            reach = range(dot, dot + 1) if before is None else range(*_between(before, dot))
            before = dot
            if column % (on + off) < on:
                for row in reach:
                    self._put(column, row, role)

    def upright(self, x: float, role: str) -> None:
        """A dotted line over all of the height."""
        column = round(x / self._right * (2 * self._cells - 1))
        for row in range(0, 4 * self._lines, 2):
            self._put(column, row, role)

    def mark(self, x: float, y: float, text: str, role: str) -> None:
        """Text that begins at a point, over the curves; one that would lie on another yields."""
        column = min(int(x / self._right * (self._cells - 1) + 0.5), self._cells - width(text))
        line = self._dot(y) // 4
        places = [(line, column + i) for i in range(width(text))]
        if column >= 0 and not any(place in self._marks for place in places):
            self._marks |= {place: (glyph, role) for place, glyph in zip(places, text, strict=True)}

    def rows(self) -> list[Row]:
        """The box, the top line first."""
        rows = []
        for line in range(self._lines):
            glyphs = [self._glyph(line, column) for column in range(self._cells)]
            rows.append(
                tuple(
                    Span("".join(glyph for glyph, _ in run), role)
                    for role, run in groupby(glyphs, key=lambda pair: pair[1])
                )
            )
        return rows

    def _dot(self, y: float) -> int:
        """The row of dots of a value, from the top; values out of the box lie on its edge."""
        share = min(max(y / self._top, 0.0), 1.0)
        return round((1 - share) * (4 * self._lines - 1))

    def _put(self, column: int, row: int, role: str) -> None:
        self._masks[row // 4][column // 2] |= DOTS[row % 4][column % 2]
        self._roles[row // 4][column // 2] = role

    def _glyph(self, line: int, column: int) -> tuple[str, str]:
        if (line, column) in self._marks:
            return self._marks[line, column]
        mask = self._masks[line][column]
        return (chr(0x2800 + mask), self._roles[line][column]) if mask else (" ", "")


def _between(before: int, now: int) -> tuple[int, int]:
    """The dots from beside `before` to `now`."""
    if now > before:
        return before + 1, now + 1
    return (now, before) if now < before else (now, now + 1)


def framed(plot: Plot, top: float, ticks: Sequence[str], cells: int) -> list[Row]:
    """The plot with its axis of multiples at the left and `ticks` spread under it."""
    drawn = plot.rows()
    numbers = {0: f"{top:g}x", len(drawn) - 1: "0"}
    if len(drawn) >= 7:
        numbers[(len(drawn) - 1) // 2] = f"{top / 2:g}x"
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
