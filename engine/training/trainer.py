"""The training loop: batches in, a trained model out, checkpoints on the way."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from engine.config import EngineError
from engine.training.data import Position, Rows, Source, batches, chunk_reader
from engine.training.model import Llama
from engine.training.optimizer import Optimizers
from engine.training.settings import Recipe, TrainSettings
from engine.training.tokenizer import token_id

IGNORED = -100
_SAY_EVERY = 5.0  # seconds

Say = Callable[[str], None]
Clock = Callable[[], float]
# (source, workers, first chunk) -> a context that gives a function of one chunk after the other.
Reader = Callable[[Source, int, int], AbstractContextManager[Callable[[], Rows]]]


class Loss(NamedTuple):
    """Means per labelled token of a batch: what is minimized, and the labels' weighted nats."""

    minimized: Tensor
    nats: Tensor


# (model, tokens, positions, labels, weights, bounds) of a batch -> its loss.
LossOf = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor, Tensor], Loss]


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of packed rows: tokens, positions, labels, weights [rows, length] and bounds
    [documents + 1].

    The label of a slot is the token after it, where that token is trained on; its weight is the
    label's share in the loss.
    """

    tokens: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device, noise: "Noise | None" = None) -> "Batch":
        tokens = rows.tokens.astype(np.int64)
        labels = np.full_like(tokens, IGNORED)
        labels[:, :-1] = np.where(rows.trained[:, 1:], tokens[:, 1:], IGNORED)
        starts = np.flatnonzero(rows.positions == 0)
        # Rounded up with empty documents at the end: one shape for compiled code, nearly always.
        step = 16 * len(rows)
        bounds = np.full(-(-len(starts) // step) * step + 1, rows.tokens.size, dtype=np.int32)
        bounds[: len(starts)] = starts

        def tensor(array: np.ndarray[Any, Any]) -> Tensor:
            host = torch.from_numpy(array)
            if device.type != "cuda":
                return host.to(device)
            return host.pin_memory().to(device, non_blocking=True)

        return cls(
            tensor(tokens),
            tensor(rows.positions.astype(np.int64)),
            tensor(labels),
            tensor(noise.weights(tokens) if noise else np.ones(tokens.shape, np.float32)),
            tensor(bounds),
        )


@dataclass(frozen=True, slots=True)
class Noise:
    """Labels that are mostly chance: the `count` tokens after each `mark` token, such as the
    decimals of a measured time.

    Left at full weight, their gradients drown those of what can be learnt. The weight depends on
    what comes before a label, never on the label, so every distribution stays the one to learn.
    """

    mark: int
    count: int
    weight: float

    def weights(self, tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """float32 [rows, length]: the weight of each slot's label."""
        weights = np.ones(tokens.shape, dtype=np.float32)
        marks = tokens == self.mark
        for shift in range(self.count):
            weights[:, shift:][marks[:, : tokens.shape[1] - shift]] = self.weight
        return weights


def autocast(device: torch.device) -> torch.autocast:
    """bf16 on a GPU; on a CPU everything stays fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def batch_loss(
    model: nn.Module,
    tokens: Tensor,
    positions: Tensor,
    labels: Tensor,
    weights: Tensor,
    bounds: Tensor,
) -> Loss:
    """Cross-entropy with the labels alone."""
    with autocast(tokens.device):
        logits = model(tokens, positions, bounds).flatten(0, 1).float()
    nats = labelled_nats(logits, labels.flatten(), weights.flatten())
    return Loss(nats, nats)


def labelled_nats(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean nats per labelled slot, of logits [slots, vocab]."""
    nats = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    counted = weights * (labels != IGNORED)
    return (nats * counted).sum() / counted.sum()


@dataclass(frozen=True, slots=True)
class Objective:
    """What a run minimizes, and what its checkpoints remember of that."""

    loss: LossOf = batch_loss
    identity: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `tokens` counts every slot of every row, `trained` the labelled ones."""

    step: int = 0
    tokens: int = 0
    trained: int = 0
    seconds: float = 0.0
    position: Position = field(default_factory=Position)

    def spent(self, settings: TrainSettings) -> float:
        """Share of the budget that is used."""
        if settings.minutes is not None:
            return self.seconds / (60 * settings.minutes)
        return self.tokens / settings.token_budget


def rate_share(step: int, spent: float, recipe: Recipe) -> float:
    """Share of the full learning rates: warm-up by steps, constant, linear warm-down to zero.

    The warm-down goes by the share of the budget, so a run limited by time ends with it done.
    """
    up = min(1.0, (step + 1) / recipe.warmup_steps)
    down = min(1.0, (1.0 - spent) / recipe.warmdown)
    return up * max(0.0, down)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that a run can be taken up from, to the bit where the budget is in tokens."""

    path: Path
    identity: dict[str, Any]

    @classmethod
    def of(
        cls, folder: Path, settings: TrainSettings, tokenizer: str, objective: Objective
    ) -> "Checkpoint":
        identity = {
            **objective.identity,
            "recipe": asdict(settings.recipe),
            "seed": settings.seed,
            "budget": [settings.token_budget, settings.minutes],
            "tokenizer": tokenizer,
        }
        return cls(folder / "training.pt", identity)

    def save(self, model: nn.Module, optimizers: Optimizers, progress: Progress) -> None:
        """Replaces the file only when the new one is whole."""
        state = {
            "identity": self.identity,
            "model": model.state_dict(),
            "optimizers": optimizers.state(),
            "progress": asdict(progress),
        }
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, part)
            os.replace(part, self.path)
        except (OSError, RuntimeError) as error:
            raise EngineError(f"cannot write checkpoint {self.path}: {error}") from error

    def load(self, model: nn.Module, optimizers: Optimizers, device: torch.device) -> Progress:
        """Takes up what was saved; Progress() where nothing was."""
        if not self.path.exists():
            return Progress()
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:
            raise EngineError(f"cannot read checkpoint {self.path}: {error}") from error
        if state["identity"] != self.identity:
            raise EngineError(
                f"checkpoint {self.path} is of another run: repeat its options or remove it"
            )
        model.load_state_dict(state["model"])
        optimizers.restore(state["optimizers"])
        progress = dict(state["progress"])
        return Progress(**progress | {"position": Position(**progress["position"])})


