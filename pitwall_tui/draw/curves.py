"""Two curves on one plot, told apart without colour: one is a line, the other a row of dots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from pitwall_tui.draw.cells import DOTS, Row, Span

# (x, y), x from 0 to 1 over the width, in rising order.
Points = Sequence[tuple[float, float]]
LINE, DOTTED = ("━━", "chart.mark"), ("┅┅", "chart.area")  # as shown in a legend
_APART = 3  # columns of dots from one dot of the dotted curve to the next


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` over a plot's height, by the distance of `measure`."""

    low: float
    high: float
    measure: Callable[[float], float] = float

    def height(self, value: float) -> float:
        """0 at the foot, 1 at the top; what lies outside is moved to the edge."""
        value = min(max(value, self.low), self.high)
        low, high = self.measure(self.low), self.measure(self.high)
        return (self.measure(value) - low) / (high - low)


def _sampled(points: Points, columns: int) -> dict[int, float]:
    """A value for each column from the first point to the last: means, straight lines between."""
    held: dict[int, list[float]] = {}
    for x, y in points:
        held.setdefault(min(columns - 1, int(x * columns)), []).append(y)
    means = {column: sum(ys) / len(ys) for column, ys in sorted(held.items())}
    found = dict(means)
    known = list(means)
    for first, last in pairwise(known):
        for column in range(first + 1, last):
            share = (column - first) / (last - first)
            found[column] = means[first] + share * (means[last] - means[first])
    return dict(sorted(found.items()))


def _dots(points: Points, scale: Scale, columns: int, lines: int) -> dict[int, int]:
    """The line of dots, from the top, that each column of dots has its value in."""
    return {
        column: round((1 - scale.height(value)) * (lines - 1))
        for column, value in _sampled(points, columns).items()
    }


def curve_rows(line: Points, dotted: Points, scale: Scale, cells: int, height: int) -> list[Row]:
    """Both curves as rows of braille; where they meet in a cell, it has the dots' colour."""
    masks = [[0] * cells for _ in range(height)]
    roles = [[""] * cells for _ in range(height)]

    def mark(x: int, y: int, role: str) -> None:
        masks[y // 4][x // 2] |= DOTS[y % 4][x % 2]
        roles[y // 4][x // 2] = role

    before: int | None = None
    for x, y in _dots(line, scale, 2 * cells, 4 * height).items():
        step = 0 if before is None else before - y
        for between in range(min(y, y + step), max(y, y + step) + 1):
            mark(x, between, LINE[1])
        before = y
    for x, y in _dots(dotted, scale, 2 * cells, 4 * height).items():
        if x % _APART == 0:
            mark(x, y, DOTTED[1])
    return [_row(mask, role) for mask, role in zip(masks, roles, strict=True)]


def _row(masks: list[int], roles: list[str]) -> Row:
    glyphs = [
        (chr(0x2800 + mask) if mask else " ", role) for mask, role in zip(masks, roles, strict=True)
    ]
    return tuple(
        Span("".join(glyph for glyph, _ in run), role)
        for role, run in groupby(glyphs, key=lambda pair: pair[1])
    )
