"""Spans and rows of terminal cells, and text measured, cut and padded by cells."""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

Align = Literal["left", "right", "centre"]


class Span(NamedTuple):
    """Text in one style.

    `role` and `back` name the colours of text and ground ("" for the panel's own), such as
    "tyre.S", "team.3" or "flag.red"; `role` may end in the words bold, underline and strike.
    `action` is what a click on it does.
    """

    text: str
    role: str = ""
    back: str = ""
    action: str = ""


Paint = tuple[str, str, str]  # role, back and action of a span
Row = tuple[Span, ...]
Rows = tuple[Row, ...]

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # braille, [row][column] of a cell


# Joining Hangul letters, a blank one, and symbols that became wide in a later Unicode: terminals
# do not agree on their widths.
_DISPUTED = (
    (0x1160, 0x11FF),
    (0x2630, 0x2637),
    (0x268A, 0x268F),
    (0x3164, 0x3164),
    (0x4DC0, 0x4DFF),
    (0xD7B0, 0xD7FF),
    (0xFFA0, 0xFFA0),
    (0x1D300, 0x1D37F),
)


def _harmless(char: str) -> str:
    """One character as something that every terminal shows in 1 or 2 cells, or nothing."""
    code = ord(char)
    if char in "\n\t" or unicodedata.category(char) in ("Zs", "Zl", "Zp"):
        return " "
    if 0x1F1E6 <= code <= 0x1F1FF:  # halves of a flag: terminals differ in how they join them
        return chr(code - 0x1F1E6 + ord("A"))
    if 0x1F3FB <= code <= 0x1F3FF:  # skin tones join the glyph before
        return ""
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf"):
        return ""
    disputed = any(low <= code <= high for low, high in _DISPUTED)
    if disputed or category == "Mc" or category.startswith("C"):
        return "·"
    return char


@lru_cache(4096)
def clean(text: str) -> str:
    """`text` on one line, without control, joining or unassigned characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_harmless, unicodedata.normalize("NFC", text)))


@lru_cache(4096)
def char_width(char: str) -> int:
    """Cells of one clean character."""
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


@lru_cache(4096)
def width(text: str) -> int:
    """Cells of clean text."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def _prefix(text: str, cells: int) -> str:
    """The longest beginning of clean text that fits."""
    if width(text) <= cells:
        return text
    used = 0
    for index, char in enumerate(text):
        used += char_width(char)
        if used > cells:
            return text[:index]
    return text


def cut(text: str, cells: int) -> str:
    """Text in at most `cells` cells, with … where it was cut."""
    text = clean(text)
    if width(text) <= cells:
        return text
    return _prefix(text, cells - 1).rstrip() + "…" if cells > 0 else ""


@lru_cache(4096)
def fit(text: str, cells: int, align: Align = "left") -> str:
    """Text in exactly `cells` cells."""
    text = cut(text, cells)
    spare = max(0, cells - width(text))
    before = {"left": 0, "right": spare, "centre": spare // 2}[align]
    return " " * before + text + " " * (spare - before)


def wrap(text: str, cells: int) -> list[str]:
    """Text broken at spaces, or within a word that is too long, into lines of `cells` cells."""
    if cells < 2:
        return [cut(text, cells)]
    lines, line = [], ""
    for word in clean(text).split():
        joined = f"{line} {word}" if line else word
        if width(joined) <= cells:
            line = joined
            continue
        if line:
            lines.append(line)
        while width(word) > cells:
            head = _prefix(word, cells)
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [*lines, line]


def row_width(row: Iterable[Span]) -> int:
    return sum(width(span.text) for span in row)


def fit_row(row: Iterable[Span], cells: int, back: str = "") -> Row:
    """A row of exactly `cells` cells: cut or padded at its end, on `back` where it has none."""
    return _fitted(tuple(row), cells, back)


@lru_cache(2048)
def _fitted(row: Row, cells: int, back: str) -> Row:
    spans, left = [], cells
    for span in row:
        text = clean(span.text)
        wide = width(text)
        if wide > left:
            text = _prefix(text, left)
            wide = width(text)
        if text is not span.text or (back and not span.back):
            span = Span(text, span.role, span.back or back, span.action)
        if wide:
            spans.append(span)
            left -= wide
        if left <= 0:
            break
    if left > 0:
        spans.append(Span(" " * left, "", back))
    return tuple(spans)


def fit_box(rows: Sequence[Iterable[Span]], cells: int, height: int) -> Rows:
    """Exactly `height` rows of exactly `cells` cells: the first rows, or blank ones after."""
    fitted = [fit_row(row, cells) for row in rows[: max(0, height)]]
    fitted += [fit_row((), cells)] * (height - len(fitted))
    return tuple(fitted)


def spread(left: Sequence[Span], right: Sequence[Span], cells: int, back: str = "") -> Row:
    """A row with `left` at its beginning and `right` at its end; the left one yields."""
    room = max(0, cells - row_width(right))
    return fit_row((*fit_row(left, room, back), *right), cells, back)


def heading(title: str, detail: Sequence[Span], cells: int) -> Row:
    """A panel's head: its title, and what is to be said at the right while there is room."""
    name = Span(f" {title} ", "title bold")
    shown = [*detail, Span(" ")]
    while len(shown) > 1 and row_width(shown) + row_width((name,)) > cells:
        shown.pop(0)
    return spread((name,), shown if len(shown) > 1 else (), cells, back="title-back")


def plain(rows: Iterable[Row]) -> str:
    """Rows as text, without their styles."""
    return "\n".join("".join(span.text for span in row) for row in rows)
