"""A decoder's tensors as its layers take them, read from a Hugging Face folder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from engine.quantize import Quantized
from engine.spec import ModelSpec, read_spec
from engine.weights import Weights


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer: weight [out, in], bias [out] or none, and 4-bit codes of the weight where
    there are better ones than the nearest."""

    weight: Tensor
    bias: Tensor | None = None
    int4: Quantized | None = None


@dataclass(frozen=True, slots=True)
class LayerNorms:
    """A layer's norms: [hidden], those of queries and keys [head] or none."""

    attention: Tensor
    q: Tensor | None
    k: Tensor | None
    ffn: Tensor

    @property
    def nbytes(self) -> int:
        found = (self.attention, self.q, self.k, self.ffn)
        return sum(norm.untyped_storage().nbytes() for norm in found if norm is not None)


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """One layer; what reads the same input is one matrix: q, k, v and gate, up."""

    norms: LayerNorms
    qkv: Matrix
    out: Matrix
    gate_up: Matrix
    down: Matrix

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        return self.qkv, self.out, self.gate_up, self.down


@dataclass(frozen=True, slots=True)
class DecoderTensors:
    """All of a decoder; `head` is the embedding's own matrix where they are tied.

    `cos` and `sin` are [positions, head / 2], in float64; `parameters` counts numbers learnt, tied
    ones once.
    """

    spec: ModelSpec
    embedding: Tensor
    layers: tuple[LayerTensors, ...]
    norm: Tensor
    head: Matrix
    cos: Tensor
    sin: Tensor
    parameters: int

    @property
    def max_context(self) -> int:
        return self.cos.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        return self.embedding.device


def matrices(tensors: DecoderTensors) -> dict[str, Matrix]:
    """A decoder's linear layers by name."""
    found = [matrix for layer in tensors.layers for matrix in layer.matrices]
    return dict(zip(tensors.spec.linears, [*found, tensors.head], strict=True))


def with_codes(tensors: DecoderTensors, codes: Mapping[str, Quantized]) -> DecoderTensors:
    """The decoder with 4-bit codes for each of its linear layers, by their names."""
    names = iter(tensors.spec.linears)
    layers = tuple(
        LayerTensors(
            layer.norms, *(_coded(matrix, codes[next(names)]) for matrix in layer.matrices)
        )
        for layer in tensors.layers
    )
    return replace(tensors, layers=layers, head=_coded(tensors.head, codes["head"]))


def _coded(matrix: Matrix, codes: Quantized) -> Matrix:
    """With codes where its weight is."""
    device = matrix.weight.device
    held = replace(codes, codes=codes.codes.to(device), scales=codes.scales.to(device))
    return replace(matrix, int4=held)


def read_tensors(
    folder: Path, dtype: torch.dtype, device: torch.device, max_context: int
) -> DecoderTensors:
    """The folder's tensors in an engine's dtype. Raises ModelError."""
    spec = read_spec(folder)
    weights = Weights(folder, dtype, device)
    embedding = weights.take("model.embed_tokens.weight", spec.vocab_size, spec.hidden)
    layers = tuple(_take_layer(weights, spec, number) for number in range(spec.layers))
    norm = weights.take("model.norm.weight", spec.hidden)
    head = embedding if spec.tied else weights.take("lm_head.weight", spec.vocab_size, spec.hidden)
    weights.done(spec)
    cos, sin = _rotary_table(spec, min(max_context, spec.max_context))
    return DecoderTensors(spec, embedding, layers, norm, Matrix(head), cos, sin, weights.taken)


def read_linears(folder: Path, spec: ModelSpec, number: int) -> dict[str, Matrix]:
    """The linear layers of layer `number` by their names in the spec, the head alone after the
    last; float32 on the CPU. Nothing else is read. Raises ModelError."""

    def weights(prefix: str) -> Weights:
        return Weights(folder, torch.float32, torch.device("cpu"), prefix)

    if number == spec.layers:
        name = "model.embed_tokens.weight" if spec.tied else "lm_head.weight"
        return {"head": Matrix(weights(name).take(name, spec.vocab_size, spec.hidden))}
    found = _take_layer(weights(f"model.layers.{number}."), spec, number).matrices
    names = list(spec.linears)[number * len(found) :]
    return dict(zip(names, found, strict=False))


def _take_layer(weights: Weights, spec: ModelSpec, number: int) -> LayerTensors:
    root = f"model.layers.{number}."
    q, kv = spec.heads * spec.head_size, spec.kv_heads * spec.head_size

    def matrix(parts: dict[str, int], inputs: int, biased: bool = False) -> Matrix:
        """Layers that read the same input, as one; all of them have a bias, or none."""
        names = [root + name for name in parts]
        sizes = list(parts.values())
        matrices = [
            weights.take(f"{name}.weight", size, inputs)
            for name, size in zip(names, sizes, strict=True)
        ]
        if not biased and not any(f"{name}.bias" in weights for name in names):
            return Matrix(torch.cat(matrices))
        biases = [
            weights.take(f"{name}.bias", size) for name, size in zip(names, sizes, strict=True)
        ]
        return Matrix(torch.cat(matrices), torch.cat(biases))

    norms = [root + f"self_attn.{name}_norm.weight" for name in "qk"]
    normed = spec.qk_norms or any(name in weights for name in norms)
    q_norm, k_norm = (weights.take(name, spec.head_size) if normed else None for name in norms)

    return LayerTensors(
        norms=LayerNorms(
            attention=weights.take(root + "input_layernorm.weight", spec.hidden),
            q=q_norm,
            k=k_norm,
            ffn=weights.take(root + "post_attention_layernorm.weight", spec.hidden),
        ),
        qkv=matrix(
            {"self_attn.q_proj": q, "self_attn.k_proj": kv, "self_attn.v_proj": kv},
            spec.hidden,
            spec.qkv_biases,
        ),
        out=matrix({"self_attn.o_proj": spec.hidden}, q),
        gate_up=matrix({"mlp.gate_proj": spec.ffn, "mlp.up_proj": spec.ffn}, spec.hidden),
        down=matrix({"mlp.down_proj": spec.hidden}, spec.ffn),
    )


def _rotary_table(spec: ModelSpec, length: int) -> tuple[Tensor, Tensor]:
    """cos, sin [length, head / 2]: computed in float64, whatever they are used in."""
    frequencies = torch.tensor(spec.rotary.frequencies(spec.head_size), dtype=torch.float64)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos(), angles.sin()
