"""Frozen values of a training run: the model's shape, the recipe of a size, one run's options."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.config import EngineError

# (seed, races) -> (prompt, body) texts. A module-level function: worker processes import it.
Documents = Callable[[int, int], Iterator[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama-family decoder with tied embeddings; head size is in channels."""

    vocab: int
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int = 64
    context: int = 4096
    rope_theta: float = 500_000.0
    norm_eps: float = 1e-5


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that is fixed for a size; amounts of data are in tokens unless named."""

    name: str
    shape: Shape
    row_length: int
    rows_per_step: int
    races_per_chunk: int
    tokens: int
    muon_rate: float
    adam_rate: float
    weight_decay: float
    warmup_steps: int
    warmdown: float  # share of the budget over which the rates fall to zero
    tokenizer_races: int
    held_out_tokens: int
    ngram_tokens: int
    ngram_order: int
    # The decimals of a lap's times are mostly chance (see trainer.Noise).
    noise_mark: str = "."
    noise_tokens: int = 2
    noise_weight: float = 0.3


RECIPES = {
    "chief": Recipe(
        name="chief",
        shape=Shape(vocab=1280, hidden=512, ffn=1408, layers=8, heads=8, kv_heads=2),
        row_length=3072,
        rows_per_step=32,
        races_per_chunk=48,
        tokens=450_000_000,
        muon_rate=0.02,
        adam_rate=3e-3,
        weight_decay=0.02,
        warmup_steps=100,
        warmdown=0.5,
        tokenizer_races=200,
        held_out_tokens=400_000,
        ngram_tokens=10_000_000,
        ngram_order=12,
    ),
    "tiny": Recipe(
        name="tiny",
        shape=Shape(vocab=512, hidden=128, ffn=256, layers=2, heads=2, kv_heads=1),
        row_length=3072,
        rows_per_step=1,
        races_per_chunk=20,
        tokens=300_000,
        muon_rate=0.03,
        adam_rate=1e-2,
        weight_decay=0.02,
        warmup_steps=10,
        warmdown=0.5,
        tokenizer_races=20,
        held_out_tokens=30_000,
        ngram_tokens=300_000,
        ngram_order=8,
    ),
}


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run. The budget is `minutes` of training where given, else `tokens`, else the recipe's.

    Tokens count every position of a row, prompts and padding included.
    """

    recipe: Recipe
    out: Path
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 7
    device: str = "auto"
    workers: int = 1
    checkpoint: Path | None = None
    checkpoint_minutes: float = 5.0
    compile: bool = True
    shard_mib: int | None = None

    def __post_init__(self) -> None:
        if self.tokens is not None and self.minutes is not None:
            raise EngineError("give a budget in tokens or in minutes, not both")
        if self.tokens is not None and self.tokens < 1:
            raise EngineError(f"tokens {self.tokens}: give at least 1")
        if self.minutes is not None and not self.minutes > 0:
            raise EngineError(f"minutes {self.minutes}: give more than 0")
        if not 0 <= self.seed < 2**16:
            raise EngineError(f"seed {self.seed}: give a number from 0 to 65535")
        if self.workers < 0:
            raise EngineError(f"workers {self.workers}: give 0 (none) or more")
        if self.shard_mib is not None and self.shard_mib < 1:
            raise EngineError(f"shard size {self.shard_mib} MiB: give at least 1")

    @property
    def token_budget(self) -> int:
        return self.recipe.tokens if self.tokens is None else self.tokens

    @property
    def command(self) -> str:
        """The command line that repeats the run, without this machine's paths."""
        budget = (
            f"--minutes {self.minutes:g}"
            if self.minutes is not None
            else f"--tokens {self.token_budget}"
        )
        return f"pitwall train --size {self.recipe.name} {budget} --seed {self.seed} --out DIR"
