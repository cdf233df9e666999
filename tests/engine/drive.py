"""The master test's machinery: a random life of an engine, held to the naive decoder.

A life is a list of operations. After each of them the engine's invariants are checked, and at
the end every request must have the tokens that it would have had alone. Where weights, the kv_dtype
or kernels are turned, that holds for requests that ran in one format all along; the tokens of the
others depend on when it was turned, so a second run must say the same, and keys and values are
looked at as they move.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor

from engine.config import Knobs, Request, Sampling
from engine.core import Engine
from engine.kvcache import KVCache
from engine.pages import pages_for
from engine.stats import PAGE_CACHED, PAGE_FREE, PAGE_RESERVED, StepStats
from tests.engine.toy import Naive

VALUES: dict[str, tuple[str, ...]] = {
    "kv_cache": ("on", "off"),
    "paging": ("paged", "contiguous"),
    "prefix_cache": ("on", "off"),
    "batching": ("none", "static", "continuous"),
    "max_batch": ("1", "2", "5", "20"),
    "static_batch": ("1", "2", "3", "4"),
    "prefill_chunk": ("0", "1", "2", "5", "64"),
    "speculation": ("off", "junior", "ngram"),
    "draft_length": ("1", "2", "4", "16", "auto"),
}
# Those that change what is computed: not in VALUES, whose lives are held to one oracle.
FORMATS: dict[str, tuple[str, ...]] = {
    "weights": ("fp32", "bf16", "int8", "int4"),
    "kv_dtype": ("fp32", "int8"),
    "kernels": ("native", "torch"),
}
# By what part of a step more than half of one a value may be off as int8: the factor, its product
# with up to 127 and the scale are each rounded to a float32.
ROUNDING = 127 * 3 * 2.0**-24
SAMPLINGS = (
    Sampling(max_tokens=12),
    Sampling(max_tokens=9, ignore_eos=True),
    Sampling(max_tokens=14, temperature=0.8, seed=1),
    Sampling(max_tokens=11, temperature=1.2, seed=2, ignore_eos=True),
    Sampling(max_tokens=10, temperature=1.3, seed=3, top_k=5),
    Sampling(max_tokens=13, temperature=0.9, seed=4, top_p=0.8),
    Sampling(max_tokens=8, temperature=1.0, seed=2**63 - 1, top_k=20, top_p=0.9),
    Sampling(max_tokens=14, temperature=1.5, seed=6, stop_token_ids=tuple(range(0, 60, 4))),
    Sampling(max_tokens=1, temperature=1.0, seed=7),
)
_random = Random(0)
_FAMILY = [_random.randrange(4, 60) for _ in range(40)]
# The second family's later pages hold the first one's tokens after another beginning.
FAMILIES = (_FAMILY, [7, 8, *_FAMILY[2:]], [_random.randrange(4, 60) for _ in range(40)])
MOST_TOKENS = 17 + 14


@dataclass(frozen=True)
class Submit:
    """A request: `length` tokens of a family, the last one its own unless `own` is 0."""

    family: int
    length: int
    own: int
    sampling: int

    def request(self, id: str) -> Request:
        prompt = FAMILIES[self.family][: self.length]
        if self.own:
            prompt[-1] = self.own
        return Request(id, tuple(prompt), SAMPLINGS[self.sampling])


@dataclass(frozen=True)
class Abort:
    """End one of the live requests or of the last two, whatever its state."""

    target: int


@dataclass(frozen=True)
class Retry:
    """Abort a request and submit it again with the tokens it has."""

    target: int


@dataclass(frozen=True)
class Turn:
    """Set a knob."""

    name: str
    value: str


@dataclass(frozen=True)
class Steps:
    """Run some steps."""

    count: int


Operation = Submit | Abort | Retry | Turn | Steps


@dataclass
class Evidence:
    """What happened in a life: a test of nothing proves nothing."""

    steps: int = 0
    preemptions: int = 0
    prefix_hits: int = 0
    parked: int = 0
    without_cache: int = 0
    reserved: int = 0
    held: int = 0
    drafts: int = 0  # tokens proposed
    accepted: int = 0
    cut_short: int = 0  # rounds that a request's end cut short
    beside_prefill: int = 0  # steps with drafts and a prompt
    caught_up: int = 0
    crossed: int = 0  # requests that ran in more than one format
    moved: int = 0  # tokens whose keys and values were converted
    shrunk: int = 0  # requests that lost their pages to a switch
    alone: int = 0  # requests that ran in one format, and not the first one of their life
    turned: set[str] = field(default_factory=set)
    aborted: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Evidence") -> None:
        for name, value in vars(other).items():
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)
        self.turned |= other.turned
        self.aborted += other.aborted


Format = tuple[str, str, tuple[str, ...]]  # weights, kv_dtype, kernels that a life has seen


class Alone:
    """What requests say on their own in one format from beginning to end."""

    def __init__(self, make: Callable[[Knobs], Engine]) -> None:
        self._make = make
        self._engines: dict[Format, Engine] = {}
        self._known: dict[tuple[object, ...], list[int]] = {}
        self._held: dict[tuple[object, ...], Tensor] = {}

    def generate(self, request: Request, how: Format) -> list[int]:
        key = request.prompt, request.sampling, how
        if key not in self._known:
            engine = self._engine(how)
            engine.submit(Request("alone", request.prompt, request.sampling))
            while engine.has_work:
                engine.step()
            self._known[key] = engine.tokens("alone")
        return self._known[key]

    def held(self, tokens: tuple[int, ...], how: Format) -> Tensor:
        """Their keys and values, as `held_by` gives them."""
        key = tokens, how
        if key not in self._held:
            engine = self._engine(how)
            engine.submit(Request("held", tokens, Sampling(max_tokens=2, ignore_eos=True)))
            engine.step()
            self._held[key] = held_by(engine, "held")
            engine.abort("held")
        return self._held[key]

    def _engine(self, how: Format) -> Engine:
        if how not in self._engines:
            weights, kv_dtype, (kernels,) = how
            self._engines[how] = self._make(
                Knobs(weights=weights, kv_dtype=kv_dtype, kernels=kernels, prefix_cache="off")
            )
        return self._engines[how]


def held_by(engine: Engine, id: str) -> Tensor:
    """Keys and values of a request's computed tokens [layers, 2 * kv_heads, tokens, head]."""
    sequence, cache = engine._sequences[id], engine._cache
    pages = torch.tensor(sequence.pages, dtype=torch.int64)
    layers = [cache.read(layer, pages).flatten(1, 2) for layer in range(len(cache.data))]
    return torch.stack(layers)[:, :, : sequence.computed]