class Learner:
    """A model in training on its device: its optimizers, and what it minimizes."""

    def __init__(self, model: Llama, settings: TrainSettings, objective: Objective) -> None:
        self.model = model
        self.device = model.embed_tokens.weight.device
        self.optimizers = Optimizers(model, settings.recipe)
        compiled = settings.compile and self.device.type == "cuda"
        if compiled:
            torch.compiler.reset()  # a run that came before counts as a recompilation
        self._loss_of = torch.compile(objective.loss) if compiled else objective.loss
        model.train()

    def learn(self, batch: Batch, share: float) -> Loss:
        """One update at `share` of the full rates; the loss before it, still on the device."""
        loss = self._loss_of(
            self.model, batch.tokens, batch.positions, batch.labels, batch.weights, batch.bounds
        )
        loss.minimized.backward()
        self.optimizers.step(share)
        return Loss(loss.minimized.detach(), loss.nats.detach())


@dataclass(frozen=True, slots=True)
class Step:
    """One step behind us: how far the run is now, the rates' share, each learner's loss."""

    progress: Progress
    share: float
    losses: tuple[Loss, ...]


def steps(
    learners: Sequence[Learner],
    source: Source,
    settings: TrainSettings,
    start: Progress,
    clock: Clock,
    reader: Reader,
) -> Iterator[Step]:
    """Teaches all learners the same batches, one device for all, until the budget is spent.

    A step is made when it is asked for; whoever asks may do as they like in between.
    """
    recipe, progress = settings.recipe, start
    mark = token_id(Tokenizer.from_str(source.tokenizer), recipe.noise_mark)
    noise = Noise(mark, recipe.noise_tokens, recipe.noise_weight)
    began = clock() - progress.seconds
    with reader(source, settings.workers, progress.position.chunk) as read:
        supply = batches(read, progress.position, recipe.rows_per_step)
        while (spent := progress.spent(settings)) < 1.0:
            rows, position = next(supply)
            batch = Batch.of(rows, learners[0].device, noise)
            share = rate_share(progress.step, spent, recipe)
            losses = tuple(learner.learn(batch, share) for learner in learners)
            progress = Progress(
                step=progress.step + 1,
                tokens=progress.tokens + rows.tokens.size,
                trained=progress.trained + int(rows.trained[:, 1:].sum()),
                seconds=clock() - began,
                position=position,
            )
            yield Step(progress, share, losses)


def fit(
    model: Llama,
    source: Source,
    settings: TrainSettings,
    say: Say,
    clock: Clock = time.perf_counter,
    objective: Objective | None = None,
    reader: Reader = chunk_reader,
) -> Progress:
    """Trains `model`, on its device, until the budget is spent; cross-entropy by default."""
    objective = objective or Objective()
    learner = Learner(model, settings, objective)
    progress = Progress()
    checkpoint = None
    if settings.checkpoint is not None:
        checkpoint = Checkpoint.of(settings.checkpoint, settings, source.tokenizer, objective)
        progress = checkpoint.load(model, learner.optimizers, learner.device)
        if progress.step:
            say(f"taken up at step {progress.step}, {progress.tokens:,} tokens")
    said = Said(progress, learner.device)
    saved_at = progress.seconds
    for step in steps([learner], source, settings, progress, clock, reader):
        progress = step.progress
        said.add(step.losses[0].minimized)
        if progress.seconds - said.at.seconds >= _SAY_EVERY or progress.step == 1:
            say(said.line(progress, step.share, settings))
        if checkpoint and progress.seconds - saved_at >= 60 * settings.checkpoint_minutes:
            checkpoint.save(model, learner.optimizers, progress)
            saved_at = progress.seconds
    if checkpoint is not None:
        checkpoint.save(model, learner.optimizers, progress)
    return progress


class Said:
    """The loss and speed since the last progress line; the loss stays on the device till then."""

    def __init__(self, at: Progress, device: torch.device) -> None:
        self.at = at
        self._losses = torch.zeros((), device=device)

    def add(self, loss: Tensor) -> None:
        self._losses += loss

    def line(self, progress: Progress, share: float, settings: TrainSettings) -> str:
        """The next progress line; raises EngineError where the loss is no number any more."""
        loss = float(self._losses) / (progress.step - self.at.step)
        if not np.isfinite(loss):
            raise EngineError(f"the loss is {loss} at step {progress.step}: training has diverged")
        speed = (progress.tokens - self.at.tokens) / (progress.seconds - self.at.seconds)
        spent = progress.spent(settings)
        left = progress.seconds * (1 - spent) / spent
        self.at = progress
        self._losses.zero_()
        return (
            f"step {progress.step:6d}  tokens {progress.tokens / 1e6:8.2f} M  "
            f"{speed / 1e3:7.1f} k tokens/s  loss {loss:.4f}  rate {share:.2f}  "
            f"left {max(0.0, left):5.0f} s"
        )
