"""The master test's machinery: a random life of an engine, held to the naive decoder.

A life is a list of operations. After each of them the engine's invariants are checked, and at
the end every request must have the tokens that it would have had alone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from engine.config import Knobs, Request, Sampling
from engine.core import Engine
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
}
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
    turned: set[str] = field(default_factory=set)
    aborted: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Evidence") -> None:
        for name in ("steps", "preemptions", "prefix_hits", "parked", "without_cache"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reserved += other.reserved
        self.held += other.held
        self.turned |= other.turned
        self.aborted += other.aborted


class Life:
    """One engine from its first request to its last."""

    def __init__(self, engine: Engine, oracle: Naive) -> None:
        self.engine = engine
        self.oracle = oracle
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
        stats = self.engine.step()
        self.engine.check()
        assert stats.knobs == self.engine.knobs
        assert not (stats.preempted and stats.admitted)
        for id, tokens in stats.tokens:
            self._heard[id] += tokens
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
        expected, found = self.oracle.generate(request), self.engine.tokens(id)
        reason = self.engine.request(id).finish_reason
        assert self._reasons[id][-1] == reason
        assert self._reasons[id][:-1] == ["abort"] * (len(self._reasons[id]) - 1)
        if reason == "abort":
            assert found == expected[: len(found)], f"{id} went astray before its abort"
        else:
            assert found == expected, f"{id} has other tokens than alone"
            ends = self.oracle.ends(found[-1], request.sampling)
            assert reason == ("stop" if ends else "length")

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


def random_life(seed: int, page_size: int, count: int = 60) -> list[Operation]:
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
        if roll < 0.50:
            name = random.choice(list(VALUES))
            default = str(Knobs().as_dict()[name])
            return Turn(name, random.choice((default, *VALUES[name])))
        return Steps(random.randrange(1, 4))

    return [operation() for _ in range(count)]


def knobs_from(random: Random) -> Knobs:
    """Any setting of the knobs."""
    knobs = Knobs()
    for name, values in VALUES.items():
        knobs = knobs.with_value(name, random.choice(values))
    return knobs
