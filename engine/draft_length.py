"""How many tokens to draft at a time: a fixed number, or whatever pays now, by measurement."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LONGEST = 16
_KEPT = 5  # measurements of a step's time by its size: their median counts
_MEMORY = 0.98  # of what is known of acceptance, what is left of it a step later
_GUESS = 0.8  # acceptance, before anything is known of it
_WEIGHT = 4.0  # of the guess, in drafts
# A look at a neighbour of what is best now comes after so many steps at first, and half as often
# each time that it changes nothing.
_LOOK, _LEAST_OFTEN = 16, 128


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
        self._requests = 0
        self._steps = 0
        self._look = _LOOK
        self._upwards = True
        self._best = 0

    def choose(self, requests: int) -> int:
        """0 to LONGEST."""
        if requests != self._requests:
            self._requests, self._look = requests, _LOOK
        # Twice the size that has been tried: no leap into the unknown.
        reach = min(2 * self._verify.largest // max(requests, 1) - 1, LONGEST)
        best = max(range(max(reach, 0) + 1), key=lambda length: self.rate(requests, length))
        if best != self._best:
            self._best, self._look = best, _LOOK
        self._steps += 1
        if self._steps >= self._look:
            self._steps, self._look = 0, min(2 * self._look, _LEAST_OFTEN)
            self._upwards = not self._upwards
            return min(best + 1, LONGEST) if self._upwards else max(best - 1, 0)
        return best

    def rate(self, requests: int, length: int) -> float:
        """Tokens a millisecond of one request, as expected."""
        verify = self._verify.of(requests * (length + 1))
        draft = self._draft.of(requests) * length
        return self.tokens(length) / (verify + draft) if verify + draft else float(length)

    def tokens(self, length: int) -> float:
        """Tokens that a request gets of a step with so many drafts."""
        total = reached = 1.0
        for place in range(length):
            reached *= self._acceptance(place)
            total += reached
        return total

    def _acceptance(self, place: int) -> float:
        tries, hits = sum(self._tries), sum(self._hits)
        overall = (hits + _WEIGHT * _GUESS) / (tries + _WEIGHT)
        return (self._hits[place] + _WEIGHT * overall) / (self._tries[place] + _WEIGHT)

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

    @property
    def largest(self) -> int:
        """Size that has been measured, 0 of none."""
        return max(self._measured, default=0)

    def note(self, size: int, ms: float) -> None:
        if size not in self._measured:
            # What was expected counts as one: a single mishap does not decide.
            expected = self.of(size)
            self._measured[size] = deque([expected] if expected else [], maxlen=_KEPT)
        self._measured[size].append(ms)

    def of(self, size: int) -> float:
        """0 where nothing is known; beyond the largest size known as the last two lead there, or
        half as much more as it is larger."""
        sizes = sorted(self._measured)
        if not sizes:
            return 0.0
        below = [known for known in sizes if known <= size]
        above = [known for known in sizes if known >= size]
        if not below:
            return self._median(sizes[0])
        low = below[-1]
        if above:
            high = above[0]
        elif len(below) > 1:
            low, high = below[-2:]
        else:
            return self._median(low) * (1 + size / low) / 2
        if low == high:
            return self._median(low)
        first, last = self._median(low), self._median(high)
        slope = (last - first) / (high - low)
        return first + slope * (size - low) if above else last + max(slope, 0.0) * (size - high)

    def _median(self, size: int) -> float:
        ordered = sorted(self._measured[size])
        return ordered[(len(ordered) - 1) // 2]