def check_moved(before: Tensor, after: Tensor, kv_dtype: str) -> None:
    """Keys and values that went over to a kv_dtype: as int8 half a step off, as floats not."""
    if kv_dtype == "int8":
        step = before.abs().amax(-1, keepdim=True) / 127
        assert bool(((after - before).abs() <= (0.5 + ROUNDING) * step).all())
    else:
        assert torch.equal(after, before)


def fill_unused(engine: Engine) -> Engine:
    """Let all pages begin with other numbers than zeros: none of them may matter."""
    make = engine._make_cache

    def filled(pages: int, kv_dtype: str = "fp32") -> KVCache:
        return fill(make(pages, kv_dtype))

    def fill(cache: KVCache) -> KVCache:
        cache.data.fill_(77)
        if cache.scale is not None:
            cache.scale.fill_(5)
        return cache

    fill(engine._cache)
    engine._make_cache = filled
    return engine


class Life:
    """One engine from its first request to its last.

    `alone` is the oracle where formats are turned.
    """

    def __init__(self, engine: Engine, oracle: Naive, alone: Alone | None = None) -> None:
        self.engine = engine
        self.oracle = oracle
        self._alone = alone
        self._kernels: tuple[str, ...] = ()
        self._formats: dict[str, set[Format]] = {}
        self._first: Format | None = None
        self.evidence = Evidence()
        self.requests: dict[str, Request] = {}
        self._heard: dict[str, list[int]] = {}
        self._reasons: dict[str, list[str]] = {}
        self._knobs = engine.knobs

    def run(self, operations: Iterable[Operation]) -> Evidence:
        """Live through the operations, drain, and hold every request to the oracle."""
        for operation in operations:
            self._apply(operation)
            self.engine.check()
        self.drain()
        return self.evidence

    def submit(self, request: Request) -> None:
        self.engine.submit(request)
        self.requests[request.id] = request
        self._heard[request.id] = list(request.output)
        self._reasons.setdefault(request.id, [])
        # Tokens that it brings along were said in some format too.
        self._formats.setdefault(request.id, set())

    def abort(self, id: str) -> None:
        before = self.engine.request(id)
        stage = before.state
        if stage == "waiting" and before.preemptions:
            stage = "preempted"
        self.evidence.aborted[stage] += 1
        self.engine.abort(id)
        self.engine.abort(id)
        if before.finish_reason is None:
            assert self.engine.request(id).finish_reason == "abort"
        else:
            assert self.engine.request(id) == before, "an ended request was aborted"

    def step(self) -> StepStats:
        """One step, and all that must be true of its figures."""
        before = {id: self.engine.tokens(id) for id in self.requests}
        busy = self.engine.has_work
        moving = self._about_to_move()
        hits = {id: sequence.hit_tokens for id, sequence in self.engine._sequences.items()}
        stats = self.engine.step()
        self.engine.check()
        self._check_moved(stats, moving)
        self._note_formats(stats, before)
        self._check_hits(stats, hits)
        assert stats.knobs == self.engine.knobs
        assert not (stats.preempted and stats.admitted)
        for id, tokens in stats.tokens:
            self._heard[id] += tokens
        self._check_drafts(stats, before)
        for id, reason in stats.finished:
            self._reasons[id].append(reason)
        for id in self.requests:
            now = self.engine.tokens(id)
            assert now[: len(before[id])] == before[id], f"{id} lost tokens"
            assert now == self._heard[id], f"{id} has tokens that no step told of"
        if stats.knobs.kv_cache == "off":
            assert not any(self.engine.request(id).pages for id, _ in stats.tokens)
        self._check_pages(stats)
        self._note(stats, busy)
        return stats

    def _check_drafts(self, stats: StepStats, before: Mapping[str, list[int]]) -> None:
        """What is accepted becomes the text, and what is not leaves nothing behind."""
        said = dict(stats.tokens)
        for verdict in stats.verdicts:
            tokens = said[verdict.id]
            kept = verdict.drafts[: verdict.accepted]
            assert tokens[: len(kept)] == kept[: len(tokens)]
            assert 1 <= len(tokens) <= len(kept) + 1 <= len(verdict.drafts) + 1
            if len(tokens) == len(kept) + 1 <= len(verdict.drafts):
                assert tokens[-1] != verdict.drafts[len(kept)], "a good draft was turned down"
            self.evidence.cut_short += len(tokens) <= len(kept)
            self.evidence.drafts += len(verdict.drafts)
            self.evidence.accepted += verdict.accepted
        knobs, drafting = stats.knobs, stats.draft_length > 0
        assert drafting or not stats.verdicts
        if knobs.speculation == "off" or (knobs.speculation, knobs.kv_cache) == ("junior", "off"):
            assert not drafting
        elif knobs.draft_length != "auto":
            assert drafting or not said
        self.evidence.beside_prefill += bool(stats.verdicts) and stats.prefill_tokens > 0
        self.evidence.caught_up += stats.caught_up
        if knobs.kv_cache == "on" and knobs.paging == "paged":
            for sequence in self.engine._planner.running:
                most = pages_for(sequence.computed, self.engine.config.page_size)
                held = len(sequence.pages) > most
                assert not (held and sequence.id in said), f"{sequence.id} holds pages for drafts"

    def drain(self) -> None:
        patience = 40 * sum(len(r.prompt) + r.sampling.max_tokens for r in self.requests.values())
        while self.engine.has_work:
            assert patience, "it never ends"
            patience -= 1
            self.step()
        self.step()  # tells of what was aborted last
        counts = self.engine.snapshot((), 0).pages
        assert counts.used == 0
        assert counts.free + counts.cached == counts.total
        for id, request in self.requests.items():
            self._check_request(id, request)

    def _check_request(self, id: str, request: Request) -> None:
        expected, found = self._expected(id, request), self.engine.tokens(id)
        reason = self.engine.request(id).finish_reason
        assert self._reasons[id][-1] == reason
        assert self._reasons[id][:-1] == ["abort"] * (len(self._reasons[id]) - 1)
        if reason == "abort":
            assert found == expected[: len(found)], f"{id} went astray before its abort"
        else:
            assert found == expected, f"{id} has other tokens than alone"
            ends = self.oracle.ends(found[-1], request.sampling)
            assert reason == ("stop" if ends else "length")
            assert ends or len(found) == request.sampling.max_tokens

    def _expected(self, id: str, request: Request) -> list[int]:
        """Its tokens alone; those it has where they are a matter of when it was switched."""
        if self._alone is None:
            return self.oracle.generate(request)
        formats = self._formats[id]
        if len(formats) != 1 or any(len(kernels) > 1 for _, _, kernels in formats):
            self.evidence.crossed += len(formats) > 1
            return self.engine.tokens(id)
        (how,) = formats
        self.evidence.alone += how != self._first
        return self._alone.generate(request, how)

    def _about_to_move(self) -> dict[str, Tensor]:
        """What the next step will convert, by request."""
        if self.engine.knobs.kv_dtype == self._knobs.kv_dtype:
            return {}
        return {id: held_by(self.engine, id) for id in self.requests if self._holds(id)}

    def _holds(self, id: str) -> bool:
        return bool(self.engine._sequences[id].computed)

    def _check_moved(self, stats: StepStats, before: Mapping[str, Tensor]) -> None:
        gone = {id for id, _ in stats.preempted}
        if before and stats.knobs.kv_dtype == "fp32":
            self.evidence.shrunk += len(gone)
        for id, held in before.items():
            if id not in gone and self._holds(id):
                after = held_by(self.engine, id)[:, :, : held.shape[2]]
                check_moved(held, after, stats.knobs.kv_dtype)
                self.evidence.moved += held.shape[2]

    def _check_hits(self, stats: StepStats, before: Mapping[str, int]) -> None:
        """What is found in the prefix cache is what the present formats would compute."""
        if self._alone is None or len(self._kernels) > 1:
            return
        how = stats.knobs.weights, stats.knobs.kv_dtype, self._kernels
        for id in stats.admitted:
            hits = self.engine.request(id).hit_tokens - before[id]
            if hits and self._holds(id):
                tokens = tuple(self.engine._sequences[id].tokens[:hits])
                torch.testing.assert_close(
                    held_by(self.engine, id)[:, :, :hits],
                    self._alone.held(tokens, how),
                    rtol=0,
                    atol=1e-9,
                )

    def _note_formats(self, stats: StepStats, before: Mapping[str, list[int]]) -> None:
        """Kernels differ in last bits and share prefixes: all that a life has seen are one."""
        knobs = stats.knobs
        if knobs.kernels not in self._kernels:
            self._kernels = (*self._kernels, knobs.kernels)
        how = knobs.weights, knobs.kv_dtype, self._kernels
        for id in self.requests:
            if self._holds(id) or self.engine.tokens(id) != before[id]:
                self._formats[id].add(how)
                self._first = self._first or how

    def _check_pages(self, stats: StepStats) -> None:
        snapshot = self.engine.snapshot((), 0)
        for counts in (stats.pages, snapshot.pages):
            assert counts.total == counts.used + counts.cached + counts.free
        kinds = Counter(snapshot.page_map.kinds)
        assert kinds[PAGE_FREE] == snapshot.pages.free
        assert kinds[PAGE_CACHED] == snapshot.pages.cached
        assert kinds[PAGE_RESERVED] == snapshot.pages.reserved
        nobody = snapshot.page_map.owners.count(255)
        assert nobody == snapshot.pages.free + snapshot.pages.cached

    def _note(self, stats: StepStats, busy: bool) -> None:
        seen = self.evidence
        seen.steps += 1
        seen.preemptions += len(stats.preempted)
        seen.prefix_hits += stats.prefix_hits
        seen.without_cache += busy and stats.knobs.kv_cache == "off"
        seen.reserved += stats.pages.reserved > 0
        seen.held += bool(stats.held)
        for id in self.requests:
            seen.parked += self.engine.request(id).state == "parked"
        if busy and stats.tokens:
            seen.turned |= {name for name, _ in stats.knobs.changes(self._knobs)}
        self._knobs = stats.knobs

    def _apply(self, operation: Operation) -> None:
        match operation:
            case Submit():
                self.submit(operation.request(str(len(self.requests))))
            case Steps(count):
                for _ in range(count):
                    self.step()
            case Turn(name, value):
                self.engine.set_knobs(self.engine.knobs.with_value(name, value))
            case Abort(target) | Retry(target) if self.requests:
                live = [i for i in self.requests if self.engine.request(i).finished is None]
                known = [*live, *list(self.requests)[-2:]]
                id = known[target % len(known)]
                self.abort(id)
                if isinstance(operation, Retry):
                    self._retry(id)

    def _retry(self, id: str) -> None:
        old = self.requests[id]
        if self.engine.request(id).finish_reason == "abort":
            self.submit(Request(id, old.prompt, old.sampling, tuple(self.engine.tokens(id))))


