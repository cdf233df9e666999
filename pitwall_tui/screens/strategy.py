"""The strategy: what drafting brings, by theory and as measured in this race."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    ByAcceptance,
    ByLength,
    KeyBar,
    KnobBar,
    MeasuredTable,
    StatusLine,
    Suppose,
    TooSmall,
)


class StrategyScreen(WallScreen):
    """Left and right suppose another acceptance; the wall's keys work here too."""

    holds = True
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("left,h", "app.step_supposed(-5)", "suppose less"),
        ("right,l", "app.step_supposed(5)", "suppose more"),
        ("home,backspace", "app.suppose(None)", "as measured"),
    ]

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Suppose()
        with Horizontal(id="curves"):
            yield ByLength()
            yield ByAcceptance()
        yield MeasuredTable()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
