"""The line of a recording that is played: where it stands, and what lies along it."""

from pitwall_tui.draw.cells import Row, Rows, Span, cut, fit_box, row_width
from pitwall_tui.race.playback import Mark, MarkKind, PlaybackView

# From the one that is shown where several share a cell.
SIGNS: dict[MarkKind, tuple[str, str]] = {
    "race": ("╋", "title bold"),
    "red": ("■", "flag.red bold"),
    "chequered": ("▞", "text bold"),
    "knob": ("◆", "radio.knob bold"),
    "safety": ("▲", "flag.safety"),
    "yellow": ("△", "flag.yellow"),
    "pit": ("○", "state.pit"),
}
_RANK = {kind: rank for rank, kind in enumerate(SIGNS)}
_LEAST_BAR = 10
_WORD = 26  # most cells that the newest mark's words take
_FRESH = 6.0  # s for which they stand


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def draw_player(view: PlaybackView, cells: int, height: int = 1) -> Rows:
    """State, place and speed, the bar with its marks, and in words the mark last passed."""
    sign = "»" if view.seeking else "▶" if view.playing else "‖"
    loop = " ↻" if view.loop else ""
    about = "" if view.read == 1 else "~"
    left = (
        Span(f" {sign} ", "knob.key bold", "", "app.pause"),
        Span(clock(view.position), "text bold"),
        Span(f"/{about}{clock(view.length)} {view.speed:g}x{loop} ", "dim"),
    )
    right = _word(view, cells)
    room = cells - row_width(left) - row_width(right)
    bar = _bar(view, room) if room >= _LEAST_BAR else ()
    return fit_box(((*left, *bar, *right),), cells, height)


def _word(view: PlaybackView, cells: int) -> Row:
    """What was passed last, or how far the recording has been looked through."""
    if cells < 100:
        return ()
    if view.read < 1:
        return (Span(f" {100 * view.read:.0f} % looked through ", "dim"),)
    passed = [m for m in view.marks if view.position - _FRESH <= m.time <= view.position]
    if not passed:
        return ()
    newest = max(passed, key=lambda mark: (mark.time, -_RANK[mark.kind]))
    sign, role = SIGNS[newest.kind]
    return (Span(f" {sign} ", role), Span(cut(newest.text, _WORD - 4) + " ", "text"))


def _bar(view: PlaybackView, cells: int) -> Row:
    marks = _placed(view, cells)
    head = _cell(view.position, view, cells)
    known = round(view.read * cells)
    spans = []
    for cell in range(cells):
        share = 1.0 if cell == cells - 1 else round((cell + 0.5) / cells, 4) if cell else 0.0
        action = f"app.seek_share({share})"
        mark = marks.get(cell)
        if cell == head:
            spans.append(Span(SIGNS[mark.kind][0] if mark else "█", "accent bold", "", action))
        elif mark is not None:
            spans.append(Span(*SIGNS[mark.kind], "", action))
        elif cell < head:
            spans.append(Span("━", "text", "", action))
        else:
            spans.append(Span("─" if cell < known else "┈", "dim", "", action))
    return tuple(spans)


def _cell(time: float, view: PlaybackView, cells: int) -> int:
    share = min(time / view.length, 1.0) if view.length > 0 else 0.0
    return min(int(share * cells), cells - 1)


def _placed(view: PlaybackView, cells: int) -> dict[int, Mark]:
    """The mark of each cell that has any."""
    placed: dict[int, Mark] = {}
    for mark in view.marks:
        cell = _cell(mark.time, view, cells)
        if cell not in placed or _RANK[mark.kind] < _RANK[placed[cell].kind]:
            placed[cell] = mark
    return placed
