"""How many tokens to draft at a time: a fixed number, or whatever pays now, by measurement."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LONGEST = 16
_KEPT = 5  # measurements of a step's time by its size: their median counts
_MEMORY = 0.98  # of what is known of acceptance, what is left of it a step later
_GUESS = 0.8  # acceptance, before anything is known of it
_WEIGHT = 4.0  # of the guess, in drafts
# A look at a neighbour of what is best now comes after so many steps at first, and more rarely each
# time that it changes nothing: it costs, most of all where the draft model has to catch up for it.
_LOOK, _RARER, _LEAST_OFTEN = 16, 4, 256
_WORTH = 1.05  # what drafts must promise: less is not worth being wrong


@dataclass(frozen=True, slots=True)
class Round:
    """One step without any prefill: `requests` had up to `length` drafts each.

    `accepted` holds (drafts, how many of them were accepted) of each request that had some;
    `draft_ms` were spent on proposing, `verify_ms` on all the rest.
    """

    requests: int
    length: int
    accepted: Sequence[tuple[int, int]]
    draft_ms: float
    verify_ms: float


class DraftLength(Protocol):
    """Chooses a draft length for a step, and hears what came of it."""

    def choose(self, requests: int) -> int: ...

    def note(self, round: Round) -> None: ...


class Fixed:
    """Always the same."""

    def __init__(self, length: int) -> None:
        self._length = length

    def choose(self, requests: int) -> int:
        return self._length

    def note(self, round: Round) -> None:
        return


class Auto:
    """The length that gives most tokens a second, by what steps have cost and drafts were worth.

    A step of n requests with k drafts each takes draft(n) * k + verify(n * (k + 1)) and gives
    n * (1 + a1 + a1 * a2 + ...) tokens, where ai is how often the i-th draft is accepted if the
    ones before it are. What a size costs that has not been tried follows from those next to it; it
    is come to from below, as long as that could pay.
    """

    def __init__(self) -> None:
        self._tries = [0.0] * LONGEST
        self._hits = [0.0] * LONGEST
        self._verify = _Costs()
        self._draft = _Costs()
        self._steps = 0
        self._look = _LOOK
        self._upwards = True
        self._best = 0

    def choose(self, requests: int) -> int:
        """0 to LONGEST."""
        # Twice the size that has been tried: no leap into the unknown.
        reach = min(2 * self._verify.largest // max(requests, 1) - 1, LONGEST)
        rates = self.rates(requests, max(reach, 0))
        best = rates.index(max(rates))
        if rates[best] < _WORTH * rates[0]:
            best = 0
        if best != self._best:
            self._best, self._look = best, _LOOK
        self._steps += 1
        if self._steps >= self._look:
            self._steps, self._look = 0, min(_RARER * self._look, _LEAST_OFTEN)
            self._upwards = not self._upwards
            return min(best + 1, LONGEST) if self._upwards else max(best - 1, 0)
        return best

    def rates(self, requests: int, longest: int) -> list[float]:
        """Tokens a millisecond of one request, as expected, with 0, 1, ... drafts."""
        overall = (sum(self._hits) + _WEIGHT * _GUESS) / (sum(self._tries) + _WEIGHT)
        draft = self._draft.of(requests)
        found = []
        tokens = reached = 1.0
        for length in range(longest + 1):
            ms = self._verify.of(requests * (length + 1)) + draft * length
            found.append(tokens / ms if ms else float(length))
            hits, tries = (of[min(length, LONGEST - 1)] for of in (self._hits, self._tries))
            reached *= (hits + _WEIGHT * overall) / (tries + _WEIGHT)
            tokens += reached
        return found

    def note(self, round: Round) -> None:
        if round.accepted:
            self._tries = [_MEMORY * tries for tries in self._tries]
            self._hits = [_MEMORY * hits for hits in self._hits]
        for drafts, accepted in round.accepted:
            for place in range(min(accepted + 1, drafts)):
                self._tries[place] += 1
                self._hits[place] += place < accepted
        places = round.requests + sum(drafts for drafts, _ in round.accepted)
        self._verify.note(places, round.verify_ms)
        longest = max((drafts for drafts, _ in round.accepted), default=0)
        if longest:
            self._draft.note(round.requests, round.draft_ms / longest)


class _Costs:
    """Milliseconds by size, as measured; between two sizes on a line."""

    def __init__(self) -> None:
        self._measured: dict[int, deque[float]] = {}
        self._sizes: list[int] = []  # ascending
        self._medians: list[float] = []  # of the sizes

    @property
    def largest(self) -> int:
        """Size that has been measured, 0 of none."""
        return self._sizes[-1] if self._sizes else 0

    def note(self, size: int, ms: float) -> None:
        place = bisect_left(self._sizes, size)
        if size not in self._measured:
            # What was expected counts as one: a single mishap does not decide.
            expected = self.of(size)
            self._measured[size] = deque([expected] if expected else [], maxlen=_KEPT)
            self._sizes.insert(place, size)
            self._medians.insert(place, 0.0)
        self._measured[size].append(ms)
        ordered = sorted(self._measured[size])
        self._medians[place] = ordered[(len(ordered) - 1) // 2]

    def of(self, size: int) -> float:
        """0 where nothing is known; beyond the largest size known as the last two lead there, and
        half as much more as it is larger at least."""
        sizes, medians = self._sizes, self._medians
        place = bisect_left(sizes, size)
        if not sizes:
            return 0.0
        if place == 0 or (place < len(sizes) and sizes[place] == size):
            return medians[place]
        if place < len(sizes):
            return _line(sizes[place - 1 : place + 1], medians[place - 1 : place + 1], size)
        least = medians[-1] * (1 + size / sizes[-1]) / 2
        return max(least, _line(sizes[-2:], medians[-2:], size)) if len(sizes) > 1 else least


def _line(sizes: list[int], values: list[float], size: int) -> float:
    """What a line through two points says."""
    slope = (values[1] - values[0]) / (sizes[1] - sizes[0])
    return values[0] + slope * (size - sizes[0])
