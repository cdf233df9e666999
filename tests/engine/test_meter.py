"""The quality meter: what it says is what fp32 says, and what it watches is not changed by it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import meter
from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from engine.formats import Formats
from engine.kvcache import KVCache
from engine.meter import WINDOW, Meter
from engine.plan import Row, StepPlan
from engine.stats import QualitySample, StepStats
from tests.engine.toy import WIDE

pytestmark = pytest.mark.usefixtures("one_thread")
LONG = Sampling(max_tokens=120, temperature=0.9, seed=3, ignore_eos=True)
PROMPTS = {
    name: tuple(range(start, start + 21)) for name, start in (("a", 5), ("b", 40), ("c", 90))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WIDE.save(tmp_path_factory.mktemp("wide"))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter that may take all the time there is: its steps then depend on no clock."""
    monkeypatch.setattr(meter, "SHARE", 1e9)
    monkeypatch.setattr(meter, "FIRST_REST", 0.0)


def make(folder: Path, knobs: Knobs) -> Engine:
    engine = Engine.load(EngineConfig(str(folder), kv_memory_mib=4, max_context=256), knobs)
    engine.prepare(engine.measured_by(knobs))
    return engine


def run(
    engine: Engine, turns: dict[int, Knobs] | None = None
) -> tuple[dict[str, list[int]], list[StepStats]]:
    for name, prompt in PROMPTS.items():
        engine.submit(Request(name, prompt, replace(LONG, seed=ord(name))))
    steps: list[StepStats] = []
    while engine.has_work:
        if turns and len(steps) in turns:
            engine.set_knobs(turns[len(steps)])
        steps.append(engine.step())
        engine.check()
    return {name: engine.tokens(name) for name in PROMPTS}, steps


def samples(steps: list[StepStats]) -> list[QualitySample]:
    return [step.quality for step in steps if step.quality is not None]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(weights="int8"),
        Knobs(weights="int4", kv_dtype="int8"),
        Knobs(kv_dtype="int8", kernels="torch"),
        Knobs(weights="int4", kv_cache="off"),
        Knobs(weights="int8", batching="static"),
        Knobs(weights="bf16", max_batch=2, prefill_chunk=4),
    ],
    ids=str,
)
def test_tokens_are_the_same_with_and_without_it(folder: Path, knobs: Knobs) -> None:
    found, steps = run(make(folder, knobs))
    plain, others = run(make(folder, replace(knobs, quality="off")))
    assert found == plain
    assert not samples(others)
    seen = samples(steps)
    assert len(seen) >= 3
    for sample in seen:
        assert sample.tokens == WINDOW
        assert sample.clear_top1 <= min(sample.clear, sample.top1)
        assert sample.top1 <= WINDOW
        assert sample.kl > -1e-6


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("length", [1, 3, 16])
def test_drafts_that_are_kept_are_watched_and_others_are_not(folder: Path, length: int) -> None:
    """Windows of one request are the same whether its tokens came one by one or in bursts."""
    alone = Knobs(weights="int8", batching="none")
    drafting = replace(alone, speculation="ngram", draft_length=length)
    found, steps = run(make(folder, alone))
    others, bursts = run(make(folder, drafting))
    assert found == others
    kept = [verdict.accepted for step in bursts for verdict in step.verdicts]
    drafts = [len(verdict.drafts) for step in bursts for verdict in step.verdicts]
    assert 0 < sum(kept) < sum(drafts)
    assert samples(bursts)[0] == samples(steps)[0]


@pytest.mark.usefixtures("eager")
def test_nothing_is_measured_where_nothing_is_lost(folder: Path) -> None:
    assert not samples(run(make(folder, Knobs()))[1])


@pytest.mark.usefixtures("eager")
def test_it_waits_for_the_reference(folder: Path) -> None:
    engine = Engine.load(
        EngineConfig(str(folder), kv_memory_mib=4, max_context=256), Knobs(weights="int8")
    )
    held = engine.snapshot((), 0.0).weights_held
    assert not samples(run(engine)[1])
    assert engine.snapshot((), 0.0).weights_held == held
    assert not engine.prepared(engine.measured_by(engine.knobs))


