"""A recorded race, played again at its own times, forward and back."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from math import inf
from pathlib import Path

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui.feed.index import Index
from pitwall_tui.feed.reading import Reader
from pitwall_tui.race.events import FeedEvent
from pitwall_tui.race.playback import PlaybackView
from pitwall_tui.race.state import RaceState

SPEEDS = (0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0)
# Of a frame's time: for looking ahead, and while somebody waits for a place not come to yet.
_AHEAD_SECONDS, _SEEKING_SECONDS = 0.02, 0.08
_REST = 8.0  # s between the end and the beginning of a recording that is played in a loop
_AGAIN = 2.0  # s into a race, from which on going back means to its own start


class ReplayFeed:
    """Plays a recording, `speed` times as fast as it was recorded; with `loop` again and again.

    It is opened by its first line and looked through little by little, ahead of what is played, so
    that any place can be gone to: `turn` then gives the race as it was there. Knobs and pace cannot
    be changed. Raises RecordingError at once for a file that cannot be read.
    """

    live = False
    source = "replay"

    def __init__(
        self,
        path: str | Path,
        clock: Callable[[], float],
        speed: float = 1.0,
        *,
        loop: bool = False,
    ) -> None:
        self._clock = clock
        self._speed = speed
        self._loop = loop
        self._index = Index(path, self.source)
        self._reader = Reader(path)
        self._count = 0  # events that have been played
        self._told = self._closed = False
        # The recording's time `_reached` was reached at the clock's `_since`, None while it stands.
        self._reached = 0.0
        self._since: float | None = None
        # Where to go, once that is known, and about where that will be.
        self._wanted: Callable[[], float | None] | None = None
        self._aim = 0.0

    def start(self) -> None:
        """Starts the clock at the first event."""
        self._since = self._clock()

    def turn(self) -> RaceState | None:
        """Where another place has been asked for, the race as it was there; its next events are
        pulled from there on. None where none was, or where it is not known yet."""
        self._look_ahead()
        place = self._wanted() if self._wanted is not None else None
        if place is None:
            return None
        self._wanted = None
        self._told = False
        self._count = bisect_right(self._index.times, place)
        state, self._reader = self._index.state_at(self._count)
        self._go_on(place)
        return state

    def pull(self) -> tuple[FeedEvent, ...]:
        """The events whose time has come since the last call."""
        if self._closed or self._since is None:
            return ()
        position = self._position()
        if not self._index.knows(position):
            self._look_ahead()
        index, due = self._index, []
        while self._count < len(index.times) and index.times[self._count] <= position:
            found = self._reader.next()
            assert found is not None  # the index has read it before
            due.append(found[1])
            self._count += 1
        if not index.knows(position):
            self._go_on(index.times[-1] if index.times else 0.0)  # it is waited for
        if index.end is not None and position >= index.length:
            self._come_to_end(due, position)
        return tuple(due)

    def set_knobs(self, knobs: Knobs) -> None:
        """Nothing: what happened has happened."""

    def set_paused(self, paused: bool) -> None:
        """Stops playing, or goes on; at the end, from the start."""
        self._go_on(self._position())
        if not paused and self._index.end is not None and self._reached >= self._index.length:
            self.seek(0.0)
        self._since = None if paused else self._clock()

    def set_pace(self, tokens_per_second: float) -> None:
        """Nothing: the recording keeps its own pace."""

    def set_draft(self, folder: str) -> None:
        """Nothing: nobody drafts any more."""

    def again(self) -> None:
        """Nothing: a recording goes on."""

    def study(self, layer: str, scheme: str) -> None:
        """Nothing: a recording has no weights."""

    def studies(self) -> tuple[StudyNews, ...]:
        """None, ever."""
        return ()

    def close(self) -> None:
        """Plays no more."""
        self._closed = True

    # Going elsewhere: all of it happens with the next `turn`.

    def seek(self, time: float) -> None:
        """Goes to so many s after the first event; to the start or the end from outside."""
        time = max(time, 0.0)
        index = self._index
        self._want(lambda: min(time, index.length) if index.knows(time) else None, time)

    def seek_by(self, seconds: float) -> None:
        """Goes on or back, from where it stands or is already going."""
        self.seek(seconds + (self._position() if self._wanted is None else self._aim))

    def seek_share(self, share: float) -> None:
        """Goes to a share of the recording, 0 to 1."""
        self.seek(inf if share >= 1 else share * self._index.length)

    def step(self, by: int) -> None:
        """Stops, one batch of events further (1) or back (-1)."""
        times = self._index.times
        self.set_paused(True)
        if by > 0:
            following = bisect_right(times, self._reached)
            self.seek(times[following] if following < len(times) else inf)
        elif self._count:
            first = bisect_left(times, times[self._count - 1])
            self.seek(times[first - 1] if first else 0.0)

    def next_race(self) -> None:
        """Goes to the start of the next race, or to the end where there is none."""
        here, index = self._position(), self._index

        def place() -> float | None:
            later = (race for race in index.races if race > here)
            return next(later, index.length if index.end is not None else None)

        self._want(place, here)

    def last_race(self) -> None:
        """Goes to this race's start, or to that of the one before where it has just begun."""
        here = self._position() - _AGAIN
        self.seek(next((race for race in reversed(self._index.races) if race <= here), 0.0))

    def change_speed(self, step: int) -> None:
        """Plays faster (1) or slower (-1)."""
        self._go_on(self._position())
        faster = [speed for speed in SPEEDS if speed > self._speed]
        slower = [speed for speed in SPEEDS if speed < self._speed]
        if step > 0:
            self._speed = faster[0] if faster else self._speed
        else:
            self._speed = slower[-1] if slower else self._speed

    def switch_loop(self) -> None:
        self._loop = not self._loop

    def view(self) -> PlaybackView:
        index = self._index
        position = self._position()
        return PlaybackView(
            position=min(position, index.length) if index.end is not None else position,
            length=max(index.length, position) if index.end is None else index.length,
            read=index.share,
            playing=self._since is not None,
            speed=self._speed,
            loop=self._loop,
            seeking=self._wanted is not None,
            marks=index.marks,
        )

    def _want(self, place: Callable[[], float | None], aim: float) -> None:
        self._wanted, self._aim = place, aim

    def _look_ahead(self) -> None:
        """Reads on for a moment; for longer where somebody waits for what is not known yet."""
        begun = self._clock()
        waiting = self._wanted is not None and self._wanted() is None
        room = _SEEKING_SECONDS if waiting else _AHEAD_SECONDS
        self._index.read_on(lambda: self._clock() - begun >= room)

    def _position(self) -> float:
        """How far the recording has been played."""
        if self._since is None:
            return self._reached
        return self._reached + (self._clock() - self._since) * self._speed

    def _go_on(self, position: float) -> None:
        """From here on, playing or standing as before."""
        self._reached = position
        self._since = None if self._since is None else self._clock()

    def _come_to_end(self, due: list[FeedEvent], position: float) -> None:
        """Says that it is over and stops there; in a loop, begins again after a while."""
        index = self._index
        assert index.end is not None
        if self._loop:
            if self._wanted is None and position >= index.length + _REST * self._speed:
                self.seek(0.0)
            return
        if not self._told:
            due.append(index.end)
            self._told = True
        self._reached, self._since = index.length, None
