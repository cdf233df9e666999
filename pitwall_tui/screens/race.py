"""The race screen: tower, map, pages, throughput, radio, knobs."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame
from pitwall_tui.widgets.panels import (
    Following,
    Ghost,
    KeyBar,
    KnobBar,
    PageMap,
    Radio,
    Speculation,
    StatusLine,
    Throughput,
    TooSmall,
    Tower,
    TrackMap,
)


class RaceScreen(WallScreen):
    """Everything that happens, at one glance; drafting too, once somebody has drafted.

    Arrows choose a car to be followed; escape lets go of it.
    """

    keys = (("↑↓", "car", "app.step_followed(1)"),)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "app.step_followed(-1)", "car ahead"),
        ("down,j", "app.step_followed(1)", "car behind"),
        ("escape", "app.follow(None)", "let go"),
        ("pageup", "radio(1)", "earlier radio"),
        ("pagedown", "radio(-1)", "later radio"),
    ]

    copied = (Tower,)

    def action_radio(self, pages: int) -> None:
        for radio in self.query(Radio):
            if radio.is_on_screen:
                radio.go_back_page(pages)

    def catch_up(self) -> None:
        self._make_room(self._latest()[0])
        super().catch_up()

    def show(self, frame: Frame, palette: Palette, beat: int, fps: float) -> None:
        self._make_room(frame)
        super().show(frame, palette, beat, fps)

    def _make_room(self, frame: Frame) -> None:
        self.set_class(frame.view.speculation is not None, "-drafting")
        self.set_class(frame.view.ghost is not None, "-ghosted")
        self.set_class(frame.following is not None, "-following")

    def compose(self) -> ComposeResult:
        yield StatusLine()
        with Horizontal(id="wall"):
            with Vertical(id="left"):
                yield Tower()
                yield Following(id="left-following")
                yield Ghost()
                with Horizontal(id="under"):
                    yield Throughput()
                    yield Radio(id="left-radio")
            with Vertical(id="right"):
                yield TrackMap()
                yield Following(id="right-following")
                yield Speculation()
                yield PageMap()
                yield Throughput(id="right-throughput")
                yield Radio(id="right-radio")
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
