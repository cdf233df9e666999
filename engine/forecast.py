"""What a step with drafts would take and give, by what steps have cost and drafts were worth."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 16
_KEPT = 5  # measurements of a step's time by its size: their median counts
_STALE = 1024  # steps after which a measurement proves nothing any more
_MEMORY = 0.98  # of what is known of acceptance, what is left of it a step later ...
_FEW = 16.0  # ... but for so many drafts at each place
_LONG = 256  # passes of a size whose mean counts, for what a position costs
_LASTING = 0.999  # of what passes of all sizes have told of that, what is left a pass later
_MISHAP = 1.25  # times as long as in proportion to a smaller size no pass takes by itself
_GUESS = 0.8  # acceptance, before anything is known of it
_WEIGHT = 4.0  # of the guess, in drafts


@dataclass(frozen=True, slots=True)
class Round:
    """One step of so many requests, without any prefill; they attend to `context` positions each,
    on average.

    `accepted` holds (drafts, how many of them were accepted) of each request that had some;
    `draft_ms` were spent on proposing, on what the draft model had missed too where it `caught_up`;
    `verify_ms` on all the rest.
    """

    requests: int
    context: float
    accepted: Sequence[tuple[int, int]]
    draft_ms: float
    verify_ms: float
    caught_up: bool = False

    @property
    def places(self) -> int:
        """Whose logits were asked for."""
        return self.requests + sum(drafts for drafts, _ in self.accepted)

    @property
    def tokens(self) -> int:
        return self.requests + sum(accepted for _, accepted in self.accepted)


class Forecast:
    """Learns from rounds.

    A step of n requests with k drafts each takes draft(n) * k + verify(n * (k + 1)) and gives
    n * (1 + a1 + a1 * a2 + ...) tokens, where ai is how often the i-th draft is accepted if the
    ones before it are. What a size costs that has not been tried follows from those next to it,
    and what it costs by now, as texts have grown, from how much every position was seen to cost.
    """

    def __init__(self) -> None:
        self._tries = [0.0] * LONGEST
        self._hits = [0.0] * LONGEST
        # A pass over twice the rows takes half as much again at least; a draft model is so small
        # that more requests hardly matter.
        self._verify = _Costs(1 / 2)
        self._draft = _Costs(1 / 8)

    @property
    def blank(self) -> bool:
        """Whether nothing is known."""
        return not self._verify.largest

    def best(self, requests: int, worth: float) -> int:
        """The length that gives most tokens a second; 0 unless that is so many times as many as
        without drafts."""
        # Twice the size that has been tried: no leap into the unknown.
        reach = min(2 * self._verify.largest // max(requests, 1) - 1, LONGEST)
        rates = self.rates(requests, max(reach, 0))
        best = rates.index(max(rates))
        return best if rates[best] >= worth * rates[0] else 0

    def could_pay(self, requests: int, worth: float) -> bool:
        """Whether one draft each might, if it were always right: not where the costs of that were
        measured and say no."""
        ms = self._verify.sure(2 * requests) + self._draft.sure(requests)
        return 2 * self._verify.of(requests) >= worth * ms

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

    def loss(self, round: Round) -> float:
        """What the round took longer than its tokens would have without drafts, in steps without;
        negative where it was quicker. Its passes count as such passes mostly do."""
        plain = self._verify.of(round.requests)
        ms = self._verify.of(round.places) + round.draft_ms
        return ms / plain - round.tokens / round.requests if plain else 0.0

    def note(self, round: Round) -> None:
        self._fade()
        for drafts, accepted in round.accepted:
            for place in range(min(accepted + 1, drafts)):
                self._tries[place] += 1
                self._hits[place] += place < accepted
        self._verify.context = self._draft.context = round.context
        self._verify.note(round.places, round.verify_ms)
        if round.accepted and not round.caught_up:
            longest = max(drafts for drafts, _ in round.accepted)
            self._draft.note(len(round.accepted), round.draft_ms / longest)

    def _fade(self) -> None:
        """What is known of acceptance counts less with every step, with drafts or without: it says
        less of the text that is written by then."""
        for place, tries in enumerate(self._tries):
            if tries > _FEW:
                self._tries[place] *= _MEMORY
                self._hits[place] *= _MEMORY


class _Costs:
    """Milliseconds by size at the present `context`, as measured; between two sizes on a line."""

    def __init__(self, least: float) -> None:
        """`least` is how much of what a size takes grows in proportion to it at least, where it is
        larger than any measured."""
        self._least = least
        self._measured: dict[int, deque[_Cost]] = {}
        self._when: dict[int, int] = {}  # the last one of a size, in measurements of all sizes
        self._count = 0
        self._sizes: list[int] = []  # ascending
        self._medians: list[_Cost] = []  # of the sizes
        self._growth = _Growth()
        self.context = 0.0

    @property
    def largest(self) -> int:
        """Size that has been measured, 0 of none."""
        return self._sizes[-1] if self._sizes else 0

    def note(self, size: int, ms: float) -> None:
        place, cost = bisect_left(self._sizes, size), _Cost(self.context, ms)
        if size not in self._measured:
            self._measured[size] = deque(maxlen=_KEPT)
            # A single mishap does not decide. Between two sizes what was expected counts as one;
            # beyond the largest that was a hope, and counts only where nothing takes so long.
            if place < len(self._sizes) or (self._sizes and ms > _MISHAP * self._most(size)):
                self._measured[size].append(_Cost(self.context, self.of(size)))
            self._sizes.insert(place, size)
            self._medians.insert(place, cost)
        measured = self._measured[size]
        measured.append(cost)
        self._count += 1
        self._when[size] = self._count
        ordered = sorted(measured, key=lambda cost: self._now(size, cost))
        self._medians[place] = ordered[(len(ordered) - 1) // 2]
        if len(measured) > 2:  # before that nothing says what is a mishap, which is no growth
            usual = self._at(place)
            self._growth.note(size, size * self.context, min(max(ms, usual / 2), usual * 3 / 2))

    def _now(self, size: int, cost: "_Cost") -> float:
        """Milliseconds of what was measured, had the context been that of now: never further from
        them than in proportion to the context."""
        whole = cost.ms * (self.context / cost.context - 1)
        grown = self._growth.slope * size * (self.context - cost.context)
        return cost.ms + (min(grown, whole) if whole > 0 else max(grown, whole))

    def of(self, size: int) -> float:
        """0 where nothing is known; beyond the largest size known as the last two lead there, but
        no more than in proportion, and no less than `least` says."""
        sizes = self._sizes
        place = bisect_left(sizes, size)
        if not sizes:
            return 0.0
        if place == 0 or (place < len(sizes) and sizes[place] == size):
            return self._at(place)
        if place < len(sizes):
            return self._line(place, size)
        last, most = self._at(-1), self._most(size)
        least = last + self._least * (most - last)
        return min(max(least, self._line(place - 1, size)), most) if place > 1 else least

    def sure(self, size: int) -> float:
        """As `of`, where this size or a larger one was measured lately, and more than once; else
        0."""
        for larger in self._sizes[bisect_left(self._sizes, size) :]:
            if len(self._measured[larger]) > 2 and self._count - self._when[larger] < _STALE:
                return self.of(size)
        return 0.0

    def _most(self, size: int) -> float:
        """In proportion to the largest size that has been measured."""
        return self._at(-1) * size / self._sizes[-1]

    def _at(self, place: int) -> float:
        return self._now(self._sizes[place], self._medians[place])

    def _line(self, place: int, size: int) -> float:
        """What a line through the size at `place` and the one before it says."""
        before, low = self._sizes[place - 1], self._at(place - 1)
        slope = (self._at(place) - low) / (self._sizes[place] - before)
        return low + slope * (size - before)


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of a pass in which every row attends to so many positions."""

    context: float
    ms: float


class _Growth:
    """How many milliseconds a row takes for each position that it attends to: passes of one size
    are compared with each other alone, a least squares line over all sizes."""

    def __init__(self) -> None:
        self._means: dict[int, tuple[int, float, float]] = {}  # count, positions and ms by size
        self._spread = self._common = 0.0

    @property
    def slope(self) -> float:
        return max(self._common / self._spread, 0.0) if self._spread else 0.0

    def note(self, size: int, positions: float, ms: float) -> None:
        count, middle, usual = self._means.get(size, (0, positions, ms))
        count = min(count + 1, _LONG)
        off = positions - middle
        middle += off / count
        usual += (ms - usual) / count
        self._means[size] = count, middle, usual
        self._spread = self._spread * _LASTING + off * (positions - middle)
        self._common = self._common * _LASTING + off * (ms - usual)
