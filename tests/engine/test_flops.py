"""Counts of arithmetic held to torch's own counter and to steps; what is measured of a machine."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from engine import machine
from engine.config import Knobs, Request, Sampling
from engine.flops import pass_flops, seen, step_flops
from engine.footprint import PUBLISHED, kv_bytes, llama_2_norms
from engine.kvcache import KVCache
from engine.machine import Machine, measured
from engine.plan import Row
from engine.spec import read_spec
from engine.stats import StepStats
from tests.engine.toy import WIDE, Naive, Toy, save_junior


@pytest.mark.parametrize(
    "toy", [Toy(), replace(WIDE, layers=3), replace(Toy(), tied=False, heads=6)], ids=str
)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_pass_is_what_torch_counts(toy: Toy, count: int, tmp_path: Path) -> None:
    spec = read_spec(toy.save(tmp_path / "toy"))
    naive = Naive(toy)
    with FlopCounterMode(display=False) as counter:
        naive.logits(list(range(4, 4 + count)))
    # It scores the future too, before it is hidden.
    assert counter.get_total_flops() == pass_flops(spec, count, count, count * count)


@given(start=st.integers(0, 40), count=st.integers(1, 40))
def test_a_token_sees_itself_and_all_before_it(start: int, count: int) -> None:
    assert seen(start, start + count) == sum(place + 1 for place in range(start, start + count))


rows = st.builds(
    lambda start, count, drafts, wants: Row(
        "x", start, (0,) * (count + drafts), (), Sampling() if wants else None, drafts, drafts
    ),
    st.integers(0, 50),
    st.integers(1, 20),
    st.integers(0, 4),
    st.booleans(),
)


@given(batch=st.lists(rows, min_size=1, max_size=6))
def test_rows_add_up_however_they_are_batched(batch: list[Row]) -> None:
    spec = PUBLISHED["1B"]
    assert step_flops(spec, batch) == sum(step_flops(spec, [row]) for row in batch)


def test_a_text_takes_the_same_arithmetic_in_any_chunks() -> None:
    spec = PUBLISHED["7B"]
    whole = step_flops(spec, [Row("x", 0, (0,) * 30, (), Sampling())])
    cuts = (0, 4, 5, 17, 30)
    parts = [
        Row("x", start, (0,) * (end - start), (), Sampling() if end == 30 else None)
        for start, end in pairwise(cuts)
    ]
    assert sum(step_flops(spec, [row]) for row in parts) == whole


Run = Callable[..., list[StepStats]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    toy = Toy()
    folder = toy.save(tmp_path / "toy")

    def steps(**knobs: object) -> list[StepStats]:
        junior = replace(toy, noise=0.25), save_junior(toy, folder)
        engine = toy.load(folder, knobs=Knobs(**knobs), draft=junior)  # type: ignore[arg-type]
        engine.submit(Request("a", (5,) * 9, Sampling(max_tokens=6, ignore_eos=True)))
        found = []
        while engine.has_work:
            found.append(engine.step())
        return found

    return steps


def test_steps_carry_the_arithmetic_of_their_rows(run: Run, tmp_path: Path) -> None:
    spec = read_spec(tmp_path / "toy")
    first, *others = run(prefix_cache="off")
    assert first.flops == pass_flops(spec, 9, 1, seen(0, 9))
    assert len(others) == 5
    assert [step.flops for step in others] == [
        pass_flops(spec, 1, 1, place + 1) for place in range(9, 14)
    ]


def test_without_a_cache_every_step_computes_all_before_it(run: Run, tmp_path: Path) -> None:
    spec = read_spec(tmp_path / "toy")
    found = [step.flops for step in run(kv_cache="off")]
    assert found == [pass_flops(spec, n, 1, seen(0, n)) for n in range(9, 15)]


def test_verifying_counts_every_draft(run: Run, tmp_path: Path) -> None:
    spec = read_spec(tmp_path / "toy")
    drafted = [step for step in run(speculation="junior", draft_length=3) if step.verdicts]
    assert drafted
    for step in drafted:
        count = len(step.verdicts[0].drafts) + 1
        one = pass_flops(spec, 1, 1, 0)
        assert step.flops >= count * one + pass_flops(spec, 0, 0, count * 10)


@pytest.mark.parametrize("kv_dtype", ["fp32", "int8"])
def test_projected_kv_is_what_a_cache_holds(kv_dtype: str) -> None:
    for spec in PUBLISHED.values():
        held = KVCache.page_bytes(spec, 16, torch.float32, kv_dtype)
        assert 16 * kv_bytes(spec, kv_dtype) == held


def test_the_smallest_published_model_has_its_published_size() -> None:
    spec = PUBLISHED["1B"]
    numbers = sum(out * inputs for out, inputs in spec.linears.values())
    numbers += spec.vocab_size * spec.hidden + llama_2_norms(spec)
    assert numbers == 1_100_048_384  # of its own safetensors file


# The machine


def test_the_best_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    lasting = iter([0.5, 0.02, 0.3, 0.04])

    def call() -> None:
        nonlocal now
        now += next(lasting)

    monkeypatch.setattr(machine.time, "perf_counter", lambda: now)
    monkeypatch.setattr(machine, "SECONDS", 0.85)
    assert machine._best(call) == pytest.approx(0.02)
    assert next(lasting, None) is None  # it went on for as long as it was to


def test_elsewhere_than_on_a_cpu_nothing_is_measured() -> None:
    assert measured(torch.device("meta"), None) == Machine()


def test_what_is_measured_comes_with_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Machine(12.5, 80.0, 300.0, 2**34)
    monkeypatch.setattr("engine.core.measured", lambda device, native: found)
    toy = Toy()
    engine = toy.load(toy.save(tmp_path / "other"))
    assert engine.info.float_gflops == 0
    engine.warm_up()
    info = engine.info
    assert (info.read_gbs, info.float_gflops, info.int8_gops, info.memory_bytes) == (
        12.5, 80.0, 300.0, 2**34,
    )  # fmt: skip


def test_torch_alone_is_measured_where_there_are_no_native_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "read_bandwidth", lambda device: 7.0)
    monkeypatch.setattr(machine, "SECONDS", 0.0)
    monkeypatch.setattr(machine, "ROWS", 4)
    found = measured(torch.device("cpu"), None)
    assert found.read_gbs == 7.0
    assert 0 < found.float_gflops < 1e6
    assert 0 < found.int8_gops < 1e6
    assert found.memory_bytes > 2**28
