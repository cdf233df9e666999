"""What a draft model is worth to the engine: its drafts in races that are really served."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from engine.stats import Verdict
from engine.training.acceptance import DRAFTS, TEMPERATURE

CARS, TOKENS = 32, 300


@dataclass(frozen=True, slots=True)
class Raced:
    """Drafts of `draft_length` a round at `temperature`, as the engine counts them."""

    requests: int
    tokens: int
    temperature: float
    draft_length: int
    drafts: int
    draft_tokens: int
    accepted_tokens: int

    @property
    def facts(self) -> dict[str, float]:
        """With the share of draft tokens accepted and the tokens of a round."""
        return asdict(self) | {
            "acceptance": self.accepted_tokens / max(self.draft_tokens, 1),
            "mean_acceptance_length": 1 + self.accepted_tokens / max(self.drafts, 1),
        }


def raced(teacher: Path, junior: Path, prompts: Sequence[Sequence[int]]) -> Raced:
    """Serves the prompts with the teacher, the junior drafting; on the CPU. Raises ModelError."""
    knobs = Knobs(speculation="junior", draft_length=DRAFTS)
    engine = Engine.load(EngineConfig(str(teacher), str(junior)), knobs)
    for seed, prompt in enumerate(prompts):
        most = min(TOKENS, engine.info.max_context - len(prompt))
        sampling = Sampling(max_tokens=most, temperature=TEMPERATURE, seed=seed)
        engine.submit(Request(str(seed), tuple(prompt), sampling))
    verdicts: list[Verdict] = []
    tokens = 0
    while engine.has_work:
        step = engine.step()
        verdicts += step.verdicts
        tokens += step.output_tokens
    return Raced(
        requests=len(prompts),
        tokens=tokens,
        temperature=TEMPERATURE,
        draft_length=DRAFTS,
        drafts=len(verdicts),
        draft_tokens=sum(len(verdict.drafts) for verdict in verdicts),
        accepted_tokens=sum(verdict.accepted for verdict in verdicts),
    )
