"""Drafting, folded: counts against their definitions, costs and speed-ups against plain sums."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Knobs
from engine.draft_counts import DraftCounts, counted, together
from engine.stats import StepStats, StepTimes, Verdict
from pitwall_tui.race.events import CarStart, Progress, RaceStarted
from pitwall_tui.race.ledger import Ledger
from pitwall_tui.race.speculation import LEAST_STEPS, Speculation, projected
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import Kind, SpeculationView
from pitwall_tui.report import print_summary, summary
from tests.drafters import drafter
from tests.scripted import Script

ON = Knobs(speculation="junior", draft_length=4)
OFF = Knobs()


def step(
    *rounds: tuple[int, int], knobs: Knobs = ON, ends: bool = False, **changes: object
) -> StepStats:
    """A decode step in which each car had (drafts, accepted); `ends` before the chief's own."""
    verdicts = tuple(
        Verdict(str(i), tuple(range(drafts)), accepted)
        for i, (drafts, accepted) in enumerate(rounds)
        if drafts
    )
    tokens = tuple(
        (str(i), tuple(range(accepted + (not ends)))) for i, (_, accepted) in enumerate(rounds)
    )
    made = StepStats(
        step=1,
        time=1.0,
        knobs=knobs,
        tokens=tokens,
        decode_rows=len(rounds),
        ms=StepTimes(0, 10, 0, 0, draft=0 if knobs.speculation == "off" else 4),
        verdicts=verdicts,
        draft_length=0 if knobs.speculation == "off" else 4,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def folded(*steps: StepStats, every: float = 0.01) -> Speculation:
    state = Speculation()
    state.meet(drafter())
    for number, each in enumerate(steps):
        state.add(each, number * every)
    return state


def view(*steps: StepStats, every: float = 0.01) -> SpeculationView:
    found = folded(*steps, every=every).view()
    assert found is not None
    return found


ROUNDS = st.integers(1, 16).flatmap(
    lambda drafts: st.tuples(st.just(drafts), st.integers(0, drafts))
)
STEPS = st.lists(st.lists(ROUNDS, min_size=1, max_size=5), min_size=1, max_size=12)


@given(STEPS)
def test_counts_are_sums_over_rounds(steps: list[list[tuple[int, int]]]) -> None:
    total = together(counted(step(*rounds)) for rounds in steps)
    every = [each for rounds in steps for each in rounds]
    assert total.drafts == len(every)
    assert total.draft_tokens == sum(drafts for drafts, _ in every)
    assert total.accepted_tokens == sum(accepted for _, accepted in every) == total.saved
    assert total.judged == sum(min(accepted + 1, drafts) for drafts, accepted in every)
    assert len(total.accepted_at) == max(drafts for drafts, _ in every)


@given(STEPS)
def test_acceptance_by_position_never_rises_and_makes_up_the_mean_length(
    steps: list[list[tuple[int, int]]],
) -> None:
    found = view(*(step(*rounds) for rounds in steps)).since
    shares = found.per_position
    assert all(a >= b for a, b in pairwise(shares))
    assert all(0 <= share <= 1 for share in shares)
    assert found.mean_length == pytest.approx(1 + sum(shares))


def test_counts_by_hand() -> None:
    found = counted(step((4, 4), (4, 0), (4, 2), (0, 0), (2, 1)))
    assert found == DraftCounts(
        drafts=4,
        draft_tokens=14,
        accepted_tokens=7,
        accepted_at=(3, 2, 1, 1),
        judged=4 + 1 + 3 + 2,
        saved=7,
    )
    assert found.per_position == (0.75, 0.5, 0.25, 0.25)
    assert found.mean_length == 2.75
    assert found.acceptance == 0.7
    assert found.used == 0.5


def test_steps_of_a_trial_are_of_no_kind() -> None:
    plain = [step((0, 0), (0, 0), draft_length=0)] * 9
    trial = [step((4, 4), (0, 0), trial=True)] * 9
    found = view(*plain, *trial)
    assert found.since.drafts == 9  # what becomes of their drafts is counted all the same
    assert found.kind.length == 0
    assert found.measured == ()
    assert view(*plain, *[replace(each, trial=False) for each in trial]).measured


def test_a_draft_that_ends_the_request_overrules_none() -> None:
    found = counted(step((4, 2), ends=True))
    assert (found.judged, found.acceptance) == (2, 1.0)
    assert found.saved == 1  # the last of the two would have needed a step of its own anyway


def test_there_is_nothing_to_show_before_speculation_is_on() -> None:
    assert folded(step((0, 0), knobs=OFF)).view() is None


def test_recent_counts_are_those_of_the_last_seconds() -> None:
    found = view(*[step((4, 0))] * 10, *[step((4, 4))] * 10, every=0.3)
    assert found.since.drafts == 20
    assert (found.recent.drafts, found.recent.acceptance) == (10, 1.0)


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(speculation="ngram", draft_length=4),
        Knobs(speculation="junior", draft_length=8),
        Knobs(speculation="junior", acceptance="ratio"),
        Knobs(speculation="junior", weights="int8"),
        Knobs(speculation="junior", kv_dtype="int8"),
        Knobs(speculation="junior", kernels="torch"),
    ],
)
def test_counts_begin_anew_with_the_first_round_after_a_change(knobs: Knobs) -> None:
    state = folded(*[step((4, 1))] * 3)
    state.add(step((0, 0), knobs=knobs), 0.1)
    kept, new = state.view(), None
    state.add(step((4, 4), knobs=knobs), 0.2)
    new = state.view()
    assert kept is not None
    assert new is not None
    assert (kept.since.drafts, new.since.drafts, new.recent.drafts) == (3, 1, 1)


