"""One decoder for the Llama family, in torch: any device, and what native kernels are held to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.decoder import draft_in_turn
from engine.kvcache import KVCache, PagedAttention
from engine.linear import Linear, PlainLinear, make_linear
from engine.plan import Row
from engine.sampling import SampleSpec, sample
from engine.spec import ModelSpec
from engine.tensors import DecoderTensors, LayerNorms


class Attention(Protocol):
    """Where a step's keys and values go and are read."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k, v [tokens, kv_heads, head]; attend q [tokens, heads, head]; return like q."""
        ...


@dataclass(frozen=True, slots=True)
class _Layer:
    norms: LayerNorms
    qkv: Linear
    out: Linear
    gate_up: Linear
    down: Linear

    @property
    def linears(self) -> tuple[Linear, ...]:
        return self.qkv, self.out, self.gate_up, self.down


class TorchDecoder:
    """Weights in a format and the forward pass; it keeps nothing between calls."""

    def __init__(self, tensors: DecoderTensors, weights: str) -> None:
        self.spec = tensors.spec
        self._embedding = tensors.embedding
        self._layers = [
            _Layer(layer.norms, *(make_linear(matrix, weights) for matrix in layer.matrices))
            for layer in tensors.layers
        ]
        self._norm = tensors.norm
        self._head = make_linear(tensors.head, weights)
        self._cos, self._sin = rotary(tensors)
        linears = [self._head, *(linear for layer in self._layers for linear in layer.linears)]
        norms = sum(layer.norms.nbytes for layer in self._layers)
        norms += self._norm.untyped_storage().nbytes()
        self.read_bytes = self.nbytes = norms + sum(linear.nbytes for linear in linears)
        # A plain tied head reads the embedding's table itself, others have their own.
        if not (self.spec.tied and isinstance(self._head, PlainLinear)):
            self.nbytes += self._embedding.untyped_storage().nbytes()

    def run(self, cache: KVCache, rows: Sequence[Row], wanted: Sequence[int]) -> Tensor:
        device = cache.data.device
        tokens = torch.tensor([t for row in rows for t in row.tokens], device=device)
        positions = torch.tensor(
            [p for row in rows for p in range(row.start, row.end)], device=device
        )
        attention = PagedAttention(cache, rows, self.spec.groups)
        hidden = self.forward(tokens, positions, attention)
        return self.logits(hidden[torch.tensor(wanted, dtype=torch.int64, device=device)])

    def sample(self, logits: Tensor, specs: Sequence[SampleSpec]) -> list[int]:
        return sample(logits, specs)

    def draft(self, cache: KVCache, rows: Sequence[Row]) -> list[list[int]]:
        return draft_in_turn(self, cache, rows)[0]

    def forward(self, tokens: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        """int64 [tokens] at int64 [tokens] positions -> hidden states [tokens, hidden]."""
        spec = self.spec
        cos, sin = self._cos[positions], self._sin[positions]
        x = self._embedding[tokens]
        for number, layer in enumerate(self._layers):
            norms = layer.norms
            h = F.rms_norm(x, (spec.hidden,), norms.attention, spec.norm_eps)
            h = attention(number, *heads(layer.qkv(h), spec, norms, cos, sin))
            x = x + layer.out(h.reshape(len(x), -1))
            h = F.rms_norm(x, (spec.hidden,), norms.ffn, spec.norm_eps)
            x = x + layer.down(gated(layer.gate_up(h), spec.ffn))
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [rows, hidden] -> logits [rows, vocab]."""
        h = F.rms_norm(hidden, (self.spec.hidden,), self._norm, self.spec.norm_eps)
        return self._head(h)


def rotary(tensors: DecoderTensors) -> tuple[Tensor, Tensor]:
    """cos, sin [positions, 1, head] in the decoder's dtype: both halves of a head turn alike."""
    cos, sin = (
        torch.cat((table, table), -1)[:, None, :].to(tensors.embedding)
        for table in (tensors.cos, tensors.sin)
    )
    return cos, sin


def heads(
    qkv: Tensor, spec: ModelSpec, norms: LayerNorms, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """[tokens, q + k + v] -> q, k, v [tokens, their heads, head]: normed where the model norms
    them, q and k rotated by their positions' cos and sin [tokens, 1, head]."""
    queries, keys = spec.heads, spec.heads + spec.kv_heads
    qkv = qkv.view(len(qkv), -1, spec.head_size)
    qk, v = qkv[:, :keys], qkv[:, keys:]
    if norms.q is not None and norms.k is not None:
        qk = torch.cat(
            (
                F.rms_norm(qk[:, :queries], (spec.head_size,), norms.q, spec.norm_eps),
                F.rms_norm(qk[:, queries:], (spec.head_size,), norms.k, spec.norm_eps),
            ),
            1,
        )
    qk = _rotate(qk, cos, sin)
    return qk[:, :queries], qk[:, queries:], v


def gated(gate_up: Tensor, ffn: int) -> Tensor:
    """[tokens, 2 * ffn] -> [tokens, ffn]: silu of the first half times the second."""
    gate, up = gate_up.split(ffn, -1)
    product: Tensor = F.silu(gate) * up
    return product


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (i, i + head / 2) of x [tokens, heads, head] by its position's angle."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos + turned * sin
