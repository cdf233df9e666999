"""Random toy models in Hugging Face folders, and a naive decoder to hold the engine to."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from engine.sampling import SampleSpec, sample

QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
OTHERS = ("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


@dataclass(frozen=True)
class Toy:
    """A tiny model; defaults suit exact tests: odd sizes, grouped heads.

    `rotary` holds the scaling's fields; `style` is the major version of transformers whose
    config.json is written.
    """

    architecture: str = "LlamaForCausalLM"
    vocab: int = 61
    hidden: int = 24
    ffn: int = 40
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 6
    tied: bool = True
    biases: tuple[str, ...] = ()
    qk_norms: bool = False
    eos: int | None = 3
    seed: int = 0
    scale: float = 0.7
    theta: float = 10000.0
    rotary: dict[str, Any] = field(default_factory=dict)
    style: Literal[4, 5] = 4
    extra: dict[str, Any] = field(default_factory=dict)
    # How far its weights are off those of the same toy without noise, in their own size.
    noise: float = 0.0

    def config(self) -> dict[str, Any]:
        return {
            "architectures": [self.architecture],
            "model_type": self.architecture.removesuffix("ForCausalLM").lower(),
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": self.tied,
            "eos_token_id": self.eos,
            **self._rotary_config(),
            **self.extra,
        }

    def _rotary_config(self) -> dict[str, Any]:
        if self.style == 5:
            scaling = self.rotary or {"rope_type": "default"}
            return {"rope_parameters": {"rope_theta": self.theta, **scaling}, "dtype": "float32"}
        scaling = {"rope_scaling": self.rotary or None, "torch_dtype": "float32"}
        return {"rope_theta": self.theta, **scaling}

    def tensors(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)

        def matrix(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator) * self.scale / math.sqrt(shape[-1])

        q, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        found = {
            "model.embed_tokens.weight": torch.randn(
                (self.vocab, self.hidden), generator=generator
            ),
            "model.norm.weight": 1 + 0.1 * matrix(self.hidden),
        }
        if not self.tied:
            found["lm_head.weight"] = matrix(self.vocab, self.hidden)
        for i in range(self.layers):
            root = f"model.layers.{i}."
            for name, size in zip(QKV, (q, kv, kv), strict=True):
                found[f"{root}{name}.weight"] = 3 * matrix(size, self.hidden)
            found[root + "self_attn.o_proj.weight"] = matrix(self.hidden, q)
            found[root + "mlp.gate_proj.weight"] = 2 * matrix(self.ffn, self.hidden)
            found[root + "mlp.up_proj.weight"] = 2 * matrix(self.ffn, self.hidden)
            found[root + "mlp.down_proj.weight"] = matrix(self.hidden, self.ffn)
            for name in self.biases:
                found[f"{root}{name}.bias"] = matrix(len(found[f"{root}{name}.weight"]))
            found[root + "input_layernorm.weight"] = 1 + 0.1 * matrix(self.hidden)
            found[root + "post_attention_layernorm.weight"] = 1 + 0.1 * matrix(self.hidden)
            if self.qk_norms:
                found[root + "self_attn.q_norm.weight"] = 1 + 0.1 * matrix(self.head_size)
                found[root + "self_attn.k_norm.weight"] = 1 + 0.1 * matrix(self.head_size)
        if self.noise:
            for tensor in found.values():
                noise = torch.randn(tensor.shape, generator=generator)
                tensor += self.noise * tensor.std() * noise
        return found

    @property
    def token_numbers(self) -> int:
        """Of keys and values."""
        return self.layers * 2 * self.kv_heads * self.head_size

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config()))
        tensors = {name: tensor.to(dtype) for name, tensor in self.tensors().items()}
        save_file(tensors, folder / "model.safetensors")
        return folder

    def load(
        self,
        folder: Path,
        pages: int = 64,
        page_size: int = 4,
        knobs: Knobs | None = None,
        draft: tuple["Toy", Path] | None = None,
        **config,
    ) -> Engine:
        """An engine on a saved folder with exactly `pages` pages; exact arithmetic by default."""
        config = {"dtype": "float64", "max_context": 256} | config
        width = {"float64": 8, "float32": 4}[config["dtype"]]
        page_bytes = self.token_numbers * page_size * width
        if draft is not None:
            page_bytes += draft[0].token_numbers * page_size * width
            config["draft"] = str(draft[1])
        return Engine.load(
            EngineConfig(
                model=str(folder),
                kv_memory_mib=(pages + 0.5) * page_bytes / 2**20,
                page_size=page_size,
                **config,
            ),
            knobs,
        )


def save_junior(toy: Toy, folder: Path) -> Path:
    """Beside the toy's folder: one that says what the toy says about half the time."""
    junior = folder.with_name(f"{folder.name}-junior")
    if not junior.exists():
        replace(toy, noise=0.25).save(junior)
    return junior


