"""A recording: where it stands when it is played, what lies along it, how large it is."""

from dataclasses import dataclass
from typing import Literal

MarkKind = Literal["race", "red", "chequered", "safety", "yellow", "knob", "pit"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at `time`, in s from the recording's start; `text` says what."""

    time: float
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True)
class PlaybackView:
    """The player at one moment. Times are in s from the recording's start.

    `length` is the recording's, estimated while only `read`, a share from 0 to 1, has been looked
    through for its marks; `speed` is a factor on the recorded times; `seeking` says that the place
    asked for has not been read yet.
    """

    position: float
    length: float
    read: float
    playing: bool
    speed: float
    loop: bool
    seeking: bool
    marks: tuple[Mark, ...]


def file_size(size: int) -> str:
    """Bytes for people."""
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
