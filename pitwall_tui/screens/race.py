"""The race screen: tower, map, pages, throughput, radio, knobs."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame
from pitwall_tui.widgets.panels import (
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
    """Everything that happens, at one glance; drafting too, once somebody has drafted."""

    copied = (Tower,)

    def _catch_up(self) -> None:
        self._make_room(self._latest()[0])
        super()._catch_up()

    def show(self, frame: Frame, palette: Palette, beat: int, fps: float) -> None:
        self._make_room(frame)
        super().show(frame, palette, beat, fps)

    def _make_room(self, frame: Frame) -> None:
        self.set_class(frame.view.speculation is not None, "-drafting")

    def compose(self) -> ComposeResult:
        yield StatusLine()
        with Horizontal(id="wall"):
            with Vertical(id="left"):
                yield Tower()
                with Horizontal(id="under"):
                    yield Throughput()
                    yield Radio(id="left-radio")
            with Vertical(id="right"):
                yield TrackMap()
                yield Speculation()
                yield PageMap()
                yield Throughput(id="right-throughput")
                yield Radio(id="right-radio")
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
