"""Model folders: every kind that is served, and every one that is refused, by name."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.config import EngineConfig, EngineError, ModelError, Request, Sampling
from engine.core import Engine
from engine.spec import Rotary, read_spec
from tests.engine.make_golden import GOLDEN, LINEAR, LLAMA3
from tests.engine.toy import QKV, WIDE, Naive, Toy

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENS = [5, 9, 60, 0, 9, 9, 31, 7, 44, 12, 1, 58, 3, 3, 20, 27]
GOLD = json.loads(GOLDEN.read_text())


def agrees(toy: Toy, folder: Path, oracle: Naive | None = None) -> None:
    """The engine computes what the naive decoder does, in float64 and in float32."""
    expected = (oracle or Naive(toy)).logits(TOKENS)
    exact = toy.load(folder).logits(TOKENS)
    assert exact.dtype == torch.float32
    torch.testing.assert_close(exact, expected.float(), rtol=1e-6, atol=1e-6)
    found = toy.load(folder, dtype="float32").logits(TOKENS)
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3)


# What is served

KINDS = {
    "llama": Toy(),
    "untied": Toy(tied=False),
    "one head shared by all": Toy(kv_heads=1),
    "heads of their own": Toy(kv_heads=4),
    "wide": WIDE,
    "biases everywhere": Toy(biases=(*QKV, "self_attn.o_proj", "mlp.down_proj")),
    "biases of joined layers": Toy(biases=("mlp.gate_proj", "mlp.up_proj")),
    "qwen2": Toy("Qwen2ForCausalLM", biases=QKV),
    "qwen3": Toy("Qwen3ForCausalLM", qk_norms=True, head_size=16),
    "linear": Toy(rotary=LINEAR, head_size=16),
    "llama3": Toy(rotary=LLAMA3, head_size=16, theta=500.0),
    "linear by its old name": Toy(rotary={"type": "linear", "factor": 4.0}),
}


@pytest.mark.parametrize("style", [4, 5])
@pytest.mark.parametrize("name", KINDS)
def test_kinds(tmp_path: Path, name: str, style: int) -> None:
    toy = replace(KINDS[name], style=style)
    agrees(toy, toy.save(tmp_path))


@pytest.mark.parametrize("name", GOLD["toys"])
def test_as_transformers_computes(tmp_path: Path, name: str) -> None:
    fields = GOLD["toys"][name]
    toy = Toy(**{**fields, "biases": tuple(fields["biases"])})
    expected = torch.tensor(GOLD["logits"][name])
    found = toy.load(toy.save(tmp_path)).logits(GOLD["tokens"])[GOLD["positions"]]
    # transformers norms in float32 whatever the model is in.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_stored_logits_tell_the_kinds_apart() -> None:
    plain = replace(Toy(**GOLD["toys"]["llama3 scaling"]), rotary={})
    found = Naive(plain).logits(GOLD["tokens"])[GOLD["positions"]]
    for name in ("llama3 scaling", "linear scaling"):
        assert (found - torch.tensor(GOLD["logits"][name])).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shards", [1, 3])
def test_dtypes_and_shards(tmp_path: Path, dtype: torch.dtype, shards: int) -> None:
    toy = Toy(tied=False)
    folder = toy.save(tmp_path, dtype)
    if shards > 1:
        shard(folder, shards)
    rounded = {name: tensor.to(dtype) for name, tensor in toy.tensors().items()}
    agrees(toy, folder, Naive(toy, rounded))


def test_a_mix_of_dtypes(tmp_path: Path) -> None:
    toy = Toy()
    folder = toy.save(tmp_path)
    tensors = toy.tensors()
    mixed = {
        name: tensor.to((torch.float32, torch.bfloat16)[number % 2])
        for number, (name, tensor) in enumerate(tensors.items())
    }
    save_file(mixed, folder / "model.safetensors")
    agrees(toy, folder, Naive(toy, mixed))


def shard(folder: Path, count: int) -> None:
    """Split the folder's file as transformers does."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[number::count])
        save_file(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_what_older_files_carry_along_is_passed_over(tmp_path: Path) -> None:
    toy = Toy()
    folder = toy.save(tmp_path)
    extra = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3),
        "lm_head.weight": toy.tensors()["model.embed_tokens.weight"],
    }
    save_file({**toy.tensors(), **extra}, folder / "model.safetensors")
    agrees(toy, folder)


