"""Batching: who runs when, what each mode gives, and what waiting costs."""

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.draw.batching import draw_batch, draw_latencies, draw_modes, draw_queue
from pitwall_tui.draw.cells import Rows
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.gantt import Gantt
from pitwall_tui.widgets.panel import Frame, Panel

# Where there is no room for all figures, these take turns.
_FIGURES = ("-modes", "-latencies", "-queue")


class BatchHead(Panel):
    """The knobs of batching, and what comes of them right now."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        view = replace(frame.view, knobs=frame.live.knobs)
        return draw_batch(view, cells, height)


class ModeTable(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_modes(frame.view.details.batching, cells, height)


class LatencyTable(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_latencies(frame.view.details.batching, cells, height)


class QueueList(Panel):
    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_queue(frame.view.details.batching, cells, height)


class BatchingScreen(WallScreen):
    """Arrows move through time and cars; the wall's keys work here too."""

    holds = True
    details = ("batching",)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("v", "turn", "slots or cars"),
        ("z", "zoom(-1)", "fewer seconds a cell"),
        ("x", "zoom(1)", "more seconds a cell"),
        ("left,h", "scroll(-1)", "earlier"),
        ("right,l", "scroll(1)", "later"),
        ("end", "follow", "now"),
        ("up,k", "step(-1)", "the car before"),
        ("down,j", "step(1)", "the next car"),
        ("home,backspace", "reset", "all of the race"),
        ("tab", "figures(1)", "other figures"),
        ("shift+tab", "figures(-1)", "other figures"),
    ]

    def __init__(self, latest: Latest) -> None:
        super().__init__(latest)
        self._figures = 0
        self.add_class(_FIGURES[0])

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield BatchHead()
        yield Gantt()
        with Horizontal(id="figures"):
            with Vertical(id="measured"):
                yield ModeTable()
                yield LatencyTable()
            yield QueueList()
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()

    @property
    def _gantt(self) -> Gantt:
        return self.query_one(Gantt)

    def action_turn(self) -> None:
        self._gantt.turn()

    def action_zoom(self, step: int) -> None:
        self._gantt.zoom(step)

    def action_scroll(self, step: int) -> None:
        self._gantt.scroll_time(step)

    def action_follow(self) -> None:
        self._gantt.follow()

    def action_step(self, step: int) -> None:
        self._gantt.step(step)

    def action_pick(self, car: int) -> None:
        """Pick a car, or let go of it."""
        self._gantt.pick(car)

    def action_reset(self) -> None:
        self._gantt.reset()

    def action_figures(self, step: int) -> None:
        """Show other figures, where not all have room."""
        self.remove_class(_FIGURES[self._figures])
        self._figures = (self._figures + step) % len(_FIGURES)
        self.add_class(_FIGURES[self._figures])
