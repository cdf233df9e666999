"""Picking tokens: argmax(logits / T + g), with noise that belongs to the token's place.

The Gumbel noise g is a counter-based hash of (request seed, absolute position of the new
token, token id), so a sample depends neither on the batch around it nor on the path to it.
(Gumbel-max: Gumbel 1954; as vLLM and SGLang use it for reproducible serving.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from engine.config import Sampling

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


class Stream(IntEnum):
    """Noises of one place that know nothing of each other.

    Only the ratio test needs more than the first: see engine/verify.py.
    """

    TOKEN = 0
    DRAFT = 1
    VERDICT = 2
    RESIDUAL = 3


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """How one row picks its token; `position` is the absolute index of the token picked."""

    sampling: Sampling
    position: int
    stream: Stream = Stream.TOKEN

    @property
    def key(self) -> tuple[int, int]:
        """Two words that name its noise."""
        return row_key(self.sampling.seed, self.position, self.stream)

    @property
    def plain(self) -> bool:
        """Without filters, and with a token's own noise: what native kernels pick."""
        return not self.sampling.top_k and self.sampling.top_p == 1 and not self.stream


def row_key(seed: int, position: int, stream: Stream = Stream.TOKEN) -> tuple[int, int]:
    """Two 32-bit words that name (seed, position, stream): splitmix64 over all of them."""
    x = seed * 0x9E3779B97F4A7C15 + position * 0xD1B54A32D192ED03 + stream * 0xAEF17502108EF2D9
    x = (x + 0x8CB92BA72F3D8DD7) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    x ^= x >> 31
    return x & _MASK32, x >> 32


def _mix(x: Tensor) -> Tensor:
    """Murmur3's finalizer on 32-bit words held in int64, in place."""
    x ^= x >> 16
    x *= 0x85EBCA6B
    x &= _MASK32
    x ^= x >> 13
    x *= 0xC2B2AE35
    x &= _MASK32
    x ^= x >> 16
    return x


def hash_words(keys: Sequence[tuple[int, int]], vocab_size: int, device: torch.device) -> Tensor:
    """int64 [rows, vocab]: a 32-bit word for every row and token id."""
    words = torch.tensor(keys, dtype=torch.int64, device=device)
    ids = torch.arange(vocab_size, dtype=torch.int64, device=device)
    x = _mix((ids * 0x9E3779B1 & _MASK32)[None, :] ^ words[:, :1])
    return _mix((x + words[:, 1:]) & _MASK32)


def gumbel(words: Tensor) -> Tensor:
    """Standard Gumbel noise, float64, finite for every 32-bit word."""
    uniform = (words.to(torch.float64) + 0.5) * 2.0**-32
    return uniform.log_().neg_().log_().neg_()


def _filter(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Mask one row's unlikely tokens with -inf, in the order of the vocabulary.

    top_k keeps the k largest and what equals the k-th; top_p then keeps the smallest set of
    likeliest tokens whose probability reaches p (equal logits by the lower id).
    """
    if 0 < top_k < logits.shape[-1]:
        kth = torch.topk(logits, top_k).values[-1]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p < 1:
        ordered, order = torch.sort(logits, descending=True, stable=True)
        before = torch.softmax(ordered, -1).cumsum(-1) - torch.softmax(ordered, -1)
        drop = torch.zeros_like(logits, dtype=torch.bool)
        drop[order[before >= top_p]] = True
        logits = logits.masked_fill(drop, float("-inf"))
    return logits


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """float64 [rows, vocab]: what `sampling` picks from logits [rows, vocab], and how likely."""
    scores = logits.to(torch.float64)
    if sampling.temperature == 0:
        sure = torch.zeros_like(scores)
        sure[range(len(scores)), _argmax(scores)] = 1
        return sure
    heated = (scores - scores.amax(-1, keepdim=True)) / sampling.temperature
    rows = [_filter(row, sampling.top_k, sampling.top_p) for row in heated]
    return torch.softmax(torch.stack(rows), -1)


def sample(logits: Tensor, specs: Sequence[SampleSpec]) -> list[int]:
    """A token id for every row of `logits` (float [rows, vocab]).

    Temperature 0 takes the largest logit, the lowest id on ties.
    """
    warm = [i for i, spec in enumerate(specs) if spec.sampling.temperature > 0]
    if not warm:
        return _argmax(logits)
    scores = logits.to(torch.float64)
    chosen = [specs[i] for i in warm]
    temperatures = scores.new_tensor([spec.sampling.temperature for spec in chosen])
    keys = [spec.key for spec in chosen]
    every = len(warm) == len(specs)
    heated = scores if every else scores[warm]
    # The largest at zero, so that no temperature is too small to divide by.
    heated = (heated - heated.amax(-1, keepdim=True)) / temperatures[:, None]
    for i, spec in enumerate(chosen):
        if spec.sampling.top_k or spec.sampling.top_p < 1:
            heated[i] = _filter(heated[i], spec.sampling.top_k, spec.sampling.top_p)
    heated += gumbel(hash_words(keys, logits.shape[-1], logits.device))
    if every:
        return _argmax(heated)
    scores[warm] = heated
    return _argmax(scores)


def _argmax(scores: Tensor) -> list[int]:
    """torch.argmax promises no order on ties; the first of the largest does."""
    best = scores.amax(-1, keepdim=True)
    return [int(token) for token in (scores == best).to(torch.uint8).argmax(-1).tolist()]
