"""Where the academy's news comes from: a process beside the race."""

import tempfile
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


class LiveAcademy:
    """Teaches by the model folder `teacher`; the junior is kept in `out`, or as long as this."""

    def __init__(self, teacher: str, out: str | None = None) -> None:
        self._teacher = teacher
        self._out = out
        self._client = AcademyClient()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._refused: list[AcademyNews] = []

    def start(self) -> None:
        """Begin a course; its junior takes the place of the last one's."""
        try:
            self._client.start(Course(self._teacher, self._folder(), documents))
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
        """Ends the process, and removes a junior that nobody gave a folder for."""
        self._client.close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _folder(self) -> str:
        if self._out is not None:
            return self._out
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(
                prefix="pitwall-academy-", ignore_cleanup_errors=True
            )
        return str(Path(self._scratch.name) / "junior")
