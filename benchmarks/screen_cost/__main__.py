"""What does watching cost?

    python -m benchmarks.screen_cost [--parts screens,engine,keys,starts,season] [--size 160x45]

The screen runs in a real pseudo-terminal, whose output is read and counted, beside an engine that
goes flat out. Parts:

    screens  each page: the UI process's share of one core, bytes to the terminal
    engine   the same race headless and watched, in turn: the engine's tokens/s
    keys     from a key press until its answer is drawn, while 20 cars run
    starts   from a process's start to its first frame: a race, a recording, the demo
    season   memory of the UI process over `--minutes` of races, one page after the other
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.screen_cost.terminal import Terminal

# Pages by the keys that open them from the race.
PAGES = {
    "race": "\x1bOP",
    "memory": "\x1bOQ",
    "batching": "\x1bOR",
    "workshop": "\x1bOS",
    "strategy": "\x1b[15~",
    "academy": "\x1b[17~",
    "bottleneck": "\x1b[18~",
    "debrief": "\x1b[19~",
}
SETTLE_SECONDS = 1.5
# The longest race there is, so that none ends while it is looked at.
LONG = ["race", "--circuit", "monaco", "--laps", "78"]


@dataclass(frozen=True)
class Settings:
    columns: int
    rows: int
    laps: int
    repeats: int
    seconds: float
    minutes: float
    pace: str
    home: str

    def open(self, *arguments: str) -> Terminal:
        return Terminal(arguments, self.columns, self.rows, self.home)

    @contextmanager
    def racing(self, *arguments: str) -> Iterator[Terminal]:
        """A long race whose cars have their first tokens, without a guide before it."""
        with self.open(*LONG, *arguments) as terminal:
            terminal.first_frame()
            terminal.answer("", b"lights out", 60.0)
            terminal.press("\x1b")
            time.sleep(SETTLE_SECONDS)
            yield terminal


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def screens(settings: Settings) -> dict[str, Any]:
    """Each page for some seconds of a race of its own, and the race once more at the end: what
    has been opened before and is not seen must cost nothing."""
    found: dict[str, Any] = {}
    with settings.racing() as terminal:
        for name in (*PAGES, "race after all pages"):
            terminal.press(PAGES["race"])
            time.sleep(0.3)
            terminal.answer("n", b"LAP 1/", 60.0)
            terminal.press(PAGES.get(name, PAGES["race"]))
            time.sleep(SETTLE_SECONDS)
            start, spent, drawn = time.monotonic(), terminal.seconds, terminal.counted
            time.sleep(settings.seconds)
            took = time.monotonic() - start
            found[name] = {
                "ui_core_percent": 100 * (terminal.seconds - spent) / took,
                "kilobytes_per_second": (terminal.counted - drawn) / took / 1e3,
            }
            say(f"{name}: {found[name]}")
    return found


def engine(settings: Settings) -> dict[str, Any]:
    """One race both ways, to and fro; the watched one is recorded, which is part of its cost."""
    options = ["--laps", str(settings.laps)]
    alone, watched = [], []
    for number in range(settings.repeats):
        alone.append(_figures("race", "--headless", *options))
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "race.jsonl.gz")
            with settings.open("race", *options, "--record", file) as terminal:
                terminal.first_frame()
                terminal.answer("", b"chequered", 300.0)
                time.sleep(SETTLE_SECONDS)
            watched.append(_figures("replay", file, "--headless"))
        say(f"engine {number + 1}: {alone[-1]:.1f} headless, {watched[-1]:.1f} watched")
    ratio = median(w / h for w, h in zip(watched, alone, strict=True))
    return {
        "laps": settings.laps,
        "headless_tokens_per_second": median(alone),
        "watched_tokens_per_second": median(watched),
        "lost_percent": 100 * (1 - ratio),
    }


def _figures(*arguments: str) -> float:
    command = [sys.executable, "-m", "pitwall_tui.cli", *arguments, "--json", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return float(json.loads(done.stdout)["tokens_per_second"])


def keys(settings: Settings) -> dict[str, Any]:
    """A knob that is turned (until the bar says what was asked for), and the view held."""
    times: dict[str, list[float]] = {"knob": [], "freeze": []}
    with settings.racing() as terminal:
        for _ in range(10 * settings.repeats):
            # The meter has nothing to do where all is fp32: it changes no step.
            times["knob"].append(terminal.answer("m", "→".encode()))
            time.sleep(0.37)  # not in step with the frames
            times["freeze"].append(terminal.answer(" ", b"FROZEN"))
            terminal.press(" ")
            time.sleep(0.41)
    return {
        name: {
            "presses": len(found),
            "p50_ms": 1e3 * median(found),
            "p95_ms": 1e3 * sorted(found)[int(0.95 * len(found))],
        }
        for name, found in times.items()
    }


def starts(settings: Settings) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "race.jsonl.gz")
        command = [sys.executable, "-m", "pitwall_tui.cli", "race", "--headless", "--laps", "10"]
        subprocess.run([*command, "--record", file], capture_output=True, check=True)
        ways = {"race": ("race", "--laps", "5"), "replay": ("replay", file), "demo": ("--demo",)}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(settings.repeats):
            for name, arguments in ways.items():
                with settings.open(*arguments) as terminal:
                    found[name].append(1e3 * terminal.first_frame())
                    time.sleep(SETTLE_SECONDS)
    return {f"{name}_first_frame_ms": median(times) for name, times in found.items()}


def season(settings: Settings) -> dict[str, Any]:
    """Races one after the other, pages in turn; the slope is that of the second half."""
    samples: list[tuple[float, float]] = []
    options = ["--pace", settings.pace, "--laps", "10"]
    with settings.open("race", *options) as terminal:
        terminal.first_frame()
        terminal.answer("", b"lights out", 60.0)
        terminal.press("\x1b")
        start, number = time.monotonic(), 0
        while (now := time.monotonic() - start) < 60 * settings.minutes:
            terminal.press(list(PAGES.values())[number % len(PAGES)])
            number += 1
            time.sleep(10)
            samples.append((now / 60, terminal.resident / 2**20))
            say(f"season: {samples[-1][0]:5.1f} min, {samples[-1][1]:.1f} MiB")
    half = [sample for sample in samples if sample[0] >= settings.minutes / 2]
    return {
        "minutes": settings.minutes,
        "pace": settings.pace,
        "mebibytes": {"first": samples[0][1], "half": half[0][1], "last": samples[-1][1]},
        "slope_mebibytes_per_minute": _slope(half),
    }


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line through them with the least squares."""
    count = len(points)
    x, y = (sum(values) / count for values in zip(*points, strict=True))
    below = sum((a - x) ** 2 for a, _ in points)
    return sum((a - x) * (b - y) for a, b in points) / below if below else 0.0


PARTS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "starts": starts,
    "keys": keys,
    "screens": screens,
    "engine": engine,
    "season": season,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screen_cost")
    parser.add_argument("--parts", default="starts,keys,screens,engine")
    parser.add_argument("--size", default="160x45")
    parser.add_argument("--laps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of looking at a page")
    parser.add_argument("--minutes", type=float, default=30.0, help="of a season")
    parser.add_argument("--pace", default="0", help="of a season, in output tokens/s")
    args = parser.parse_args()
    columns, rows = map(int, args.size.split("x"))
    parts = args.parts.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"--parts {', '.join(sorted(unknown))}: give some of {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(
            columns, rows, args.laps, args.repeats, args.seconds, args.minutes, args.pace, home
        )
        figures = {}
        for name in parts:
            figures[name] = PARTS[name](settings)
            say(f"{name}: {json.dumps(figures[name])}")
    print(json.dumps({"size": args.size, **figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
