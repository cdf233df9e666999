"""One decoder for the Llama family."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.linear import Linear, PlainLinear, make_linear
from engine.spec import ModelSpec, read_spec
from engine.weights import Weights


class Attention(Protocol):
    """Where a step's keys and values go and are read."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k, v [tokens, kv_heads, head]; attend q [tokens, heads, head]; return like q."""
        ...


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_norm: Tensor
    qkv: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Linear
    ffn_norm: Tensor
    gate_up: Linear
    down: Linear

    @property
    def linears(self) -> tuple[Linear, ...]:
        return self.qkv, self.out, self.gate_up, self.down

    @property
    def norms(self) -> list[Tensor]:
        found = (self.attention_norm, self.q_norm, self.k_norm, self.ffn_norm)
        return [norm for norm in found if norm is not None]


class Model:
    """Weights and the forward pass; it keeps nothing between calls."""

    def __init__(self, spec: ModelSpec, weights: Weights, max_context: int) -> None:
        self.spec = spec
        self._embedding = weights.take("model.embed_tokens.weight", spec.vocab_size, spec.hidden)
        self._layers = [_take_layer(weights, spec, i) for i in range(spec.layers)]
        self._norm = weights.take("model.norm.weight", spec.hidden)
        head = (
            self._embedding
            if spec.tied
            else weights.take("lm_head.weight", spec.vocab_size, spec.hidden)
        )
        self._head = make_linear(head)
        weights.done(spec)
        self.parameters = weights.taken  # numbers learnt, tied ones once
        self._cos, self._sin = _rotary_table(spec, max_context, self._embedding)

    @classmethod
    def load(
        cls, folder: Path, dtype: torch.dtype, device: torch.device, max_context: int
    ) -> "Model":
        """From a Hugging Face folder; raises ModelError."""
        spec = read_spec(folder)
        return cls(spec, Weights(folder, dtype, device), min(max_context, spec.max_context))

    @property
    def max_context(self) -> int:
        return self._cos.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self._embedding.dtype

    @property
    def device(self) -> torch.device:
        return self._embedding.device

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights held, the embedding's table included."""
        linears = [self._head, *(linear for layer in self._layers for linear in layer.linears)]
        tensors = [self._norm, *(norm for layer in self._layers for norm in layer.norms)]
        # A plain tied head reads the embedding's table itself, a packed one its own copy.
        if not (self.spec.tied and isinstance(self._head, PlainLinear)):
            tensors.append(self._embedding)
        held = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
        return held + sum(linear.nbytes for linear in linears)

    def forward(self, tokens: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        """int64 [tokens] at int64 [tokens] positions -> hidden states [tokens, hidden]."""
        spec = self.spec
        queries, keys = spec.heads, spec.heads + spec.kv_heads
        cos, sin = self._cos[positions], self._sin[positions]
        x = self._embedding[tokens]
        for number, layer in enumerate(self._layers):
            h = F.rms_norm(x, (spec.hidden,), layer.attention_norm, spec.norm_eps)
            qkv = layer.qkv(h).view(len(x), -1, spec.head_size)
            qk, v = qkv[:, :keys], qkv[:, keys:]
            if layer.q_norm is not None and layer.k_norm is not None:
                qk = torch.cat(
                    (
                        F.rms_norm(qk[:, :queries], (spec.head_size,), layer.q_norm, spec.norm_eps),
                        F.rms_norm(qk[:, queries:], (spec.head_size,), layer.k_norm, spec.norm_eps),
                    ),
                    1,
                )
            qk = _rotate(qk, cos, sin)
            h = attention(number, qk[:, :queries], qk[:, queries:], v)
            x = x + layer.out(h.reshape(len(x), -1))
            h = F.rms_norm(x, (spec.hidden,), layer.ffn_norm, spec.norm_eps)
            gate, up = layer.gate_up(h).split(spec.ffn, -1)
            x = x + layer.down(F.silu(gate) * up)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [rows, hidden] -> logits [rows, vocab]."""
        h = F.rms_norm(hidden, (self.spec.hidden,), self._norm, self.spec.norm_eps)
        return self._head(h)


def _take_layer(weights: Weights, spec: ModelSpec, number: int) -> _Layer:
    root = f"model.layers.{number}."
    q, kv = spec.heads * spec.head_size, spec.kv_heads * spec.head_size

    def linear(parts: dict[str, int], inputs: int, biased: bool = False) -> Linear:
        """Layers that read the same input, as one; all of them have a bias, or none."""
        names = [root + name for name in parts]
        sizes = list(parts.values())
        matrices = [
            weights.take(f"{name}.weight", size, inputs)
            for name, size in zip(names, sizes, strict=True)
        ]
        if not biased and not any(f"{name}.bias" in weights for name in names):
            return make_linear(torch.cat(matrices))
        biases = [
            weights.take(f"{name}.bias", size) for name, size in zip(names, sizes, strict=True)
        ]
        return make_linear(torch.cat(matrices), torch.cat(biases))

    norms = [root + f"self_attn.{name}_norm.weight" for name in "qk"]
    normed = spec.qk_norms or any(name in weights for name in norms)
    q_norm, k_norm = (weights.take(name, spec.head_size) if normed else None for name in norms)

    return _Layer(
        attention_norm=weights.take(root + "input_layernorm.weight", spec.hidden),
        qkv=linear(
            {"self_attn.q_proj": q, "self_attn.k_proj": kv, "self_attn.v_proj": kv},
            spec.hidden,
            spec.qkv_biases,
        ),
        q_norm=q_norm,
        k_norm=k_norm,
        out=linear({"self_attn.o_proj": spec.hidden}, q),
        ffn_norm=weights.take(root + "post_attention_layernorm.weight", spec.hidden),
        gate_up=linear({"mlp.gate_proj": spec.ffn, "mlp.up_proj": spec.ffn}, spec.hidden),
        down=linear({"mlp.down_proj": spec.hidden}, spec.ffn),
    )


def _rotary_table(spec: ModelSpec, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos, sin [length, 1, head]: computed in float64, whatever they are used in."""
    frequencies = torch.tensor(spec.rotary.frequencies(spec.head_size), dtype=torch.float64)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    angles = torch.cat((angles, angles), -1)[:, None, :]
    return angles.cos().to(like), angles.sin().to(like)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (i, i + head / 2) of x [tokens, heads, head] by its position's angle."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos + turned * sin
