"""What the wall remembers by itself, in a file of its own: the user's settings stay as written."""

import json
import os
from contextlib import suppress
from pathlib import Path

GUIDE = "guide"  # the name under which a guide is remembered that was left


class Memory:
    """Words by name, kept in `file`; with None they are forgotten in the end.

    A file that cannot be read, or has something else in it, is as good as none.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    def recall(self, name: str) -> str:
        """What was kept under a name, or ""."""
        return self._read().get(name, "")

    def keep(self, name: str, word: str) -> None:
        """Raises OSError where it cannot be kept."""
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(self._read() | {name: word}) + "\n", encoding="utf-8")
        new.replace(self._file)

    def _read(self) -> dict[str, str]:
        if self._file is not None:
            with suppress(OSError, ValueError):
                kept = json.loads(self._file.read_text(encoding="utf-8"))
                if isinstance(kept, dict):
                    return {name: word for name, word in kept.items() if isinstance(word, str)}
        return {}


def state_file() -> Path:
    """In the platform's folder for what programs remember."""
    from platformdirs import user_state_path

    return user_state_path("pitwall", appauthor=False) / "wall.json"
