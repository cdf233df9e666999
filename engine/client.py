"""The engine from another process: starts it, talks to it, ends it. Imports no torch."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from engine.config import EngineConfig, Knobs, Request
from engine.messages import (
    Answer,
    Close,
    Command,
    Pace,
    Pause,
    Pull,
    Ready,
    Reset,
    SetDraft,
    SetKnobs,
    Snapshot,
    Study,
    Submit,
)

# How long an engine may take to end by itself: a step, at most.
GRACE_SECONDS = 2.0


class EngineLostError(Exception):
    """The engine's process has ended without being asked to; says why as far as is known."""


class EngineClient:
    """An engine in a process of its own.

    Nothing here blocks but `close`, and `pull` while it finds out how a lost engine ended.
    """

    def __init__(self, config: EngineConfig, knobs: Knobs) -> None:
        here, there = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        root = str(Path(__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine.worker", str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                # A session of its own: signals for the terminal's group are not for it.
                start_new_session=True,
                env={
                    # A thread that waits by spinning starves whatever shares its core, the
                    # screen or itself: a step beside one busy process took 30 times as long.
                    "OMP_WAIT_POLICY": "passive",
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(paths),
                    "PYTHONSAFEPATH": "1",
                },
            )
        self._connection = Connection(here.detach())
        self._connection.send((config, knobs))
        self._asked = False
        self._loading = True

    @property
    def pid(self) -> int:
        return self._process.pid

    def submit(self, requests: tuple[Request, ...]) -> None:
        self._send(Submit(requests))

    def reset(self) -> None:
        """Abort and forget every request."""
        self._send(Reset())

    def set_knobs(self, knobs: Knobs) -> None:
        self._send(SetKnobs(knobs))

    def set_draft(self, folder: str) -> None:
        """Have the model in this folder draft; a Refusal comes where it cannot."""
        self._send(SetDraft(folder))

    def pause(self, paused: bool) -> None:
        self._send(Pause(paused))

    def pace(self, tokens_per_second: float) -> None:
        self._send(Pace(tokens_per_second))

    def study(self, layer: str, scheme: str) -> None:
        self._send(Study(layer, scheme))

    def pull(self, timeout: float = 0.0) -> tuple[Answer, ...]:
        """What has come in since the last call; asks for the next snapshot.

        One request is under way at most, so the engine is never flooded. `timeout` seconds are
        waited for something to come. Raises EngineLostError.
        """
        if not self._asked:
            self._send(Pull())
            self._asked = True
        answers: list[Answer] = []
        try:
            while self._connection.poll(0.0 if answers else timeout):
                answer: Answer = self._connection.recv()
                answers.append(answer)
                self._loading &= not isinstance(answer, Ready)
                if isinstance(answer, Snapshot):
                    self._asked = False
        except (EOFError, OSError):
            if not answers:
                raise self._lost() from None
        return tuple(answers)

    def close(self) -> None:
        """End the process, by force if it does not end by itself; can be called twice.

        One that still loads listens to nobody, and has nothing to finish.
        """
        if self._loading:
            self._process.kill()
        with suppress(OSError, ValueError):  # gone, or closed before
            self._connection.send(Close())
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._connection.close()
        self._stderr.close()

    def _send(self, command: Command) -> None:
        try:
            self._connection.send(command)
        except OSError:
            # Whatever is left to read comes first; pull() then tells of the loss.
            return

    def _lost(self) -> EngineLostError:
        try:
            status = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return EngineLostError("it closed its connection")
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        cause = f"killed by {_signal(-status)}" if status < 0 else f"exit status {status}"
        return EngineLostError(f"{cause}: {lines[-1]}" if lines else cause)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
