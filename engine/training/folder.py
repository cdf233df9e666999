"""A Hugging Face model folder: written in bf16, whole or in shards; shards joined."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from engine.config import EngineError, ModelError
from engine.spec import read_spec
from engine.training.model import Attend, Llama, attend_singly
from engine.training.settings import Shape
from engine.training.tokenizer import BEGIN, END, save_tokenizer, token_id
from engine.weights import Weights

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def check_writable(folder: Path) -> None:
    """Makes the folder; raises EngineError before hours of work are lost to a bad path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise EngineError(f"cannot write to folder {folder}: {error.strerror}") from error


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A folder to write a model into; its files take the places of `folder`'s at the end.

    Until every file is written the old model stays whole; raises EngineError where the disk
    refuses.
    """
    check_writable(folder)
    part = folder / ".part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        yield part
        new = {path.name for path in part.iterdir()}
        for name in sorted(new):
            os.replace(part / name, folder / name)
        for old in [*folder.glob("model*.safetensors"), folder / INDEX]:
            if old.name not in new:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(f"cannot write the model to {folder}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer.json; raises ModelError."""
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"model {str(folder)!r}: cannot read tokenizer.json: {error}") from error


def load_model(folder: Path, attend: Attend = attend_singly) -> Llama:
    """A folder's model in fp32 on the CPU; raises ModelError for what cannot be trained here."""
    spec = read_spec(folder)
    if spec.architecture != "LlamaForCausalLM" or not spec.tied or spec.rotary.kind != "default":
        raise ModelError(
            f"model {str(folder)!r}: only Llama with tied embeddings and plain rotary positions "
            "can be trained or taught from"
        )
    shape = Shape(
        vocab=spec.vocab_size,
        hidden=spec.hidden,
        ffn=spec.ffn,
        layers=spec.layers,
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_size=spec.head_size,
        context=spec.max_context,
        rope_theta=spec.rotary.theta,
        norm_eps=spec.norm_eps,
    )
    model = Llama(shape, attend)
    weights = Weights(folder, torch.float32, torch.device("cpu"))
    state = {
        name: weights.take(f"model.{name}", *tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    weights.done(spec)
    model.load_state_dict(state)
    return model


def llama_config(shape: Shape, begin: int, end: int) -> dict[str, object]:
    """config.json, with the fields of transformers 4 and of 5."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "initializer_range": 0.02,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": begin,
        "eos_token_id": end,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
    }


def save_model(model: Llama, tokenizer: Tokenizer, folder: Path, shard_mib: int | None) -> None:
    """Weights (bf16), configuration and tokenizer; raises EngineError where the disk refuses."""
    shape = model.shape
    begin, end = token_id(tokenizer, BEGIN), token_id(tokenizer, END)
    weights = {
        f"model.{name}": tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
    }
    try:
        check_writable(folder)
        for old in [*folder.glob("model*.safetensors"), folder / INDEX]:
            old.unlink(missing_ok=True)
        if shard_mib is None:
            save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        else:
            _save_shards(weights, folder, shard_mib * 2**20)
        save_tokenizer(tokenizer, folder, shape.context)
        write_json(folder / "config.json", llama_config(shape, begin, end))
        generation = {
            "bos_token_id": begin,
            "eos_token_id": end,
            "do_sample": True,
            "temperature": 0.8,
        }
        write_json(folder / "generation_config.json", generation)
    except (OSError, SafetensorError) as error:
        raise EngineError(f"cannot write the model to {folder}: {error}") from error


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _save_shards(weights: dict[str, Tensor], folder: Path, limit: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in weights.items():
        if shards[-1] and used + tensor.nbytes > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += tensor.nbytes
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in weights.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def join_shards(folder: Path) -> None:
    """Turns a folder's shards into one model.safetensors; nothing to do where it is one already."""
    index = folder / INDEX
    if not index.exists():
        return
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        weights: dict[str, Tensor] = {}
        for file in files:
            weights |= load_file(folder / file)
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"cannot join the shards in {folder}: {error}") from error
    index.unlink()
    for file in files:
        (folder / file).unlink()
