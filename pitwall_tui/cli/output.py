"""Where figures go: a table for people, JSON for programs, progress on stderr."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pitwall_tui.race.errors import RaceError


def check_json_target(target: str | None) -> None:
    """Raises RaceError now rather than after the race if FILE cannot be written."""
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir() or not path.parent.is_dir():
        raise RaceError(f"--json {target}: give a file in a folder that exists")


def write_figures(figures: Mapping[str, Any], table: str, target: str | None) -> None:
    """JSON to FILE or, for "-", alone to stdout; the table to stdout otherwise."""
    text = json.dumps(figures, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    sys.stdout.write(table)  # first: a file that cannot be written must not cost the figures
    if target is not None:
        try:
            Path(target).write_text(text, encoding="utf-8")
        except OSError as error:
            raise RaceError(f"--json {target}: {error.strerror}") from None


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def need_terminal(instead: str) -> None:
    """Raises RaceError where there is neither a terminal to draw on nor textual-serve's browser."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RaceError(f"no terminal to draw on: use {instead}")
