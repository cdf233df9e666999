"""The timeline of the batch, and how it is looked at."""

from dataclasses import replace
from typing import Any

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.gantt import LABEL, SCALES, Look, draw_gantt, scale_of
from pitwall_tui.race.batching import BatchingView
from pitwall_tui.widgets.panel import Frame, Panel


class Gantt(Panel):
    """Who ran when; how that is looked at is the panel's own."""

    hz = 4.0

    def __init__(self) -> None:
        super().__init__()
        self.look = Look()

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_gantt(frame.view, self.look, cells, height)

    def turn(self) -> None:
        """From slots to cars, or back."""
        self._change(cars=not self.look.cars)

    def zoom(self, step: int) -> None:
        """More seconds a cell, or fewer."""
        if (view := self._batching) is not None:
            at = SCALES.index(scale_of(view, self.look, self.size.width)) + step
            self._change(scale=SCALES[min(max(at, 0), len(SCALES) - 1)])

    def scroll_time(self, step: int) -> None:
        """Half a width later, or earlier."""
        if (view := self._batching) is not None:
            scale = scale_of(view, self.look, self.size.width)
            span = scale * max(1, self.size.width - LABEL)
            until = view.now if self.look.until is None else self.look.until
            until = max(until + step * span / 2, view.start + span)
            self._change(until=None if until >= view.now else until)

    def follow(self) -> None:
        """The race as it goes on."""
        self._change(until=None)

    def step(self, step: int) -> None:
        """Pick the next car, or the one before."""
        if (view := self._batching) is not None and view.cars:
            before = self.look.picked
            start = -1 if step > 0 else 0
            self._change(picked=((start if before is None else before) + step) % len(view.cars))

    def pick(self, car: int) -> None:
        """Pick a car, or let go of it."""
        self._change(picked=None if car == self.look.picked else car)

    def reset(self) -> None:
        """All of the race, and no car picked."""
        self._change(scale=None, until=None, picked=None)

    @property
    def _batching(self) -> BatchingView | None:
        return self._frame.view.details.batching if self._frame else None

    def _change(self, **changes: Any) -> None:
        self.look = replace(self.look, **changes)
        self._drawn = None
        self.refresh()
