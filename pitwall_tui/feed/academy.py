"""Where the academy's news comes from: a process beside the race."""

import tempfile
from itertools import count
from pathlib import Path
from typing import Protocol

from engine.academy import AcademyClient, AcademyNews, Course
from engine.messages import Unusable
from pitwall_tui.race.simulator import documents


class Academy(Protocol):
    """A distillation that can be run beside the race. Nothing here blocks but `close`."""

    def start(self) -> None: ...

    def pull(self) -> tuple[AcademyNews, ...]: ...

    def pause(self, paused: bool) -> None: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class NoAcademy:
    """Nobody is taught here."""

    def start(self) -> None:
        return

    def pull(self) -> tuple[AcademyNews, ...]:
        return ()

    def pause(self, paused: bool) -> None:
        return

    def cancel(self) -> None:
        return

    def close(self) -> None:
        return


class LiveAcademy:
    """Teaches by the model folder `teacher`; juniors are kept in `out`, or for as long as this.

    Each course has a new folder of its own there, academy-1 and so on: a junior that races is never
    written over, and no two of them have one name.
    """

    def __init__(self, teacher: str, out: str | None = None) -> None:
        self._teacher = teacher
        self._out = out
        self._client = AcademyClient()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._refused: list[AcademyNews] = []

    def start(self) -> None:
        """Begin a course, in the place of one that is still running."""
        try:
            self._client.start(Course(self._teacher, str(self._folder()), documents))
        except OSError as error:
            self._refused.append(Unusable(f"cannot start the academy: {error}"))

    def pull(self) -> tuple[AcademyNews, ...]:
        refused, self._refused = self._refused, []
        return (*refused, *self._client.pull())

    def pause(self, paused: bool) -> None:
        self._client.pause(paused)

    def cancel(self) -> None:
        self._client.cancel()

    def close(self) -> None:
        """Ends the process, and removes juniors that nobody gave a folder for."""
        self._client.close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _folder(self) -> Path:
        """The first that holds no model yet."""
        out = self._out
        if out is None:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(
                    prefix="pitwall-academy-", ignore_cleanup_errors=True
                )
            out = self._scratch.name
        folders = (Path(out) / f"academy-{number}" for number in count(1))
        return next(folder for folder in folders if not (folder / "config.json").exists())
