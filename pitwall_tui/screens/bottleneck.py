"""The bottleneck: what bounds the engine here, and what would bound it elsewhere."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from pitwall_tui.draw.bottleneck import draw_ceilings, draw_phases
from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.roofline import draw_roofline
from pitwall_tui.draw.whatif import draw_whatif
from pitwall_tui.race.whatif import Dial, WhatIf
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel


class Ceilings(Panel):
    """What this machine can do, and what bounds the engine on it."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_ceilings(frame.view.details.bottleneck, cells, height)


class Phases(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_phases(frame.view.details.bottleneck, cells, height)


class Roofline(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_roofline(frame.view.details.bottleneck, cells, height)


class Elsewhere(Panel):
    """What is supposed of other machines and models."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_whatif(frame.view.details.bottleneck, frame.what_if, cells, height)


class BottleneckScreen(WallScreen):
    """Arrows turn the dials of what is supposed; the wall's keys work here too."""

    holds = True
    details = ("bottleneck",)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "choose_dial(-1)", "dial before"),
        ("down,j", "choose_dial(1)", "dial after"),
        ("left,h", "turn_chosen(-1)", "value before"),
        ("right,l", "turn_chosen(1)", "value after"),
    ]

    def __init__(self, latest: Latest, suppose: Callable[[WhatIf], None]) -> None:
        super().__init__(latest)
        self._suppose = suppose

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Ceilings()
        yield Phases()
        with Horizontal(id="roofs"):
            yield Roofline()
            yield Elsewhere()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()

    def action_choose_dial(self, step: int) -> None:
        """The keys turn another dial of what is supposed."""
        self._suppose(self._supposed.chosen(step))

    def action_turn_chosen(self, step: int) -> None:
        self.action_turn_dial(self._supposed.dial, step)

    def action_turn_dial(self, dial: Dial, step: int) -> None:
        self._suppose(self._supposed.turned(dial, step))

    def action_set_dial(self, dial: Dial, value: str | int) -> None:
        self._suppose(self._supposed.with_value(dial, value))

    @property
    def _supposed(self) -> WhatIf:
        return self._latest()[0].what_if
