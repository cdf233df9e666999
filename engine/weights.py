"""Tensors of a Hugging Face folder: one safetensors file, or shards with an index."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.config import ModelError
from engine.spec import ModelSpec

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


class Weights:
    """The folder's tensors by name, each checked and converted as it is taken.

    Raises ModelError where a file is missing or truncated, a tensor is missing, has another
    shape than config.json says, or has a dtype that is not a float of 16 or 32 bits. Only names
    that begin with `prefix` are read.
    """

    def __init__(
        self, folder: Path, dtype: torch.dtype, device: torch.device, prefix: str = ""
    ) -> None:
        self._dtype = dtype
        self._device = device
        self._left: dict[str, Tensor] = {}
        self.taken = 0  # numbers in all tensors taken
        for path in _files(folder):
            self._left.update(_read(path, prefix))

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor, in the engine's dtype; each can be taken once."""
        tensor = self._left.pop(name, None)
        if tensor is None:
            raise ModelError(f"tensor {name} is missing")
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"tensor {name} is {list(tensor.shape)}, config.json says {list(shape)}"
            )
        if tensor.dtype not in _FLOATS:
            raise ModelError(f"tensor {name} has dtype {tensor.dtype}, not fp32, fp16 or bf16")
        self.taken += tensor.numel()
        return tensor.to(device=self._device, dtype=self._dtype)

    def __contains__(self, name: str) -> bool:
        """Whether it is there to be taken."""
        return name in self._left

    def done(self, spec: ModelSpec) -> None:
        """Raises ModelError if a tensor is left that this family does not know."""
        for name in self._left:
            tied_copy = spec.tied and name == "lm_head.weight"
            if not tied_copy and not name.endswith("rotary_emb.inv_freq"):
                raise ModelError(f"tensor {name} is not part of a {spec.architecture}")


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of a folder, read without them. Raises ModelError."""
    found: dict[str, tuple[int, ...]] = {}
    for path in _files(folder):
        with _opened(path) as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return found


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return [folder / "model.safetensors"]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(f"{index.name} cannot be read") from None
    return [folder / str(name) for name in names]


def _read(path: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            if name.startswith(prefix):
                yield name, file.get_tensor(name)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise ModelError(f"model {str(path.parent)!r} has no {path.name}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None
