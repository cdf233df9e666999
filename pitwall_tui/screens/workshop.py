"""The workshop: a layer's weights in any scheme, while the race goes on."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.spread import draw_off, draw_pairs, draw_weights
from pitwall_tui.draw.workshop import draw_bench, draw_footprints, draw_layers
from pitwall_tui.race.workshop import WorkshopState
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel


class Bench(Panel):
    """What the workshop looks at."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_bench(frame.workshop, cells, height)


class LayerTable(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_layers(frame.workshop, cells, height)


class Footprints(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_footprints(frame.workshop, cells, height)


class Weights(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_weights(frame.workshop, cells, height)


class Off(Panel):
    """The errors."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_off(frame.workshop, cells, height)


class Pairs(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_pairs(frame.workshop, cells, height)


class WorkshopScreen(WallScreen):
    """Arrows choose layer and scheme; the wall's keys work here too."""

    holds = True
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "step_layer(-1)", "layer before"),
        ("down,j", "step_layer(1)", "layer after"),
        ("pageup", "step_layer(-8)", "eight layers before"),
        ("pagedown", "step_layer(8)", "eight layers after"),
        ("left,h", "step_scheme(-1)", "scheme before"),
        ("right,l", "step_scheme(1)", "scheme after"),
    ]

    def __init__(
        self, latest: Latest, workshop: WorkshopState, study: Callable[[str, str], None]
    ) -> None:
        """`study` asks for the study of a layer and a scheme, by their names."""
        super().__init__(latest)
        self._workshop = workshop
        self._study = study

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

    def on_mount(self) -> None:
        self._ask()

    def action_step_layer(self, step: int) -> None:
        self._workshop.step_layer(step)
        self._ask()

    def action_choose_layer(self, name: str) -> None:
        self._workshop.choose_layer(name)
        self._ask()

    def action_step_scheme(self, step: int) -> None:
        self._workshop.step_scheme(step)
        self._ask()

    def _ask(self) -> None:
        """What is looked at, somebody has to read."""
        self._study(*self._workshop.question)
        self.changed()