def test_a_head_size_that_config_leaves_out(tmp_path: Path) -> None:
    toy = Toy(
        extra={"head_dim": None, "num_key_value_heads": None, "rms_norm_eps": 1e-5}, kv_heads=4
    )
    agrees(toy, toy.save(tmp_path))


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        (3, None, (3,)),
        ([3, 5], None, (3, 5)),
        (None, None, ()),
        (3, {"eos_token_id": [7, 8]}, (7, 8)),
        (3, {"temperature": 1}, (3,)),
    ],
)
def test_end_tokens(
    tmp_path: Path, config: Any, generation: dict[str, Any] | None, expected: tuple[int, ...]
) -> None:
    folder = Toy(eos=config).save(tmp_path)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    assert read_spec(folder).eos_token_ids == expected


@pytest.mark.parametrize(("mine", "models", "expected"), [(50, 4096, 50), (4096, 40, 40)])
def test_the_context_is_the_smaller_of_both(
    tmp_path: Path, mine: int, models: int, expected: int
) -> None:
    toy = Toy(extra={"max_position_embeddings": models})
    engine = toy.load(toy.save(tmp_path), max_context=mine)
    assert engine.info.max_context == expected


def test_info_tells_what_was_loaded(tmp_path: Path) -> None:
    for name, toy in KINDS.items():
        folder = toy.save(tmp_path / name)
        info = toy.load(folder, pages=17, page_size=5).info
        tensors = toy.tensors()
        assert info.parameters == sum(t.numel() for t in tensors.values()), name
        assert info.weights_bytes == 8 * info.parameters, name
        packed = toy.load(folder, dtype="float32").info.weights_bytes
        copy = tensors["model.embed_tokens.weight"].numel() if toy.tied else 0
        assert packed == 4 * (info.parameters + copy), name
        assert (info.name, info.pages_total, info.page_size) == (name, 17, 5)
        assert info.page_bytes == 5 * toy.layers * 2 * toy.kv_heads * toy.head_size * 8
        assert (info.layers, info.vocab_size, info.device) == (toy.layers, toy.vocab, "cpu")


# Rotary scaling, against its published description


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones() -> None:
    """Llama 3.1's own figures, at the wavelengths where the rule changes."""
    rotary = Rotary(500000.0, "llama3", 8.0, 1.0, 4.0, 8192)
    plain = Rotary(500000.0).frequencies(128)
    scaled = rotary.frequencies(128)
    for before, after in zip(plain, scaled, strict=True):
        wave = 2 * math.pi / before
        if wave < 8192 / 4:
            assert after == before
        elif wave > 8192:
            assert after == before / 8
        else:
            share = (8192 / wave - 1) / 3
            assert after == pytest.approx(before * (share + (1 - share) / 8), rel=1e-12)
            assert before / 8 <= after <= before
    assert scaled == sorted(scaled, reverse=True)
    assert plain[0] == 1.0
    assert plain[32] == pytest.approx(500000.0**-0.5)


# What is refused


def refused(folder: Path, *says: str) -> None:
    with pytest.raises(ModelError) as error:
        Engine.load(EngineConfig(str(folder), dtype="float64"))
    message = str(error.value)
    assert "\n" not in message
    for part in says:
        assert part in message


