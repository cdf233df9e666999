"""Speculation: drafts may be good or bad, many or few; the text is the same, and nothing stays.

The rows on drafts of the catalogue of what goes wrong in serving engines, one by one. (Random
schedules with drafts among all other knobs are in test_master.py.)
"""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Rows
from dataclasses import replace
from pathlib import Path

import pytest

from engine.config import KnobError, Knobs, ModelError, Request, Sampling
from engine.core import Engine
from engine.draft_length import Fixed
from engine.plan import Ration, Row
from engine.propose import CATCH_UP, Ngram, Proposal
from engine.sequence import Sequence
from engine.stats import StepStats, StepTimes
from tests.engine.toy import Naive, Toy

pytestmark = pytest.mark.usefixtures("one_thread")
TOY = Toy()
JUNIOR = replace(TOY, noise=0.25)
PROMPT = tuple(range(5, 25))
LENGTHS = (*range(1, 9), 16)
WARM = Sampling(max_tokens=40, temperature=0.9, seed=11, ignore_eos=True)


def run(engine: Engine, *requests: Request) -> list[StepStats]:
    """Serve the requests to their ends."""
    for request in requests:
        engine.submit(request)
    steps = []
    while engine.has_work:
        steps.append(engine.step())
        engine.check()
    return steps


def expected(request: Request, toy: Toy = TOY) -> list[int]:
    return Naive(toy).generate(request)


@pytest.fixture(scope="session")
def junior_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return JUNIOR.save(tmp_path_factory.mktemp("juniors") / "junior")


class Seer:
    """Proposes tokens by what it knows to come next: just that, or others where it is `wrong`."""

    def __init__(self, texts: Mapping[str, Rows[int]], wrong: bool = True) -> None:
        self._texts = texts
        self._wrong = wrong

    def can_draft(self, knobs: Knobs) -> bool:
        return True

    def propose(self, rows: Rows[Row], sequences: Mapping[str, Sequence], knobs: Knobs) -> Proposal:
        return Proposal(tuple(self._of(row) for row in rows))

    def _of(self, row: Row) -> tuple[int, ...]:
        coming = self._texts[row.id][row.end : row.end + row.room]
        return tuple((token + self._wrong) % TOY.vocab for token in coming)

    def forget(self, id: str) -> None:
        return


def acceptance(steps: Rows[StepStats]) -> tuple[int, int]:
    """(drafts, accepted)."""
    verdicts = [verdict for step in steps for verdict in step.verdicts]
    return sum(len(v.drafts) for v in verdicts), sum(v.accepted for v in verdicts)


