"""Bugs that serving engines have had, each looked for where it was found.

`Life` checks every invariant after every step and holds every request to the naive decoder.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import EngineConfig, Knobs, Request, RequestError, Sampling
from engine.core import Engine
from engine.plan import StepPlan
from engine.planner import Planner
from tests.engine.drive import SAMPLINGS, VALUES, Life, random_life
from tests.engine.toy import Naive, Toy, save_junior

pytestmark = pytest.mark.usefixtures("one_thread")
TOY = Toy()
PAGE = 4
GREEDY = Sampling(max_tokens=10, ignore_eos=True)
WARM = Sampling(max_tokens=10, temperature=0.9, seed=3, ignore_eos=True)
TEXT = tuple((17 * i + 5) % 57 + 4 for i in range(40))


@cache
def oracle() -> Naive:
    return Naive(TOY)


def life(folder: Path, pages: int = 32, knobs: Knobs | None = None) -> Life:
    draft = TOY, save_junior(TOY, folder)
    return Life(TOY.load(folder, pages, PAGE, knobs, draft), oracle())


# Prefix hits


@pytest.mark.parametrize("pages", [1, 2, 3])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_same_prompt_twice(toy_folder: Path, pages: int, extra: int) -> None:
    """Even a prompt that is cached to its end has a token left to run."""
    prompt, run = TEXT[: pages * PAGE + extra], life(toy_folder)
    for id in "AB":
        run.submit(Request(id, prompt, WARM))
        run.drain()
    assert run.engine.tokens("A") == run.engine.tokens("B")
    assert run.engine.request("B").hit_tokens == (len(prompt) - 1) // PAGE * PAGE


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 20), st.integers(0, 8))
def test_shared_beginnings_of_any_length(
    toy_folder: Path, first: int, second: int, shared: int, chunk: int
) -> None:
    a = TEXT[:first]
    b = (*TEXT[: min(shared, second)], *[2] * max(second - shared, 0))
    run = life(toy_folder, knobs=Knobs(prefill_chunk=chunk))
    for id, prompt in (("A", a), ("B", b), ("C", a)):
        run.submit(Request(id, prompt, replace(GREEDY, max_tokens=6)))
        run.step()
    run.drain()
    common = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
    assert run.engine.request("B").hit_tokens <= common // PAGE * PAGE


def test_equal_prompts_in_one_step_share_pages_that_are_written(toy_folder: Path) -> None:
    run = life(toy_folder)
    for number in range(8):
        run.submit(Request(str(number), TEXT[:13], replace(WARM, seed=number)))
    run.step()
    assert run.engine.snapshot((), 0).pages.used == 4
    stats = run.step()
    assert stats.prefix_hits == 7 * 12
    assert stats.pages.used == 3 + 8  # three shared, and the last one of each
    run.drain()


def test_equal_pages_written_by_two_leave_one_published(toy_folder: Path) -> None:
    """With sharing off both compute them; switched on, only one copy may be known."""
    run = life(toy_folder, knobs=Knobs(prefix_cache="off"))
    for id in "AB":
        run.submit(Request(id, TEXT[:12], GREEDY))
    run.step()
    run.engine.set_knobs(Knobs())
    run.drain()
    counts = run.engine.snapshot((), 0).pages
    assert counts.cached == (12 + 9) // PAGE
    assert counts.free + counts.cached == counts.total


def test_tokens_generated_are_found_by_the_next_prompt(toy_folder: Path) -> None:
    """A second turn: the first one's prompt and answer, and more."""
    run = life(toy_folder)
    run.submit(Request("A", TEXT[:6], GREEDY))
    run.drain()
    run.submit(Request("B", (*TEXT[:6], *run.engine.tokens("A"), 5), GREEDY))
    run.drain()
    assert run.engine.request("B").hit_tokens == 12  # of 6 + 9 tokens with keys and values


# Preemption


@pytest.mark.parametrize("shared", [0, 5, 9])
@pytest.mark.parametrize("prefix_cache", ["on", "off"])
def test_preempted_requests_that_share(toy_folder: Path, shared: int, prefix_cache: str) -> None:
    run = life(toy_folder, 11, Knobs(prefix_cache=prefix_cache))
    for number in range(5):
        prompt = (*TEXT[:shared], *[50 - number] * 4)
        run.submit(Request(str(number), prompt, replace(WARM, seed=number, max_tokens=20)))
    run.drain()
    assert run.evidence.preemptions > 0


