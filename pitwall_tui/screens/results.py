"""The results screen: the classification after the chequered flag."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.results import draw_results
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel


class Results(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_results(frame.live, frame.countdown, cells, height, frame.notice.replay)


class ResultsScreen(WallScreen):
    """Places, times and latencies; the wall's keys work here too."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "back to the wall")]

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Results()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