@pytest.mark.usefixtures("eager")
def test_a_switch_starts_a_new_window(folder: Path) -> None:
    int8, int4 = Knobs(weights="int8"), Knobs(weights="int4")
    engine = make(folder, int8)
    engine.prepare(int4)
    turn = WINDOW + 10  # the second window is under way
    steps = run(engine, {turn: int4})[1]
    at = [number for number, step in enumerate(steps) if step.quality is not None]
    assert at[0] < turn < at[1]
    assert at[1] >= turn + WINDOW - 1


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("kv_dtype", ["fp32", "int8"])
def test_a_sample_is_what_the_formula_says(
    folder: Path, weights: str, kv_dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scored by hand: served logits one by one, fp32 over the window with what was served before
    it, and the definition of KL in float64."""
    knobs = Knobs(weights=weights, kv_dtype=kv_dtype)
    formats = Formats(EngineConfig(str(folder), max_context=256), knobs)
    knobs = formats.effective(knobs)
    exact, served = (formats.get(replace(knobs, weights=w)) for w in ("fp32", weights))

    def cache(pages: int, kind: str = "fp32") -> KVCache:
        return KVCache(formats.spec, pages, 16, torch.float32, formats.device, kind)

    monkeypatch.setattr(meter, "FIRST_REST", 0.0)
    watched = Meter(formats, cache)
    kept, pages, start = cache(9, kv_dtype), (4, 0, 7, 2, 8), 21
    tokens = [*PROMPTS["a"], *(7 * i % WIDE.vocab for i in range(WINDOW))]
    with torch.inference_mode():
        served.run(kept, [Row("a", 0, tuple(tokens[:start]), pages, None)], [])
        rows = []
        for place in range(start, len(tokens)):
            assert watched.score(kept) is None
            row = Row("a", place, (tokens[place],), pages, LONG)
            rows.append(served.run(kept, [row], [0]))
            watched.note(StepPlan(knobs, (row,), (), (), "", 0, 0), rows[-1], ((0,),), 1e-3)
        found = watched.score(kept)
        before = cache(len(pages))
        before.take(kept, list(pages))
        row = Row("a", start, tuple(tokens[start:]), tuple(range(len(pages))), None)
        p = exact.run(before, [row], range(WINDOW)).double().softmax(-1)
    q = torch.cat(rows).double().softmax(-1)
    assert found is not None
    assert found.kl == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-3, abs=1e-6)
    assert found.kl > 1e-6
    assert found.top1 == int((p.argmax(-1) == q.argmax(-1)).sum())
    lead = p.topk(2).values
    clear = lead[:, 0] - lead[:, 1] >= 0.02
    assert found.clear == int(clear.sum()) > 0
    assert found.clear_top1 == int((clear & (p.argmax(-1) == q.argmax(-1))).sum())
    assert watched.score(kept) is None  # it is counted once


def test_it_takes_no_more_than_its_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own, on which scoring a window takes a second."""
    knobs = Knobs(weights="int8")
    formats = Formats(EngineConfig(str(folder), max_context=256), Knobs())
    formats.prepare(formats.effective(knobs))
    knobs = formats.effective(knobs)
    ticks = iter(range(10**6))
    monkeypatch.setattr(meter.time, "perf_counter", lambda: float(next(ticks)))

    def cache(pages: int) -> KVCache:
        return KVCache(formats.spec, pages, 16, torch.float32, formats.device)

    monkeypatch.setattr(meter, "SHARE", 0.1)
    watched, kept = Meter(formats, cache), cache(16)
    scored = []
    for place in range(200):
        row = Row("a", place, (1,), tuple(range(16)), LONG)
        logits = torch.zeros(1, WIDE.vocab)
        watched.note(StepPlan(knobs, (row,), (), (), "", 0, 0), logits, ((0,),), 0.25)
        if watched.score(kept) is not None:
            scored.append(place)
    # Half a second of rest, 32 steps of watching, then a tenth of the time: 10 seconds of rest,
    # which are 40 steps.
    assert scored == [32, 32 + 40 + 31, 32 + 2 * (40 + 31)]


@pytest.mark.usefixtures("eager")
def test_a_request_s_window_ends_with_it(folder: Path) -> None:
    """Another of the same name, in whose text the next place comes first, begins anew."""
    engine = make(folder, Knobs(weights="int8", kernels="torch"))

    def window() -> int:
        return len(engine._meter._tokens)

    for end in (lambda: engine.abort("a"), engine.reset):
        engine.submit(Request("a", PROMPTS["a"], LONG))
        for _ in range(6):
            engine.step()
        assert window() == 6
        end()
        assert window() == 0
        longer = tuple(range(5, 5 + len(PROMPTS["a"]) + 6))
        engine.submit(Request("a", longer, LONG))
        engine.step()
        assert window() == 1
        engine.reset()


@pytest.mark.usefixtures("eager")
def test_a_race_does_not_end_for_a_measurement(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = Knobs(weights="int8")
    expected, _ = run(make(folder, replace(knobs, quality="off")))
    engine = make(folder, knobs)

    def short(pages: int) -> KVCache:
        raise MemoryError(f"no room for {pages} pages")

    monkeypatch.setattr(engine._meter, "_make_cache", short)
    found, steps = run(engine)
    assert found == expected
    assert not samples(steps)
