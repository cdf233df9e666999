"""Latencies as distributions: percentiles, and buckets on a logarithmic scale."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor, log2

_PER_OCTAVE = 32  # buckets from a value to twice of it
_LEAST = 1e-3  # milliseconds; what is shorter counts as that


@dataclass(frozen=True, slots=True)
class LatencyView:
    """`count` values of one kind, in milliseconds; percentiles are None of none.

    `buckets` holds (bucket, how many), the smallest first; what a bucket holds is about its
    `middle`.
    """

    name: str
    scope: str
    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    buckets: tuple[tuple[int, int], ...]


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The percentile by linear interpolation between the nearest ranks; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = (len(ordered) - 1) * percent / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def bucket(ms: float) -> int:
    """The number of a value's bucket."""
    return floor(log2(max(ms, _LEAST)) * _PER_OCTAVE)


def middle(number: int) -> float:
    """Milliseconds; within 1.1 % of all that the bucket holds."""
    return float(2 ** ((number + 0.5) / _PER_OCTAVE))


def latencies(name: str, scope: str, values: Iterable[float]) -> LatencyView:
    """Of values that are all known."""
    found = list(values)
    return LatencyView(
        name=name,
        scope=scope,
        count=len(found),
        p50=percentile(found, 50),
        p90=percentile(found, 90),
        p99=percentile(found, 99),
        buckets=tuple(sorted(Counter(map(bucket, found)).items())),
    )


class Gaps:
    """Gaps between tokens, of all of a race and of its last `seconds`: too many to keep, so
    percentiles are those of their buckets' middles."""

    def __init__(self, seconds: float = 3.0) -> None:
        self._seconds = seconds
        self._all: Counter[int] = Counter()
        self._recent: Counter[int] = Counter()
        self._steps: deque[tuple[float, Counter[int]]] = deque()

    def add(self, time: float, gaps: Mapping[float, int]) -> None:
        """Gaps in milliseconds that ended at `time`, and how many there were of each."""
        counts: Counter[int] = Counter()
        for gap, many in gaps.items():
            counts[bucket(gap)] += many
        self._all.update(counts)
        self._recent.update(counts)
        self._steps.append((time, counts))
        while self._steps[0][0] <= time - self._seconds:
            self._recent.subtract(self._steps.popleft()[1])

    def view(self) -> tuple[LatencyView, LatencyView]:
        """Of the race, and of its last seconds."""
        return (
            _spread("ITL", "race", self._all),
            _spread("ITL", f"last {self._seconds:.0f} s", self._recent),
        )


def _spread(name: str, scope: str, counts: Counter[int]) -> LatencyView:
    buckets = tuple(sorted((number, many) for number, many in counts.items() if many))
    p50, p90, p99 = (_percentile(buckets, percent) for percent in (50, 90, 99))
    total = sum(many for _, many in buckets)
    return LatencyView(name, scope, total, p50, p90, p99, buckets)


def _percentile(buckets: tuple[tuple[int, int], ...], percent: float) -> float | None:
    """As `percentile` of the middles."""
    total = sum(many for _, many in buckets)
    if not total:
        return None
    rank = (total - 1) * percent / 100
    low = _at(buckets, int(rank))
    return low + (_at(buckets, min(int(rank) + 1, total - 1)) - low) * (rank - int(rank))


def _at(buckets: tuple[tuple[int, int], ...], rank: int) -> float:
    """The value of a rank, counted from 0."""
    for number, many in buckets:
        rank -= many
        if rank < 0:
            return middle(number)
    return middle(buckets[-1][0])
