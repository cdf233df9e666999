"""config.json of the Llama family, as transformers 4 and 5 write it, as one frozen value."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import ModelError

# What sets each architecture apart beyond Llama itself are biases of the attention's inputs
# (Qwen2) and norms of queries and keys (Qwen3).
ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
ROTARY = ("default", "linear", "llama3")


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary position embedding: base frequency and, where scaled, by which rule."""

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192

    def frequencies(self, head_size: int) -> list[float]:
        """Radians per position for each of head_size / 2 pairs."""
        plain = [self.theta ** (-2 * i / head_size) for i in range(head_size // 2)]
        if self.kind == "linear":
            return [f / self.factor for f in plain]
        if self.kind == "llama3":
            return [self._llama3(f) for f in plain]
        return plain

    def _llama3(self, frequency: float) -> float:
        """Long waves are stretched, short ones kept, between them a ramp (Llama 3.1)."""
        turns = self.original_context * frequency / (2 * math.pi)
        if turns < self.low_freq_factor:
            return frequency / self.factor
        if turns > self.high_freq_factor:
            return frequency
        ramp = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return (1 - ramp) * frequency / self.factor + ramp * frequency


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Shape of a decoder of the Llama family."""

    architecture: str
    vocab_size: int
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    norm_eps: float
    rotary: Rotary
    tied: bool
    max_context: int
    eos_token_ids: tuple[int, ...]

    @property
    def qkv_biases(self) -> bool:
        """Whether q, k and v must have biases; elsewhere they are used where they stand."""
        return self.architecture == "Qwen2ForCausalLM"

    @property
    def qk_norms(self) -> bool:
        """Whether queries and keys must have norms."""
        return self.architecture == "Qwen3ForCausalLM"

    @property
    def groups(self) -> int:
        """Query heads to a KV head."""
        return self.heads // self.kv_heads

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(out, in) of each linear layer, in the order that they run in; what reads the same input
        is one layer."""
        q, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        layer = {
            "qkv": (q + 2 * kv, self.hidden),
            "out": (self.hidden, q),
            "gate_up": (2 * self.ffn, self.hidden),
            "down": (self.hidden, self.ffn),
        }
        found = {
            f"layers.{number}.{part}": shape
            for number in range(self.layers)
            for part, shape in layer.items()
        }
        return found | {"head": (self.vocab_size, self.hidden)}


def read_spec(folder: Path) -> ModelSpec:
    """Read folder/config.json (and generation_config.json's end tokens).

    Raises ModelError that names the file and the field.
    """
    if not folder.is_dir():
        raise ModelError(f"model {str(folder)!r} is not a folder")
    config = _read_json(folder / "config.json")
    if config is None:
        raise ModelError(f"model {str(folder)!r} has no config.json")
    architectures = config.get("architectures") or [config.get("model_type")]
    architecture = str(architectures[0])
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"config.json: architecture {architecture!r} is not one of {known}")
    for field, message in _REFUSED.items():
        if config.get(field):
            raise ModelError(f"config.json: {field} is set: {message}")
    if (act := config.get("hidden_act", "silu")) != "silu":
        raise ModelError(f"config.json: hidden_act {act!r} is not 'silu'")
    hidden, heads = _count(config, "hidden_size"), _count(config, "num_attention_heads")
    kv_heads = _count(config, "num_key_value_heads", heads)
    head_size = _count(config, "head_dim", max(hidden // heads, 1))
    if heads % kv_heads:
        raise ModelError(f"config.json: {heads} heads cannot share {kv_heads} key-value heads")
    if head_size % 2:
        raise ModelError(f"config.json: head_dim {head_size} is odd")
    return ModelSpec(
        architecture=architecture,
        vocab_size=_count(config, "vocab_size"),
        hidden=hidden,
        ffn=_count(config, "intermediate_size"),
        layers=_count(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        norm_eps=_number(config, "rms_norm_eps", 1e-6),
        rotary=_rotary(config),
        tied=bool(config.get("tie_word_embeddings", False)),
        max_context=_count(config, "max_position_embeddings", 4096),
        eos_token_ids=_eos(config, _read_json(folder / "generation_config.json") or {}),
    )


_REFUSED = {
    "quantization_config": "only unquantized folders are read",
    "use_sliding_window": "sliding windows are not served",
}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path.name} is not a JSON object")
    return data


def _number(config: dict[str, Any], field: str, default: float | None = None) -> float:
    value = config.get(field)
    value = default if value is None else value
    if value is None:
        raise ModelError(f"config.json: {field} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"config.json: {field} {value!r} is not a number")
    return float(value)


def _positive(config: dict[str, Any], field: str, default: float | None = None) -> float:
    value = _number(config, field, default)
    if value <= 0:
        raise ModelError(f"config.json: {field} {value:g} is not above 0")
    return value


def _count(config: dict[str, Any], field: str, default: int | None = None) -> int:
    value = _number(config, field, default)
    if value < 1 or value != int(value):
        raise ModelError(f"config.json: {field} {value:g} is not a whole number from 1 up")
    return int(value)


def _rotary(config: dict[str, Any]) -> Rotary:
    """transformers 5 keeps it all in rope_parameters; 4 has rope_theta and rope_scaling."""
    parameters = config.get("rope_parameters") or {}
    scaling = parameters or config.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise ModelError("config.json: the rotary parameters are not a JSON object")
    theta = _positive({**config, **scaling}, "rope_theta", 10000.0)
    if (part := _number({**config, **scaling}, "partial_rotary_factor", 1.0)) != 1:
        raise ModelError(f"config.json: partial_rotary_factor {part:g} is not 1")
    kind = str(scaling.get("rope_type") or scaling.get("type") or "default")
    if kind not in ROTARY:
        raise ModelError(f"config.json: rotary scaling {kind!r} is not one of {', '.join(ROTARY)}")
    if kind == "default":
        return Rotary(theta)
    if kind == "linear":
        return Rotary(theta, kind, factor=_positive(scaling, "factor"))
    return Rotary(
        theta,
        kind,
        factor=_positive(scaling, "factor"),
        low_freq_factor=_number(scaling, "low_freq_factor"),
        high_freq_factor=_number(scaling, "high_freq_factor"),
        original_context=_count(scaling, "original_max_position_embeddings"),
    )


def _eos(config: dict[str, Any], generation: dict[str, Any]) -> tuple[int, ...]:
    value = generation.get("eos_token_id")
    if value is None:
        value = config.get("eos_token_id")
    if value is None:
        return ()
    tokens = value if isinstance(value, list) else [value]
    if not all(isinstance(token, int) for token in tokens):
        raise ModelError(f"config.json: eos_token_id {value!r} is not a token id or a list of them")
    return tuple(tokens)
