"""The strategy: what drafting brings, by theory and as measured in this race."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.strategy import (
    acceptance,
    draw_by_acceptance,
    draw_by_length,
    draw_measured,
    draw_suppose,
)
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel


class Suppose(Panel):
    """What the strategy supposes, and what theory makes of it."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_suppose(frame.view.speculation, frame.supposed, cells, height)


class ByLength(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_by_length(frame.view.speculation, frame.supposed, cells, height)


class ByAcceptance(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_by_acceptance(frame.view.speculation, frame.supposed, cells, height)


class MeasuredTable(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_measured(frame.view.speculation, cells, height)


class StrategyScreen(WallScreen):
    """Left and right suppose another acceptance; the wall's keys work here too."""

    holds = True
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("left,h", "step(-5)", "suppose less"),
        ("right,l", "step(5)", "suppose more"),
        ("home,backspace", "suppose(None)", "as measured"),
    ]

    def __init__(self, latest: Latest, suppose: Callable[[int | None], None]) -> None:
        super().__init__(latest)
        self._suppose = suppose

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

    def action_suppose(self, percent: int | None) -> None:
        """Suppose that so many drafts are accepted; None: as many as are."""
        self._suppose(None if percent is None else min(max(percent, 0), 100))

    def action_step(self, step: int) -> None:
        """So many percent more, from what was supposed or measured."""
        frame, _ = self._latest()
        share = acceptance(frame.view.speculation, frame.supposed)
        self.action_suppose(round(100 * share / abs(step)) * abs(step) + step)
