"""The guide's strip: what it says, the figures it points at, and what it waits for."""

from collections.abc import Iterable

from pitwall_tui.commands import Keys
from pitwall_tui.draw.cells import Row, Rows, Span, fit_box, heading, wrap
from pitwall_tui.draw.spoken import spoken
from pitwall_tui.race.guide import GuideView

NEXT, LEAVE = "app.guide_next", "app.guide_leave"


def draw_guide(view: GuideView | None, keys: Keys, cells: int, height: int) -> Rows:
    """A head with the keys, figures first, then words, then what is waited for."""
    if view is None:
        return fit_box((), cells, height)
    where = f" {view.number}/{view.count}" if view.number else ""
    head = heading(f"GUIDE{where}  {view.title}", _keys(view), cells)
    figures = _lines(view.figures, "text bold", keys, cells)
    words = _lines(view.lines, "text", keys, cells)
    wanted = _lines((view.wanted,) if view.wanted else (), "chart.mark bold", keys, cells)
    said = [*figures, *words][: max(0, height - 1 - len(wanted))]
    return fit_box((head, *said, *wanted), cells, height)


def _lines(texts: Iterable[str], role: str, keys: Keys, cells: int) -> list[Row]:
    return [
        (Span(" "), Span(line, role))
        for text in texts
        for line in wrap(spoken(text, keys), max(2, cells - 2))
    ]


def _keys(view: GuideView) -> Row:
    keys: list[Span] = []
    if view.enter:
        keys += [
            Span("enter ", "knob.key bold", "", NEXT),
            Span(f"{view.enter}  ", "text", "", NEXT),
        ]
    return (*keys, Span("esc ", "knob.key bold", "", LEAVE), Span("leave", "dim", "", LEAVE))
