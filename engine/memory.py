"""Memory in huge pages, where the system gives them.

What a step reads is spread over hundreds of megabytes. In pages of 4 KiB a core spends nearly half
of its time on finding them: measured, one thread read 18 GB/s of them in order and 31 of huge ones,
6 and 10 in pieces of 4 KiB (a virtual machine on Zen 4).
"""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import torch
from torch import Tensor

CHUNK = 16 * 2**20  # of an arena: eight huge pages
ALIGNMENT = 64


def zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros on the CPU, in memory of their own; pages of it that are never touched cost nothing.

    Raises MemoryError where there is not so much.
    """
    count = prod(shape)
    if not count or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(tuple(shape), dtype=dtype)
    # Private: shared memory is not given in huge pages.
    size = count * dtype.itemsize
    try:
        held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{size} bytes: {error}") from None
    with suppress(OSError):  # a kernel built without them
        held.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(held, dtype=dtype, count=count).view(*shape)


class Arena:
    """Tensors laid side by side, so that small ones come to lie in huge pages too."""

    def __init__(self) -> None:
        self._chunk = zeros((0,), torch.uint8)
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """A copy of a CPU tensor, contiguous, on a cache line's start."""
        size = tensor.numel() * tensor.element_size()
        if self._used + size > len(self._chunk):
            self._chunk, self._used = zeros((max(CHUNK, size),), torch.uint8), 0
        place = self._chunk[self._used : self._used + size]
        self._used += -(-size // ALIGNMENT) * ALIGNMENT
        return place.view(tensor.dtype).view(tensor.shape).copy_(tensor)