def added(state: Speculation, draft: str, *steps: StepStats, at: float) -> SpeculationView:
    """A snapshot's steps, at the end of which the model `draft` was the one that drafts."""
    state.meet(drafter(draft))
    for number, each in enumerate(steps):
        state.add(each, at + number * 0.01)
    found = state.view()
    assert found is not None
    return found


def test_a_junior_that_takes_another_s_place_starts_its_own_figures() -> None:
    old, new = step((4, 1)), step((4, 4))
    state = Speculation()
    added(state, "junior", *[plain()] * LEAST_STEPS, *[old] * LEAST_STEPS, at=0.0)
    # Which of these are whose is not known.
    torn = added(state, "academy-1", *[old] * 3, *[new] * 3, at=0.5)
    assert (torn.kind.draft, torn.draft, torn.recent.drafts) == ("junior", None, LEAST_STEPS)
    catching_up = added(state, "academy-1", step((0, 0), caught_up=64), at=1.0)
    assert catching_up.kind.who == "academy-1"
    assert (catching_up.since.drafts, catching_up.recent.drafts) == (0, 0)
    assert (catching_up.draft_ms, catching_up.now) == (None, None)
    found = added(state, "academy-1", *[new] * LEAST_STEPS, at=1.1)
    assert found.draft == drafter("academy-1")
    assert (found.since.drafts, found.since.acceptance) == (LEAST_STEPS, 1.0)
    assert (found.recent.drafts, found.recent.acceptance) == (LEAST_STEPS, 1.0)
    assert {row.kind.draft: (row.rounds, row.acceptance) for row in found.measured} == {
        "junior": (LEAST_STEPS, 0.5),
        "academy-1": (LEAST_STEPS, 1.0),
    }
    assert found.now is not None
    assert found.now.kind.draft == "academy-1"


def test_only_drafts_of_a_junior_are_in_doubt_when_another_comes() -> None:
    state, ngram = Speculation(drafter()), Knobs(speculation="ngram")
    found = added(state, "academy-1", *[plain()] * LEAST_STEPS, step((4, 2), knobs=ngram), at=0.0)
    assert (found.kind.who, found.kind.draft, found.draft) == ("ngram", "", None)
    assert found.since.drafts == 1
    found = added(state, "academy-1", *[step((4, 2))] * LEAST_STEPS, at=0.5)
    assert [row.speedup is not None for row in found.measured] == [True]


def test_the_first_junior_of_all_takes_nobody_s_place() -> None:
    state = Speculation()
    state.meet(None)
    assert added(state, "academy-1", step((4, 2)), at=0.0).since.drafts == 1


def test_a_race_says_when_another_junior_drafts() -> None:
    state = RaceState()
    for number, event in enumerate(Script(laps=3, cars=3).events((ON,))):
        if isinstance(event, Progress):
            draft = drafter("junior" if number < 12 else "academy-1")
            event = replace(event, snapshot=replace(event.snapshot, draft=draft))
        state.apply(event)
        if number == 11:
            before = state.view(0.0)
    after = state.view(0.0)
    assert (before.draft, after.draft) == ("junior", "academy-1")
    assert before.speculation is not None
    assert after.speculation is not None
    assert (before.speculation.kind.who, after.speculation.kind.who) == ("junior", "academy-1")
    told = [line.text for line in after.radio if line.kind == "knob"]
    assert told == ["draft model academy-1: its figures begin anew"]


def test_other_knobs_leave_the_counts_alone() -> None:
    found = view(step((4, 1)), step((4, 1), knobs=replace(ON, max_batch=4, quality="off")))
    assert found.since.drafts == 2


