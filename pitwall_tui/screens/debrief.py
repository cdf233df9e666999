"""The debrief: what each setting of the knobs gave in this race."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.debrief import draw_effects, draw_percentiles, draw_scatter
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel
from pitwall_tui.widgets.settings import SettingsTable


class Scatter(Panel):
    """Speed over memory, by setting."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_scatter(frame.view.details.debrief, cells, height)


class Effects(Panel):
    """Of knobs that were turned."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_effects(frame.view.details.debrief, cells, height)


class Percentiles(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_percentiles(frame.view.details.debrief, cells, height)


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
