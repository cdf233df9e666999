"""The results screen: the classification after the chequered flag."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import KeyBar, KnobBar, Results, StatusLine, TooSmall


class ResultsScreen(WallScreen):
    """Places, times and latencies; the wall's keys work here too."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "back to the wall")]

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Results()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