CONFIGS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"architectures": ["GPT2LMHeadModel"]}, ("architecture 'GPT2LMHeadModel'", "Llama")),
    ({"architectures": None, "model_type": "mixtral"}, ("'mixtral'",)),
    ({"architectures": []}, ("architecture",)),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ("rotary scaling 'yarn'",)),
    ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, ("rotary scaling 'dynamic'",)),
    ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, ("'longrope'",)),
    ({"rope_scaling": {"rope_type": "linear"}}, ("factor is missing",)),
    ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, ("factor 0 is not above 0",)),
    ({"rope_scaling": {"rope_type": "linear", "factor": "4"}}, ("factor '4' is not a number",)),
    ({"rope_scaling": {**LLAMA3, "high_freq_factor": None}}, ("high_freq_factor is missing",)),
    ({"rope_scaling": "yarn"}, ("rotary",)),
    ({"partial_rotary_factor": 0.5}, ("partial_rotary_factor 0.5",)),
    ({"rope_theta": 0}, ("rope_theta 0",)),
    ({"rope_theta": float("inf")}, ("rope_theta inf",)),
    ({"quantization_config": {"quant_method": "gptq"}}, ("quantization_config",)),
    ({"use_sliding_window": True, "sliding_window": 128}, ("sliding window",)),
    ({"hidden_act": "gelu"}, ("hidden_act 'gelu'",)),
    ({"hidden_size": None}, ("hidden_size is missing",)),
    ({"hidden_size": "24"}, ("hidden_size '24' is not a number",)),
    ({"num_hidden_layers": 0}, ("num_hidden_layers 0",)),
    ({"num_hidden_layers": 1.5}, ("num_hidden_layers 1.5",)),
    ({"vocab_size": True}, ("vocab_size True",)),
    ({"vocab_size": float("nan")}, ("vocab_size nan",)),
    ({"num_key_value_heads": 3}, ("4 heads cannot share 3",)),
    ({"head_dim": 5}, ("head_dim 5 is odd",)),
    ({"eos_token_id": "end"}, ("eos_token_id 'end'",)),
    ({"eos_token_id": [1, None]}, ("eos_token_id [1, None]",)),
    ({"hidden_size": 32}, ("model.embed_tokens.weight is [61, 24]", "says [61, 32]")),
    ({"vocab_size": 62}, ("model.embed_tokens.weight is [61, 24]", "says [62, 24]")),
    ({"intermediate_size": 41}, ("mlp.gate_proj.weight",)),
    ({"num_key_value_heads": 4}, ("self_attn.k_proj.weight",)),
    ({"num_hidden_layers": 3}, ("tensor model.layers.2.input_layernorm.weight is missing",)),
    ({"num_hidden_layers": 1}, ("tensor model.layers.1.", "not part of a LlamaForCausalLM")),
    ({"tie_word_embeddings": False}, ("tensor lm_head.weight is missing",)),
    ({"architectures": ["Qwen2ForCausalLM"]}, ("self_attn.q_proj.bias is missing",)),
    ({"architectures": ["Qwen3ForCausalLM"]}, ("self_attn.q_norm.weight is missing",)),
]


@pytest.mark.parametrize(("change", "says"), CONFIGS, ids=[str(c) for c, _ in CONFIGS])
def test_refused_by_config(tmp_path: Path, change: dict[str, Any], says: tuple[str, ...]) -> None:
    refused(Toy(extra=change).save(tmp_path), *says)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\xff", '{"hidden_size": 1e999}'])
def test_refused_config_files(tmp_path: Path, text: str) -> None:
    folder = Toy().save(tmp_path)
    (folder / "config.json").write_text(text, encoding="latin-1")
    refused(folder, "architecture" if "1e999" in text else "config.json")


