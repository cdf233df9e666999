"""The engine's own process: `python -m engine.worker FD` serves the socket it inherited.

It answers between steps and never waits for the other side, except where it has no work. When
the other side is gone it ends.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

from engine.config import EngineConfig, EngineError, KnobError, Knobs, RequestError
from engine.messages import (
    Answer,
    Close,
    Command,
    Pace,
    Pause,
    Phase,
    Pull,
    Ready,
    Refusal,
    Reset,
    SetDraft,
    SetKnobs,
    Snapshot,
    Studied,
    Study,
    Submit,
    Unusable,
)
from engine.stats import EngineSnapshot, StepStats

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.draft_model import Draft
    from engine.workshop import Workshop


# Between two looks at what is done beside the steps, where nothing else is to be done.
POLL_SECONDS = 0.05


class PausableClock:
    """Seconds since it was made, standing still while paused."""

    def __init__(self) -> None:
        self._origin = time.monotonic()
        self._stopped: float | None = None

    def __call__(self) -> float:
        return (self._stopped or time.monotonic()) - self._origin

    def pause(self, paused: bool) -> None:
        if paused and self._stopped is None:
            self._stopped = time.monotonic()
        elif not paused and self._stopped is not None:
            self._origin += time.monotonic() - self._stopped
            self._stopped = None


class _Beside(Thread):
    """Work that is done beside the steps; what it gave, or why it failed, once it has ended."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.result: object = None
        self.failed = ""
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:  # whatever it is, the race goes on without
            self.failed = str(error).splitlines()[0] if str(error) else type(error).__name__


class Worker:
    """Steps an engine and serves its client in between."""

    def __init__(
        self,
        engine: "Engine",
        connection: Connection,
        clock: PausableClock,
        workshop: "Workshop",
    ) -> None:
        self._engine = engine
        self._workshop = workshop
        self._connection = connection
        self._clock = clock
        self._steps: list[StepStats] = []
        self._paused = False
        self._pace = 0.0
        self._due = 0.0
        self._open = True
        self._asked = engine.knobs
        self._building: _Beside | None = None
        self._opening: _Beside | None = None  # a draft model

    def serve(self) -> None:
        """Until the client closes or is gone."""
        while self._open:
            self._use_what_is_built()
            self._use_draft()
            for news in self._workshop.news():
                self._send(Studied(news))
            wait = self._wait()
            if self._connection.poll(wait):
                self._obey(self._connection.recv())
            elif wait == 0:
                begun = self._clock()
                stats = self._engine.step()
                self._steps.append(stats)
                if self._pace:
                    # Turns that a slow engine missed are not made up for.
                    self._due = max(self._due, begun) + stats.output_tokens / self._pace

    def _wait(self) -> float | None:
        """Seconds for which there is nothing to do but listen; None for as long as it takes."""
        if self._paused or not self._engine.has_work:
            busy = self._building or self._opening or self._workshop.busy
            return POLL_SECONDS if busy else None
        return max(0.0, self._due - self._clock()) if self._pace else 0.0

    def _obey(self, command: Command) -> None:
        match command:
            case Submit(requests):
                for request in requests:
                    try:
                        self._engine.submit(request)
                    except RequestError as error:
                        self._send(Refusal(request.id, str(error)))
            case Reset():
                self._engine.reset()
                self._steps.clear()
                self._due = self._clock()
            case SetKnobs(knobs):
                try:
                    self._engine.check_knobs(knobs)
                    self._asked = knobs
                except KnobError as error:
                    self._send(Refusal("", str(error)))
            case SetDraft(folder):
                self._opening = _Beside(lambda: self._open_draft(folder))
            case Pause(paused):
                self._paused = paused
                self._clock.pause(paused)
            case Pace(rate):
                # What is left of a wait grows or shrinks with it; asking again changes nothing.
                now = self._clock()
                left = max(0.0, self._due - now)
                self._due = now + (left * self._pace / rate if rate else 0.0)
                self._pace = rate
            case Pull():
                steps, self._steps = tuple(self._steps), []
                self._send(Snapshot(self._snapshot(steps)))
            case Study(layer, scheme):
                self._workshop.ask(layer, scheme)
            case Close():
                self._open = False

    def _use_what_is_built(self) -> None:
        """Bring the engine to the knobs asked for; formats that are not there are built beside it.

        The race goes on meanwhile, with all other knobs as they were asked for.
        """
        engine, asked = self._engine, self._asked
        if self._building is not None and not self._building.is_alive():
            failed, self._building = self._building.failed, None
            if failed:
                # Asked for again, it would fail again.
                if engine.prepared(asked):
                    told = f"quality off, fp32 cannot be had: {failed}"
                    asked = replace(asked, quality="off")
                else:
                    told = f"{_what_was_to_be_built(asked, engine.knobs)}: {failed}"
                    asked = engine.knobs
                self._send(Refusal("", told))
                self._asked = asked
        if engine.prepared(asked):
            engine.set_knobs(asked)
            missing = engine.measured_by(asked)
        else:
            served, missing = engine.knobs, asked
            engine.set_knobs(
                replace(
                    asked,
                    weights=served.weights,
                    kernels=served.kernels,
                    speculation=served.speculation,
                )
            )
        if self._building is None and not engine.prepared(missing):
            self._building = _Beside(lambda: engine.prepare(missing))

    def _open_draft(self, folder: str) -> "Draft":
        draft = self._engine.open_draft(folder)
        draft.prepare(self._engine.knobs)
        return draft

    def _use_draft(self) -> None:
        """Bring a draft model that has been opened into the race; one that cannot be is refused."""
        if self._opening is None or self._opening.is_alive():
            return
        opening, self._opening = self._opening, None
        if opening.failed:
            self._send(Refusal("", opening.failed))
        else:
            self._engine.use_draft(cast("Draft", opening.result))

    def _snapshot(self, steps: tuple[StepStats, ...]) -> EngineSnapshot:
        now = self._clock()
        return self._engine.snapshot(steps, now, self._paused, self._pace, self._asked)

    def _send(self, answer: Answer) -> None:
        self._connection.send(answer)


