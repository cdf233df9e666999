"""The settings of a race, held to its steps taken one by one."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Knobs
from engine.stats import (
    DraftInfo,
    EngineSnapshot,
    PageCounts,
    PageMap,
    QualitySample,
    StepStats,
    StepTimes,
    Verdict,
)
from pitwall_tui.race.debrief import MOST, Debrief, DebriefView, SettingView
from pitwall_tui.race.effects import acting
from pitwall_tui.race.events import EngineReady, FeedEvent, Progress, RedFlag
from pitwall_tui.race.latency import bucket
from pitwall_tui.race.state import RaceState
from tests.batched import RACE, SUBMITTED, Batched, tour
from tests.scripted import MODEL, PAGE_SIZE, Script

LOSSY = (
    Knobs(weights="int8"),
    Knobs(kv_dtype="int8"),
    Knobs(speculation="junior", acceptance="ratio"),
)
EXACT = (
    Knobs(),
    Knobs(kernels="torch"),
    Knobs(batching="none"),
    Knobs(speculation="junior"),
)


def debriefed(events: Iterable[FeedEvent]) -> DebriefView:
    state = RaceState()
    for event in events:
        state.apply(event)
    view = state.view(0.0, ("debrief",)).details.debrief
    assert view is not None
    return view


def steps_of(events: Iterable[FeedEvent]) -> list[StepStats]:
    return [s for event in events if isinstance(event, Progress) for s in event.snapshot.steps]


def step(number: int, knobs: Knobs, **changes: object) -> StepStats:
    found = StepStats(number, number / 10, knobs, ms=StepTimes(1, 2, 3, 4))
    return replace(found, **changes)  # type: ignore[arg-type]


def folded(steps: Iterable[StepStats]) -> tuple[SettingView, ...]:
    debrief = Debrief()
    for each in steps:
        debrief.add_step(each, each.time)
    return debrief.settings(PAGE_SIZE)


def snapshot(steps: Sequence[StepStats], weights: int, draft: DraftInfo | None) -> EngineSnapshot:
    last = steps[-1]
    return EngineSnapshot(
        last.time, last.knobs, False, 0.0, tuple(steps), (), PageMap(b"", b""),
        PageCounts(0, 0, 0, 0, 0, 0, 0), weights, weights, draft,
    )  # fmt: skip


KNOBS = st.builds(
    Knobs,
    batching=st.sampled_from(["none", "static", "continuous"]),
    weights=st.sampled_from(["fp32", "int8"]),
    speculation=st.sampled_from(["off", "junior"]),
    max_batch=st.integers(1, 20),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(KNOBS, min_size=1, max_size=6), st.integers(0, 5))
def test_settings_together_are_the_race(knobs: list[Knobs], seed: int) -> None:
    events = list(Script(laps=3, cars=8, seed=seed).events(knobs))
    steps, view = steps_of(events), debriefed(events)
    assert view.others.steps == 0
    assert sum(s.steps for s in view.settings) == len(steps)
    assert sum(s.output_tokens for s in view.settings) == sum(s.output_tokens for s in steps)
    assert sum(s.seconds for s in view.settings) == pytest.approx(
        sum(s.ms.total for s in steps) / 1e3
    )
    acted = [acting(s.knobs) for s in steps]
    assert [acting(s.knobs) for s in view.settings] == list(dict.fromkeys(acted))
    assert [acting(s.knobs) for s in view.settings if s.now] == [acted[-1]]


@settings(max_examples=12, deadline=None)
@given(st.lists(KNOBS, min_size=1, max_size=4), st.integers(0, 5))
def test_a_setting_is_what_its_steps_are(knobs: list[Knobs], seed: int) -> None:
    events = list(Script(laps=3, cars=8, seed=seed, preempting=0.1).events(knobs))
    steps, view = steps_of(events), debriefed(events)
    for setting in view.settings:
        own = [s for s in steps if acting(s.knobs) == acting(setting.knobs)]
        used = [s.pages.used * s.pages.page_bytes for s in own]
        slots = sum(s.pages.used for s in own) * PAGE_SIZE
        rounds = [verdict for s in own for verdict in s.verdicts]
        assert setting.cars == pytest.approx(sum(s.running for s in own) / len(own))
        assert setting.step_ms == pytest.approx(sum(s.ms.total for s in own) / len(own))
        assert setting.tokens_per_second == pytest.approx(setting.output_tokens / setting.seconds)
        assert (setting.kv_peak, setting.kv_mean) == (
            max(used),
            pytest.approx(sum(used) / len(used)),
        )
        assert setting.waste_percent == pytest.approx(
            100 * sum(s.pages.empty_slots for s in own) / slots if slots else 0.0
        )
        assert setting.prefill_tokens == sum(s.prefill_tokens for s in own)
        assert setting.preemptions == sum(len(s.preempted) for s in own)
        assert setting.lost_tokens == sum(lost for s in own for _, lost in s.preempted)
        assert setting.tokens_a_round == (
            pytest.approx(1 + sum(v.accepted for v in rounds) / len(rounds)) if rounds else None
        )
        assert setting.weights_bytes == MODEL.weights_bytes


def test_gaps_and_first_tokens_belong_to_the_setting_of_the_step_that_brought_them() -> None:
    batched = Batched(pages=26)
    events: list[FeedEvent] = [RACE, EngineReady(MODEL), *batched.events(tour)]
    last: dict[str, float] = {}
    gaps: dict[Knobs, list[int]] = defaultdict(list)
    first: dict[Knobs, list[float]] = defaultdict(list)
    for each in steps_of(events):
        for id, _ in each.tokens:
            if id in last:
                gaps[each.knobs].append(bucket((each.time - last[id]) * 1e3))
            else:
                first[each.knobs].append((each.time - SUBMITTED) * 1e3)
            last[id] = each.time
    view = debriefed(events)
    assert len(first) >= 2
    assert len(view.settings) == 4
    for setting in view.settings:
        counts = {b: gaps[setting.knobs].count(b) for b in gaps[setting.knobs]}
        assert dict(setting.itl.buckets) == counts
        waited = first[setting.knobs]
        assert setting.ttft.count == len(waited)
        if waited:
            assert setting.ttft_mean == pytest.approx(sum(waited) / len(waited))
            assert setting.ttft.p99 is not None
            assert min(waited) <= setting.ttft.p99 <= max(waited) + 1e-9
        else:
            assert (setting.ttft_mean, setting.ttft.p50) == (None, None)


def test_the_race_s_latencies_and_turns_of_knobs_come_along() -> None:
    events = list(Script(laps=12).events((Knobs(), Knobs(weights="int8"))))
    view = debriefed(events)
    assert [found.name for found in view.latencies] == ["TTFT", "TPOT", "E2E", "ITL"]
    assert [found.count for found in view.latencies[:3]] == [20, 20, 20]
    assert dict(view.facts)["circuit"] == "monza"
    assert dict(view.facts)["model"] == "chief"
    assert view.effects
    assert {effect.label for effect in view.effects} == {"weights int8", "weights fp32"}


def test_first_tokens_after_a_lost_engine_are_counted_from_the_first_submission() -> None:
    batched = Batched(cars=4)
    knobs = Knobs(batching="none")
    before = batched.progress(knobs, 3)
    waiting = [r for r in before.snapshot.requests if r.first_token is None]
    assert waiting
    # A new engine, whose clock begins anew, and which is given the waiting ones at 0.
    shift = batched.time
    late = batched.progress(knobs, 10**6)
    requests = tuple(replace(r, submitted=0.0) for r in late.snapshot.requests)
    steps = tuple(replace(s, time=s.time - shift) for s in late.snapshot.steps)
    after = replace(
        late,
        snapshot=replace(
            late.snapshot, time=late.snapshot.time - shift, steps=steps, requests=requests
        ),
    )
    race = replace(RACE, cars=batched.starts)
    events = [race, EngineReady(MODEL), before, RedFlag("lost"), EngineReady(MODEL), after]
    (setting,) = debriefed(events).settings
    expected = [1e3 * (batched.first[start.id] - SUBMITTED) for start in batched.starts]
    assert setting.ttft.count == 4
    assert setting.ttft_mean == pytest.approx(sum(expected) / 4)


# What tells settings apart


def test_knobs_that_do_not_act_make_no_setting_of_their_own() -> None:
    inert = (
        Knobs(draft_length=5, quality="off"),
        Knobs(acceptance="ratio", static_batch=9),
    )
    (plain,) = folded(step(n, knobs) for n, knobs in enumerate((*inert, Knobs())))
    assert (plain.steps, plain.name, plain.now) == (3, "usual knobs", True)
    assert plain.knobs == inert[0]  # files tell how they stood
    eight = Knobs(weights="int8")
    junior = Knobs(speculation="junior", draft_length=5)
    act = (eight, replace(eight, quality="off"), junior, replace(junior, draft_length=6))
    found = folded(step(n, knobs) for n, knobs in enumerate((*inert, *act)))
    assert [s.name for s in found[1:]] == [
        "weights int8",
        "weights int8, quality off",
        "speculation junior, draft_length 5",
        "speculation junior, draft_length 6",
    ]


def test_prompts_that_are_read_are_no_part_of_the_rate_of_decoding() -> None:
    eight, one, few = Knobs(weights="int8"), (("a", (1,)),), (("a", (1, 2)),)
    found = folded(
        [
            step(1, Knobs(), prefill_tokens=900, tokens=one, ms=StepTimes(0, 90, 0, 0)),
            step(2, Knobs(), tokens=one, ms=StepTimes(0, 10, 0, 0)),
            step(3, eight, tokens=few, ms=StepTimes(0, 10, 0, 0)),
            step(4, eight, tokens=few, caught_up=300, ms=StepTimes(0, 50, 0, 0)),
            step(5, Knobs(max_batch=1), prefill_tokens=9, tokens=one),
            # Without a KV cache a step decodes by reading all again.
            step(6, Knobs(kv_cache="off"), prefill_tokens=9, tokens=one, ms=StepTimes(0, 40, 0, 0)),
        ]
    )
    assert [s.tokens_per_second for s in found[:2]] == pytest.approx([20, 4000 / 60])
    assert [s.decode_tokens_per_second for s in found] == [100, 200, None, 25]


# Text


def test_what_is_exact_itself_after_a_lossy_one_is_not_called_lossy() -> None:
    eight = Knobs(weights="int8")
    found = folded(step(n, k) for n, k in enumerate([Knobs(), eight, Knobs(max_batch=1)]))
    assert [(s.exact, s.after_lossy) for s in found] == [
        (True, False),
        (False, False),
        (False, True),
    ]


@pytest.mark.parametrize("lossy", LOSSY)
def test_a_text_is_exact_until_something_lossy_has_run(lossy: Knobs) -> None:
    found = folded(step(n, knobs) for n, knobs in enumerate((*EXACT, lossy, Knobs(max_batch=1))))
    assert [s.exact for s in found] == [*[True] * len(EXACT), False, False]
    # A setting that is gone back to then is not what it was.
    again = folded(step(n, knobs) for n, knobs in enumerate((*EXACT, lossy, EXACT[2])))
    assert [s.exact for s in again] == [True, True, False, True, False]


def test_quality_is_summed_by_setting() -> None:
    one, two = QualitySample(32, 0.5, 30, 28, 28), QualitySample(32, 0.25, 31, 20, 19)
    eight, four = Knobs(weights="int8"), Knobs(weights="int4")
    found = folded(
        [step(1, eight, quality=one), step(2, four), step(3, eight), step(4, eight, quality=two)]
    )
    assert found[0].quality == QualitySample(64, 0.75, 61, 48, 47)
    assert found[1].quality is None


# Bytes


def test_weights_are_those_of_the_setting_s_form_in_whatever_snapshot_they_came() -> None:
    debrief = Debrief()
    junior = DraftInfo("junior", 10, 2, "int8", 7)
    forms = [Knobs(), Knobs(weights="int8"), Knobs(weights="int8", max_batch=4)]
    drafting = [Knobs(speculation="junior"), Knobs(speculation="ngram")]
    for number, (knobs, nbytes) in enumerate(
        zip([forms[0], forms[1], *drafting], (100, 25, 100, 100), strict=True)
    ):
        made = [step(number, knobs)]
        if knobs == forms[1]:  # one that was over before a snapshot could tell
            made.insert(0, step(number, forms[2]))
        for each in made:
            debrief.add_step(each, each.time)
        debrief.add_snapshot(snapshot(made, nbytes, junior), made[-1].time)
    bytes_of = {s.knobs: s.weights_bytes for s in debrief.settings(PAGE_SIZE)}
    assert [bytes_of[k] for k in (*forms, *drafting)] == [100, 25, 25, 107, 100]


def test_bytes_that_no_snapshot_told_are_not_known() -> None:
    (setting,) = folded([step(1, Knobs())])
    assert setting.weights_bytes == 0
    assert setting.memory is None


# Names and numbers


def test_a_setting_is_named_by_what_differs_from_the_first() -> None:
    static = Knobs(batching="static", static_batch=3)
    usual = folded(step(n, knobs) for n, knobs in enumerate([Knobs(), static]))
    assert [(s.letter, s.name) for s in usual] == [
        ("A", "usual knobs"),
        ("B", "batching static, static_batch 3"),
    ]
    odd = folded(step(n, k) for n, k in enumerate([Knobs(weights="int8"), Knobs()]))
    assert [s.name for s in odd] == ["weights int8", "weights fp32"]


def test_their_number_is_bounded_and_nothing_is_lost_by_it() -> None:
    many = [step(n, Knobs(max_batch=1 + n % 100), tokens=(("a", (n,)),)) for n in range(1000)]
    debrief = Debrief()
    for each in many:
        debrief.add_step(each, each.time)
    view = debrief.view(RACE, None, ())
    assert len(view.settings) == len({s.letter for s in view.settings}) == MOST
    assert view.others.steps == 1000 - sum(s.steps for s in view.settings) > 0
    assert view.others.output_tokens + sum(s.output_tokens for s in view.settings) == 1000
    seconds = view.others.seconds + sum(s.seconds for s in view.settings)
    assert seconds == pytest.approx(sum(s.ms.total for s in many) / 1e3)
    # Gaps span steps of settings that have no letter any more: all are of one step.
    assert {round(s.itl.p99 or 0) for s in view.settings[1:]} <= set(range(98, 103))


def test_rounds_are_counted_with_the_chief_s_own_token() -> None:
    rounds = (Verdict("a", (1, 2), 2), Verdict("b", (3, 4), 0))
    made = step(1, Knobs(speculation="junior"), verdicts=rounds, tokens=(("a", (1, 2, 3)),))
    assert folded([made])[0].tokens_a_round == 2.0
