"""pitwall in a real pseudo-terminal: what it draws is read and counted, keys are pressed."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
# The tower's head: a race is on the screen.
FIRST = b"POS"


class Terminal:
    """A run of `pitwall ARGUMENTS` from the start of its process on.

    Settings and memory are those of `home`, an empty folder, so that nobody's own are used.
    """

    def __init__(self, arguments: Sequence[str], columns: int, rows: int, home: str) -> None:
        self.counted = 0  # bytes drawn so far
        self._arrived = threading.Condition()
        self._looking_for = b""
        self._tail = b""
        self._found: float | None = None
        command = [sys.executable, "-m", "pitwall_tui.cli", *arguments]
        self.started = time.monotonic()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            for name in ("COLUMNS", "LINES"):  # these would count before the terminal's own size
                os.environ.pop(name, None)
            os.environ.update(
                TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8",
                XDG_CONFIG_HOME=home, XDG_STATE_HOME=home,
            )  # fmt: skip
            os.execv(command[0], command)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Quit, by force if it must be."""
        self.press("q")
        deadline = time.monotonic() + 15
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.05)
        self._reader.join()
        os.close(self._terminal)

    def _read(self) -> None:
        while True:
            select.select([self._terminal], [], [])
            try:
                drawn = os.read(self._terminal, 1 << 16)
            except OSError:  # the process is gone
                return
            if not drawn:
                return
            now = time.monotonic()
            with self._arrived:
                self.counted += len(drawn)
                if self._looking_for:
                    seen = self._tail + drawn
                    if self._looking_for in seen:
                        self._found, self._looking_for = now, b""
                        self._arrived.notify_all()
                    self._tail = seen[-64:]

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def answer(self, keys: str, sign: bytes, timeout: float = 10.0) -> float:
        """Seconds from pressing `keys` ("" for none) until `sign` is drawn; raises TimeoutError."""
        with self._arrived:
            self._look_for(sign)
            start = time.monotonic()
            if keys:
                self.press(keys)
            if not self._arrived.wait_for(lambda: self._found is not None, timeout):
                raise TimeoutError(f"{sign!r} was not drawn within {timeout:g} s of {keys!r}")
            assert self._found is not None
            return self._found - start

    def _look_for(self, sign: bytes) -> None:
        self._looking_for, self._tail, self._found = sign, b"", None

    def first_frame(self) -> float:
        """Seconds from the process's start to the first race on the screen; asked for once."""
        asked = time.monotonic() - self.started
        return asked + self.answer("", FIRST, 30.0)

    @property
    def seconds(self) -> float:
        """Processor time of the screen's process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def resident(self) -> int:
        """Bytes of memory that the screen's process has to itself and in use."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) << 10
        raise AssertionError("no Anonymous in smaps_rollup")