class Naive:
    """A decoder written for plainness: float64, no cache, one sequence, no shared code.

    `tensors` stands in for the toy's own, e.g. after rounding to another dtype.
    """

    def __init__(self, toy: Toy, tensors: dict[str, Tensor] | None = None) -> None:
        self.toy = toy
        self.w = {name: t.double() for name, t in (tensors or toy.tensors()).items()}
        self._known: dict[tuple[tuple[int, ...], Sampling], list[int]] = {}

    def logits(self, tokens: list[int]) -> Tensor:
        """float64 [len(tokens), vocab]."""
        toy, w = self.toy, self.w
        x = w["model.embed_tokens.weight"][tokens]
        n, size = len(tokens), toy.head_size
        for i in range(toy.layers):
            root = f"model.layers.{i}."
            h = self._norm(x, w[root + "input_layernorm.weight"])
            q, k, v = (self._linear(h, root + name).view(n, -1, size) for name in QKV)
            if toy.qk_norms:
                q = self._norm(q, w[root + "self_attn.q_norm.weight"])
                k = self._norm(k, w[root + "self_attn.k_norm.weight"])
            q, k = self._rope(q), self._rope(k)
            heads = []
            for head in range(toy.heads):
                shared = head // (toy.heads // toy.kv_heads)
                scores = q[:, head] @ k[:, shared].T / math.sqrt(size)
                future = torch.ones(n, n, dtype=torch.bool).triu(1)
                weights = scores.masked_fill(future, float("-inf")).softmax(-1)
                heads.append(weights @ v[:, shared])
            x = x + self._linear(torch.cat(heads, -1), root + "self_attn.o_proj")
            h = self._norm(x, w[root + "post_attention_layernorm.weight"])
            gate = self._linear(h, root + "mlp.gate_proj")
            up = self._linear(h, root + "mlp.up_proj")
            x = x + self._linear(gate * torch.sigmoid(gate) * up, root + "mlp.down_proj")
        head = w["model.embed_tokens.weight"] if toy.tied else w["lm_head.weight"]
        return self._norm(x, w["model.norm.weight"]) @ head.T

    def generate(self, request: Request) -> list[int]:
        """Output tokens of a request, the whole sequence recomputed for each."""
        key = request.prompt, request.sampling
        if key not in self._known:
            self._known[key] = self._generate(*key)
        return list(self._known[key])

    def _generate(self, prompt: tuple[int, ...], sampling: Sampling) -> list[int]:
        tokens = list(prompt)
        while len(tokens) - len(prompt) < sampling.max_tokens:
            row = self.logits(tokens)[-1:]
            tokens += sample(row, [SampleSpec(sampling, len(tokens))])
            if self.ends(tokens[-1], sampling):
                break
        return tokens[len(prompt) :]

    def ends(self, token: int, sampling: Sampling) -> bool:
        """Whether this token ends its request, whatever the length."""
        return token in sampling.stop_token_ids or (
            token == self.toy.eos and not sampling.ignore_eos
        )

    def _linear(self, h: Tensor, name: str) -> Tensor:
        y = h @ self.w[f"{name}.weight"].T
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    def _rope(self, x: Tensor) -> Tensor:
        """Each (i, i + half) pair as a complex number turned by its position."""
        n, _, size = x.shape
        half = size // 2
        speeds = [self._speed(self.toy.theta ** (-2 * i / size)) for i in range(half)]
        angle = torch.arange(n).double()[:, None] * torch.tensor(speeds, dtype=torch.float64)
        turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
            torch.ones_like(angle), angle
        ).unsqueeze(1)
        return torch.cat((turned.real, turned.imag), -1)

    def _speed(self, plain: float) -> float:
        """Radians per position after scaling, told by wavelengths."""
        rotary = self.toy.rotary
        kind = rotary.get("rope_type", rotary.get("type"))
        if kind is None:
            return plain
        stretched = plain / rotary["factor"]
        if kind == "linear":
            return stretched
        context, wave = rotary["original_max_position_embeddings"], 2 * math.pi / plain
        longest, shortest = (context / rotary[f"{end}_freq_factor"] for end in ("low", "high"))
        if wave >= longest:
            return stretched
        if wave <= shortest:
            return plain
        keep = (1 / wave - 1 / longest) / (1 / shortest - 1 / longest)
        return keep * plain + (1 - keep) * stretched


# Sizes that the packed linear layers of the real models see: multiples of 64.
WIDE = replace(Toy(), vocab=192, hidden=128, ffn=256, heads=6, kv_heads=2, head_size=32, scale=0.9)
