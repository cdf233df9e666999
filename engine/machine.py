"""What this machine can do at best: what steps are held against."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch

from engine.bandwidth import read_bandwidth
from engine.kernels.native import NativeKernels, PackedMatrix
from engine.linear import make_linear
from engine.memory import Arena
from engine.tensors import Matrix

# A product that stays in the caches, has enough to do for every thread, and is so short that some
# runs are undisturbed even where other programs take most of the cores.
ROWS, INPUTS = 64, 512
OUTPUTS_A_THREAD, MOST_OUTPUTS = 256, 4096
SECONDS = 0.015  # for each kernel
LEAST_RUNS = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured with all of torch's threads; 0 is what was not.

    `read_gbs` are 10^9 bytes a second from memory; `float_gflops` and `int8_gops` 10^9 operations a
    second, a multiply-add counted as two, by the fastest of the engine's own linear kernels on
    matrices in the caches: of floats, and of int8 activations. `memory_bytes` are all there are.
    """

    read_gbs: float = 0.0
    float_gflops: float = 0.0
    int8_gops: float = 0.0
    memory_bytes: int = 0


def measured(device: torch.device, native: NativeKernels | None) -> Machine:
    """In about a quarter of a second; `native` None measures torch's kernels alone."""
    if device.type != "cpu":
        return Machine()  # transfers and launches would be what is timed
    matrix = Matrix(_random(min(OUTPUTS_A_THREAD * torch.get_num_threads(), MOST_OUTPUTS)))
    floats, whole = ("fp32", "bf16"), ("int8", "int4")
    return Machine(
        read_gbs=read_bandwidth(device),
        float_gflops=_peak(matrix, floats, native),
        int8_gops=_peak(matrix, whole, native),
        memory_bytes=_memory_bytes(),
    )


def _peak(matrix: Matrix, formats: tuple[str, ...], native: NativeKernels | None) -> float:
    """10^9 operations a second: the best run of the fastest kernel, as whatever else the machine
    does can only take away from it."""
    x = _random(ROWS)
    calls: list[Callable[[], object]] = []
    if native is not None:
        calls = [_native(native, PackedMatrix(matrix, weights, Arena()), x) for weights in formats]
    if native is None or "fp32" in formats:  # torch's own products of floats may be the faster
        linear = make_linear(matrix, formats[0])
        calls.append(lambda: linear(x))
    return 2 * ROWS * matrix.weight.numel() / min(map(_best, calls)) / 1e9


def _native(native: NativeKernels, packed: PackedMatrix, x: torch.Tensor) -> Callable[[], object]:
    return lambda: native.linear(packed, x)


def _best(call: Callable[[], object]) -> float:
    """Seconds of the shortest of some runs."""
    best, runs = float("inf"), 0
    begun = now = time.perf_counter()
    while runs < LEAST_RUNS or now - begun < SECONDS:
        before = time.perf_counter()
        call()
        now = time.perf_counter()
        best, runs = min(best, now - before), runs + 1
    return best


def _random(rows: int) -> torch.Tensor:
    """float32 [rows, INPUTS] by a generator of its own: nobody else's numbers move."""
    return torch.randn((rows, INPUTS), generator=torch.Generator().manual_seed(0))


def _memory_bytes() -> int:
    """Of the machine; 0 where the system does not say."""
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
