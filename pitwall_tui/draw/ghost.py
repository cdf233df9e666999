"""The race against its ghost: the delta in words, and as a bar that grows to its side."""

from math import isfinite

from pitwall_tui.draw.cells import Row, Rows, Span, cut, fit_box, fit_row, row_width
from pitwall_tui.draw.chart import ceiling
from pitwall_tui.race.ghost import GhostView

_LEAST_BAR = 13  # cells
_LEAST_SCALE = 1.0  # s at the bar's ends


def ghost_delta(seconds: float) -> str:
    """With its sign, to the hundredth while it is small."""
    return f"{seconds:+.2f}" if abs(seconds) < 100 else f"{seconds:+.0f}"


def ghost_role(seconds: float) -> str:
    return "move.up" if seconds < 0 else "move.down"


def ghost_bar(seconds: float, cells: int) -> Row:
    """A delta as a bar from the middle: to the right where the race is ahead, else to the left."""
    half = max(0, (cells - 1) // 2)
    scale = ceiling(max(abs(seconds), _LEAST_SCALE)) if isfinite(seconds) else 1.0
    halves = min(2 * half, round(2 * half * abs(seconds) / scale)) if isfinite(seconds) else 0
    full, rest = divmod(halves, 2)
    left, right = " " * half, " " * half
    if seconds < 0:
        right = ("█" * full + "▌" * rest).ljust(half)
    else:
        left = ("▐" * rest + "█" * full).rjust(half)
    role = ghost_role(seconds)
    return (Span(left, role), Span("│", "dim"), Span(right, role))


def draw_ghost(ghost: GhostView | None, cells: int, height: int = 1) -> Rows:
    """How far ahead of the ghost the race is, and what ran otherwise then; a `projection` where
    nobody ran it. The label yields."""
    if ghost is None:
        return fit_box((), cells, height)
    label = f"before {ghost.label}" if ghost.projection else ghost.label
    head = Span(" GHOST ", "title bold")
    said: list[Span] = [Span("projection  ", "chart.mark")] if ghost.projection else []
    word = "ahead" if ghost.delta < 0 else "behind"
    said += [
        Span(f"{ghost_delta(ghost.delta)} s", f"{ghost_role(ghost.delta)} bold"),
        Span(f" {word} ", "text"),
    ]
    free = cells - row_width((head, *said))
    shown = cut(label, max(0, free - 1))
    bar = max(0, free - len(shown) - 2)
    row: Row = (head, Span(f"{shown} ", "dim"), *said)
    if bar >= _LEAST_BAR:
        row = (*row, *ghost_bar(ghost.delta, bar))
    return fit_box((fit_row(row, cells, "title-back"),), cells, height)