def test_times_are_medians_of_decode_only_steps() -> None:
    found = view(
        step((4, 1), ms=StepTimes(0, 10, 0, 0, draft=4)),
        step((4, 1), ms=StepTimes(0, 20, 0, 0, draft=6)),
        step((2, 1), ms=StepTimes(0, 30, 0, 0, draft=4)),
        step((4, 1), ms=StepTimes(0, 900, 0, 0, draft=4), prefill_tokens=64),
        step((4, 1), ms=StepTimes(0, 900, 0, 0, draft=800), caught_up=64),
    )
    assert (found.draft_ms, found.verify_ms) == (4, 20)
    assert found.cost == pytest.approx(1.5 / 20)  # passes took 1, 1.5 and 2 ms
    assert found.projection == pytest.approx(projected(0.5, 4, 1.5 / 20))


@pytest.mark.parametrize(
    ("acceptance", "length", "cost", "expected"),
    [
        (0.0, 4, 0.0, 1.0),
        (1.0, 4, 0.25, 2.5),
        (0.5, 1, 0.0, 1.5),
        (0.8, 5, 0.05, (1 - 0.8**6) / (0.2 * 1.25)),
        (0.7, 0, 0.3, 1.0),
    ],
)
def test_the_formula(acceptance: float, length: int, cost: float, expected: float) -> None:
    assert projected(acceptance, length, cost) == pytest.approx(expected)


def plain(cars: int = 1, ms: float = 8.0) -> StepStats:
    return step(*[(0, 0)] * cars, knobs=OFF, ms=StepTimes(0, ms, 0, 0))


def test_speed_up_is_measured_against_steps_with_as_many_cars() -> None:
    found = view(
        *[plain(2, 99.0)] * LEAST_STEPS,
        *[plain()] * LEAST_STEPS,
        *[step((4, 2), ms=StepTimes(1, 8, 1, 0, score=50, draft=2))] * LEAST_STEPS,
    )
    now = found.now
    assert now is not None
    assert now.kind == Kind("junior", "junior", "equal", cars=1, length=4)
    assert now.tokens_per_second == pytest.approx(3 / 12e-3)
    assert now.plain_tokens_per_second == pytest.approx(1 / 8e-3)
    assert now.speedup == pytest.approx(2.0)
    assert now.verify_cost == pytest.approx(10 / 8)
    assert now.draft_cost == pytest.approx(2 / 8)
    assert now.speedup == pytest.approx(now.tokens / (now.verify_cost + now.draft_cost))
    assert (now.rounds, now.tokens, now.verified) == (LEAST_STEPS, 3, 5)
    assert found.word == (
        "pays with 1 car: verifying 5 tokens costs 1.2 plain steps, drafting 0.2, for 3.0 a car"
    )


def test_a_few_steps_are_no_measurement() -> None:
    few = [plain()] * (LEAST_STEPS - 1)
    found = view(*few, *[step((4, 2))] * LEAST_STEPS)
    assert found.now is not None
    assert found.now.speedup is None
    assert "not measured yet: switch speculation off for a moment" in found.word
    fewer = view(*[step((4, 2))] * (LEAST_STEPS - 1))
    assert (fewer.measured, fewer.now) == ((), None)
    assert fewer.word == "too few steps with drafts and 1 car so far"


def test_steps_that_draft_nothing_count_as_what_speculation_makes_of_them() -> None:
    found = view(*[plain()] * LEAST_STEPS, *[step((0, 0)), step((4, 2))] * LEAST_STEPS)
    assert found.now is not None
    assert found.now.tokens == 2


def test_a_look_at_another_length_is_not_what_is_shown() -> None:
    auto = Knobs(speculation="junior", draft_length="auto")
    usual, look = step((4, 2), knobs=auto), step((3, 2), knobs=auto, draft_length=3)
    found = view(*[plain()] * LEAST_STEPS, *[usual] * 20, look)
    assert found.now is not None
    assert (found.kind.length, found.now.kind.length) == (4, 4)
    longer = view(*[usual] * 20, step((8, 2), knobs=replace(ON, draft_length=8), draft_length=8))
    assert (longer.kind.length, longer.now) == (8, None)


def test_a_switch_in_the_middle_of_prefill_is_no_fault() -> None:
    other = Knobs(speculation="ngram")
    found = view(step((4, 2)), step((0, 0), knobs=other, prefill_tokens=64))
    assert (found.kind.proposer, found.on) == ("junior", True)
    assert view(step((4, 2), prefill_tokens=64), step((4, 2))).since.drafts == 2


def test_prefill_and_other_forms_are_compared_with_nothing() -> None:
    int8 = Knobs(speculation="junior", weights="int8")
    found = view(
        *[replace(plain(), prefill_tokens=9)] * LEAST_STEPS,
        *[plain()] * LEAST_STEPS,
        *[step((4, 2))] * LEAST_STEPS,
        *[step((4, 2), knobs=int8)] * LEAST_STEPS,
    )
    assert [row.kind for row in found.measured] == [Kind("junior", "junior", "equal", 1, 4)]
    assert found.now is not None
    assert found.now.speedup is None


