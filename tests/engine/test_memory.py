"""Memory for what steps read: zeros, and tensors side by side."""

import pytest
import torch

from engine import memory
from engine.memory import ALIGNMENT, Arena, zeros


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (0, 4), (2, 2**20)])
def test_zeros_are_zeros_and_one_s_own(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    first, second = zeros(shape, dtype), zeros(shape, dtype)
    assert (first.shape, first.dtype, first.is_contiguous()) == (torch.Size(shape), dtype, True)
    first.fill_(1)
    assert int(second.count_nonzero()) == 0
    assert first.untyped_storage().nbytes() == first.nbytes


def test_memory_that_is_not_there_is_one_error() -> None:
    for size in (2**50, 2**64):
        with pytest.raises(MemoryError, match=str(size)):
            zeros((size,), torch.int8)


def test_a_system_without_huge_pages_has_zeros_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(memory.mmap, "MADV_HUGEPAGE", raising=False)
    assert int(zeros((4, 4), torch.int8).count_nonzero()) == 0


def test_an_arena_keeps_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CHUNK", 4096)
    generator = torch.Generator().manual_seed(0)
    arena = Arena()
    sizes = (1, 63, 64, 65, 1000, 900, 4096, 5000, 0, 7)  # some chunks end early, one is larger
    given = [torch.randint(-99, 99, (size,), generator=generator) for size in sizes]
    given = [x.to(dtype) for x in given for dtype in (torch.int8, torch.float32, torch.float64)]
    given += [x.reshape(5, -1).T for x in given if len(x) % 5 == 0]
    kept = [arena.keep(x) for x in given]
    for x, y in zip(given, kept, strict=True):
        assert y.dtype == x.dtype
        assert torch.equal(x, y)
        assert y.is_contiguous()
        assert not len(y) or y.data_ptr() % ALIGNMENT == 0
        assert not len(y) or y.data_ptr() != x.data_ptr()
    chunks = {y.untyped_storage().data_ptr() for y in kept if len(y)}
    assert 1 < len(chunks) < len(given) / 2
