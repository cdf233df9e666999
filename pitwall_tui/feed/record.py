"""Recordings: a race's events as JSON lines in gzip, each with the time at which it came."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Literal

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui.feed.base import Feed
from pitwall_tui.feed.tape import Standing, Tape
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.events import FeedEvent, RaceStarted, RecordingStopped
from pitwall_tui.race.playback import file_size

LIMIT_MIB = 64
_SUFFIX = ".jsonl.gz"


class RecordingError(RaceError):
    """A recording that cannot be written or read: one line that names the file and why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file that is, or was, recorded to, and its bytes so far."""

    path: Path
    size: int


class Recorder:
    """Keeps the running race in memory, and writes it to a file from when it is asked to.

    Each race is a recording of its own within the file, and one that grew past `limit` bytes is
    followed by another when the next race starts. A process that is killed leaves a file that reads
    up to its last second. `file` is None while nothing is recorded.
    """

    def __init__(self, limit: int = LIMIT_MIB * 2**20) -> None:
        self.file: Recorded | None = None
        self._limit = limit
        self._first = Path()
        self._out: FileIO | None = None
        self._tape = Tape()
        self._standing = Standing()
        self._circuit = ""

    def write(self, time: float, event: FeedEvent) -> None:
        """Adds an event that came at `time`, in s on any clock that does not go back.

        Raises RecordingError where the file cannot be written; the recording has ended then.
        """
        ending = None
        if isinstance(event, RaceStarted):
            self._circuit = event.circuit
            if self._tape.started:
                ending = self._tape.ending()
                self._tape = Tape(self._standing.events())
        self._standing.apply(event)
        ready = self._tape.write(time, event)
        if ending is not None:
            self._store(ending)
            if self.file is not None and self.file.size >= self._limit:
                self._close()
                self._open(_unused(self._first), "xb")
            ready = bytes(self._tape.content or b"")
        self._store(ready)

    def start(self, path: str | Path, mode: Literal["wb", "xb"] = "wb") -> None:
        """Records to this file, made anew: the running race from its start, and those after it.

        Raises RecordingError where it cannot be written, or more has happened in the race than is
        kept.
        """
        self._tape.flush()
        if self._tape.content is None:
            raise RecordingError(
                f"{path}: too much has happened in this race: record from the next one on"
            )
        self._first = Path(path)
        self._open(self._first, mode)
        self._store(bytes(self._tape.content))

    def start_unnamed(self, now: datetime) -> None:
        """Records to a new file in the working folder, named by the circuit and the time."""
        stem = f"pitwall-{self._circuit or 'start'}-{now:%Y%m%d-%H%M}"
        self.start(_unused(Path(stem + _SUFFIX)), "xb")

    def switch(self, now: datetime) -> str:
        """Begins a recording, or ends it; what has been done, in words."""
        file = self.stop()
        if file is not None:
            return f"recorded {file.path.resolve()}, {file_size(file.size)}"
        self.start_unnamed(now)
        assert self.file is not None
        return f"recording {self.file.path.name}, the race from its start"

    def stop(self) -> Recorded | None:
        """Ends the recording; what was recorded, None where nothing was.

        Raises RecordingError where it cannot be finished.
        """
        self._store(self._tape.ending())
        return self._close()

    def _open(self, path: Path, mode: Literal["wb", "xb"]) -> None:
        try:
            self._out = path.open(mode, buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from None
        self.file = Recorded(path, 0)

    def _store(self, data: bytes) -> None:
        if self.file is None or self._out is None:
            return
        path, left = self.file.path, memoryview(data)
        try:
            while left:
                left = left[self._out.write(left) :]
        except OSError as error:
            self._close()
            raise _unwritable(path, error) from None
        self.file = Recorded(path, self.file.size + len(data))

    def _close(self) -> Recorded | None:
        file, self.file = self.file, None
        out, self._out = self._out, None
        if file is not None and out is not None:
            try:
                out.close()
            except OSError as error:
                raise _unwritable(file.path, error) from None
        return file


class RecordingFeed:
    """Another feed, whose events a recorder takes as they are pulled.

    Where its file cannot be written any more the race goes on and a RecordingStopped says so.
    """

    def __init__(self, feed: Feed, recorder: Recorder, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._recorder = recorder
        self._clock = clock
        self.live = feed.live
        self.source = feed.source

    def start(self) -> None:
        self._feed.start()

    def pull(self) -> tuple[FeedEvent, ...]:
        events = self._feed.pull()
        now, stopped = self._clock(), []
        for event in events:
            try:
                self._recorder.write(now, event)
            except RecordingError as error:
                stopped.append(RecordingStopped(str(error)))
        return (*events, *stopped)

    def set_knobs(self, knobs: Knobs) -> None:
        self._feed.set_knobs(knobs)

    def set_paused(self, paused: bool) -> None:
        self._feed.set_paused(paused)

    def set_pace(self, tokens_per_second: float) -> None:
        self._feed.set_pace(tokens_per_second)

    def set_draft(self, folder: str) -> None:
        self._feed.set_draft(folder)

    def next_race(self) -> None:
        self._feed.next_race()

    def again(self) -> None:
        self._feed.again()

    def study(self, layer: str, scheme: str) -> None:
        self._feed.study(layer, scheme)

    def studies(self) -> tuple[StudyNews, ...]:
        return self._feed.studies()

    def close(self) -> None:
        try:
            self._feed.close()
        finally:
            self._recorder.stop()


def _unused(path: Path) -> Path:
    """The path itself, or the first with -2, -3, ... in its name that is not taken."""
    if not path.exists():
        return path
    stem, dot, suffix = path.name.partition(".")
    names = (path.with_name(f"{stem}-{number}{dot}{suffix}") for number in count(2))
    return next(name for name in names if not name.exists())


def _unwritable(path: str | Path, error: OSError) -> RecordingError:
    return RecordingError(f"{path}: cannot be written: {error.strerror or error}")
