"""Frozen figures: all that leaves the engine, apart from the tokens themselves.

Times are seconds on the engine's clock, which starts when it is ready and stands still while
it is paused. Counts of tokens and pages are exact, never sampled.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.config import Knobs

State = Literal["waiting", "prefill", "decode", "parked", "finished"]
FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True)
class PageCounts:
    """Pages of the pool by what they are: total = used + cached + free.

    `used` are held by requests, `cached` hold a published prefix that nobody holds, `reserved`
    are those of `used` in which no token has been written yet; `empty_slots` counts the token
    slots in used pages that hold no token; `page_bytes` are those of a page over all layers.

    `unreserved` are the pages that running requests lack to hold their maximum, as they would with
    paging=contiguous; `published` those that the prefix index knows, cached or used; `evicted` the
    cached ones that were handed out for other tokens, since the engine started. All three are None
    in recordings of before they were told.
    """

    total: int
    used: int
    cached: int
    free: int
    reserved: int
    empty_slots: int
    page_bytes: int
    unreserved: int | None = None
    published: int | None = None
    evicted: int | None = None


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Milliseconds of one step by stage; `draft` went into proposing tokens, of which `forward`
    then was the verification, `score` into measuring its quality."""

    plan: float
    forward: float
    sample: float
    commit: float
    score: float = 0.0
    draft: float = 0.0

    @classmethod
    def of(cls, **ms: float) -> "StepTimes":
        """To the microsecond, which is what clocks are good for: recordings are shorter by it."""
        return cls(**{stage: round(found, 3) for stage, found in ms.items()})

    @property
    def total(self) -> float:
        return self.plan + self.draft + self.forward + self.sample + self.commit + self.score


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one request's drafts: the first `accepted` of them were kept.

    They are its next tokens, and the target's own token follows them, in place of the next draft or
    as a bonus after the last. A request that ends among them has only those up to its end: fewer
    tokens than `accepted`, where its stop token was one of the first drafts.
    """

    id: str
    drafts: tuple[int, ...]
    accepted: int


@dataclass(frozen=True, slots=True)
class DraftInfo:
    """The draft model that stands ready; `weights_bytes` 0 where it has not been built yet."""

    name: str
    parameters: int
    layers: int
    weights_format: str
    weights_bytes: int


@dataclass(frozen=True, slots=True)
class QualitySample:
    """What was served for `tokens` places against what fp32 would have.

    `kl` is the sum of KL(fp32 || served) in nats, `top1` counts places with the same likeliest
    token; `clear` counts those where fp32's leads its second by 0.02 or more, `clear_top1` the
    agreement there: the rest are near ties, that any rounding turns.
    """

    tokens: int
    kl: float
    top1: int
    clear: int
    clear_top1: int

    @property
    def mean_kl(self) -> float:
        """Nats a token; 0 of none."""
        return self.kl / self.tokens if self.tokens else 0.0

    @property
    def top1_percent(self) -> float:
        """0 of none."""
        return 100 * self.top1 / self.tokens if self.tokens else 0.0

    @property
    def clear_top1_percent(self) -> float | None:
        """None where no place was clear."""
        return 100 * self.clear_top1 / self.clear if self.clear else None


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one step did. `knobs` are those the plan used.

    `weight_bytes` and `kv_bytes` are what its forward had to read at least: the weights once a
    pass, the keys and values of each row's context once. `flops` is its arithmetic, as
    engine/flops.py counts it; what the draft model reads and computes is in none of them.

    `tokens` holds (request id, output tokens committed) and is in batch order; `preempted`
    holds (request id, tokens whose keys and values were thrown away); `finished` holds
    (request id, reason); `held` says in words why a waiting request was not admitted; `quality` is
    a sample that was completed with this step, None with most.

    `verdicts` are of the requests that had drafts, in batch order; `draft_length` is how many
    tokens each might have had, 0 without speculation, where `auto` found that none pay and where a
    junior has no KV cache; in a `trial` only a few of them might, to see whether it pays;
    `caught_up` counts tokens that the draft model ran only to know what it had missed.
    """

    step: int
    time: float
    knobs: Knobs
    tokens: tuple[tuple[str, tuple[int, ...]], ...] = ()
    prefill_tokens: int = 0
    decode_rows: int = 0
    admitted: tuple[str, ...] = ()
    preempted: tuple[tuple[str, int], ...] = ()
    finished: tuple[tuple[str, FinishReason], ...] = ()
    waiting: int = 0
    running: int = 0
    held: str = ""
    prefix_queries: int = 0
    prefix_hits: int = 0
    pages: PageCounts = PageCounts(0, 0, 0, 0, 0, 0, 0)
    weight_bytes: int = 0
    kv_bytes: int = 0
    ms: StepTimes = StepTimes(0, 0, 0, 0)
    quality: QualitySample | None = None
    verdicts: tuple[Verdict, ...] = ()
    draft_length: int = 0
    caught_up: int = 0
    trial: bool = False
    flops: int = 0

    @property
    def output_tokens(self) -> int:
        return sum(len(tokens) for _, tokens in self.tokens)


