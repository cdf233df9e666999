"""The academy: two students learn from the chief, while the race goes on."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.draw.academy import (
    draw_agreement,
    draw_lectern,
    draw_losses,
    draw_marks,
    draw_sweep,
)
from pitwall_tui.draw.cells import Rows
from pitwall_tui.school import School
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel


class Lectern(Panel):
    """How far the academy is."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_lectern(frame.academy, cells, height)


class Losses(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_losses(frame.academy, cells, height)


class Agreement(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_agreement(frame.academy, cells, height)


class MarkSheet(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_marks(frame.academy, cells, height)


class Sweep(Panel):
    """Of temperatures."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_sweep(frame.academy, cells, height)


class AcademyScreen(WallScreen):
    """Starts, holds and cancels a course; the wall's keys work here too."""

    holds = True
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("enter", "start", "begin a course"),
        ("h", "hold", "hold it between two steps, or go on"),
        ("x", "cancel", "end it"),
        ("u", "app.race_junior", "let the new junior draft in the race"),
    ]

    def __init__(self, latest: Latest, school: School) -> None:
        super().__init__(latest)
        self._school = school

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Lectern()
        with Horizontal(id="school"):
            with Vertical(id="curves"):
                yield Losses()
                yield Agreement()
            with Vertical(id="marks"):
                yield MarkSheet()
                yield Sweep()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()

    def action_start(self) -> None:
        self._school.start()
        self.changed()

    def action_hold(self) -> None:
        self._school.hold()
        self.changed()

    def action_cancel(self) -> None:
        self._school.cancel()