def drop(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.pop(name)


TENSORS: dict[str, tuple[Toy, Callable[[dict[str, torch.Tensor]], object], tuple[str, ...]]] = {
    "a missing norm": (Toy(), drop("model.norm.weight"), ("model.norm.weight is missing",)),
    "a missing layer": (
        Toy(),
        drop("model.layers.1.mlp.up_proj.weight"),
        ("model.layers.1.mlp.up_proj.weight is missing",),
    ),
    "one bias of three": (
        Toy("Qwen2ForCausalLM", biases=QKV),
        drop("model.layers.0.self_attn.v_proj.bias"),
        ("model.layers.0.self_attn.v_proj.bias is missing",),
    ),
    "one bias of three where none must be": (
        Toy(biases=QKV),
        drop("model.layers.0.self_attn.v_proj.bias"),
        ("model.layers.0.self_attn.v_proj.bias is missing",),
    ),
    "one norm of two": (
        Toy("Qwen3ForCausalLM", qk_norms=True),
        drop("model.layers.1.self_attn.k_norm.weight"),
        ("model.layers.1.self_attn.k_norm.weight is missing",),
    ),
    "one norm of two where none must be": (
        Toy(qk_norms=True),
        drop("model.layers.1.self_attn.k_norm.weight"),
        ("model.layers.1.self_attn.k_norm.weight is missing",),
    ),
    "a strange tensor": (
        Toy(),
        lambda tensors: tensors.update({"model.layers.0.moe.weight": torch.ones(2)}),
        ("model.layers.0.moe.weight", "not part of a LlamaForCausalLM"),
    ),
    "a wrong shape": (
        Toy(),
        lambda tensors: tensors.update({"model.norm.weight": torch.ones(25)}),
        ("model.norm.weight is [25]", "[24]"),
    ),
    "a transposed matrix": (
        Toy(),
        lambda tensors: tensors.update({"model.layers.0.mlp.down_proj.weight": torch.ones(40, 24)}),
        ("model.layers.0.mlp.down_proj.weight is [40, 24]", "[24, 40]"),
    ),
    "integers": (
        Toy(),
        lambda tensors: tensors.update({"model.norm.weight": torch.ones(24, dtype=torch.int8)}),
        ("model.norm.weight", "int8"),
    ),
    "doubles": (
        Toy(),
        lambda tensors: tensors.update({"model.norm.weight": torch.ones(24, dtype=torch.float64)}),
        ("model.norm.weight", "float64"),
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_refused_by_tensors(tmp_path: Path, name: str) -> None:
    toy, damage, says = TENSORS[name]
    folder, tensors = toy.save(tmp_path), toy.tensors()
    damage(tensors)
    save_file(tensors, folder / "model.safetensors")
    refused(folder, *says)


@pytest.mark.parametrize("keep", [0, 4, 200, 0.5, 0.999])
def test_a_truncated_file(tmp_path: Path, keep: float) -> None:
    path = Toy().save(tmp_path) / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    refused(tmp_path, "model.safetensors")


def test_missing_files(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "not a folder")
    file = tmp_path / "file"
    file.write_text("")
    refused(file, f"{str(file)!r} is not a folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, str(empty), "no config.json")
    folder = Toy().save(tmp_path / "toy")
    (folder / "model.safetensors").unlink()
    refused(folder, "no model.safetensors")


def test_broken_shards(tmp_path: Path) -> None:
    folder = Toy().save(tmp_path)
    shard(folder, 3)
    index = folder / "model.safetensors.index.json"
    intact = index.read_text()
    for text in ("", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1, "b": "c"}}'):
        index.write_text(text)
        refused(folder, index.name)
    index.write_text(intact)
    name = "model-00002-of-00003.safetensors"
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-100])
    refused(folder, name)
    (folder / name).unlink()
    refused(folder, name)


def test_a_device_that_is_not_there(toy_folder: Path) -> None:
    for device in ("warp", "cuda:77"):
        with pytest.raises(EngineError, match=f"device '{device}' cannot be used") as error:
            Engine.load(EngineConfig(str(toy_folder), device=device))
        assert "\n" not in str(error.value)


def test_memory_for_no_page_at_all(toy_folder: Path) -> None:
    with pytest.raises(EngineError, match=r"kv_memory_mib 0\.001 holds no page of 6144 bytes"):
        Engine.load(EngineConfig(str(toy_folder), kv_memory_mib=0.001, page_size=32))


def test_a_refused_folder_leaves_a_running_engine_alone(tmp_path: Path, toy_folder: Path) -> None:
    engine = Toy().load(toy_folder)
    request = Request("1", (1, 2, 3), Sampling(max_tokens=4))
    engine.submit(request)
    engine.step()
    refused(tmp_path, "no config.json")
    while engine.has_work:
        engine.step()
    assert engine.tokens("1") == Naive(Toy()).generate(request)