@dataclass(frozen=True, slots=True)
class RequestStats:
    """One request as it stands. Times are None until they have happened.

    `pages` counts the pages it holds (shared ones too), `hit_tokens` the prompt or recomputed
    tokens it took from the prefix index. `max_tokens` is the most that it may put out; keys and
    values of its first `computed` tokens are in its pages, the draft model's of `drafted`.
    """

    id: str
    state: State
    prompt_tokens: int
    output_tokens: int
    pages: int
    hit_tokens: int
    preemptions: int
    submitted: float
    first_token: float | None
    finished: float | None
    finish_reason: FinishReason | None
    max_tokens: int = 0
    computed: int = 0
    drafted: int = 0


PAGE_FREE, PAGE_CACHED, PAGE_USED, PAGE_SHARED, PAGE_RESERVED = range(5)


def _page_code(total: int) -> tuple[str, int]:
    """How a page of a pool of `total` is packed in a block table, and in how many bytes."""
    return ("H", 2) if total <= 2**16 else ("I", 4)


def block_table(pages: Sequence[int], total: int) -> bytes:
    """A block table for PageMap, in a pool of `total` pages."""
    return struct.pack(f"<{len(pages)}{_page_code(total)[0]}", *pages)


@dataclass(frozen=True, slots=True)
class PageMap:
    """Every page of the pool, one byte each.

    `kinds[p]` is one of the PAGE_ constants; `owners[p]` is the index in
    EngineSnapshot.requests of the request that holds page p (of a shared one: the first that
    does), 255 where none does. `tables[i]` is the block table of request i: its pages in order,
    little-endian, two bytes each or, in pools of more than 65,536, four; `tables` is empty in
    recordings of before it was told.
    """

    kinds: bytes
    owners: bytes
    tables: tuple[bytes, ...] = ()

    def table(self, request: int) -> tuple[int, ...]:
        """The pages of a request, by its index."""
        code, width = _page_code(len(self.kinds))
        count = len(self.tables[request]) // width
        return struct.unpack_from(f"<{count}{code}", self.tables[request])


@dataclass(frozen=True, slots=True)
class KVFormat:
    """Bytes of a page over all layers with this `kv_dtype`: the model's own, and the draft model's
    share; `pages` are as many as the KV memory holds."""

    kv_dtype: str
    page_bytes: int
    draft_bytes: int
    pages: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded: bytes are those of the tensors' storages.

    `read_gbs` is this machine's memory, read by all threads, in 10^9 bytes a second as measured;
    `why_torch` says why there are no native kernels here, "" where there are. `float_gflops`,
    `int8_gops` and `memory_bytes` are the machine's too: see engine/machine.py, 0 is not measured.
    """

    name: str
    parameters: int
    layers: int
    vocab_size: int
    weights_format: str
    weights_bytes: int
    page_size: int
    page_bytes: int
    pages_total: int
    max_context: int
    device: str
    threads: int
    read_gbs: float
    why_torch: str
    float_gflops: float = 0.0
    int8_gops: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """The engine between two steps, and each step since the snapshot before.

    `knobs` are those asked for; `weights_bytes` those of the format that serves, `weights_held`
    those of all formats that have been built; `draft` is None where no draft model was given;
    `kv_formats` are all that there are, none in recordings of before they were told.
    """

    time: float
    knobs: Knobs
    paused: bool
    pace: float
    steps: tuple[StepStats, ...]
    requests: tuple[RequestStats, ...]
    page_map: PageMap
    pages: PageCounts
    weights_bytes: int
    weights_held: int
    draft: DraftInfo | None = None
    kv_formats: tuple[KVFormat, ...] = ()
