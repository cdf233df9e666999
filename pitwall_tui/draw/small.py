"""What a terminal shows that is too small for the wall."""

from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, wrap

LEAST = (80, 24)


def draw_too_small(cells: int, height: int) -> Rows:
    """The size that is needed and the size that there is, in the middle."""
    least, high = LEAST
    lines = wrap(f"pitwall needs {least}x{high}, this terminal is {cells}x{height};", cells)
    lines += wrap("the race goes on", cells)
    rows: list[Row] = [(Span(fit(line, cells, "centre"), "text bold"),) for line in lines]
    above = max(0, (height - len(rows)) // 2)
    return fit_box((*[()] * above, *rows), cells, height)