@pytest.mark.parametrize(
    ("accepted", "verify", "said"),
    [
        (2, 30.0, "hurts with 1 car: 33 % of drafts are refused, verifying 5 tokens"),
        (0, 30.0, "hurts with 1 car: 100 % of drafts are refused"),
        (4, 40.0, "hurts with 1 car whatever is accepted: verifying 5 tokens costs 5.0 plain"),
        (2, 22.0, "neither pays nor hurts with 1 car"),
        (4, 22.0, "pays with 1 car"),
    ],
)
def test_the_plain_word(accepted: int, verify: float, said: str) -> None:
    drafted = step((4, accepted), ms=StepTimes(0, verify, 0, 0, draft=2))
    assert view(*[plain()] * LEAST_STEPS, *[drafted] * LEAST_STEPS).word.startswith(said)


def test_what_is_said_while_nobody_drafts() -> None:
    auto = Knobs(speculation="junior", draft_length="auto")
    assert view(step((4, 1)), plain()).word.startswith("off")
    assert view(step((0, 0), knobs=auto, draft_length=0)).word.startswith("drafts nothing")
    assert "found nothing to draft" in view(step((0, 0))).word


def ledger(*steps: StepStats) -> dict[str, object]:
    cars = tuple(CarStart(str(i), i, "VAR", "NOVA", i, "S") for i in range(4))
    book = Ledger(RaceStarted(1, "monza", 3, 1, 0.8, "", cars))
    for each in steps:
        book.add_step(each, each.time)
    return book.summary(None, {car.id: 0 for car in cars}, 0)


def test_the_document_s_block_by_hand() -> None:
    block = ledger(plain(), step((4, 4), (3, 0)), step((4, 2)), plain())["speculation"]
    assert block == {
        "drafts": 3,
        "draft_tokens": 11,
        "accepted_tokens": 6,
        "accepted_per_position": [2 / 3, 2 / 3, 1 / 3, 1 / 3],
        "mean_acceptance_length": 3.0,
        "draft_ms": 8.0,
        "verify_ms": 20.0,
    }


def test_the_document_s_block_of_no_drafts() -> None:
    assert ledger(plain())["speculation"] is None
    block = ledger(step((0, 0)))["speculation"]
    assert isinstance(block, dict)
    assert (block["drafts"], block["accepted_per_position"]) == (0, [])
    assert block["mean_acceptance_length"] is None


def test_who_wrote_what_is_told_of_the_car_in_front() -> None:
    state, script = RaceState(), Script(laps=3, cars=3)
    ids = {car.start.code: car.start.id for car in script.grid}
    written: dict[str, str] = {}
    for event in script.events((ON,)):
        state.apply(event)
        written |= {
            id: written.get(id, "") + "".join(text)
            for id, text in (event.text if isinstance(event, Progress) else ())
        }
        found = state.view(0.0).writing
        if found is None or not found.pieces:
            continue
        text = "".join(piece for author, piece in found.pieces if author != "overruled")
        assert written[ids[found.car]].endswith(text)
        authors = [author for author, _ in found.pieces]
        assert all(after == "chief" for author, after in pairwise(authors) if author == "overruled")
        assert {piece for author, piece in found.pieces if author == "overruled"} <= {"?"}
    assert state.over


def test_nobody_is_quoted_while_nobody_drafts() -> None:
    state = RaceState()
    for event in Script(laps=3, cars=3).events():
        state.apply(event)
        assert state.view(0.0).writing is None


def test_a_rule_that_changes_tokens_says_so() -> None:
    state = RaceState()
    for event in Script(laps=3, cars=3).events((ON, replace(ON, acceptance="ratio"))):
        state.apply(event)
    said = [line.text for line in state.view(0.0).radio if line.kind == "knob"]
    assert "acceptance ratio: drafts lead to other tokens from here, as likely ones" in said


def test_a_scripted_race_s_document_is_its_steps_in_sum() -> None:
    events = list(Script(laps=3, cars=3).events((Knobs(), ON)))
    steps = [s for e in events if isinstance(e, Progress) for s in e.snapshot.steps]
    rounds = [verdict for step in steps for verdict in step.verdicts]
    block = summary(events)[0]["speculation"]
    assert isinstance(block, dict)
    assert block["drafts"] == len(rounds)
    assert block["accepted_tokens"] == sum(verdict.accepted for verdict in rounds)
    text = print_summary(summary(events)[0])
    assert f"{block['mean_acceptance_length']:.2f} tokens a round" in text
