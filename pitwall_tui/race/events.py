"""What happens to a race: plain frozen values, so that it can be recorded and shown again."""

from dataclasses import dataclass

from engine.stats import EngineSnapshot, ModelInfo


@dataclass(frozen=True, slots=True)
class CarStart:
    """A car on the grid: its request id, and the entry behind it."""

    id: str
    number: int
    code: str
    team: str
    grid: int
    tyre: str


@dataclass(frozen=True, slots=True)
class RaceStarted:
    """A new race: from here on, requests are cars of it."""

    race_number: int
    circuit: str
    laps: int
    seed: int
    temperature: float
    briefing: str
    cars: tuple[CarStart, ...]


@dataclass(frozen=True, slots=True)
class Loading:
    """Phase `index` (0 to 4) of loading is under way, or done after `seconds`."""

    index: int
    title: str
    detail: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine serves; `model` says what."""

    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of the engine, and what each car's new tokens added to its text.

    `text` holds (request id, one piece for each of its tokens in the snapshot's steps, in order);
    a piece is "" where a token adds nothing yet. `overruled` holds (request id, for each of its
    verdicts in those steps the text of the draft that the model overruled, "" where it did none).
    """

    snapshot: EngineSnapshot
    text: tuple[tuple[str, tuple[str, ...]], ...]
    overruled: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class RedFlag:
    """The engine was lost; `reason` in words. It is coming back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something was refused by name; what ran goes on. `id` names a car that cannot start."""

    reason: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class RecordingStopped:
    """The race is no longer recorded, for this reason; it goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class FeedEnded:
    """Nothing more will come: the recording is over, or the engine cannot be had.

    `fault` where that is nobody's bad input.
    """

    reason: str
    fault: bool = False


FeedEvent = (
    RaceStarted
    | Loading
    | EngineReady
    | Progress
    | RedFlag
    | Refused
    | RecordingStopped
    | FeedEnded
)
