"""What the engine's process and its client say to each other: frozen values, pickled."""

from dataclasses import dataclass

from engine.config import Knobs, Request
from engine.stats import EngineSnapshot, ModelInfo
from engine.studies import StudyNews


@dataclass(frozen=True, slots=True)
class Submit:
    """Queue these requests together, so that one step sees them all."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Abort and forget every request."""


@dataclass(frozen=True, slots=True)
class SetKnobs:
    knobs: Knobs


@dataclass(frozen=True, slots=True)
class SetDraft:
    """Prepare the model in this folder beside the race, then let it draft: answered by Drafting, or
    by a DraftRefusal. A newer one counts."""

    folder: str


@dataclass(frozen=True, slots=True)
class Pause:
    paused: bool


@dataclass(frozen=True, slots=True)
class Pace:
    """Hold the engine at this many output tokens a second; 0 lets it run."""

    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask for one snapshot, to be answered between two steps."""


@dataclass(frozen=True, slots=True)
class Study:
    """Study a layer's weights in a scheme, by their names, beside the race; a newer one counts."""

    layer: str
    scheme: str


@dataclass(frozen=True, slots=True)
class Close:
    """End the process."""


Command = Submit | Reset | SetKnobs | SetDraft | Pause | Pace | Pull | Study | Close

PHASES = ("torch", "weights", "kv memory", "warm-up")


@dataclass(frozen=True, slots=True)
class Phase:
    """Phase PHASES[index] of loading has begun, or is done after `seconds`."""

    index: int
    detail: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Ready:
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Answer to Pull."""

    snapshot: EngineSnapshot


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something was not taken, for this `reason`; the engine goes on with what it has."""

    reason: str


@dataclass(frozen=True, slots=True)
class RequestRefusal(Refusal):
    """Request `id` was not taken."""

    id: str


@dataclass(frozen=True, slots=True)
class KnobsRefusal(Refusal):
    """What was `asked` for cannot be had here; the engine goes on with `instead`, whether that is
    what it had or all of `asked` but what failed."""

    asked: Knobs
    instead: Knobs


@dataclass(frozen=True, slots=True)
class DraftRefusal(Refusal):
    """The model in this folder cannot draft, whether it was configured or came by SetDraft. While
    loading: the engine goes on without it."""

    folder: str


@dataclass(frozen=True, slots=True)
class Drafting:
    """Answer to SetDraft: from the next step on the model in this folder is the draft model."""

    folder: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """Nothing can be loaded from this configuration: bad input, no fault of the engine."""

    reason: str


@dataclass(frozen=True, slots=True)
class Studied:
    """Part of what answers a Study."""

    news: StudyNews


Answer = (
    Phase
    | Ready
    | Snapshot
    | RequestRefusal
    | KnobsRefusal
    | DraftRefusal
    | Drafting
    | Unusable
    | Studied
)
