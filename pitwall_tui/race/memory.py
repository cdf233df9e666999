"""What the KV pages do: block tables, bytes over time, the prefix index, and what would fit."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from engine.config import Knobs
from engine.pages import pages_for
from engine.stats import (
    PAGE_CACHED,
    PAGE_FREE,
    EngineSnapshot,
    ModelInfo,
    PageCounts,
    RequestStats,
    State,
    StepStats,
)
from pitwall_tui.race.events import CarStart, RaceStarted

_FIRST_BUCKET = 0.5
_MOST_BUCKETS = 240
_MOST_MARKS = 60
_FOLLOWED = ("kv_cache", "paging", "prefix_cache", "kv_dtype", "max_batch")
_NOTHING = PageCounts(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TableView:
    """The block table of a car with that code and number: `pages` by their numbers in the pool,
    `holders[i]` how many cars hold the i-th of them.

    The car has `length` tokens and may come to `most`; the first `computed` have keys and values in
    its pages, the first `drafted` the draft model's too.
    """

    code: str
    number: int
    state: State
    pages: tuple[int, ...] = ()
    holders: tuple[int, ...] = ()
    length: int = 0
    most: int = 0
    computed: int = 0
    drafted: int = 0

    @property
    def shared(self) -> int:
        """Leading pages that somebody else holds too."""
        return sum(1 for _ in takewhile(lambda holders: holders > 1, self.holders))


@dataclass(frozen=True, slots=True)
class HeldView:
    """Bytes that requests hold, those of slots with a token in them, and those that would be held
    if each running request had its maximum reserved (None where nobody told)."""

    held: float
    tokens: float
    reserved: float | None

    @property
    def waste_percent(self) -> float:
        """Of what is held, what holds no token; 0 of nothing."""
        return 100 * (self.held - self.tokens) / self.held if self.held else 0.0


@dataclass(frozen=True, slots=True)
class IndexView:
    """The prefix index. Of all `queries` tokens that were looked up, `hits` were found: so many
    tokens of prefill were not run. `shared` pages are held by several of the `sharers`, which
    spares `spared` pages. The last two are None where nobody told."""

    queries: int
    hits: int
    cached: int
    shared: int
    spared: int
    sharers: tuple[str, ...]
    published: int | None
    evicted: int | None


@dataclass(frozen=True, slots=True)
class FormatView:
    """What fits into the KV memory as one kv_dtype, computed from the bytes of its pages.

    So many cars of this race's maximum have room if each reserves its own, if they are paged and
    share the briefing, and paged with the longest text there has been so far.
    """

    kv_dtype: str
    served: bool
    page_bytes: int
    draft_bytes: int
    pages: int
    reserved: int
    paged: int
    so_far: int


@dataclass(frozen=True, slots=True)
class MemoryView:
    """The KV memory at one moment, and over the race in means of `bucket` seconds.

    `tables` are in the order of the grid, none where the recording tells of none or nothing has
    run; `marks` hold (bucket, label) where a knob changed. `wastes` holds, of each paging, what
    percent of all bytes that it held over time had no token; `worst` is when most bytes were held
    without one. `free_run` is the longest run of neighbouring pages that nobody holds, of `unheld`.
    `longest` and `most` are tokens: the longest text so far, and the most that a car may come to;
    `briefing` are the pages of the beginning that cars found when they were admitted.
    """

    begun: bool
    page_size: int
    page_bytes: int
    total: int
    tables: tuple[TableView, ...]
    now: HeldView
    bucket: float
    past: tuple[HeldView, ...]
    marks: tuple[tuple[int, str], ...]
    wastes: tuple[tuple[str, float], ...]
    worst: HeldView
    free_run: int
    unheld: int
    index: IndexView
    formats: tuple[FormatView, ...]
    longest: int
    most: int
    briefing: int


class Levels:
    """Several levels over time as means of buckets, which double in width as a race grows long."""

    def __init__(self, start: float, levels: int) -> None:
        self._start = self.now = start
        self._levels = levels
        self.bucket = _FIRST_BUCKET
        self._sums: list[list[float]] = []  # seconds, and each level times seconds

    def add(self, time: float, levels: Sequence[float]) -> None:
        """They were `levels` from the last call until `time`."""
        while self.now < time:
            if self.now >= self._end:
                self._grow()
            end = min(time, self._end)
            seconds = end - self.now
            for place, level in enumerate((1.0, *levels)):
                self._sums[-1][place] += seconds * level
            self.now = end

    @property
    def _end(self) -> float:
        return self._start + len(self._sums) * self.bucket

    def _grow(self) -> None:
        if len(self._sums) == _MOST_BUCKETS:
            pairs = zip(self._sums[::2], self._sums[1::2], strict=True)
            self._sums = [[a + b for a, b in zip(*pair, strict=True)] for pair in pairs]
            self.bucket *= 2
        self._sums.append([0.0] * (self._levels + 1))

    def index(self, time: float) -> int:
        """The bucket that `time` is in."""
        return max(0, int((time - self._start) / self.bucket))

    def means(self) -> list[tuple[float, ...]]:
        """Of each bucket in which any time has passed."""
        return [
            tuple(level / seconds for level in levels)
            for seconds, *levels in self._sums
            if seconds > 0
        ]


class Memory:
    """Folds steps and snapshots of one race, from its start at `start`."""

    def __init__(self, race: RaceStarted, start: float) -> None:
        self._cars = race.cars
        self._past = Levels(start, 3)
        self._step: StepStats | None = None
        self._counts = _NOTHING
        self._snapshot: EngineSnapshot | None = None
        self._marks: deque[tuple[float, str]] = deque(maxlen=_MOST_MARKS)
        self._wastes: dict[str, tuple[float, float]] = {}  # held and empty, times seconds
        self._most = _NOTHING  # when most bytes held no token
        self._queries = self._hits = self._evicted = 0

    def add_step(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`: its pages were held since the one before."""
        before, counts, levels = self._step, step.pages, _levels(step.pages)
        if before is None:
            self._past.add(time - step.ms.total / 1e3, (0.0, 0.0, 0.0))
        else:
            self._marks += [
                (time, f"{name} {value}")
                for name, value in step.knobs.changes(before.knobs)
                if name in _FOLLOWED
            ]
            # An engine that took a lost one's place counts from nought.
            evicted, last = counts.evicted or 0, before.pages.evicted or 0
            self._evicted += evicted - last if evicted >= last else evicted
        held, empty = self._wastes.get(step.knobs.paging, (0.0, 0.0))
        seconds = max(0.0, time - self._past.now)
        self._wastes[step.knobs.paging] = held + levels[0] * seconds, empty + levels[1] * seconds
        self._past.add(time, levels)
        if counts.empty_slots * counts.page_bytes > self._most.empty_slots * self._most.page_bytes:
            self._most = counts
        self._queries += step.prefix_queries
        self._hits += step.prefix_hits
        self._step, self._counts = step, counts

    def add_snapshot(self, snapshot: EngineSnapshot) -> None:
        """What came with the last of its steps."""
        self._snapshot = snapshot
        if not snapshot.steps:  # what a step held while it ran, it may have given back since
            self._counts = snapshot.pages

    def view(self, model: ModelInfo | None) -> MemoryView:
        """The picture now; without a `model` there is none yet."""
        size = model.page_size if model else 1
        counts, snapshot = self._counts, self._snapshot
        requests = snapshot.requests if snapshot else ()
        tables = self._tables()
        free_run, unheld = _runs(snapshot.page_map.kinds if snapshot else b"")
        most = max((r.prompt_tokens + r.max_tokens for r in requests if r.max_tokens), default=0)
        longest = max((r.prompt_tokens + r.output_tokens for r in requests), default=0)
        briefing = _briefing(requests, size)
        told = counts.unreserved is not None
        return MemoryView(
            begun=bool(requests),
            page_size=size,
            page_bytes=counts.page_bytes,
            total=counts.total,
            tables=tables,
            now=_held(_levels(counts), size, told),
            bucket=self._past.bucket,
            past=tuple(_held(levels, size, told) for levels in self._past.means()),
            marks=tuple((self._past.index(time), label) for time, label in self._marks),
            wastes=tuple(
                (paging, 100 * empty / size / held if held else 0.0)
                for paging, (held, empty) in self._wastes.items()
            ),
            worst=_held(_levels(self._most), size, told),
            free_run=free_run,
            unheld=unheld,
            index=self._index(tables),
            formats=_formats(snapshot, size, (most, longest, briefing)) if snapshot else (),
            longest=longest,
            most=most,
            briefing=briefing,
        )

    def _tables(self) -> tuple[TableView, ...]:
        snapshot = self._snapshot
        if snapshot is None or not snapshot.page_map.tables:
            return ()
        rows = zip(snapshot.requests, range(len(snapshot.page_map.tables)), strict=False)
        found = {request.id: (request, snapshot.page_map.table(row)) for request, row in rows}
        holders = Counter(page for _, table in found.values() for page in table)
        return tuple(_table(car, *found[car.id], holders) for car in self._cars if car.id in found)

    def _index(self, tables: Iterable[TableView]) -> IndexView:
        tables = tuple(tables)
        shared = {
            page: holders
            for table in tables
            for page, holders in zip(table.pages, table.holders, strict=True)
            if holders > 1
        }
        counts = self._snapshot.pages if self._snapshot else _NOTHING
        return IndexView(
            queries=self._queries,
            hits=self._hits,
            cached=counts.cached,
            shared=len(shared),
            spared=sum(shared.values()) - len(shared),
            sharers=tuple(table.code for table in tables if table.shared),
            published=counts.published,
            evicted=None if counts.evicted is None else self._evicted,
        )


