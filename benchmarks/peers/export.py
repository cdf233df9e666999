"""A Hugging Face folder of the Llama family as GGUF files, for llama.cpp."""

from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.llama import quiet_library
from benchmarks.peers.process import PeerError
from engine.spec import ModelSpec
from engine.tensors import DecoderTensors, LayerTensors, Matrix, read_tensors

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
# llama_ftype by our formats' names; F32 is written here, the others are made from it.
FTYPES = {"BF16": 32, "Q8_0": 7, "Q4_0": 2}


def export(folder: str, out: str, formats: list[str], threads: int) -> tuple[dict[str, str], int]:
    """The model's files by format, and the size of its vocabulary.

    They are made from the very tensors that our engine reads.
    """
    tensors = read_tensors(Path(folder), torch.float32, torch.device("cpu"), 4096)
    source = Path(out) / "F32.gguf"
    _write(tensors, source)
    files = {}
    for name in formats:
        files[name] = str(source if name == "F32" else _quantize(source, name, threads))
    return files, tensors.spec.vocab_size


def _quantize(source: Path, name: str, threads: int) -> Path:
    """As `llama-quantize --pure` does: every matrix of this one type, the head and, where they
    are tied, the embedding with it. Without `pure` the head would keep six bits or more."""
    library = quiet_library()
    target = source.with_name(f"{name}.gguf")
    params = library.llama_model_quantize_default_params()
    params.ftype = FTYPES[name]
    params.nthread = threads
    params.pure = True
    if library.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        raise PeerError(f"llama.cpp could not make {name}")
    return target


def _write(tensors: DecoderTensors, path: Path) -> None:
    gguf = import_module("gguf")
    spec = tensors.spec
    architecture = ARCHITECTURES[spec.architecture]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_file_type(0)  # F32
    writer.add_tokenizer_model("none")  # token ids are all that goes in and out
    writer.add_vocab_size(spec.vocab_size)
    writer.add_context_length(spec.max_context)
    writer.add_embedding_length(spec.hidden)
    writer.add_block_count(spec.layers)
    writer.add_feed_forward_length(spec.ffn)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_key_length(spec.head_size)
    writer.add_value_length(spec.head_size)
    writer.add_layer_norm_rms_eps(spec.norm_eps)
    writer.add_rope_dimension_count(spec.head_size)
    writer.add_rope_freq_base(spec.rotary.theta)

    def add(name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            writer.add_tensor(name, np.ascontiguousarray(tensor.numpy()))

    if spec.rotary.kind != "default":
        # Both kinds of scaling, as what each plain frequency is divided by.
        plain = type(spec.rotary)(spec.rotary.theta).frequencies(spec.head_size)
        scaled = spec.rotary.frequencies(spec.head_size)
        add("rope_freqs.weight", torch.tensor(plain) / torch.tensor(scaled))
    add("token_embd.weight", tensors.embedding)
    add("output_norm.weight", tensors.norm)
    if not spec.tied:
        add("output.weight", tensors.head.weight)
    for number, layer in enumerate(tensors.layers):
        for name, tensor in _layer(spec, layer, architecture == "llama").items():
            add(f"blk.{number}.{name}", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _layer(spec: ModelSpec, layer: LayerTensors, permuted: bool) -> dict[str, Tensor | None]:
    """Its tensors by llama.cpp's names; what our engine holds joined is split again."""
    q, kv, ffn = spec.heads * spec.head_size, spec.kv_heads * spec.head_size, spec.ffn
    found: dict[str, Tensor | None] = {
        "attn_norm.weight": layer.norms.attention,
        "ffn_norm.weight": layer.norms.ffn,
        "attn_q_norm.weight": layer.norms.q,
        "attn_k_norm.weight": layer.norms.k,
    }
    joined: list[tuple[Matrix, dict[str, int]]] = [
        (layer.qkv, {"attn_q": q, "attn_k": kv, "attn_v": kv}),
        (layer.out, {"attn_output": spec.hidden}),
        (layer.gate_up, {"ffn_gate": ffn, "ffn_up": ffn}),
        (layer.down, {"ffn_down": spec.hidden}),
    ]
    for matrix, parts in joined:
        sizes = list(parts.values())
        for name, weight in zip(parts, matrix.weight.split(sizes), strict=True):
            found[f"{name}.weight"] = weight
        if matrix.bias is not None:
            for name, bias in zip(parts, matrix.bias.split(sizes), strict=True):
                found[f"{name}.bias"] = bias
    for name, heads in (("attn_q", spec.heads), ("attn_k", spec.kv_heads)):
        for part in ("weight", "bias"):
            tensor = found.get(f"{name}.{part}")
            if permuted and tensor is not None:
                found[f"{name}.{part}"] = _pairs(tensor, heads)
    return found


def _pairs(tensor: Tensor, heads: int) -> Tensor:
    """A head's outputs for rotary pairs (i, i + 1) rather than (i, i + half), as llama.cpp's
    `llama` turns them; its Qwen architectures turn halves."""
    return torch.unflatten(tensor, 0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
