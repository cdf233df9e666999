"""A debrief as an SVG picture: speed over memory, and the table of its settings."""

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from pitwall_tui.draw.cells import clean
from pitwall_tui.draw.chart import ceiling
from pitwall_tui.draw.debrief import COLUMNS, EXACT, MEASURED, MIB, UNKNOWN, sign
from pitwall_tui.race.debrief import DebriefView, SettingView

# Pixels. The plot lies over the table; the table is as wide as its columns.
_LEFT, _TOP, _PLOT, _LINE, _CHAR = 70, 70, 320, 20, 7.2
_INK, _DIM, _POINT, _GRID = "#1a1e27", "#59606e", "#0b62b5", "#d9dee7"
_NAME, _GROUP = 34, 38  # characters
_RADIUS = 6


def picture(view: DebriefView, title: str) -> str:
    """The whole document; the title is its first line."""
    name = _NAME + (_GROUP if view.grouped else 0)
    wide = _CHAR * (4 + name + sum(cells for cells, _ in COLUMNS.values())) + 2 * 20
    below = _TOP + _PLOT + 70
    high = below + _LINE * (len(view.settings) + 2)
    body = [
        f'<rect width="{wide:.0f}" height="{high:.0f}" fill="#ffffff"/>',
        _text(20, 30, title, size=16),
        _text(20, 52, "tokens/s (of step time) over MiB of weights and KV at its peak", _DIM),
        *_scatter(view.settings, wide - _LEFT - 40),
        *_signs(_TOP + _PLOT + 42),
        *_table(view, name, below),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}"'
        f' viewBox="0 0 {wide:.0f} {high:.0f}" font-family="monospace" font-size="12"'
        f' role="img" aria-label={quoteattr(clean(title))}>\n' + "\n".join(body) + "\n</svg>\n"
    )


def column_heads(view: DebriefView) -> list[str]:
    """Of the columns, as files have them: rates are set against those of the first setting."""
    heads = [name.lower() for name in COLUMNS]
    return ["vs 1st" if view.grouped and head == "vs a" else head for head in heads]


def _text(
    x: float, y: float, text: str, fill: str = _INK, size: int = 12, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" text-anchor="{anchor}"'
        f' xml:space="preserve">{escape(clean(text))}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_GRID}"/>'


def _scatter(settings: Sequence[SettingView], wide: float) -> Iterable[str]:
    points = [(s, s.memory / MIB) for s in settings if s.memory is not None]
    top = ceiling(max((s.tokens_per_second for s, _ in points), default=0.0))
    right = ceiling(max((memory for _, memory in points), default=0.0))
    foot = _TOP + _PLOT
    for quarter in range(5):
        x, y = _LEFT + wide * quarter / 4, foot - _PLOT * quarter / 4
        yield _line(_LEFT, y, _LEFT + wide, y)
        yield _line(x, _TOP, x, foot)
        yield _text(_LEFT - 8, y + 4, f"{top * quarter / 4:g}", _DIM, anchor="end")
        yield _text(x, foot + 18, f"{right * quarter / 4:g}", _DIM, anchor="middle")
    taken: list[tuple[float, float]] = []
    for setting, memory in points:
        x = _LEFT + wide * memory / right
        y = foot - _PLOT * setting.tokens_per_second / top
        yield _point(x, y, setting)
        label = y + 4
        while any(abs(x - x2) < 16 and abs(label - y2) < 12 for x2, y2 in taken):
            label += 12  # letters of equal points stand under one another
        taken.append((x, label))
        yield _text(x + _RADIUS + 3, label, setting.letter)


def _point(x: float, y: float, setting: SettingView) -> str:
    """Full where the text is exact, half where what it lost is measured, hollow where it is not."""
    known = sign(setting)
    fill = _POINT if known == EXACT else "#ffffff"
    drawn = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" fill="{fill}" stroke="{_POINT}"/>'
    if known == MEASURED:
        half = f"M{x:.1f} {y - _RADIUS:.1f} a{_RADIUS} {_RADIUS} 0 0 0 0 {2 * _RADIUS} z"
        drawn += f'<path d="{half}" fill="{_POINT}"/>'
    said = escape(clean(f"{setting.letter}: {setting.name}"))
    return f"<g><title>{said}</title>{drawn}</g>"


def _signs(y: float) -> Iterable[str]:
    words = "   ".join(f"{glyph} {word}" for glyph, word in (EXACT, MEASURED, UNKNOWN))
    yield _text(_LEFT, y, f"text: {words}", _DIM)


def _table(view: DebriefView, name: int, y: float) -> Iterable[str]:
    """Names have so many characters."""
    yield from _row(y, "", "setting", name, column_heads(view), _DIM)
    yield _line(20, y + 6, 20 + _CHAR * (4 + name), y + 6)
    for number, setting in enumerate(view.settings, 1):
        first = view.first(setting)
        figures = [figure(setting, first).strip() for _, figure in COLUMNS.values()]
        letter = f"{setting.letter}{sign(setting)[0]}"
        said = f"{setting.name}; {setting.group}" if setting.group else setting.name
        yield from _row(y + _LINE * number, letter, said, name, figures, _INK)


def _row(
    y: float, letter: str, text: str, name: int, figures: Sequence[str], fill: str
) -> Iterable[str]:
    text = clean(text)
    yield _text(20, y, letter, fill)
    yield _text(20 + 4 * _CHAR, y, text if len(text) <= name else f"{text[: name - 1]}…", fill)
    x = 20 + _CHAR * (4 + name)
    for (cells, _), figure in zip(COLUMNS.values(), figures, strict=True):
        x += _CHAR * cells
        yield _text(x, y, figure, fill, anchor="end")
