"""What tests of the native kernels share: those kernels, toys that they take, and rows to run."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from engine.kernels.native import NativeKernels
from engine.linear import Int4Linear, Int8Linear
from engine.tensors import Matrix
from tests.engine.toy import QKV, WIDE

CC = shutil.which(os.environ.get("CC") or "cc")
compiled = pytest.mark.skipif(CC is None, reason="there is no C compiler")
TARGETS = ("native", "x86-64-v3")
WHOLE = {"int8": Int8Linear, "int4": Int4Linear}  # what torch sums in whole numbers

# Widths that are multiples of 16 and of nothing more; 96 are a strip of channels and two vectors.
SMALL = replace(WIDE, vocab=77, hidden=48, ffn=80, heads=4, kv_heads=2)
TOYS = {
    "tied": SMALL,
    "untied": replace(SMALL, tied=False, heads=6),
    "qwen2": replace(SMALL, architecture="Qwen2ForCausalLM", biases=QKV, hidden=144),
    "qwen3": replace(
        SMALL, architecture="Qwen3ForCausalLM", qk_norms=True, heads=10, tied=False, layers=1
    ),
    "one kv head": replace(SMALL, heads=3, kv_heads=1, head_size=96),
    "equal heads": replace(SMALL, heads=2, kv_heads=2, head_size=64, ffn=272),
}


@cache
def kernels_for(target: str, threads: int = 1) -> NativeKernels:
    return NativeKernels(threads, target)


def random_matrix(inputs: int, outputs: int, biased: bool = True) -> Matrix:
    """Channels of very unlike sizes, one of them nothing."""
    generator = torch.Generator().manual_seed(inputs * outputs)
    weight = torch.randn((outputs, inputs), generator=generator)
    weight *= 10.0 ** torch.randint(-2, 3, (outputs, 1), generator=generator)
    weight[outputs // 2] = 0 if outputs > 1 else weight[0]
    return Matrix(weight, torch.randn(outputs, generator=generator) if biased else None)


def random_rows(count: int, inputs: int, seed: int = 0) -> Tensor:
    """Rows of very unlike sizes, one of them nothing."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((count, inputs), generator=generator)
    rows *= 10.0 ** torch.randint(-3, 4, (count, 1), generator=generator)
    rows[count // 2] = 0
    return rows


def as_read(x: Tensor, weights: str) -> Tensor:
    """Rows are quantized sixteen values at a time: zeros up to there."""
    return torch.nn.functional.pad(x, (0, -x.shape[1] % 16)) if weights in WHOLE else x


def hold_rows_alike(linear: Callable[[Tensor], Tensor], inputs: int, weights: str) -> None:
    """Rows alone, in every number up to 64, and beside others in another order."""
    rows = as_read(random_rows(64, inputs), weights)
    whole = linear(rows)
    for row in range(64):
        assert torch.equal(linear(rows[row : row + 1])[0], whole[row])
    for count in range(1, 65):
        assert torch.equal(linear(rows[:count]), whole[:count]), count
        assert torch.equal(linear(rows[-count:]), whole[-count:]), count
        some = torch.randperm(64, generator=torch.Generator().manual_seed(count))[:count]
        assert torch.equal(linear(rows[some]), whole[some]), count
    beside = as_read(random_rows(64, inputs, 1), weights)
    for row in range(0, 64, 7):
        beside[row] = rows[row]
        assert torch.equal(linear(beside)[row], whole[row])
