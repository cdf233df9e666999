"""One car that somebody follows: its latencies, its text, and all others against it."""

from collections.abc import Sequence

from engine.stats import RequestStats
from pitwall_tui.race.car import Car
from pitwall_tui.race.ledger import Account
from pitwall_tui.race.view import FollowView, GapView, WritingView


def writing(car: Car) -> WritingView:
    """The end of its text, by who wrote it."""
    return WritingView(car.start.code, car.team, car.lap, tuple(car.written))


def follow(
    car: Car,
    cars: Sequence[Car],
    account: Account,
    request: RequestStats | None,
    itl: float | None,
    now: float,
) -> FollowView:
    """A car among `cars`, which are in the order of their places, at `now` of the race's clock.

    `request` is None where no engine knows of it; `itl` is the time between its last tokens, in s.
    """
    tpot = account.tpot_ms
    since = None if account.first_token is None else now - account.first_token
    if tpot is None and since is not None and account.reason is None and account.output_tokens > 1:
        tpot = 1000 * since / (account.output_tokens - 1)
    return FollowView(
        ttft_ms=account.ttft_ms,
        tpot_ms=tpot,
        itl_ms=None if itl is None else 1000 * itl,
        prompt_tokens=account.prompt_tokens,
        output_tokens=account.output_tokens,
        hit_tokens=request.hit_tokens if request else 0,
        preemptions=account.preemptions,
        gaps=_gaps(car, cars, now),
        writing=writing(car),
    )


def _gaps(car: Car, cars: Sequence[Car], now: float) -> tuple[GapView, ...]:
    place = next(index for index, other in enumerate(cars) if other is car)
    gaps = []
    for index, other in enumerate(cars):
        first, second = (car, other) if place < index else (other, car)
        seconds = None if car.retired or other.retired else second.gap(first, now)
        sign = 1 if place < index else -1
        laps = 0 if seconds is None else sign * second.laps_behind(first)
        gaps.append(GapView(None if seconds is None else sign * seconds, laps))
    gaps[place] = GapView(0.0, 0)
    return tuple(gaps)
