"""What only one screen looks at: folded from every step, drawn up for those who look."""

from collections.abc import Collection
from dataclasses import dataclass, fields

from engine.stats import EngineSnapshot, ModelInfo, StepStats
from pitwall_tui.race.batching import Batching, BatchingView
from pitwall_tui.race.bottleneck import Bottleneck, BottleneckView
from pitwall_tui.race.debrief import Debrief, DebriefView
from pitwall_tui.race.effects import Effect
from pitwall_tui.race.events import RaceStarted
from pitwall_tui.race.memory import Memory, MemoryView


@dataclass(frozen=True, slots=True)
class Details:
    """Views of screens of their own, by their names; None of those that nobody looks at."""

    memory: MemoryView | None = None
    batching: BatchingView | None = None
    bottleneck: BottleneckView | None = None
    debrief: DebriefView | None = None


NO_DETAILS: Details = Details()
DETAILS = tuple(field.name for field in fields(Details))


class Instruments:
    """Folds `race`, from its start at `start`, for the views of `Details`.

    All times are on the race's clock: see RaceState. `model` is None until an engine is ready.
    """

    def __init__(self, race: RaceStarted, start: float, model: ModelInfo | None) -> None:
        self.model = model
        self._race = race
        self._memory = Memory(race, start)
        self._batching = Batching(race)
        self._bottleneck = Bottleneck()
        self._debrief = Debrief()
        self._time = start

    def add_step(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        self._memory.add_step(step, time)
        self._batching.add_step(step, time)
        self._bottleneck.add(step, time)
        self._debrief.add_step(step, time)

    def add_snapshot(self, snapshot: EngineSnapshot, time: float) -> None:
        """What came with the last of its steps."""
        self._memory.add_snapshot(snapshot)
        self._batching.add_snapshot(snapshot, time)
        self._time = time
        self._debrief.add_snapshot(snapshot, time)

    def add_effect(self, effect: Effect) -> None:
        """A turn of knobs that has been measured."""
        self._debrief.add_effect(effect)

    def view(self, names: Collection[str]) -> Details:
        """The views of these names."""
        return Details(
            memory=self._memory.view(self.model) if "memory" in names else None,
            batching=self._batching.view() if "batching" in names else None,
            bottleneck=self._bottleneck.view(self.model, self._time)
            if "bottleneck" in names
            else None,
            debrief=(
                self._debrief.view(self._race, self.model, self._batching.latencies())
                if "debrief" in names
                else None
            ),
        )
