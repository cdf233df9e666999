"""The race screen: tower, map, pages, throughput, radio, knobs."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    KeyBar,
    KnobBar,
    PageMap,
    Radio,
    StatusLine,
    Throughput,
    TooSmall,
    Tower,
    TrackMap,
)


class RaceScreen(WallScreen):
    """Everything that happens, at one glance."""

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
                yield PageMap()
                yield Throughput(id="right-throughput")
                yield Radio(id="right-radio")
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
