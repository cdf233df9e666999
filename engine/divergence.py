"""How far logits are from others: the figures by which formats of the same model are compared."""

from dataclasses import dataclass

import torch
from torch import Tensor

CLEAR = 0.02  # a lead in probability


@dataclass(frozen=True, slots=True)
class Divergence:
    """At each of some places, float64 [places].

    `kl` is KL(expected || found) in nats; `top1` whether both have the same likeliest token, `gap`
    how much likelier the expected side holds its own than the one found (0 where they are the
    same); `clear` whether its own leads its second by CLEAR or more: elsewhere it is a near tie,
    that any rounding turns.
    """

    kl: Tensor
    top1: Tensor
    gap: Tensor
    clear: Tensor

    @property
    def clear_top1(self) -> Tensor:
        return self.clear * self.top1


def divergence(expected: Tensor, found: Tensor) -> Divergence:
    """Of log-probabilities [places, vocab], two tokens or more."""
    kl = (expected.exp() * (expected - found)).sum(-1)
    best, pick = expected.argmax(-1, keepdim=True), found.argmax(-1, keepdim=True)
    gap = (expected.gather(1, best).exp() - expected.gather(1, pick).exp())[:, 0]
    first, second = expected.topk(2).values.exp().unbind(-1)
    parts = (kl, (best == pick)[:, 0], gap, first - second >= CLEAR)
    return Divergence(*(part.to(torch.float64) for part in parts))
