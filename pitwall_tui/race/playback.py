"""A recording that is played: where it stands, and what lies along it."""

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