def _levels(counts: PageCounts) -> tuple[float, float, float]:
    """Bytes held, bytes times slots of a page that hold no token, bytes if all were reserved."""
    size = counts.page_bytes
    reserved = counts.used + (counts.unreserved or 0)
    return counts.used * size, counts.empty_slots * size, reserved * size


def _held(levels: tuple[float, ...], page_size: int, told: bool) -> HeldView:
    held, empty, reserved = levels
    return HeldView(held, held - empty / page_size, reserved if told else None)


def _table(
    car: CarStart, request: RequestStats, pages: tuple[int, ...], holders: Counter[int]
) -> TableView:
    return TableView(
        code=car.code,
        number=car.number,
        state=request.state,
        pages=pages,
        holders=tuple(holders[page] for page in pages),
        length=request.prompt_tokens + request.output_tokens,
        most=request.prompt_tokens + request.max_tokens,
        computed=request.computed,
        drafted=request.drafted,
    )


def _runs(kinds: bytes) -> tuple[int, int]:
    """The longest run of pages that nobody holds, and how many there are."""
    marks = bytes(kind in (PAGE_FREE, PAGE_CACHED) for kind in range(256))
    unheld = kinds.translate(marks)
    return max(map(len, unheld.split(b"\0")), default=0), unheld.count(1)


