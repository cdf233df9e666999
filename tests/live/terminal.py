"""A terminal for programs to run in: a pty, and of what it shows as much as our tests ask for."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import get_character_cell_size

PATIENCE = 90.0  # s that a busy machine may take for anything
UNPAINTED = "\0"

# The pty becomes the program's controlling terminal: it hears of new sizes and of its end.
_LAUNCH = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
_KEYS = {
    **{f"f{n}": f"\x1bO{letter}" for n, letter in zip(range(1, 5), "PQRS", strict=True)},
    **{f"f{n}": f"\x1b[{code}~" for n, code in ((5, 15), (6, 17), (7, 18), (8, 19))},
    "escape": "\x1b",
    "enter": "\r",
    "right": "\x1b[C",
    "end": "\x1b[F",
}
_SEQUENCE = re.compile(
    r"\x1b\[(?P<mark>[?<=>]?)(?P<numbers>[\d;]*)[ -/]*(?P<verb>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[^\[\]]"
)
_BEGUN = re.compile(r"\x1b(?:\[[?<=>\d; -/]*|\][^\x07\x1b]*\x1b?)?$")


class Picture:
    """What stands on a screen after all that was written to it: text, and modes by number."""

    def __init__(self, cells: int, height: int) -> None:
        self.modes: dict[int, bool] = {}
        self._left = ""
        self._x = self._y = 0
        self.resize(cells, height)

    def resize(self, cells: int, height: int) -> None:
        self.cells, self.height = cells, height
        self._rows = [[UNPAINTED] * cells for _ in range(height)]

    def write(self, text: str) -> None:
        text = self._left + text
        begun = _BEGUN.search(text)
        self._left = text[begun.start() :] if begun else ""
        text = text[: len(text) - len(self._left)]
        at = 0
        for found in _SEQUENCE.finditer(text):
            self._put(text[at : found.start()])
            self._obey(found)
            at = found.end()
        self._put(text[at:])

    @property
    def painted(self) -> bool:
        """Whether every cell has been written to since the last change of size."""
        return UNPAINTED not in self.text

    @property
    def rows(self) -> list[str]:
        return ["".join(row) for row in self._rows]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    def _obey(self, found: re.Match[str]) -> None:
        numbers = [int(number or 0) for number in (found["numbers"] or "").split(";")]
        match found["mark"], found["verb"]:
            case "", "H":
                self._y, self._x = (max(number, 1) - 1 for number in (*numbers, 1)[:2])
            case "?", "h" | "l":
                self.modes |= dict.fromkeys(numbers, found["verb"] == "h")

    def _put(self, text: str) -> None:
        for char in text:
            if char == "\r":
                self._x = 0
            elif char == "\n":
                self._x, self._y = 0, self._y + 1
            else:
                wide = get_character_cell_size(char)
                if self._y < self.height and self._x + wide <= self.cells:
                    self._rows[self._y][self._x : self._x + wide] = [char, *[""] * (wide - 1)]
                self._x += wide


def _inherited() -> dict[str, str]:
    """The environment, but for a size in it: that would count before the terminal's own."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


class Terminal:
    """Runs `python ARGS...` in a pty of a size. Where that is `close`d, it has disappeared."""

    def __init__(
        self,
        args: Sequence[object],
        size: tuple[int, int] = (160, 45),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.picture = Picture(*size)
        self.written = ""
        # Characters may be cut in two between one read and the next.
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._master, slave = pty.openpty()
        self._open = True
        self._sign = f"PITWALL_TEST_TERMINAL={os.getpid()}-{self._master}-{time.monotonic_ns()}"
        self._tell_size(*size)
        self.before = termios.tcgetattr(slave)
        name, _, value = self._sign.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, args)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**_inherited(), **(environment or {}), "TERM": "xterm-256color", name: value},
        )
        self._slave = slave  # kept: the terminal outlives what runs in it

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self._master, _KEYS.get(key, key).encode())

    def resize(self, cells: int, height: int) -> None:
        """As a window does that is dragged: the kernel tells the program."""
        self.picture.resize(cells, height)
        self._tell_size(cells, height)

    def close(self) -> None:
        """The window is gone, and everything that it would have told."""
        if self._open:
            self._open = False
            os.close(self._slave)
            os.close(self._master)

    def until(self, done: Callable[[], Any], what: str) -> None:
        """Show what is written until something is `done`, which the program's end may be."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            over = self.process.poll() is not None
            self._read(0.05)
            seen = f"{what}: never seen, {over=}\n{self.picture.text}"
            assert time.monotonic() < deadline, seen
            assert not over or done(), seen

    def ends(self) -> int:
        """Wait for the program's end; its exit status."""
        self.until(lambda: self.process.poll() is not None, "the end")
        self._read(0.0)
        return self.process.returncode

    def attributes(self) -> list[Any]:
        """Those of the line, as `before` holds them of the start."""
        return termios.tcgetattr(self._slave)

    def processes(self) -> dict[int, str]:
        """Commands of all that were started from here and are not over, wherever they hang now."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self._sign.encode() in (
                    (entry / "environ").read_bytes().split(b"\0")
                ):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = command.decode()
            except OSError:  # it has ended, or is nobody's of ours
                continue
        return found

    def kill(self) -> None:
        """Whatever is left; only what was started here."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.close()

    def _tell_size(self, cells: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", height, cells, 0, 0))

    def _read(self, seconds: float) -> None:
        """Everything that there is, after waiting for something."""
        if not self._open:
            select.select([], [], [], seconds)
            return
        while select.select([self._master], [], [], seconds)[0]:
            seconds = 0.0
            text = self._decode(os.read(self._master, 2**16))
            self.written += text
            self.picture.write(text)