# A draft model that is the target


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("sampling", [WARM, Sampling(max_tokens=40, ignore_eos=True)])
def test_a_draft_model_like_the_target_is_always_right(
    toy_folder: Path, length: int, sampling: Sampling
) -> None:
    """Every draft is kept, to the last: no hole in its keys and values after a full round."""
    engine = TOY.load(
        toy_folder,
        knobs=Knobs(speculation="junior", draft_length=length),
        draft=(TOY, toy_folder),
    )
    request = Request("1", PROMPT, sampling)
    steps = run(engine, request)
    assert engine.tokens("1") == expected(request)
    drafts, accepted = acceptance(steps)
    assert drafts == accepted > 0
    rounds = [step for step in steps if step.verdicts]
    # All but the last round, which max_tokens cuts to size, are whole.
    assert {len(step.verdicts[0].drafts) for step in rounds[:-1]} <= {length}
    assert len(rounds) == -(-(sampling.max_tokens - 1) // (length + 1))


@pytest.mark.parametrize("length", [1, 3, 8])
def test_it_stays_right_after_hits_preemption_and_switches(toy_folder: Path, length: int) -> None:
    """Where keys and values came from another request, were lost, or never written: it knows."""
    knobs = Knobs(speculation="junior", draft_length=length)
    engine = TOY.load(toy_folder, pages=26, knobs=knobs, draft=(TOY, toy_folder))
    requests = [Request(str(i), PROMPT, replace(WARM, seed=i)) for i in range(3)]
    first = run(engine, requests[0])
    hits = run(engine, Request("again", PROMPT, WARM))
    assert sum(step.prefix_hits for step in hits) > 0
    found = sum(step.prefix_hits for step in hits)
    # The hit's pages held its part too: it ran no more than the target.
    assert sum(step.caught_up for step in hits) == len(PROMPT) - found
    crowd = run(engine, *(replace(request, id=request.id + "b") for request in requests))
    assert sum(len(step.preempted) for step in crowd) > 0
    engine.set_knobs(replace(knobs, speculation="off"))
    engine.submit(replace(requests[1], id="late"))
    silent = [engine.step() for _ in range(12)]
    assert acceptance(silent) == (0, 0)
    engine.set_knobs(knobs)
    switched = run(engine)
    assert sum(step.caught_up for step in switched) > 0
    for steps in (first, hits, crowd, switched):
        drafts, accepted = acceptance(steps)
        assert drafts == accepted > 0
    assert engine.tokens("late") == expected(requests[1])


def test_what_was_computed_without_it_is_caught_up_after_a_hit(toy_folder: Path) -> None:
    """Published pages that the draft model never saw are no hole either."""
    knobs = Knobs(speculation="junior", draft_length=3)
    engine = TOY.load(toy_folder, knobs=Knobs(), draft=(TOY, toy_folder))
    run(engine, Request("1", PROMPT, WARM))
    engine.set_knobs(knobs)
    steps = run(engine, Request("2", PROMPT, replace(WARM, seed=3)))
    assert sum(step.prefix_hits for step in steps) > 0
    assert sum(step.caught_up for step in steps) > 0
    drafts, accepted = acceptance(steps)
    assert drafts == accepted > 0


# Drafts that are wrong


@pytest.mark.parametrize("length", [1, 2, 5, 16])
def test_wrong_drafts_cost_only_time(toy_folder: Path, length: int) -> None:
    """One token a step, the same text, and no page of a draft is kept, published or found."""
    requests = [Request(str(i), PROMPT, replace(WARM, seed=i)) for i in range(3)]
    texts = {request.id: [*PROMPT, *expected(request)] for request in requests}
    engine = TOY.load(toy_folder, knobs=Knobs(speculation="ngram", draft_length=length))
    engine._speculation._proposers["ngram"] = Seer(texts | {"2b": texts["2"]})
    steps = run(engine, *requests)
    drafts, accepted = acceptance(steps)
    assert drafts > 0 == accepted
    assert all(len(tokens) == 1 for step in steps for _, tokens in step.tokens)
    for request in requests:
        assert engine.tokens(request.id) == expected(request)
    again = run(engine, replace(requests[2], id="2b"))
    assert sum(step.prefix_hits for step in again) > 0
    assert engine.tokens("2b") == expected(requests[2])


@pytest.mark.parametrize("paging", ["paged", "contiguous"])
def test_drafts_are_the_first_to_go_when_pages_are_short(toy_folder: Path, paging: str) -> None:
    """With as few pages as the requests need alone, drafts never cost one of them a preemption."""
    requests = [Request(str(i), PROMPT, replace(WARM, seed=i, max_tokens=12)) for i in range(3)]
    knobs = Knobs(prefix_cache="off", paging=paging)
    drafting = replace(knobs, speculation="junior", draft_length=16)

    def serve(pages: int, knobs: Knobs) -> list[StepStats]:
        engine = TOY.load(toy_folder, pages, knobs=knobs, draft=(TOY, toy_folder))
        steps = run(engine, *requests)
        assert all(engine.tokens(request.id) == expected(request) for request in requests)
        return steps

    def preemptions(steps: list[StepStats]) -> int:
        return sum(len(step.preempted) for step in steps)

    enough = 3 * 8  # each comes to 32 tokens
    steps = serve(enough, drafting)
    assert not preemptions(steps)
    assert acceptance(steps)[0] > 0
    short = serve(18, drafting)
    assert preemptions(short) <= preemptions(serve(18, knobs))
    if paging == "paged":
        assert acceptance(short)[0] < acceptance(steps)[0], "none was dropped"


@pytest.mark.parametrize("paging", ["paged", "contiguous", "turned"])
@pytest.mark.parametrize("pages", [10, 14, 18, 22])
def test_drafts_that_come_to_nothing_move_nobody(toy_folder: Path, paging: str, pages: int) -> None:
    """Who is admitted, preempted and finds a prefix, step by step, and which prefixes stay: all as
    without drafts, however short pages are; also where there are too few for what was reserved."""
    own = [Request(f"own {i}", (*range(30, 41), i), replace(WARM, seed=i)) for i in range(2)]
    requests = [Request(str(i), PROMPT, replace(WARM, seed=i, max_tokens=20)) for i in range(4)]
    own = [replace(request, sampling=replace(WARM, max_tokens=12)) for request in own]
    texts = {r.id: [*r.prompt, *expected(r)] for r in (*own, *requests)}
    first = "paged" if paging == "turned" else paging
    knobs = Knobs(paging=first, speculation="ngram", draft_length=8)
    found = []
    drafts = 0
    for speculation in ("off", "ngram"):
        engine = TOY.load(toy_folder, pages, knobs=replace(knobs, speculation=speculation))
        engine._speculation._proposers["ngram"] = Seer(texts)
        steps = run(engine, *own)
        for request in requests:
            engine.submit(request)
        steps += [engine.step() for _ in range(6)]
        if paging == "turned":
            engine.set_knobs(replace(engine.knobs, paging="contiguous"))
        steps += run(engine)
        drafts = acceptance(steps)[0]
        found.append([(s.admitted, s.preempted, s.prefix_hits, s.tokens) for s in steps])
        cached = engine.snapshot((), 0).pages.cached
        found[-1].append(cached)
    assert drafts > 0
    assert found[0] == found[1]


# Where the length is chosen as steps go


def play(engine: Engine, verify: Callable[[int], float], draft: float) -> None:
    """Let steps take so many ms by the places that they verify, a draft so many, and a token that
    is caught up 0.008: no clock decides."""
    note = engine._speculation.note

    def played(plan, proposal, verdicts, ms) -> None:
        longest = max((row.drafts for row in plan.rows), default=0)
        forward = verify(sum(row.drafts + 1 for row in plan.rows))
        drafting = draft * longest + 0.008 * proposal.caught_up
        note(plan, proposal, verdicts, StepTimes(0, forward, 0, 0, draft=drafting))

    engine._speculation.note = played


@pytest.fixture(scope="session")
def long_texts(toy_folder: Path) -> dict[Request, list[int]]:
    """Two requests of 200 tokens, and all their tokens, as an engine without drafts has them."""
    requests = [Request(str(i), (i + 5,), replace(WARM, max_tokens=200)) for i in range(2)]
    engine = TOY.load(toy_folder, 400)
    run(engine, *requests)
    return {request: [*request.prompt, *engine.tokens(request.id)] for request in requests}


def race(
    engine: Engine, texts: Mapping[Request, list[int]], wrong: bool = False
) -> list[StepStats]:
    """Serve them, with the draft model's own drafts or wrong ones."""
    junior = engine._speculation._proposers["junior"]
    if wrong:
        seer = Seer({request.id: text for request, text in texts.items()})
        engine._speculation._proposers["junior"] = seer
    engine.reset()
    steps = run(engine, *texts)
    engine._speculation._proposers["junior"] = junior
    for request, text in texts.items():
        assert engine.tokens(request.id) == text[len(request.prompt) :]
    return steps


def test_auto_comes_back_to_a_draft_model_that_pays(
    toy_folder: Path, long_texts: Mapping[Request, list[int]]
) -> None:
    """It may have to catch up with much text first."""
    knobs = Knobs(speculation="junior", draft_length="auto")
    engine = TOY.load(toy_folder, 400, knobs=knobs, draft=(TOY, toy_folder))
    play(engine, lambda places: 2 + 0.02 * places, 0.1)
    useless = [step for _ in range(2) for step in race(engine, long_texts, wrong=True)]
    drafting = [step for step in useless if step.draft_length]
    assert drafting, "it was never tried"
    assert len(drafting) < 0.06 * len(useless)
    assert not useless[-1].draft_length
    good = [step for _ in range(2) for step in race(engine, long_texts)]
    assert sum(step.caught_up for step in good) > 0
    begun = next(i for i, step in enumerate(good) if step.draft_length > 4)
    assert begun < 200
    last = [step.draft_length for step in race(engine, long_texts) if not step.prefill_tokens]
    assert sum(last) > 6 * len(last)


def test_auto_without_drafts_that_could_pay_hardly_ever_looks(
    toy_folder: Path, long_texts: Mapping[Request, list[int]]
) -> None:
    """However right they are, they are too dear: a step takes what its rows take."""
    knobs = Knobs(speculation="junior", draft_length="auto")
    engine = TOY.load(toy_folder, 400, knobs=knobs, draft=(TOY, toy_folder))
    play(engine, lambda places: 1.0 * places, 0.5)
    steps = [step for _ in range(3) for step in race(engine, long_texts)]
    drafting = [step for step in steps if step.draft_length]
    assert 0 < len(drafting) < 0.04 * len(steps)
    assert all(step.trial for step in drafting if step.decode_rows > 1), "one is enough to try it"


@pytest.mark.parametrize("kv_cache", ["on", "off"])
def test_auto_drafts_without_a_kv_cache_too(toy_folder: Path, kv_cache: str) -> None:
    """Where every step runs whole texts a few tokens more are nearly free."""
    knobs = Knobs(speculation="ngram", draft_length="auto", kv_cache=kv_cache)
    engine = TOY.load(toy_folder, knobs=knobs)
    play(engine, lambda places: 20 + 0.1 * places, 0.0)
    request = Request("1", PROMPT, WARM)
    engine._speculation._proposers["ngram"] = Seer({"1": [*PROMPT, *expected(request)]}, False)
    steps = run(engine, request)
    assert max(step.draft_length for step in steps) >= 4
    assert len(steps) < 20
    assert engine.tokens("1") == expected(request)


@pytest.mark.parametrize("length", [4, "auto"])
def test_a_junior_does_not_draft_without_a_kv_cache(toy_folder: Path, length: int | str) -> None:
    """It would have to read every text anew, and the step says that it does not."""
    knobs = Knobs(speculation="junior", draft_length=length, kv_cache="off")
    engine = TOY.load(toy_folder, knobs=knobs, draft=(TOY, toy_folder))
    request = Request("1", PROMPT, WARM)
    steps = run(engine, request)
    assert not any(step.draft_length or step.verdicts or step.ms.draft > 0.1 for step in steps)
    assert engine.tokens("1") == expected(request)


@pytest.mark.parametrize(
    "narrow", [Knobs(max_batch=2), Knobs(batching="static", static_batch=2), Knobs(batching="none")]
)
def test_parked_requests_do_not_count(
    toy_folder: Path, narrow: Knobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The length is chosen for those that a step runs."""
    engine = TOY.load(toy_folder, knobs=Knobs(speculation="ngram"))
    for i in range(5):
        engine.submit(Request(str(i), PROMPT, replace(WARM, seed=i)))
    engine.step()
    asked: list[int] = []
    choose = Fixed.choose

    def spy(self: Fixed, requests: int) -> Ration:
        asked.append(requests)
        return choose(self, requests)

    monkeypatch.setattr(Fixed, "choose", spy)
    engine.step()
    engine.set_knobs(replace(narrow, speculation="ngram"))
    engine.step()
    assert len(engine._planner.running) == 5
    assert asked == [5, 1 if narrow.batching == "none" else 2]


# Ends inside a burst


@pytest.mark.parametrize("place", range(6))
def test_a_stop_token_inside_a_burst(toy_folder: Path, place: int) -> None:
    """At each of the k + 1 places: what comes after it was never said."""
    length = 5
    for seed in range(100):
        sampling = replace(WARM, temperature=1.6, seed=seed)
        plain = expected(Request("1", PROMPT, sampling))
        fresh = [i for i in range(6, 40) if plain[i] not in plain[:i]]
        end = next((i for i in fresh if i % (length + 1) == place), None)
        if end is not None:
            break
    assert end is not None
    request = Request("1", PROMPT, replace(sampling, stop_token_ids=(plain[end],)))
    engine = TOY.load(
        toy_folder,
        knobs=Knobs(speculation="junior", draft_length=length),
        draft=(TOY, toy_folder),
    )
    steps = run(engine, request)
    assert engine.tokens("1") == plain[: end + 1] == expected(request)
    assert engine.request("1").finish_reason == "stop"
    assert sum(step.output_tokens for step in steps) == end + 1
    assert len(steps[-1].tokens[0][1]) == place + 1


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("tokens", range(1, 9))
def test_length_limits_inside_a_burst(toy_folder: Path, length: int, tokens: int) -> None:
    """Nothing is drafted that could not be said, even where the context ends with the request."""
    engine = TOY.load(
        toy_folder,
        knobs=Knobs(speculation="junior", draft_length=length),
        draft=(TOY, toy_folder),
        max_context=len(PROMPT) + tokens,
    )
    request = Request("1", PROMPT, replace(WARM, max_tokens=tokens))
    steps = run(engine, request)
    assert engine.tokens("1") == expected(request)
    assert engine.request("1").finish_reason == "length"
    assert all(len(v.drafts) < tokens for step in steps for v in step.verdicts)


# Switched on in the middle


def test_to_catch_up_takes_no_more_than_its_budget_a_step(toy_folder: Path) -> None:
    engine = TOY.load(toy_folder, 400, draft=(TOY, toy_folder), max_context=400)
    prompts = [tuple((7 * i + k) % 50 + 5 for k in range(150)) for i in range(4)]
    for i, prompt in enumerate(prompts):
        engine.submit(Request(str(i), prompt, replace(WARM, max_tokens=60, seed=i)))
    for _ in range(8):
        engine.step()
    engine.set_knobs(Knobs(speculation="junior", draft_length=2))
    steps = []
    while engine.has_work:
        steps.append(engine.step())
    behind = [step.caught_up for step in steps if step.caught_up]
    assert sum(behind) > 4 * 150
    assert max(behind) <= CATCH_UP
    assert all(len(step.tokens) for step in steps), "a step said nothing"
    drafts, accepted = acceptance(steps)
    assert drafts == accepted > 0


def test_another_draft_model_takes_over_between_two_steps(
    toy_folder: Path, junior_folder: Path
) -> None:
    """Also one of another shape, whose pages are of another size."""
    other = replace(TOY, layers=1, kv_heads=1, seed=5)
    folder = other.save(junior_folder.parent / "other")
    knobs = Knobs(speculation="junior", draft_length=4)
    engine = TOY.load(toy_folder, knobs=knobs, draft=(JUNIOR, junior_folder))
    requests = [Request(str(i), PROMPT, replace(WARM, seed=i)) for i in range(3)]
    for request in requests:
        engine.submit(request)
    for _ in range(3):
        engine.step()
        engine.check()
    sizes = {engine.snapshot((), 0).pages.page_bytes}
    for path in (folder, toy_folder):
        engine.use_draft(engine.open_draft(str(path)))
        for _ in range(3):
            engine.step()
            engine.check()
        snapshot = engine.snapshot((), 0)
        assert snapshot.draft is not None
        assert snapshot.draft.name == path.name
        sizes.add(snapshot.pages.page_bytes)
    assert len(sizes) == 2
    rest = run(engine)
    drafts, accepted = acceptance(rest)
    assert drafts == accepted > 0, "the target itself drafts now"
    for request in requests:
        assert engine.tokens(request.id) == expected(request)


# Looking the own text up


def places(tokens: list[int], room: int) -> tuple[int, ...]:
    request = Request("1", tuple(tokens))
    row = Row("1", 0, tuple(tokens), (), Sampling(), room)
    found = Ngram().propose([row], {"1": Sequence(request, 0.0)}, Knobs())
    return found.drafts[0]


def test_ngrams_continue_what_was_said_before() -> None:
    assert places([1, 2, 3, 4, 9, 1, 2], 3) == (3, 4, 9)
    assert places([1, 2, 3, 1, 2, 4, 1, 2], 1) == (4,), "the last time counts"
    assert places([7, 1, 2, 3, 8, 1, 2, 5, 7, 1, 2], 2) == (3, 8), (
        "more tokens in common count more"
    )
    assert places([1, 2, 3], 4) == ()
    assert places([1], 4) == ()
    assert places([1, 2, 1, 2], 8) == (1, 2)
    assert places([1, 2, 1, 2], 0) == ()


def test_ngrams_learn_as_a_text_grows() -> None:
    """Found in steps as it is at once, and forgotten with the request."""
    text = [5, 6, 7, 5, 6, 8, 5, 6, 7, 9, 5, 6, 7]
    proposer = Ngram()
    sequence = Sequence(Request("1", (text[0],)), 0.0)
    for token in text[1:]:
        sequence.tokens.append(token)
        row = Row("1", 0, tuple(sequence.tokens), (), Sampling(), 4)
        (found,) = proposer.propose([row], {"1": sequence}, Knobs()).drafts
        assert found == places(sequence.tokens, 4)
    proposer.forget("1")
    fresh = Sequence(Request("1", (1, 2)), 0.0)
    row = Row("1", 0, (1, 2), (), Sampling(), 4)
    assert proposer.propose([row], {"1": fresh}, Knobs()).drafts == ((),)


# Bad input


def test_speculation_without_a_draft_model_is_refused(toy_folder: Path) -> None:
    engine = TOY.load(toy_folder)
    with pytest.raises(KnobError, match="speculation: junior needs a draft model"):
        engine.set_knobs(Knobs(speculation="junior"))
    assert engine.knobs.speculation == "off"
    with pytest.raises(KnobError, match="needs a draft model"):
        TOY.load(toy_folder, knobs=Knobs(speculation="junior"))


TOKENS = '{"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": []}'


@pytest.mark.parametrize(
    ("toy", "tokenizer", "message"),
    [
        (replace(JUNIOR, vocab=62), TOKENS, "a vocabulary of 62, the target one of 61"),
        (
            replace(JUNIOR, extra={"max_position_embeddings": 128}),
            TOKENS,
            "a context of 128, shorter than the target's of 256",
        ),
        (JUNIOR, None, "has no tokenizer.json"),
        (JUNIOR, TOKENS.replace('"b"', '"c"'), "another vocabulary than the target"),
        (JUNIOR, "{", "tokenizer.json' cannot be read"),
        (JUNIOR, "[]", "tokenizer.json' cannot be read"),
    ],
)
def test_draft_models_that_do_not_suit(
    tmp_path: Path, toy: Toy, tokenizer: str | None, message: str
) -> None:
    """Refused by name when loading; and while a race goes on, which goes on."""
    target, draft = TOY.save(tmp_path / "target"), toy.save(tmp_path / "draft")
    (target / "tokenizer.json").write_text(TOKENS)
    if tokenizer is not None:
        (draft / "tokenizer.json").write_text(tokenizer)
    with pytest.raises(ModelError, match=message) as error:
        TOY.load(target, draft=(toy, draft))
    assert str(draft) in str(error.value)
    assert "\n" not in str(error.value)
    engine = TOY.load(target)
    request = Request("1", PROMPT, WARM)
    engine.submit(request)
    engine.step()
    with pytest.raises(ModelError, match=message):
        engine.open_draft(str(draft))
    run(engine)
    assert engine.tokens("1") == expected(request)


def test_a_missing_draft_folder_is_named(toy_folder: Path) -> None:
    with pytest.raises(ModelError, match="/nowhere"):
        TOY.load(toy_folder, draft=(TOY, Path("/nowhere")))