def test_preempted_tokens_are_told_of_once(toy_folder: Path) -> None:
    """Recomputing is not generating: nothing is emitted or counted twice."""
    engine = TOY.load(toy_folder, 6, PAGE, Knobs(prefix_cache="off"))
    requests = [Request(id, (ord(id) - 60,), replace(GREEDY, max_tokens=20)) for id in "ABC"]
    for request in requests:
        engine.submit(request)
    told: dict[str, list[int]] = {request.id: [] for request in requests}
    thrown_away = preemptions = 0
    while engine.has_work:
        stats = engine.step()
        preemptions += len(stats.preempted)
        thrown_away += sum(count for _, count in stats.preempted)
        for id, tokens in stats.tokens:
            told[id] += tokens
    assert preemptions > 1
    assert thrown_away > preemptions
    for request in requests:
        assert told[request.id] == oracle().generate(request) == engine.tokens(request.id)
    assert preemptions == sum(engine.request(r.id).preemptions for r in requests)


# Aborts


def crowd() -> list[Request]:
    return [
        Request("long", TEXT[:19], replace(WARM, max_tokens=5)),
        Request("same", TEXT[:19], replace(WARM, max_tokens=8)),
        Request("begins alike", (*TEXT[:9], 9), replace(GREEDY, max_tokens=12)),
        Request("alone", (8, 7), replace(WARM, max_tokens=16)),
    ]


CROWDED = [
    Knobs(prefill_chunk=4),
    Knobs(max_batch=2),
    Knobs(batching="static", static_batch=2, paging="contiguous"),
    Knobs(prefix_cache="off"),
]


@pytest.mark.parametrize("knobs", CROWDED, ids=["chunks", "two", "static", "no prefix cache"])
def test_abort_at_every_step(toy_folder: Path, knobs: Knobs) -> None:
    """Whoever is aborted, whenever until it has ended: the others have the tokens that they have
    alone."""
    steps, stages = 0, set()
    for victim in crowd():
        at, ended = 0, False
        while not ended:
            run = life(toy_folder, 10, knobs)
            for request in crowd():
                run.submit(request)
            for _ in range(at):
                run.step()
            ended = run.engine.request(victim.id).state == "finished"
            run.abort(victim.id)
            run.engine.check()
            run.drain()
            steps = max(steps, run.evidence.steps)
            stages |= set(run.evidence.aborted)
            at += 1
    assert steps > 20
    assert {"waiting", "decode", "finished"} <= stages


@pytest.mark.parametrize(
    ("stage", "knobs", "then", "victim"),
    [
        ("waiting", Knobs(max_batch=1), Knobs(), "same"),
        ("prefill", Knobs(prefill_chunk=4), Knobs(prefill_chunk=4), "long"),
        ("decode", Knobs(), Knobs(), "long"),
        ("parked", Knobs(prefix_cache="off"), Knobs(batching="none"), "same"),
        ("finished", Knobs(), Knobs(), "alone"),
    ],
)
def test_abort_in_every_state(
    toy_folder: Path, stage: str, knobs: Knobs, then: Knobs, victim: str
) -> None:
    run = life(toy_folder, 24, knobs)
    for request in crowd():
        run.submit(request)
    run.step()
    run.engine.set_knobs(then)
    while run.engine.request(victim).state != stage:
        run.step()
    run.abort(victim)
    assert run.evidence.aborted == {stage: 1}
    assert run.engine.request(victim).pages == 0
    run.drain()


def test_abort_of_the_preempted(toy_folder: Path) -> None:
    run = life(toy_folder, 6, Knobs(prefix_cache="off"))
    for id in "ABC":
        run.submit(Request(id, (ord(id) - 60,), replace(GREEDY, max_tokens=20)))
    while not run.evidence.preemptions:
        stats = run.step()
    (victim, _), *_ = stats.preempted
    run.abort(victim)
    assert run.evidence.aborted == {"preempted": 1}
    run.drain()


def test_abort_between_a_token_and_the_last_is_reported_once(toy_folder: Path) -> None:
    engine = TOY.load(toy_folder)
    engine.submit(Request("A", (1, 2), replace(GREEDY, max_tokens=2)))
    engine.step()
    engine.abort("A")
    engine.abort("A")
    assert not engine.has_work
    assert engine.step().finished == (("A", "abort"),)
    assert engine.step().finished == ()
    assert len(engine.tokens("A")) == 1


