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
from typing import TYPE_CHECKING, Generic, TypeVar

from engine.clock import PausableClock
from engine.config import (
    EngineConfig,
    EngineError,
    KnobError,
    Knobs,
    ModelError,
    Request,
    RequestError,
)
from engine.messages import (
    Answer,
    Close,
    Command,
    Drafting,
    DraftRefusal,
    KnobsRefusal,
    Pace,
    Pause,
    Phase,
    Pull,
    Ready,
    RequestRefusal,
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
    from engine.formats import Formats
    from engine.workshop import Workshop


Subject = TypeVar("Subject")
Result = TypeVar("Result")

# Between two looks at what is done beside the steps, where nothing else is to be done.
POLL_SECONDS = 0.05


class _Beside(Thread, Generic[Subject, Result]):
    """Work `on` something that is done beside the steps; what it gave, or why it failed, once it
    has ended."""

    def __init__(self, on: Subject, work: Callable[[], Result]) -> None:
        super().__init__(daemon=True)
        self.on = on
        self._work = work
        self.result: Result | None = None
        self.failed = ""
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:  # whatever it is, the race goes on without
            self.failed = _in_a_line(error)


def _in_a_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class Worker:
    """Steps an engine and serves its client in between."""

    def __init__(
        self,
        engine: "Engine",
        formats: "Formats",
        connection: Connection,
        clock: PausableClock,
        workshop: "Workshop",
    ) -> None:
        """The `engine` serves the model that these `formats` are of."""
        self._engine = engine
        self._formats = formats
        self._workshop = workshop
        self._connection = connection
        self._clock = clock
        self._steps: list[StepStats] = []
        self._paused = False
        self._pace = 0.0
        self._due = 0.0
        self._open = True
        self._asked = engine.knobs
        self._requests: dict[str, Request] = {}
        self._building: _Beside[Knobs, None] | None = None
        self._opening: _Beside[str, Draft] | None = None  # by its folder

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
                        self._requests[request.id] = request
                    except RequestError as error:
                        self._send(RequestRefusal(str(error), request.id))
            case Reset():
                self._engine.reset()
                self._requests.clear()
                self._steps.clear()
                self._due = self._clock()
            case SetKnobs(knobs):
                try:
                    self._engine.check_knobs(knobs)
                    self._asked = knobs
                except KnobError as error:
                    self._send(KnobsRefusal(str(error), knobs, self._asked))
            case SetDraft(folder):
                self._opening = _Beside(folder, lambda: self._open_draft(folder))
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
            built, self._building = self._building, None
            if built.failed:
                self._do_without(built.on, built.failed)
                asked = self._asked
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
            self._building = _Beside(missing, lambda: engine.prepare(missing))

    def _do_without(self, missing: Knobs, failed: str) -> None:
        """What these knobs need, or are measured by, cannot be built; what is still asked for of it
        would only fail again."""
        engine, asked = self._engine, self._asked
        if engine.prepared(asked):
            if engine.measured_by(asked) != missing:
                return  # nobody asks for it any more
            instead = replace(asked, quality="off")
            told = f"quality off, fp32 cannot be had: {failed}"
        elif _needs(asked) != _needs(missing):
            return  # what is asked for now has yet to be built
        elif engine.prepared(replace(asked, speculation="off")):
            instead = replace(asked, speculation="off")
            told = f"speculation {asked.speculation}: {failed}"
        else:
            instead = engine.knobs
            told = f"weights {asked.weights} with {asked.kernels} kernels: {failed}"
        self._asked = instead
        self._send(KnobsRefusal(told, asked, instead))

    def _open_draft(self, folder: str) -> "Draft":
        return self._prepare_draft(self._engine.open_draft(folder))

    def _prepare_draft(self, draft: "Draft") -> "Draft":
        draft.prepare(self._engine.knobs)
        return draft

    def _use_draft(self) -> None:
        """Bring a draft model that has been opened into the race; one that cannot be is refused
        before anything is touched."""
        if self._opening is None or self._opening.is_alive():
            return
        opening, self._opening = self._opening, None
        folder, draft = opening.on, opening.result
        if draft is None:
            self._send(DraftRefusal(opening.failed, folder))
            return
        if not draft.ready(self._engine.knobs):  # the kernels were switched meanwhile
            self._opening = _Beside(folder, lambda: self._prepare_draft(draft))
            return
        try:
            self._check_room(draft)
        except (EngineError, MemoryError, RuntimeError) as error:
            self._send(DraftRefusal(f"draft model {folder!r}: {_in_a_line(error)}", folder))
            return
        self._engine.use_draft(draft)
        self._send(Drafting(folder))

    def _check_room(self, draft: "Draft") -> None:
        from engine.draft_model import check_room

        engine = self._engine
        live = [
            request.max_length
            for id, request in self._requests.items()
            if engine.request(id).finish_reason is None
        ]
        check_room(draft, self._formats, engine.config, engine.knobs.kv_dtype, live)

    def _snapshot(self, steps: tuple[StepStats, ...]) -> EngineSnapshot:
        now = self._clock()
        return self._engine.snapshot(steps, now, self._paused, self._pace, self._asked)

    def _send(self, answer: Answer) -> None:
        self._connection.send(answer)


def _needs(knobs: Knobs) -> tuple[str, ...]:
    """Of knobs, what has to be built for them."""
    return knobs.weights, knobs.kernels, knobs.speculation


@contextmanager
def _phase(connection: Connection, index: int, detail: str) -> Iterator[list[str]]:
    """What is put on the list is told when the phase is done."""
    start = time.monotonic()
    connection.send(Phase(index, detail, None))
    details = [detail]
    yield details
    connection.send(Phase(index, ", ".join(details), time.monotonic() - start))


def load(connection: Connection, config: EngineConfig, knobs: Knobs) -> "Worker":
    """Load step by step, telling the client of each. Raises EngineError.

    What cannot draft is refused, and the engine goes on without it.
    """
    with _phase(connection, 0, "importing torch"):
        from engine.core import Engine
        from engine.formats import Formats
        from engine.kernels.build import is_to_be_built
        from engine.workshop import Workshop

    def without_draft(reason: str, details: list[str]) -> Knobs:
        if config.draft is not None:
            connection.send(DraftRefusal(reason, config.draft))
            details.append(f"without a draft model: {reason}")
        off = replace(knobs, speculation="off") if knobs.speculation == "junior" else knobs
        if off != knobs:
            connection.send(KnobsRefusal(reason, knobs, off))
        return off

    built = "building the native kernels, once; " if is_to_be_built() else ""
    with _phase(connection, 1, f"{built}reading {Path(config.model).name}"):
        formats = Formats(config, knobs)
    clock = PausableClock()
    clock.pause(True)  # it starts when the engine is ready
    memory = f"{config.kv_memory_mib:g} MiB in pages of {config.page_size}"
    with _phase(connection, 2, memory) as details:
        try:
            engine = Engine(formats, config, knobs, clock)
        except (ModelError, KnobError) as error:  # the model itself has been read
            knobs = without_draft(str(error), details)
            engine = Engine(formats, replace(config, draft=None), knobs, clock)
    with _phase(connection, 3, "first passes through every layer") as details:
        try:
            engine.prepare(knobs)
        except Exception as error:  # broken weights, no memory: the model itself has been built
            engine.set_knobs(without_draft(_in_a_line(error), details))
        engine.warm_up()
    clock.pause(False)
    connection.send(Ready(engine.info))
    return Worker(engine, formats, connection, clock, Workshop(Path(config.model)))


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