def _briefing(requests: Iterable[RequestStats], page_size: int) -> int:
    """Pages that a car has found when it was admitted; later it finds its own text too."""
    return max((r.hit_tokens // page_size for r in requests if not r.preemptions), default=0)


def _formats(
    snapshot: EngineSnapshot, page_size: int, tokens: tuple[int, int, int]
) -> tuple[FormatView, ...]:
    most, longest, briefing = tokens
    if not most:
        return ()
    knobs: Knobs = snapshot.steps[-1].knobs if snapshot.steps else snapshot.knobs
    return tuple(
        FormatView(
            kv_dtype=form.kv_dtype,
            served=form.kv_dtype == knobs.kv_dtype,
            page_bytes=form.page_bytes,
            draft_bytes=form.draft_bytes,
            pages=form.pages,
            reserved=form.pages // pages_for(most, page_size),
            paged=fitting(form.pages, pages_for(most, page_size), briefing),
            so_far=fitting(form.pages, pages_for(longest, page_size), briefing),
        )
        for form in snapshot.kv_formats
    )


def fitting(total: int, pages: int, shared: int) -> int:
    """Cars of `pages` pages in a pool of `total`, the first `shared` of them held but once."""
    shared = min(shared, pages - 1)
    return max(0, (total - shared) // (pages - shared))
