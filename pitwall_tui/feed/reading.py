"""Reading recordings, from their start or from any place that a reader has been to."""

import json
import os
import zlib
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any
from weakref import finalize

from pitwall_tui.feed.codec import Decoder
from pitwall_tui.feed.record import RecordingError
from pitwall_tui.feed.tape import FORMAT, GZIP, SCHEMA
from pitwall_tui.race.events import FeedEnded, FeedEvent

OLDEST = 2
# More than any line of ours: what is longer is no recording, whatever it unpacks to.
LONGEST_LINE = 16 * 2**20
_CHUNK = 2**13
_UNPACKED = 2**16


class _BrokenError(ValueError):
    """Why a recording cannot be read on."""


class _Lines:
    """The lines of a file of gzip members. A fork goes on from the same place by itself."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.offset = 0
        self._gzip = zlib.decompressobj(GZIP)
        self._packed = b""
        self._text = b""

    def fork(self) -> "_Lines":
        other = _Lines(self._file)
        other.offset, other._packed, other._text = self.offset, self._packed, self._text
        other._gzip = self._gzip.copy()
        return other

    def next(self) -> bytes | None:
        """The next line, None after the last. Raises OSError, zlib.error or _BrokenError."""
        while (end := self._text.find(b"\n")) < 0:
            if len(self._text) > LONGEST_LINE:
                raise _BrokenError(f"a line of more than {LONGEST_LINE >> 20} MiB is none of ours")
            if not self._unpack():
                if self._text:
                    raise _BrokenError("the recording breaks off here")
                return None
        line, self._text = self._text[:end], self._text[end + 1 :]
        return line

    def _unpack(self) -> bool:
        """Adds to the text; False at the end of the file."""
        read = bool(self._packed) or self._fill()
        if self._gzip.eof:
            if not read:
                return False
            self._gzip = zlib.decompressobj(GZIP)
        unpacked = self._gzip.decompress(self._packed, _UNPACKED)
        if not read and not unpacked:
            raise _BrokenError("the recording breaks off here")
        self._packed = self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail
        self._text += unpacked
        return True

    def _fill(self) -> bool:
        self._packed = os.pread(self._file, _CHUNK, self.offset)
        self.offset += len(self._packed)
        return bool(self._packed)


class _File:
    """An open file, closed with the last reader of it."""

    def __init__(self, path: str | Path) -> None:
        self.number = os.open(path, os.O_RDONLY)
        finalize(self, os.close, self.number)
        self.size = os.fstat(self.number).st_size


class Reader:
    """Reads a recording event by event. What cannot be read on ends with a FeedEnded that says so.

    Raises RecordingError at once where the file is no recording of ours, or of a newer pitwall.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._time = 0.0
        self._decoder = Decoder()
        self._over = False
        try:
            self._file = _File(path)
            self._lines = _Lines(self._file.number)
            header = self._lines.next() or b""
        except (OSError, zlib.error, _BrokenError) as error:
            reason = getattr(error, "strerror", None) or "it is not a recording"
            raise RecordingError(f"{path}: cannot be read: {reason}") from None
        # Events that have no line of their own: they happen with the first that has one.
        self._standing = self._begin(header)
        self._due: list[tuple[float, FeedEvent]] = []

    def fork(self) -> "Reader":
        """Another one, at the same place."""
        other = object.__new__(Reader)
        other.__dict__ |= self.__dict__
        other._lines, other._decoder = self._lines.fork(), self._decoder.fork()
        other._due = list(self._due)
        return other

    @property
    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return 1.0 if self._over else min(self._lines.offset / max(self._file.size, 1), 1.0)

    def next(self) -> tuple[float, FeedEvent] | None:
        """The next event and its time in s, None after the last; times do not go back."""
        if self._over:
            return None
        try:
            found = self._due.pop(0) if self._due else self._row()
        except RecordingError as error:
            found = self._time, FeedEnded(str(error))
        except (OSError, zlib.error, EOFError):
            found = self._time, FeedEnded(f"{self._path}: the recording breaks off here")
        except _BrokenError as error:
            found = self._time, FeedEnded(f"{self._path}: {error}")
        except (ValueError, OverflowError, RecursionError):
            reason = "the recording is damaged here, or of a newer pitwall"
            found = self._time, FeedEnded(f"{self._path}: {reason}")
        if found is not None and self._standing:
            self._due = [*((found[0], event) for event in self._standing[1:]), found]
            found, self._standing = (found[0], self._standing[0]), ()
        self._over = found is None or isinstance(found[1], FeedEnded)
        return found

    def _row(self) -> tuple[float, FeedEvent] | None:
        line = self._lines.next()
        while line is not None and line.startswith(b"{"):
            # Another race begins: who has come so far knows how the engine stands.
            self._begin(line)
            line = self._lines.next()
        if line is None:
            return None
        row = json.loads(line)
        if not (isinstance(row, list) and row and isinstance(row[0], int | float)):
            raise ValueError("not a time and an event")
        time = float(row[0])
        if not isfinite(time):
            raise ValueError("not a time")
        self._time = max(self._time, time)
        return self._time, self._decoder.decode(row[1:])

    def _begin(self, header: bytes) -> tuple[FeedEvent, ...]:
        """Checks the first line of a race; how the engine stood at its start."""
        try:
            found = json.loads(header)
            known, schema = found["format"] == FORMAT, found["schema"]
        except (ValueError, TypeError, LookupError, RecursionError):
            known, schema, found = False, None, {}
        if not (known and isinstance(schema, int)):
            raise RecordingError(f"{self._path}: not a recording of pitwall")
        if schema < OLDEST:
            raise RecordingError(
                f"{self._path}: recorded by an earlier pitwall (schema {schema}, this one reads"
                f" {OLDEST} to {SCHEMA}): record it anew"
            )
        if schema > SCHEMA:
            raise RecordingError(
                f"{self._path}: recorded by pitwall {str(found.get('pitwall'))[:20]}, newer than"
                f" this one (schema {schema}, this one reads {OLDEST} to {SCHEMA})"
            )
        self._decoder = Decoder()
        return self._stood(found.get("standing", []))

    def _stood(self, events: Any) -> tuple[FeedEvent, ...]:
        try:
            return tuple([self._decoder.decode(event) for event in events])
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise RecordingError(
                f"{self._path}: its first line is damaged, or of a newer pitwall"
            ) from None


def read_recording(path: str | Path) -> Iterator[tuple[float, FeedEvent]]:
    """The (time, event) pairs of a recording, read as they are asked for: see Reader."""
    return iter(Reader(path).next, None)


def events_of(path: str | Path) -> Iterator[FeedEvent]:
    """The events of a recording without their times; raises as Reader does."""
    return (event for _, event in read_recording(path))
