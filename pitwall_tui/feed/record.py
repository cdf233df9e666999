"""Recordings: a race's events as JSON lines in gzip, each with the time at which it came."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui import __version__
from pitwall_tui.feed.base import Feed
from pitwall_tui.feed.codec import decode_event, encode_event
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.events import FeedEnded, FeedEvent, RecordingStopped

SCHEMA = 2
_FORMAT = "pitwall recording"
_FLUSH_EVERY = 1.0


class RecordingError(RaceError):
    """A recording that cannot be written or read: one line that names the file and why."""


class Recorder:
    """Writes a recording. A process that is killed leaves a file that reads up to its last second.

    Raises RecordingError where the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._flushed = 0.0
        try:
            self._file = gzip.GzipFile(path, "wb", compresslevel=6)
        except OSError as error:
            raise _unwritable(path, error) from None
        self._put({"format": _FORMAT, "schema": SCHEMA, "pitwall": __version__})
        self._flush()

    def write(self, time: float, event: FeedEvent) -> None:
        """Adds an event that came at `time`, in s on any clock that does not go back."""
        self._put([round(time, 3), *encode_event(event)])
        if time - self._flushed >= _FLUSH_EVERY:
            self._flush()
            self._flushed = time

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def _put(self, value: Any) -> None:
        try:
            self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def _flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise _unwritable(self._path, error) from None


class RecordingFeed:
    """Another feed, whose events are recorded as they are pulled.

    Where the file cannot be written any more the race goes on and a RecordingStopped says so.
    """

    def __init__(self, feed: Feed, recorder: Recorder, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._recorder: Recorder | None = recorder
        self._clock = clock
        self.live = feed.live
        self.source = feed.source

    def start(self) -> None:
        self._feed.start()

    def pull(self) -> tuple[FeedEvent, ...]:
        events = self._feed.pull()
        if self._recorder is None:
            return events
        now = self._clock()
        try:
            for event in events:
                self._recorder.write(now, event)
        except RecordingError as error:
            self._recorder = None
            return (*events, RecordingStopped(str(error)))
        return events

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
            recorder, self._recorder = self._recorder, None
            if recorder is not None:
                recorder.close()


def read_recording(path: str | Path) -> Iterator[tuple[float, FeedEvent]]:
    """The (time, event) pairs of a recording, read as they are asked for.

    The file is opened and its header read at once: raises RecordingError where it is no recording
    of ours, or of a newer pitwall. One that breaks off is read as far as it goes and ends with a
    FeedEnded that says so.
    """
    try:
        file = gzip.GzipFile(path, "rb")
        header = file.readline()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is not a recording"
        raise RecordingError(f"{path}: cannot be read: {reason}") from None
    try:
        _check_header(path, header)
    except RecordingError:
        file.close()
        raise
    return _events(path, file)


def events_of(path: str | Path) -> Iterator[FeedEvent]:
    """The events of a recording without their times; raises as `read_recording` does."""
    return (event for _, event in read_recording(path))


def _check_header(path: str | Path, header: bytes) -> None:
    try:
        found = json.loads(header)
        known, schema = found["format"] == _FORMAT, found["schema"]
    except (ValueError, TypeError, KeyError):
        known, schema = False, None
    if not (known and isinstance(schema, int)):
        raise RecordingError(f"{path}: not a recording of pitwall")
    if schema < SCHEMA:
        raise RecordingError(
            f"{path}: recorded by an earlier pitwall (schema {schema}, this one reads {SCHEMA}):"
            " record it anew"
        )
    if schema > SCHEMA:
        raise RecordingError(
            f"{path}: recorded by pitwall {found.get('pitwall')}, newer than this one"
            f" (schema {schema}, this one reads {SCHEMA})"
        )


def _events(path: str | Path, file: gzip.GzipFile) -> Iterator[tuple[float, FeedEvent]]:
    time = 0.0
    with file:
        try:
            for line in file:
                time, event = _row(json.loads(line))
                yield time, event
        except (OSError, EOFError, zlib.error, ValueError):
            yield time, FeedEnded(f"{path}: the recording breaks off here")


def _row(row: Any) -> tuple[float, FeedEvent]:
    if not (isinstance(row, list) and row and isinstance(row[0], int | float)):
        raise ValueError("not a time and an event")
    return float(row[0]), decode_event(row[1:])


def _unwritable(path: str | Path, error: OSError) -> RecordingError:
    return RecordingError(f"{path}: cannot be written: {error.strerror or error}")
