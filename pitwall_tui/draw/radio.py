"""The feed: team radio as generated, race control, and knob changes; the newest at the bottom."""

from pitwall_tui.draw.cells import Row, Rows, Span, cut, fit, fit_box, heading, row_width, wrap
from pitwall_tui.draw.speculation import LEGEND, draw_writing
from pitwall_tui.race.view import RadioView, WritingView

_WITH_LAP = 40  # cells from which there is room for the lap


def _speaker(line: RadioView) -> tuple[Span, ...]:
    if line.kind == "control":
        return (Span("■ ", "radio.control"), Span("RC ", "radio.control bold"))
    if line.ratio is not None:
        return (Span(_ratio(line.ratio), "ink bold", _gain(line.ratio)),)
    if line.kind == "knob":
        return (Span("◆ ", "radio.knob"), Span("SET", "radio.knob bold"))
    return (Span("▌ ", f"team.{line.team}"), Span(fit(line.car, 3), "text bold"))


def _ratio(ratio: float) -> str:
    """What a knob did to the speed, in 5 cells: by its sign too."""
    sign = "▲" if ratio > 1 else "▼"
    return f"{sign}{ratio:.1f}x" if ratio < 10 else fit(f"{sign}{min(ratio, 999):.0f}x", 5)


def _gain(ratio: float) -> str:
    return "move.up" if ratio > 1 else "move.down"


def _entry(line: RadioView, cells: int, rows: int) -> list[Row]:
    """An entry, its text wrapped; cut to one row where it does not fit into `rows`."""
    lap = f"L{line.lap}" if line.lap else ""
    start = (Span(" "), *_speaker(line), Span(" "))
    if cells >= _WITH_LAP:
        start = (Span(" " + fit(lap, 4), "dim"), *start[1:])
    indent = row_width(start)
    room = max(1, cells - indent - 1)
    text = wrap(line.text, room)
    if len(text) > rows:
        text = [cut(line.text, room)]
    role = {"control": "radio.control", "knob": "radio.knob"}.get(line.kind, "text")
    if line.ratio is not None:
        role = f"{role} bold"
    first = (*start, Span(text[0], role))
    return [first, *[(Span(" " * indent), Span(more, role)) for more in text[1:]]]


def draw_radio(
    radio: tuple[RadioView, ...],
    cells: int,
    height: int,
    writing: WritingView | None = None,
    newer: int = 0,
) -> Rows:
    """What is being written, where somebody drafts or follows a car, and as many of the newest
    entries as fit, under a head that says how many `newer` ones there are."""
    live = () if writing is None else (draw_writing(writing, cells),)
    lines: list[Row] = []
    for entry in reversed(radio):
        room = height - 1 - len(live) - len(lines)
        if room <= 0:
            break
        lines = [*_entry(entry, cells, room), *lines]
    if not radio and not live:
        lines = [(Span(" silence until the lights go out", "dim"),)]
    more = (Span(f"{newer} newer, pgdn", "accent bold"),)
    head = heading("RADIO", more if newer else LEGEND if live else (), cells)
    return fit_box((head, *live, *lines), cells, height)
