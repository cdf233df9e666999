"""What does watching cost? The same race headless and on a screen, in turn.

    python -m benchmarks.screen_cost [--laps 30] [--repeats 3] [--size 160x45]

The screen runs in a real pseudo-terminal, whose output is read and counted. Prints medians: the
engine's tokens/s both ways, the UI process's share of one core, bytes to the terminal, the time
from the process's start to its first frame.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# The race is over when the engine has rested for so long.
REST_SECONDS = 2.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Watched:
    tokens_per_second: float
    ui_core_percent: float
    bytes_per_second: float
    first_frame_ms: float


def headless(options: list[str]) -> float:
    command = [sys.executable, "-m", "pitwall_tui.cli", "race", "--headless", "--json", "-"]
    done = subprocess.run([*command, *options], capture_output=True, check=True)
    return float(json.loads(done.stdout)["tokens_per_second"])


def watched(options: list[str], columns: int, rows: int) -> Watched:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "race.jsonl.gz"
        command = [sys.executable, "-m", "pitwall_tui.cli", "race", "--record", str(file)]
        started = time.monotonic()
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(command[0], [*command, *options])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        cost = _watch(pid, terminal, started)
        replay = [sys.executable, "-m", "pitwall_tui.cli", "replay", str(file)]
        done = subprocess.run(
            [*replay, "--headless", "--json", "-"], capture_output=True, check=True
        )
        return Watched(float(json.loads(done.stdout)["tokens_per_second"]), *cost)


def _watch(pid: int, terminal: int, started: float) -> tuple[float, float, float]:
    """UI share, bytes/s and first frame, from the first token to the last; then quit."""
    first_frame = 0.0
    engine: int | None = None
    spent = busy_since = ui_before = 0.0
    rested = time.monotonic()
    counted = 0
    while True:
        if select.select([terminal], [], [], 0.05)[0]:
            drawn = os.read(terminal, 1 << 16)
            counted += len(drawn)
            if not first_frame and b"POS" in drawn:  # the tower's head is on the screen
                first_frame = time.monotonic() - started
        engine = engine or _child(pid)
        now = time.monotonic()
        if engine is None:
            continue
        used = _seconds(engine)
        if used > spent + 0.02:
            spent, rested = used, now
        racing = used > 0 and now - started > 5
        if racing and not busy_since:
            busy_since, ui_before, counted = now, _seconds(pid), 0
        if busy_since and now - rested > REST_SECONDS:
            break
    length = rested - busy_since
    share = 100 * (_seconds(pid) - ui_before) / (length + REST_SECONDS)
    os.write(terminal, b"q")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not os.waitpid(pid, os.WNOHANG)[0]:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                os.read(terminal, 1 << 16)
            except OSError:  # the terminal closes with the process
                continue
    return share, counted / (length + REST_SECONDS), 1e3 * first_frame


def _child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--laps", default="30")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", default="160x45")
    args = parser.parse_args()
    columns, rows = map(int, args.size.split("x"))
    options = ["--laps", args.laps]
    alone: list[float] = []
    seen: list[Watched] = []
    for number in range(args.repeats):
        alone.append(headless(options))
        seen.append(watched(options, columns, rows))
        print(f"{number + 1}: headless {alone[-1]:.1f} tokens/s, {seen[-1]}", file=sys.stderr)
    ratio = median(w.tokens_per_second / h for w, h in zip(seen, alone, strict=True))
    figures = {
        "size": args.size,
        "laps": int(args.laps),
        "repeats": args.repeats,
        "headless_tokens_per_second": median(alone),
        "screen_tokens_per_second": median(w.tokens_per_second for w in seen),
        "screen_cost_percent": 100 * (1 - ratio),
        "ui_core_percent": median(w.ui_core_percent for w in seen),
        "bytes_per_second": median(w.bytes_per_second for w in seen),
        "first_frame_ms": median(w.first_frame_ms for w in seen),
    }
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
