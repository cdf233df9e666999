"""What a race is to be: checked once, before anything starts."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import EngineConfig, Knobs
from pitwall_tui.paths import asset
from pitwall_tui.race.briefing import MIN_LAPS
from pitwall_tui.race.circuits import CIRCUITS, circuit
from pitwall_tui.race.entries import ENTRIES
from pitwall_tui.race.errors import RaceError

CHIEF, JUNIOR = asset("models/chief"), asset("models/junior")
# A lap line with a pit call and the longest radio message takes fewer tokens than this.
LINE_TOKENS = 56


@dataclass(frozen=True, slots=True)
class RaceSettings:
    """A season's first race and how to serve it.

    `laps` None is the circuit's full distance; `draft` None is the junior where the chief races and
    there is one, nobody elsewhere; `pace` is in output tokens/s, 0 for flat out.
    Raises RaceError or EngineError that names the value and how to mend it.
    """

    circuit: str = "monza"
    laps: int | None = None
    cars: int = len(ENTRIES)
    seed: int = 7
    temperature: float = 0.8
    model: str = str(CHIEF)
    draft: str | None = None
    kv_memory_mib: float = 256
    pace: float = 0
    knobs: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        full = circuit(self.circuit).laps
        if self.laps is not None and not MIN_LAPS <= self.laps <= full:
            raise RaceError(f"laps {self.laps}: {self.circuit} takes {MIN_LAPS} to {full}")
        if not 1 <= self.cars <= len(ENTRIES):
            raise RaceError(f"cars {self.cars}: give 1 to {len(ENTRIES)}")
        if not 0 <= self.seed < 2**31:
            raise RaceError(f"seed {self.seed}: give 0 to {2**31 - 1}")
        if not (math.isfinite(self.temperature) and 0 <= self.temperature <= 10):
            raise RaceError(f"temperature {self.temperature:g}: give 0 to 10")
        if not (math.isfinite(self.pace) and self.pace >= 0):
            raise RaceError(f"pace {self.pace:g}: give tokens per second, or 0 for flat out")
        self.engine_config()

    @property
    def draft_folder(self) -> str | None:
        """The model that drafts for speculation=junior."""
        if self.draft is None and Path(self.model).resolve() == CHIEF.resolve() and JUNIOR.is_dir():
            return str(JUNIOR)
        return self.draft

    def engine_config(self) -> EngineConfig:
        return EngineConfig(
            model=self.model, draft=self.draft_folder, kv_memory_mib=self.kv_memory_mib
        )

    def race(self, number: int) -> "Race":
        """The season's race `number`, from 1: the circuits in turn, another seed each."""
        names = list(CIRCUITS)
        name = names[(names.index(self.circuit) + number - 1) % len(names)]
        full = circuit(name).laps
        laps = full if self.laps is None else min(self.laps, full)
        return Race(number, name, laps, self.seed + number - 1)


@dataclass(frozen=True, slots=True)
class Race:
    """One race of the season."""

    number: int
    circuit: str
    laps: int
    seed: int
