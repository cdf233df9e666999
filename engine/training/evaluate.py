"""Held-out loss of a trained model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from engine.training.data import Encoded, pack
from engine.training.model import Llama
from engine.training.trainer import Batch, autocast


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Loss over body tokens that training never saw; `lines` counts their line ends."""

    tokens: int
    lines: int
    nats_per_token: float
    accuracy: float  # share of tokens that were the likeliest one

    @property
    def bits_per_line(self) -> float:
        return self.nats_per_token * self.tokens / self.lines / math.log(2)

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats_per_token)


@torch.no_grad()
def held_out_loss(
    model: Llama, documents: Sequence[Encoded], row_length: int, newline: int, pad: int
) -> HeldOut:
    """Mean nats per body token of documents; `newline` is the id of the line end."""
    device = model.embed_tokens.weight.device
    model.eval()
    rows = pack(documents, row_length, pad)
    total = torch.zeros((), dtype=torch.float64, device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)
    per_batch = 16 if device.type == "cuda" else 2
    for start in range(0, len(rows), per_batch):
        batch = Batch.of(rows[start : start + per_batch], device)
        with autocast(device):
            logits = model(batch.tokens, batch.positions, batch.bounds)
        counted = batch.labels >= 0
        labels = batch.labels[counted]
        chosen = logits[counted].float()
        total += F.cross_entropy(chosen, labels, reduction="sum")
        right += (chosen.argmax(-1) == labels).sum()
    tokens = int(rows.trained.sum())
    lines = int((rows.tokens[rows.trained] == newline).sum())
    return HeldOut(tokens, lines, float(total) / tokens, int(right) / tokens)
