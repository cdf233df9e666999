"""A recorded race, played again at its own times."""

from collections.abc import Callable
from pathlib import Path

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui.feed.record import read_recording
from pitwall_tui.race.events import FeedEnded, FeedEvent, RaceStarted


class ReplayFeed:
    """Plays a recording, `speed` times as fast as it was recorded.

    Pausing stops the playing, and the next race is skipped to; knobs and pace cannot be changed.
    Raises RecordingError at once for a file that cannot be read.
    """

    live = False
    source = "replay"

    def __init__(self, path: str | Path, clock: Callable[[], float], speed: float = 1.0) -> None:
        self._clock = clock
        self._speed = speed
        self._events = read_recording(path)
        self._next: tuple[float, FeedEvent] | None = None
        self._wound: list[FeedEvent] = []
        self._ended = False
        # The recording's time `_reached` was reached at the clock's `_since`.
        self._reached = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Starts the clock at the first event."""
        self._advance()
        if self._next is not None:
            self._reached = self._next[0]
        self._since = self._clock()

    def pull(self) -> tuple[FeedEvent, ...]:
        """The events whose time has come since the last call."""
        due, self._wound = self._wound, []
        until = self._position()
        while self._next is not None and self._next[0] <= until:
            due.append(self._next[1])
            self._advance()
        return tuple(due)

    def set_knobs(self, knobs: Knobs) -> None:
        """Nothing: what happened has happened."""

    def set_paused(self, paused: bool) -> None:
        """Stops playing, or goes on."""
        self._reached = self._position()
        self._since = None if paused else self._clock()

    def set_pace(self, tokens_per_second: float) -> None:
        """Nothing: the recording keeps its own pace."""

    def set_draft(self, folder: str) -> None:
        """Nothing: nobody drafts any more."""

    def next_race(self) -> None:
        """Winds on to the next race of the recording, or to its end: all between is pulled next."""
        while self._next is not None:
            time, event = self._next
            if isinstance(event, RaceStarted | FeedEnded) and time > self._reached:
                self.set_paused(self._since is None)
                self._reached = time
                return
            self._wound.append(event)
            self._advance()

    def again(self) -> None:
        """Nothing: a recording goes on."""

    def study(self, layer: str, scheme: str) -> None:
        """Nothing: a recording has no weights."""

    def studies(self) -> tuple[StudyNews, ...]:
        """None, ever."""
        return ()

    def close(self) -> None:
        """Plays no more."""
        self._next, self._ended = None, True

    def _position(self) -> float:
        """How far the recording has been played, on its own clock."""
        if self._since is None:
            return self._reached
        return self._reached + (self._clock() - self._since) * self._speed

    def _advance(self) -> None:
        if self._ended:
            self._next = None
            return
        time = self._next[0] if self._next else 0.0
        self._next = next(self._events, (time, FeedEnded("the recording is over")))
        self._ended = isinstance(self._next[1], FeedEnded)
