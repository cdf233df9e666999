"""The academy: two students learn from the chief, while the race goes on."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    Agreement,
    KeyBar,
    KnobBar,
    Lectern,
    Losses,
    MarkSheet,
    StatusLine,
    Sweep,
    TooSmall,
)


class AcademyScreen(WallScreen):
    """Starts, holds and cancels a course; the wall's keys work here too."""

    holds = True
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("enter", "app.academy_start", "begin a course"),
        ("h", "app.academy_hold", "hold it between two steps, or go on"),
        ("x", "app.academy_cancel", "end it"),
        ("u", "app.academy_use", "let the new junior draft in the race"),
    ]

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