def lengths(page_size: int) -> list[int]:
    """Prompt lengths at the edges of pages."""
    edges = {pages * page_size + d for pages in range(1, 5) for d in (-1, 0, 1)}
    return sorted({1, *edges} - {0})


def random_life(
    seed: int,
    page_size: int,
    count: int = 60,
    values: Mapping[str, tuple[str, ...]] = VALUES,
    turns: float = 0.10,
) -> list[Operation]:
    """A life without hypothesis, for the proof that things happen and for planted bugs."""
    random = Random(seed)

    def operation() -> Operation:
        roll = random.random()
        if roll < 0.30:
            return Submit(
                random.choice((0, 0, 0, 1, 1, 2)),
                random.choice(lengths(page_size)),
                random.randrange(4),
                random.randrange(len(SAMPLINGS)),
            )
        if roll < 0.42:
            return random.choice((Abort, Retry))(random.randrange(1000))
        if roll < 0.42 + turns:
            name = random.choice(list(values))
            default = str(Knobs().as_dict()[name])
            return Turn(name, random.choice((default, *values[name])))
        return Steps(random.randrange(1, 4))

    return [operation() for _ in range(count)]


def knobs_from(random: Random) -> Knobs:
    """Any setting of the knobs."""
    knobs = Knobs()
    for name, values in VALUES.items():
        knobs = knobs.with_value(name, random.choice(values))
    return knobs