def test_cancel_and_retry_on_a_shared_prefix_leaves_the_others_alone(toy_folder: Path) -> None:
    run = life(toy_folder, 14, Knobs(prefill_chunk=5))
    for number in range(3):
        run.submit(Request(f"by {number}", TEXT[: 11 + number], replace(WARM, seed=number)))
    for attempt in range(6):
        run.submit(Request("again", TEXT[:18], WARM))
        for _ in range(attempt):
            run.step()
        run.abort("again")
    run.submit(Request("again", TEXT[:18], WARM))
    run.drain()
    assert run.engine.tokens("again") == oracle().generate(run.requests["again"])


@pytest.mark.parametrize("batching", ["none", "static", "continuous"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=range(len(SAMPLINGS)))
def test_a_lost_request_goes_on_where_it_was(
    toy_folder: Path, batching: str, sampling: Sampling
) -> None:
    """A new engine that is given the tokens so far continues to the very same ones."""
    request = Request("A", TEXT[:7], sampling)
    whole = oracle().generate(request)
    for count in range(len(whole) + 1):
        run = life(toy_folder, knobs=Knobs(batching=batching))
        run.submit(replace(request, output=tuple(whole[:count])))
        assert run.engine.has_work == (count < len(whole))
        run.drain()


# Sampling beside others


def test_mixed_sampling_in_one_batch(toy_folder: Path) -> None:
    run = life(toy_folder, 64, Knobs(prefix_cache="off"))
    for number, sampling in enumerate(SAMPLINGS * 2):
        run.submit(Request(str(number), TEXT[: 5 + number % 3], sampling))
    assert len(run.step().tokens) > len(SAMPLINGS)
    run.drain()


# Ends


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
def test_a_stop_token_at_each_place(toy_folder: Path, sampling: Sampling) -> None:
    """It is kept, and nothing comes after it."""
    request = Request("A", TEXT[:6], sampling)
    tokens = oracle().generate(request)
    for place, token in enumerate(tokens):
        run = life(toy_folder)
        run.submit(replace(request, sampling=replace(sampling, stop_token_ids=(1, token))))
        run.drain()
        first = tokens.index(token)
        assert first <= place
        assert run.engine.tokens("A") == tokens[: first + 1]
        assert run.engine.request("A").finish_reason == "stop"


def test_the_end_token_ends_unless_it_is_ignored(tmp_path: Path) -> None:
    tokens = oracle().generate(Request("A", TEXT[:6], WARM))
    toy = replace(TOY, eos=tokens[3])
    folder = toy.save(tmp_path)
    for ignore in (False, True):
        engine = toy.load(folder)
        engine.submit(Request("A", TEXT[:6], replace(WARM, ignore_eos=ignore)))
        while engine.has_work:
            engine.step()
        end = len(tokens) if ignore else tokens.index(tokens[3]) + 1
        assert engine.tokens("A") == tokens[:end]
        assert engine.request("A").finish_reason == ("length" if ignore else "stop")


def test_each_of_several_end_tokens_ends(tmp_path: Path) -> None:
    tokens = oracle().generate(Request("A", TEXT[:6], WARM))
    toy = replace(TOY, extra={"eos_token_id": [tokens[4], tokens[1]]})
    engine = toy.load(toy.save(tmp_path))
    engine.submit(Request("A", TEXT[:6], replace(WARM, ignore_eos=False)))
    while engine.has_work:
        engine.step()
    ends = min(tokens.index(tokens[4]), tokens.index(tokens[1]))
    assert engine.tokens("A") == tokens[: ends + 1]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_max_tokens(toy_folder: Path, count: int) -> None:
    run = life(toy_folder)
    run.submit(Request("A", TEXT[:6], replace(WARM, max_tokens=count)))
    run.drain()
    assert len(run.engine.tokens("A")) == count
    assert run.engine.request("A").finish_reason == "length"


def test_a_last_token_that_also_stops_is_a_stop(toy_folder: Path) -> None:
    request = Request("A", TEXT[:6], replace(WARM, max_tokens=4))
    last = oracle().generate(request)[-1]
    run = life(toy_folder)
    run.submit(replace(request, sampling=replace(request.sampling, stop_token_ids=(last,))))
    run.drain()
    assert run.engine.request("A").finish_reason == "stop"


# Limits


@pytest.mark.parametrize("prompt", [1, 8, 15, 16, 22, 23])
def test_the_context_is_used_to_its_end_and_not_beyond(toy_folder: Path, prompt: int) -> None:
    engine = TOY.load(toy_folder, pages=6, page_size=PAGE, max_context=24)
    sampling = replace(WARM, max_tokens=24 - prompt)
    too_long = Request("B", TEXT[:prompt], replace(sampling, max_tokens=25 - prompt))
    with pytest.raises(RequestError, match="exceed the context of 24"):
        engine.submit(too_long)
    run = Life(engine, oracle())
    run.submit(Request("A", TEXT[:prompt], sampling))
    run.drain()
    assert len(engine.tokens("A")) == 24 - prompt


def test_the_largest_request_that_fits_runs_alone(toy_folder: Path) -> None:
    """Six pages are its own; whoever comes along has to wait or go."""
    for paging in ("paged", "contiguous"):
        run = life(toy_folder, 6, Knobs(paging=paging))
        run.submit(Request("small", (9,), replace(WARM, max_tokens=12)))
        run.submit(Request("large", TEXT[:4], replace(GREEDY, max_tokens=20)))
        run.submit(Request("late", (9,), WARM))
        run.drain()
        with pytest.raises(RequestError, match="needs 7 pages of KV memory, there are 6"):
            run.submit(Request("huge", TEXT[:4], replace(GREEDY, max_tokens=21)))


# The same again


def test_the_same_run_twice_plans_the_same(
    toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[StepPlan] = []
    plan = Planner.plan

    def noted(self: Planner, *given: object) -> StepPlan:
        plans.append(plan(self, *given))
        return plans[-1]

    monkeypatch.setattr(Planner, "plan", noted)
    runs = []
    for _ in range(2):
        plans.clear()
        # What `auto` chooses is a matter of time.
        timeless = {name: values for name, values in VALUES.items() if name != "draft_length"}
        life(toy_folder, 11).run(random_life(3, PAGE, values=timeless))
        runs.append(list(plans))
    assert runs[0] == runs[1]
    assert len(runs[0]) > 40


def test_one_engine_serves_race_after_race(toy_folder: Path) -> None:
    run = life(toy_folder, 12, Knobs(prefix_cache="off"))
    figures = []
    for race in range(3):
        first = run.evidence.steps
        for request in crowd():
            run.submit(replace(request, id=f"{request.id} {race}"))
        stats = run.step()
        assert stats.step == first + 1
        assert len(stats.admitted) == stats.running == len(stats.tokens)
        run.drain()
        figures.append((run.evidence.steps - first, stats.pages, len(stats.tokens)))
    assert figures[0] == figures[1] == figures[2]


def test_reset_forgets_everything_in_the_middle_of_a_race(toy_folder: Path) -> None:
    engine = TOY.load(toy_folder, 10, PAGE, Knobs(batching="static", static_batch=2))
    fresh = engine.snapshot((), 0)
    for _ in range(2):
        for request in crowd():
            engine.submit(request)
        for _ in range(9):
            engine.step()
        engine.abort("alone")
        engine.reset()
        engine.check()
        assert not engine.has_work
        assert engine.snapshot((), 0) == fresh
        assert engine.step().finished == ()
    run = Life(engine, oracle())
    for request in crowd():
        run.submit(request)
    run.drain()


@pytest.mark.parametrize("page_size", [PAGE, 256])
def test_warming_up_leaves_no_trace(toy_folder: Path, page_size: int) -> None:
    engine = TOY.load(toy_folder, 10, page_size, Knobs(max_batch=10**9))
    fresh = engine.snapshot((), 0)
    engine.warm_up()
    assert engine.snapshot((), 0) == fresh
    assert not engine._cache.data.any()


# Every setting


@pytest.mark.parametrize(
    "setting", [(name, value) for name, values in VALUES.items() for value in values]
)
def test_every_setting_of_every_knob(toy_folder: Path, setting: tuple[str, str]) -> None:
    run = life(toy_folder, 24, Knobs().with_value(*setting))
    for request in crowd():
        run.submit(request)
    run.drain()
    run.engine.set_knobs(Knobs())
    for request in crowd():
        run.submit(replace(request, id=f"{request.id} again"))
    run.drain()


def test_a_real_run_through_the_public_names(toy_folder: Path) -> None:
    """As the contract shows it, in float32 and with everything at its default."""
    engine = Engine.load(EngineConfig(model=str(toy_folder), kv_memory_mib=1), knobs=Knobs())
    sampling = Sampling(max_tokens=20, temperature=0.8, seed=7, ignore_eos=True)
    engine.submit(Request(id="7", prompt=[1, 2, 3], sampling=sampling))
    engine.step()
    engine.set_knobs(Knobs(batching="none"))
    while engine.has_work:
        assert engine.step().knobs.batching == "none"
        engine.check()
    assert len(engine.tokens("7")) == 20
    assert engine.logits([1, 2, 3]).shape == (3, TOY.vocab)
