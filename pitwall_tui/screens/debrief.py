"""The debrief: what each setting of the knobs gave in this race."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    Effects,
    KeyBar,
    KnobBar,
    Percentiles,
    Scatter,
    StatusLine,
    TooSmall,
)
from pitwall_tui.widgets.settings import SettingsTable


class DebriefScreen(WallScreen):
    """Arrows go through the settings; the wall's keys work here too."""

    holds = True
    details = ("debrief",)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "scroll(-1)", "settings before"),
        ("down,j", "scroll(1)", "settings after"),
        ("tab,shift+tab", "figures", "speed or memory"),
        ("x", "app.export", "write it to files"),
    ]

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield SettingsTable()
        with Horizontal(id="given"):
            yield Scatter()
            with Vertical(id="turned"):
                yield Effects()
                yield Percentiles()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()

    def action_scroll(self, step: int) -> None:
        self.query_one(SettingsTable).scroll_settings(step)

    def action_figures(self) -> None:
        self.query_one(SettingsTable).turn()
