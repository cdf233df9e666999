"""The Llama decoder as it is trained: whole rows of packed documents, no cache.

Module names are those of Hugging Face's Llama, so that a state dict is a checkpoint. What serves
the trained model is `engine.model`.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.training.settings import Shape

# (queries, keys, values [slots, heads, head size], bounds [documents + 1], longest) -> as queries.
# Slots are the flattened rows; bounds are where documents start in them, then the end.
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
# (tokens, positions, bounds), as Llama.forward takes them -> logits [rows, length, vocab].
Decoder = Callable[[Tensor, Tensor, Tensor], Tensor]


def attend_singly(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """Causal attention inside each document, one after the other: any device, any type."""
    ends = bounds.tolist()
    parts = []
    for start, end in pairwise(ends):
        if start < end:
            one_q, one_k, one_v = (x[start:end].transpose(0, 1) for x in (q, k, v))
            out = F.scaled_dot_product_attention(one_q, one_k, one_v, is_causal=True)
            parts.append(out.transpose(0, 1))
    return torch.cat(parts)


def attend_flash(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """The same by FlashAttention's variable-length kernel; needs CUDA and a 16-bit type."""
    from torch.nn.attention.varlen import varlen_attn

    out = varlen_attn(q, k, v, bounds, bounds, longest, longest, window_size=(-1, 0))
    assert isinstance(out, Tensor)
    return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding in halves; x [..., head size], cos and sin half as wide."""
    first, second = x.float().chunk(2, dim=-1)
    out = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return out.to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape: Shape, attend: Attend) -> None:
        super().__init__()
        self.shape = shape
        self.attend = attend
        width = shape.heads * shape.head_size
        kv_width = shape.kv_heads * shape.head_size
        self.q_proj = nn.Linear(shape.hidden, width, bias=False)
        self.k_proj = nn.Linear(shape.hidden, kv_width, bias=False)
        self.v_proj = nn.Linear(shape.hidden, kv_width, bias=False)
        self.o_proj = nn.Linear(width, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bounds: Tensor) -> Tensor:
        size = self.shape.head_size
        share = self.shape.heads // self.shape.kv_heads
        q = rotate(self.q_proj(x).unflatten(-1, (-1, size)), cos, sin)
        k = rotate(self.k_proj(x).unflatten(-1, (-1, size)), cos, sin)
        v = self.v_proj(x).unflatten(-1, (-1, size))
        # Not every release of the kernels takes grouped heads; copies cost little at this size.
        k, v = (heads.repeat_interleave(share, dim=2) for heads in (k, v))
        mixed = self.attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), bounds, x.shape[1])
        out: Tensor = self.o_proj(mixed.view(*x.shape[:2], -1))
        return out


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.ffn, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.ffn, bias=False)
        self.down_proj = nn.Linear(shape.ffn, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, shape: Shape, attend: Attend) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = Attention(shape, attend)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bounds: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, bounds)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Llama(nn.Module):
    """Decoder with tied input and output embeddings."""

    inverse_frequencies: Tensor

    def __init__(self, shape: Shape, attend: Attend = attend_singly) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape, attend) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)
        exponents = torch.arange(0, shape.head_size, 2, dtype=torch.float32) / shape.head_size
        frequencies = 1 / torch.tensor(shape.rope_theta).pow(exponents)
        self.register_buffer("inverse_frequencies", frequencies, persistent=False)

    def initialize(self, seed: int) -> None:
        """Normal weights; the projections back into the residual stream start at zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02, generator=generator)

    def forward(self, tokens: Tensor, positions: Tensor, bounds: Tensor) -> Tensor:
        """Logits [rows, length, vocab] of packed documents.

        tokens and positions [rows, length]; bounds int32 [documents + 1]: where documents start
        in the flattened rows, then the end.
        """
        x = self.embed_tokens(tokens)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        angles = positions[..., None, None] * self.inverse_frequencies
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            x = layer(x, cos, sin, bounds)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def choose_attention(device: torch.device) -> tuple[Attend, str]:
    """FlashAttention where this GPU and this torch run it rightly; and what it is called."""
    if device.type != "cuda":
        return attend_singly, "per-document"
    generator = torch.Generator(device).manual_seed(0)
    q, k, v, target = (
        torch.randn(512, 2, 64, generator=generator, device=device).bfloat16() for _ in range(4)
    )
    # Empty documents at the end, as batches have them.
    bounds = torch.tensor([0, 100, 256, 300, 512, 512, 512], device=device, dtype=torch.int32)

    def results(attend: Attend) -> list[Tensor]:
        inputs = [x.clone().requires_grad_(True) for x in (q, k, v)]
        out = attend(inputs[0], inputs[1], inputs[2], bounds, 256)
        return [out, *torch.autograd.grad(out, inputs, target)]

    try:
        pairs = zip(results(attend_singly), results(attend_flash), strict=True)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        return attend_singly, f"per-document (flash: {error})"
    if not all(torch.allclose(a.float(), b.float(), rtol=0.05, atol=0.05) for a, b in pairs):
        return attend_singly, "per-document (flash gave other values)"
    return attend_flash, "flash"
