"""The running race as the bytes of a recording, kept from its start: it can begin at any moment."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pitwall_tui import __version__
from pitwall_tui.feed.codec import Encoder
from pitwall_tui.race.events import EngineReady, FeedEvent, Loading, Progress, RaceStarted

FORMAT = "pitwall recording"
SCHEMA = 3
GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6
_FLUSH_EVERY = 1.0
_KEPT = 64 * 2**20


class Standing:
    """The engine as it stands: what a race needs of all that was before it."""

    def __init__(self) -> None:
        self._lights: dict[int, Loading] = {}
        self._ready: EngineReady | None = None
        self._progress: Progress | None = None

    def apply(self, event: FeedEvent) -> None:
        """Takes the next event of the feed."""
        match event:
            case Loading():
                self._lights[event.index] = event
            case EngineReady():
                self._ready, self._progress = event, None
            case Progress():
                self._progress = self._bare(event)

    def events(self) -> tuple[FeedEvent, ...]:
        """Events that bring another wall to where the engine stands."""
        last = (self._ready, self._progress)
        return (*self._lights.values(), *(event for event in last if event is not None))

    def _bare(self, event: Progress) -> Progress:
        """Its snapshot without requests, and of the last step that was made no more than its
        knobs."""
        snapshot = event.snapshot
        steps = snapshot.steps[-1:]
        if not steps and self._progress is not None:
            steps = self._progress.snapshot.steps
        still = tuple(
            replace(step, tokens=(), preempted=(), finished=(), quality=None, verdicts=())
            for step in steps
        )
        return Progress(replace(snapshot, steps=still, requests=()), ())


class Tape:
    """One race as a recording of its own: a gzip member, whose first line says what it is.

    `content` holds all bytes so far, as long as they are no more than `kept`; None after that.
    `started` says that the race's start is among them.
    """

    def __init__(self, standing: Iterable[FeedEvent] = (), kept: int = _KEPT) -> None:
        """Of a race that begins where the engine stands as these events say."""
        self.content: bytearray | None = bytearray()
        self._kept = kept
        self._encoder = Encoder()
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, GZIP)
        self._flushed = 0.0
        self.started = False
        before = [self._encoder.encode(event) for event in standing]
        header = {"format": FORMAT, "schema": SCHEMA, "pitwall": __version__, "standing": before}
        self._keep(self._put(header))
        self.flush()

    def write(self, time: float, event: FeedEvent) -> bytes:
        """Adds an event that came at `time`, in s; the bytes that are ready to be stored.

        Once a second they are all there.
        """
        self.started |= isinstance(event, RaceStarted)
        ready = self._put([round(time, 3), *self._encoder.encode(event)])
        if time - self._flushed >= _FLUSH_EVERY:
            ready += self._gzip.flush(zlib.Z_SYNC_FLUSH)
            self._flushed = time
        return self._keep(ready)

    def flush(self) -> bytes:
        """The bytes of all that has been written."""
        return self._keep(self._gzip.flush(zlib.Z_SYNC_FLUSH))

    def ending(self) -> bytes:
        """What makes a whole recording of the bytes so far; the tape goes on without it."""
        return self._gzip.copy().flush()

    def _put(self, value: Any) -> bytes:
        return self._gzip.compress(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    def _keep(self, ready: bytes) -> bytes:
        if self.content is not None:
            self.content += ready
            if len(self.content) > self._kept:
                self.content = None
        return ready
