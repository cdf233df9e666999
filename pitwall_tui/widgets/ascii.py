"""ASCII in everything that is drawn, by us or by Textual."""

import re
from collections.abc import Iterator
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from pitwall_tui.draw.ascii import to_ascii

_FULL = re.compile("(█+)")


class Ascii(LineFilter):
    """The last thing that happens to a line: its signs become ASCII.

    Full blocks stay as full as colours make them: their sign stands on a ground of its own colour.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [part for segment in segments for part in _parts(segment)]


def _parts(segment: Segment) -> Iterator[Segment]:
    text, style, control = segment
    if text.isascii():
        yield segment
        return
    for part in filter(None, _FULL.split(text)):
        full = part[0] == "█" and style is not None
        yield Segment(to_ascii(part), _filled(style) if full else style, control)


@lru_cache(1024)
def _filled(style: Style) -> Style:
    return style + Style(bgcolor=style.color)
