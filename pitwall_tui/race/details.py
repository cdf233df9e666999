"""What only one screen looks at: folded from every step, drawn up for those who look."""

from collections.abc import Collection
from dataclasses import dataclass, fields

from engine.stats import EngineSnapshot, ModelInfo, StepStats
from pitwall_tui.race.bottleneck import Bottleneck, BottleneckView
from pitwall_tui.race.events import RaceStarted


@dataclass(frozen=True, slots=True)
class Details:
    """Views of screens of their own, by their names; None of those that nobody looks at."""

    bottleneck: BottleneckView | None = None


NO_DETAILS = Details()
DETAILS = tuple(field.name for field in fields(Details))


class Instruments:
    """Folds `race`, from its start at `start`, for the views of `Details`.

    All times are on the race's clock: see RaceState. `model` is None until an engine is ready.
    """

    def __init__(self, race: RaceStarted, start: float, model: ModelInfo | None) -> None:
        self.model = model
        self._time = start
        self._bottleneck = Bottleneck()

    def add_step(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        self._bottleneck.add(step, time)

    def add_snapshot(self, snapshot: EngineSnapshot, time: float) -> None:
        """What came with the last of its steps."""
        self._time = time

    def view(self, names: Collection[str]) -> Details:
        """The views of these names."""
        return Details(
            bottleneck=self._bottleneck.view(self.model, self._time)
            if "bottleneck" in names
            else None,
        )
