"""Where figures go: a table for people, files in many formats, progress on stderr."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitwall_tui.race.errors import RaceError

if TYPE_CHECKING:
    from pitwall_tui.race.debrief import DebriefView


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a command without a screen puts its figures: `json` as --json names it, and the debrief
    in the files that `option` names."""

    json: str | None
    option: str
    files: Sequence[str]

    def refuse(self, what: str) -> None:
        """For `what`, such as "races", on the screen. Raises RaceError where anything is named."""
        if self.json is not None:
            raise RaceError(f"--json is for --headless {what}")
        if self.files:
            raise RaceError(f"{self.option} is for --headless {what}: on the screen x writes it")

    def check(self) -> None:
        """Raises RaceError now rather than after the race if one of them cannot be written."""
        check_json_target(self.json)
        check_exports(self.option, self.files)

    def write(self, figures: Mapping[str, Any], table: str, debrief: "DebriefView") -> None:
        """All of them: one that cannot be written costs no other. Raises RaceError."""
        try:
            write_figures(figures, table, self.json)
        finally:
            write_exports(debrief, self.option, self.files)


def check_json_target(target: str | None) -> None:
    """Raises RaceError now rather than after the race if FILE cannot be written."""
    if target is not None and target != "-":
        _check_file("--json", target)


def check_exports(option: str, targets: Sequence[str]) -> None:
    """Raises RaceError now rather than after the race if one of the files cannot be written."""
    if not targets:
        return
    from pitwall_tui.export import WRITERS

    for target in targets:
        if Path(target).suffix[1:] not in WRITERS:
            *most, last = (f".{end}" for end in WRITERS)
            ends = f"{', '.join(most)} or {last}"
            raise RaceError(f"{option} {target}: give a name that ends in {ends}")
        _check_file(option, target)


def _check_file(option: str, target: str) -> None:
    path = Path(target)
    if path.is_dir() or not path.parent.is_dir():
        raise RaceError(f"{option} {target}: give a file in a folder that exists")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise RaceError(f"{option} {target}: it cannot be written: give another file")


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


def write_exports(view: "DebriefView", option: str, targets: Sequence[str]) -> None:
    """A debrief to each file, in the format that its name ends in, over what is there.

    Raises RaceError for the first that cannot be written, once the others are.
    """
    if not targets:
        return
    from pitwall_tui.export import WRITERS

    if not view.settings:
        raise RaceError(f"{option}: nothing to write, not a step of this race was run")
    failed = ""
    for path in map(Path, targets):
        try:
            path.write_text(WRITERS[path.suffix[1:]](view), encoding="utf-8")
        except OSError as error:
            failed = failed or f"{option} {path}: {error.strerror}"
    if failed:
        raise RaceError(failed)


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
