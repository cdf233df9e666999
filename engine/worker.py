"""The engine's own process: `python -m engine.worker FD` serves the socket it inherited.

It answers between steps and never waits for the other side, except where it has no work. When
the other side is gone it ends.
"""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import EngineConfig, EngineError, Knobs, RequestError
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
    SetKnobs,
    Snapshot,
    Submit,
    Unusable,
)
from engine.stats import StepStats

if TYPE_CHECKING:
    from engine.core import Engine


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


class Worker:
    """Steps an engine and serves its client in between."""

    def __init__(self, engine: "Engine", connection: Connection, clock: PausableClock) -> None:
        self._engine = engine
        self._connection = connection
        self._clock = clock
        self._steps: list[StepStats] = []
        self._paused = False
        self._pace = 0.0
        self._due = 0.0
        self._open = True

    def serve(self) -> None:
        """Until the client closes or is gone."""
        while self._open:
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
            return None
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
            case SetKnobs(knobs):
                self._engine.set_knobs(knobs)
            case Pause(paused):
                self._paused = paused
                self._clock.pause(paused)
            case Pace(rate):
                self._pace = rate
                self._due = self._clock()
            case Pull():
                steps, self._steps = tuple(self._steps), []
                now = self._clock()
                self._send(Snapshot(self._engine.snapshot(steps, now, self._paused, self._pace)))
            case Close():
                self._open = False

    def _send(self, answer: Answer) -> None:
        self._connection.send(answer)


@contextmanager
def _phase(connection: Connection, index: int, detail: str) -> Iterator[None]:
    start = time.monotonic()
    connection.send(Phase(index, detail, None))
    yield
    connection.send(Phase(index, detail, time.monotonic() - start))


def load(connection: Connection, config: EngineConfig, knobs: Knobs) -> "Worker":
    """Load step by step, telling the client of each. Raises EngineError."""
    with _phase(connection, 0, "importing torch"):
        from engine.core import Engine, load_model
    with _phase(connection, 1, f"reading {Path(config.model).name}"):
        model = load_model(config)
    clock = PausableClock()
    clock.pause(True)  # it starts when the engine is ready
    with _phase(connection, 2, f"{config.kv_memory_mib:g} MiB in pages of {config.page_size}"):
        engine = Engine(model, config, knobs, clock)
    with _phase(connection, 3, "first passes through every layer"):
        engine.warm_up()
    clock.pause(False)
    connection.send(Ready(engine.info))
    return Worker(engine, connection, clock)


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
