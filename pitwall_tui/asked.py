"""What has been asked of the engine, until a snapshot has it."""

from dataclasses import replace

from engine.config import Knobs
from pitwall_tui.commands import changed_pace
from pitwall_tui.race.view import KnobView, RaceView


class Asked:
    """Each turn is counted from what was last asked for, not from what the engine has by then."""

    def __init__(self) -> None:
        self._knobs: Knobs | None = None
        self._pace: float | None = None
        self._pause: bool | None = None

    def knob(self, views: tuple[KnobView, ...], name: str, value: str) -> Knobs:
        """All knobs, as `views` have them but for this one; raises ConfigError for a value that
        it does not take."""
        knobs = Knobs()
        for view in views:
            knobs = knobs.with_value(view.name, view.pending or view.value)
        self._knobs = knobs.with_value(name, value)
        return self._knobs

    def pace(self, now: float, rate: float, step: int) -> float:
        """The next pace in tokens/s from `now`, of an engine that makes `rate`."""
        self._pace = changed_pace(now if self._pace is None else self._pace, rate, step)
        return self._pace

    def pause(self, now: bool) -> bool:
        """The other of pausing and going on."""
        self._pause = not (now if self._pause is None else self._pause)
        return self._pause

    def refused(self) -> None:
        """The knobs stay as they are."""
        self._knobs = None

    def marked(self, view: RaceView) -> RaceView:
        """The view with knobs marked that have been asked for, but not yet used by a plan."""
        if self._pace == view.status.pace:
            self._pace = None
        if self._pause == view.status.paused:
            self._pause = None
        if self._knobs is None or not view.knobs:
            return view
        asked = {name: str(value) for name, value in self._knobs.as_dict().items()}
        knobs = tuple(
            replace(knob, pending=asked[knob.name] if asked[knob.name] != knob.value else None)
            for knob in view.knobs
        )
        if all(knob.pending is None for knob in knobs):
            self._knobs = None
        return replace(view, knobs=knobs)
