"""How fast this machine reads memory: what decoding is held against."""

import time

import torch

from engine.memory import zeros

# Several times what a cache holds, and little beside a model's own memory.
BYTES = 192 * 2**20
REPEATS = 5


def read_bandwidth(device: torch.device) -> float:
    """10^9 bytes a second, all of torch's threads reading one large array: the best of a few runs.

    The best, because whatever else the machine does can only take away from it.
    """
    if device.type != "cpu":
        return 0.0  # not measured there: transfers and launches would be what is timed
    numbers = zeros((BYTES // 8,), torch.int64).fill_(1)  # touched: pages never written are all one
    best = min(_seconds(numbers) for _ in range(REPEATS))
    return BYTES / best / 1e9


def _seconds(numbers: torch.Tensor) -> float:
    start = time.perf_counter()
    numbers.sum()
    return time.perf_counter() - start
