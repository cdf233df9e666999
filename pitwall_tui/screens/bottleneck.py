"""The bottleneck: what bounds the engine here, and what would bound it elsewhere."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    Ceilings,
    Elsewhere,
    KeyBar,
    KnobBar,
    Phases,
    Roofline,
    StatusLine,
    TooSmall,
)


class BottleneckScreen(WallScreen):
    """Arrows turn the dials of what is supposed; the wall's keys work here too."""

    holds = True
    details = ("bottleneck",)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "app.choose_dial(-1)", "dial before"),
        ("down,j", "app.choose_dial(1)", "dial after"),
        ("left,h", "app.turn_chosen(-1)", "value before"),
        ("right,l", "app.turn_chosen(1)", "value after"),
    ]

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Ceilings()
        yield Phases()
        with Horizontal(id="roofs"):
            yield Roofline()
            yield Elsewhere()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
