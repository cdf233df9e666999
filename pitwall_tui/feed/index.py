"""A recording looked through ahead of its playing: times, marks, and states to go on from."""

import pickle
from array import array
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from engine.config import Knobs
from pitwall_tui.feed.reading import Reader
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.events import FeedEnded, FeedEvent, Progress, RaceStarted
from pitwall_tui.race.playback import Mark, MarkKind
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import Flag

_EVERY = 50  # events between two states that are kept, at first
_MOST = 128
_FLAGS: dict[Flag, tuple[MarkKind, str]] = {
    "red": ("red", "red flag"),
    "safety": ("safety", "safety car"),
    "yellow": ("yellow", "yellow flag"),
    "chequered": ("chequered", "chequered flag"),
}
_QUIET = 1.0  # s in which a mark of the same kind and text is not set again


class Index:
    """Folds a recording from its start, a little at a time, and keeps the way back to any place.

    Every 50 events the state is kept, pickled, with a reader that goes on from there; where there
    are more than 128 of them every other is dropped. `times` are those of all events so far, in s
    from the first, `races` those of race starts; `end` is what ends the recording, None until it
    has been come to.
    """

    def __init__(self, path: str | Path, source: str) -> None:
        """Raises RecordingError where it cannot be read."""
        self._path = path
        self._reader = Reader(path)
        self._state = RaceState(source)
        self._every = _EVERY
        self._kept: list[tuple[int, bytes, Reader]] = []
        self._marks: list[Mark] = []
        self._last: dict[tuple[MarkKind, str], float] = {}
        self._flag: Flag = "lights"
        self._knobs: Knobs | None = None
        self.marks: tuple[Mark, ...] = ()
        self.times = array("d")
        self.races: list[float] = []
        self.end: FeedEnded | None = None
        self._first: float | None = None
        self._newest = 0.0
        self._keep()

    @property
    def share(self) -> float:
        return self._reader.share if self.end is None else 1.0

    @property
    def length(self) -> float:
        """Seconds from the first event to the end; an estimate until that is known."""
        return self._newest / max(self.share, 1e-3)

    def knows(self, time: float) -> bool:
        """Whether all is known that has happened until then."""
        return self.end is not None or self._newest > time

    def read_on(self, enough: Callable[[], bool]) -> None:
        """Reads until it is enough, or all there is."""
        while self.end is None and not enough():
            self._read_one()
        if len(self.marks) != len(self._marks):
            self.marks = tuple(self._marks)

    def state_at(self, count: int) -> tuple[RaceState, Reader]:
        """The race after the first `count` events, and what reads on from there."""
        place = bisect_right(self._kept, count, key=lambda kept: kept[0]) - 1
        folded, pickled, reader = self._kept[place]
        state: RaceState = pickle.loads(pickled)
        reader = reader.fork()
        for _ in range(count - folded):
            found = reader.next()
            assert found is not None
            state.apply(found[1])
        return state, reader

    def _read_one(self) -> None:
        found = self._reader.next()
        if found is None:
            self.end = FeedEnded("the recording is over")
            return
        time, event = found
        self._first = time if self._first is None else self._first
        self._newest = time - self._first
        if isinstance(event, FeedEnded):
            self.end = event
            return
        try:
            self._state.apply(event)
            flag = self._state.flag
        except Exception:  # events of one another's form that make no race, whatever they are
            self.end = FeedEnded(f"{self._path}: the recording is damaged here")
            return
        self.times.append(self._newest)
        self._note(self._newest, event, flag)
        if len(self.times) % self._every == 0:
            self._keep()

    def _keep(self) -> None:
        self._kept.append((len(self.times), pickle.dumps(self._state, 5), self._reader.fork()))
        if len(self._kept) > _MOST:
            self._every *= 2
            self._kept = [kept for kept in self._kept if kept[0] % self._every == 0]

    def _note(self, time: float, event: FeedEvent, flag: Flag) -> None:
        """Marks what is to be seen along the recording."""
        if isinstance(event, RaceStarted):
            circuit = CIRCUITS.get(event.circuit)
            self.races.append(time)
            self._mark(time, "race", circuit.title if circuit else event.circuit)
            self._flag, self._knobs = "lights", None
        if flag != self._flag and flag in _FLAGS:
            self._mark(time, *_FLAGS[flag])
        self._flag = flag
        if isinstance(event, Progress):
            for step in event.snapshot.steps:
                if self._knobs is not None and step.knobs != self._knobs:
                    changes = step.knobs.changes(self._knobs)
                    words = (f"{name} {value}" for name, value in changes)
                    self._mark(time, "knob", ", ".join(words))
                self._knobs = step.knobs
                if step.preempted:
                    self._mark(time, "pit", "pit stop")

    def _mark(self, time: float, kind: MarkKind, text: str) -> None:
        if time - self._last.get((kind, text), -_QUIET) >= _QUIET:
            self._marks.append(Mark(time, kind, text))
            self._last[kind, text] = time