def _what_was_to_be_built(asked: Knobs, served: Knobs) -> str:
    if asked.weights == served.weights and asked.speculation != served.speculation:
        return f"speculation {asked.speculation}"
    return f"weights {asked.weights}"


@contextmanager
def _phase(connection: Connection, index: int, detail: str) -> Iterator[None]:
    start = time.monotonic()
    connection.send(Phase(index, detail, None))
    yield
    connection.send(Phase(index, detail, time.monotonic() - start))


def load(connection: Connection, config: EngineConfig, knobs: Knobs) -> "Worker":
    """Load step by step, telling the client of each. Raises EngineError."""
    with _phase(connection, 0, "importing torch"):
        from engine.core import Engine
        from engine.formats import Formats
        from engine.kernels.build import is_to_be_built
        from engine.workshop import Workshop
    built = "building the native kernels, once; " if is_to_be_built() else ""
    with _phase(connection, 1, f"{built}reading {Path(config.model).name}"):
        formats = Formats(config, knobs)
    clock = PausableClock()
    clock.pause(True)  # it starts when the engine is ready
    with _phase(connection, 2, f"{config.kv_memory_mib:g} MiB in pages of {config.page_size}"):
        engine = Engine(formats, config, knobs, clock)
    with _phase(connection, 3, "first passes through every layer"):
        engine.warm_up()
    clock.pause(False)
    connection.send(Ready(engine.info))
    return Worker(engine, connection, clock, Workshop(Path(config.model)))


def main(descriptor: int) -> None:
    """Serve the socket `descriptor`: first comes (EngineConfig, Knobs), then commands."""
    # The terminal's Ctrl-C is the client's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(descriptor) as connection:
        try:
            config, knobs = connection.recv()
            load(connection, config, knobs).serve()
        except EngineError as error:
            connection.send(Unusable(str(error)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
