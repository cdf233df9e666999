"""Pages that one cache takes from another natively: torch's, to the bit."""

from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from engine.config import Knobs, Request, Sampling
from engine.core import Engine
from engine.kernels.native import NativeKernels
from engine.kvcache import KVCache
from engine.spec import read_spec
from tests.engine.compiled import TARGETS, compiled, kernels_for, random_rows
from tests.engine.cuts import CPU
from tests.engine.toy import WIDE

pytestmark = [compiled, pytest.mark.usefixtures("one_thread")]
PAGES = 40
KINDS = ("fp32", "int8")


def fill(cache: KVCache) -> KVCache:
    """Vectors of very unlike sizes, some nothing, and some halfway between two codes."""
    for layer in range(len(cache.data)):
        count = cache.data[layer, ..., 0].numel()
        vectors = random_rows(count, cache.data.shape[-1], layer)
        vectors[::5] = vectors[::5].mul(8).round() / 2
        vectors[::5, 0] = 127
        kv = vectors.unflatten(0, (cache.data.shape[1], -1))
        cache.write(layer, torch.arange(kv.shape[1]), kv)
    return cache


def held(cache: KVCache) -> list[Tensor]:
    return [tensor for tensor in (cache.data, cache.scale) if tensor is not None]


@pytest.mark.parametrize("page_size", [1, 5, 16])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("given", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_pages_taken_natively_are_torchs(
    tmp_path: Path, wanted: str, given: str, target: str, threads: int, page_size: int
) -> None:
    spec = read_spec(WIDE.save(tmp_path))
    mover, random = kernels_for(target, threads), Random(page_size)

    def make(pages: int, kind: str, mover: NativeKernels | None = None) -> KVCache:
        return KVCache(spec, pages, page_size, torch.float32, CPU, kind, mover)

    source = fill(make(PAGES, given))
    for count in (0, 1, 2, 23):
        pages = random.sample(range(PAGES), count)
        # Another number of pages than there: a head's lie elsewhere.
        expected, found = fill(make(31, wanted)), make(31, wanted, mover)
        for ours, theirs in zip(held(found), held(expected), strict=True):
            ours.copy_(theirs)
        expected.take(source, pages)
        found.take(source, pages)
        for ours, theirs in zip(held(found), held(expected), strict=True):
            assert torch.equal(ours, theirs)  # the pages after them too


def test_an_engine_moves_its_pages_natively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moved = WIDE.save(tmp_path), []
    take = NativeKernels.take

    def note(self: NativeKernels, into: KVCache, other: KVCache, pages: list[int]) -> None:
        moved.append(len(pages))
        take(self, into, other, pages)

    monkeypatch.setattr(NativeKernels, "take", note)

    def run(engine: Engine) -> list[int]:
        engine.submit(Request("A", tuple(range(30)), Sampling(12, ignore_eos=True)))
        for kind in ("fp32", "int8", "fp32"):
            engine.set_knobs(engine.knobs.with_value("kv_dtype", kind))
            for _ in range(4):
                engine.step()
        return engine.tokens("A")

    def load(dtype: str, kernels: str = "native") -> Engine:
        return WIDE.load(folder, 40, 4, Knobs(kernels=kernels), dtype=dtype)

    found = run(load("float32"))
    assert len(found) == 12
    assert moved == [9, 10]
    # Whichever kernels run its steps: the pages come out the same.
    by_torch = load("float32", "torch")
    assert len(run(by_torch)) == 12
    assert moved == [9, 10] * 2
    run(load("float64"))
    assert moved == [9, 10] * 2
