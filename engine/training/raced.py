"""What a draft model is worth to the engine: its drafts in races that are really served."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from engine.draft_counts import DraftCounts, counted, together
from engine.training.acceptance import DRAFTS, TEMPERATURE

CARS, TOKENS = 32, 300


@dataclass(frozen=True, slots=True)
class Raced:
    """What became of drafts, `draft_length` a round, at `temperature`."""

    requests: int
    tokens: int
    temperature: float
    draft_length: int
    counts: DraftCounts

    @property
    def facts(self) -> dict[str, float | None]:
        """With the share of all drafts accepted and the tokens of a round, None of no drafts."""
        return {
            "requests": self.requests,
            "tokens": self.tokens,
            "temperature": self.temperature,
            "draft_length": self.draft_length,
            "drafts": self.counts.drafts,
            "draft_tokens": self.counts.draft_tokens,
            "accepted_tokens": self.counts.accepted_tokens,
            "acceptance": self.counts.used,
            "mean_acceptance_length": self.counts.mean_length,
        }


def raced(teacher: Path, junior: Path, prompts: Sequence[Sequence[int]]) -> Raced:
    """Serves the prompts with the teacher, the junior drafting; on the CPU. Raises EngineError."""
    knobs = Knobs(speculation="junior", draft_length=DRAFTS)
    engine = Engine.load(EngineConfig(str(teacher), str(junior)), knobs)
    for seed, prompt in enumerate(prompts):
        most = min(TOKENS, engine.info.max_context - len(prompt))
        sampling = Sampling(max_tokens=most, temperature=TEMPERATURE, seed=seed)
        engine.submit(Request(str(seed), tuple(prompt), sampling))
    found: list[DraftCounts] = []
    tokens = 0
    while engine.has_work:
        step = engine.step()
        found.append(counted(step))
        tokens += step.output_tokens
    return Raced(
        requests=len(prompts),
        tokens=tokens,
        temperature=TEMPERATURE,
        draft_length=DRAFTS,
        counts=together(found),
    )
