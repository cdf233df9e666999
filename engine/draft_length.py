"""How many tokens to draft at a time: a fixed number, or whatever pays now, by measurement."""

from typing import Protocol

from engine.forecast import LONGEST, Forecast, Round
from engine.plan import NO_DRAFTS, Ration

# While drafts pay, a look at another length comes after so many steps at first, and more rarely
# each time that it changes nothing.
_LOOK, _RARER, _LEAST_OFTEN = 16, 4, 256
# Where they don't, they are tried: for so many steps an eighth of the requests have so many drafts.
# It ends sooner where the draft model was heard and so many steps' time is lost.
_TRIAL, _SHARE, _TRIED, _LOSS = 5, 8, 4, 1.5
# For each step's time that was lost so many steps go by without drafts, and for one at least: what
# trials cost is less than a hundredth.
_REST, _LONGEST_REST = 128, 1024
# What drafts must promise, to begin with them and to go on: less is not worth being wrong.
_BEGIN, _GO_ON = 1.05, 1.02


class DraftLength(Protocol):
    """Chooses what a step of so many requests may draft, and hears what came of it."""

    def choose(self, requests: int) -> Ration: ...

    def note(self, round: Round) -> None: ...


class Fixed:
    """Always the same."""

    def __init__(self, length: int) -> None:
        self._length = length

    def choose(self, requests: int) -> Ration:
        return Ration(self._length, requests)

    def note(self, round: Round) -> None:
        return


class Auto:
    """The length of which the forecast promises most, and now and then another, to learn.

    To begin with drafts is dear where the draft model has to catch up with many requests. So a
    trial with a few of them comes first, again and again as long as it fails, but so rarely that it
    hardly costs anything; and not while known costs say that drafts could not pay if every one were
    right.
    """

    def __init__(self) -> None:
        self._forecast = Forecast()
        self._length = 0
        self._steady = False  # the last step was a round
        self._trial = 0  # steps that are left of it, and the one that decides
        self._begun_with = 0  # requests
        self._heard = False  # the draft model, since the trial began
        self._lost = 0.0  # since then, in steps without drafts
        # Steps before the next trial, unless there are half as many requests as did not pay.
        self._rest = self._crowd = 0
        self._since, self._wait = 0, _LOOK  # steps since the last look, and before the next one
        self._looks = 0

    def choose(self, requests: int) -> Ration:
        """0 to LONGEST drafts."""
        if self._forecast.blank:
            return NO_DRAFTS  # it is what all else is compared with
        steady, self._steady = self._steady, False
        if not self._length and not steady:
            return NO_DRAFTS  # where prompts come in nothing is learnt
        if requests > 2 * self._begun_with:
            self._trial = 0  # for so many it may be too early
        if not self._length and not self._trial:
            resting = self._rest > 0 and 2 * requests > self._crowd
            if resting or not self._forecast.could_pay(requests, _BEGIN):
                return NO_DRAFTS
            self._trial, self._begun_with = _TRIAL + 1, requests
            self._heard, self._lost = False, 0.0
        if self._trial:
            self._trial -= 1
            if self._trial and not (self._heard and self._lost >= _LOSS):
                return Ration(_TRIED, max(requests // _SHARE, 1))
            self._trial = 0
        self._decide(requests)
        return Ration(self._look(), requests) if self._length else NO_DRAFTS

    def _decide(self, requests: int) -> None:
        best = self._forecast.best(requests, _GO_ON if self._length else _BEGIN)
        if not best or not self._heard:
            best = 0
            self._rest = min(int(_REST * max(self._lost, 1)), _LONGEST_REST)
            self._crowd = requests
        if best != self._length:
            self._length, self._since, self._wait = best, 0, _LOOK

    def _look(self) -> int:
        """The best length, or now and then another one."""
        if self._since < self._wait:
            return self._length
        self._since, self._wait = 0, min(_RARER * self._wait, _LEAST_OFTEN)
        self._looks += 1
        return (min(self._length + 1, LONGEST), self._length - 1, 0)[self._looks % 3]

    def note(self, round: Round) -> None:
        self._forecast.note(round)
        self._steady = True
        self._rest -= 1
        self._since += 1
        if self._length or self._trial:
            self._heard |= bool(round.accepted) and not round.caught_up
            self._lost = max(self._lost + self._forecast.loss(round), 0.0)
