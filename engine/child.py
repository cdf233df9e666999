"""A process of our own at the other end of a socket: started, talked to, ended. No torch."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

# How long a process may take to end by itself, usually: a step of an engine, at most.
GRACE_SECONDS = 2.0


class ProcessLostError(Exception):
    """A process has ended without being asked to; says why as far as is known."""


class Child:
    """`python -m MODULE FD`, a process that serves the socket FD and ends with it.

    One that has something to finish is given more `grace`, in seconds from being told to end.
    Nothing here blocks but `close`, and `receive` while it finds out how a lost process ended.
    """

    def __init__(self, module: str, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        here, there = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        root = str(Path(__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with there:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(there.fileno())],
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
        self.connection = Connection(here.detach())

    def send(self, message: object) -> None:
        """To a process that is gone, nothing: receive() tells of the loss, after what is left."""
        with suppress(OSError, ValueError):  # gone, or closed
            self.connection.send(message)

    def receive(self, timeout: float = 0.0) -> list[Any]:
        """What has come in since the last call; `timeout` seconds are waited for something.

        Raises ProcessLostError.
        """
        found: list[Any] = []
        try:
            while self.connection.poll(0.0 if found else timeout):
                found.append(self.connection.recv())
        except (EOFError, OSError):
            if not found:
                raise self._lost() from None
        return found

    def close(self, last: object, at_once: bool = False) -> None:
        """Say `last` and wait for the end, by force if need be; can be called twice."""
        if at_once:
            self.process.kill()
        self.send(last)
        try:
            self.process.wait(self._grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()
        self._stderr.close()

    def _lost(self) -> ProcessLostError:
        try:
            status = self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return ProcessLostError("it closed its connection")
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        cause = f"killed by {_signal(-status)}" if status < 0 else f"exit status {status}"
        return ProcessLostError(f"{cause}: {lines[-1]}" if lines else cause)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
