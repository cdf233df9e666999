"""How many bytes a decoder's weights take in each format, by its shapes alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from engine.config import WEIGHT_FORMATS
from engine.scheme import INT4, INT8
from engine.spec import ModelSpec, Rotary


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a model's weights by format, in the order of WEIGHT_FORMATS.

    `projection` where nothing was loaded: the bytes follow from published shapes.
    """

    name: str
    projection: bool
    nbytes: tuple[int, ...]


def served_bytes(spec: ModelSpec, weights: str, others: int) -> int:
    """Bytes that a decoder holds on a CPU, in float32 where a format leaves values as they are.

    Linear layers are held in the format; the embedding's table and the `others`, as many numbers in
    norms and biases, stay float32. A tied head is held beside the table.
    """
    whole = spec.vocab_size * spec.hidden + others
    return 4 * whole + sum(_linear_bytes(*shape, weights) for shape in spec.linears.values())


def _linear_bytes(rows: int, columns: int, weights: str) -> int:
    match weights:
        case "int8":
            return INT8.nbytes(rows, columns)
        case "int4":
            return INT4.nbytes(rows, columns)
    return rows * columns * {"fp32": 4, "bf16": 2}[weights]


def kv_bytes(spec: ModelSpec, kv_dtype: str) -> int:
    """Bytes that one token's keys and values take over all layers, as engine/kvcache.py holds them;
    "fp16" is for comparison with engines that do."""
    vector = {"fp32": 4 * spec.head_size, "fp16": 2 * spec.head_size, "int8": spec.head_size + 4}
    return spec.layers * 2 * spec.kv_heads * vector[kv_dtype]


def loaded(name: str, spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]]) -> Footprint:
    """That of a folder whose tensors have these shapes: what is no matrix is a norm or a bias."""
    others = sum(
        prod(shape)
        for tensor, shape in shapes.items()
        if len(shape) == 1 and not tensor.endswith("rotary_emb.inv_freq")
    )
    sizes = tuple(served_bytes(spec, weights, others) for weights in WEIGHT_FORMATS)
    return Footprint(name, False, sizes)


def projections() -> tuple[Footprint, ...]:
    """Llama 2 by its published shapes, as this engine would hold it."""
    return tuple(
        Footprint(
            name,
            True,
            tuple(served_bytes(spec, weights, llama_2_norms(spec)) for weights in WEIGHT_FORMATS),
        )
        for name, spec in LLAMA_2.items()
    )


def llama_2_norms(spec: ModelSpec) -> int:
    """Numbers in its norms: two a layer and the last. It has no biases."""
    return (2 * spec.layers + 1) * spec.hidden


def _llama_2(hidden: int, ffn: int, layers: int, heads: int, kv_heads: int) -> ModelSpec:
    return ModelSpec(
        architecture="LlamaForCausalLM",
        vocab_size=32000,
        hidden=hidden,
        ffn=ffn,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=hidden // heads,
        norm_eps=1e-5,
        rotary=Rotary(10000.0),
        tied=False,
        max_context=4096,
        eos_token_ids=(2,),
    )


# Touvron et al. 2023, https://arxiv.org/abs/2307.09288, and the models' own config.json.
LLAMA_2 = {
    "7B": _llama_2(hidden=4096, ffn=11008, layers=32, heads=32, kv_heads=32),
    "13B": _llama_2(hidden=5120, ffn=13824, layers=40, heads=40, kv_heads=40),
    "70B": _llama_2(hidden=8192, ffn=28672, layers=80, heads=64, kv_heads=8),
}
# TinyLlama, https://arxiv.org/abs/2401.02385: the same architecture and tokenizer, made for 2048.
PUBLISHED = {
    "1B": replace(
        _llama_2(hidden=2048, ffn=5632, layers=22, heads=32, kv_heads=4), max_context=2048
    ),
    **LLAMA_2,
}
