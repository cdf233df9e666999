"""The workshop: a layer's weights in any scheme, while the race goes on."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical

from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    Bench,
    Footprints,
    KeyBar,
    KnobBar,
    LayerTable,
    Off,
    Pairs,
    StatusLine,
    TooSmall,
    Weights,
)


class WorkshopScreen(WallScreen):
    """Arrows choose layer and scheme; the wall's keys work here too."""

    holds = True
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "app.step_layer(-1)", "layer before"),
        ("down,j", "app.step_layer(1)", "layer after"),
        ("pageup", "app.step_layer(-8)", "eight layers before"),
        ("pagedown", "app.step_layer(8)", "eight layers after"),
        ("left,h", "app.study_scheme(-1)", "scheme before"),
        ("right,l", "app.study_scheme(1)", "scheme after"),
    ]

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Bench()
        with Horizontal(id="bench"):
            with Vertical(id="tables"):
                yield LayerTable()
                yield Footprints()
            with Vertical(id="pictures"):
                yield Weights()
                with Container(id="errors"):
                    yield Off()
                    yield Pairs()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
