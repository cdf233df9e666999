"""The cars in the order of their places, as the tower shows them."""

from collections.abc import Mapping, Sequence

from engine.stats import RequestStats
from pitwall_tui.race.car import Car
from pitwall_tui.race.ledger import Ledger
from pitwall_tui.race.timing import Window
from pitwall_tui.race.view import CarState, CarView

# Where a circuit's first and second sector end, of one that is not known.
THIRDS = (1 / 3, 2 / 3)


def standings(
    cars: Sequence[Car],
    ledger: Ledger,
    requests: Mapping[str, RequestStats],
    sectors: tuple[float, float],
    window: Window | None,
    now: float,
) -> tuple[CarView, ...]:
    """Of `cars` in the order of their places, at `now` of the race's clock.

    `requests` are those that an engine knows of, by id; `window` has the rates of the last steps,
    None while no step is made.
    """
    views = []
    for index, car in enumerate(cars):
        start, account = car.start, ledger.accounts[car.start.id]
        request = requests.get(start.id)
        timed = bool(car.marks) and not car.retired and index > 0
        ahead = cars[index - 1]
        views.append(
            CarView(
                position=index + 1,
                number=start.number,
                code=start.code,
                team=car.team,
                state=_state(car, request, account.preemptions),
                lap=car.lap,
                fraction=car.progress(sectors),
                gap=car.gap(cars[0], now) if timed else None,
                interval=car.gap(ahead, now) if timed else None,
                laps_down=car.laps_behind(cars[0]) if timed else 0,
                interval_laps=car.laps_behind(ahead) if timed else 0,
                sectors=car.sectors,
                last_lap=car.last_lap,
                last_lap_colour=car.last_lap_colour,
                best_lap=car.best_lap,
                tyre=car.tyre,
                tyre_age=car.tyre_age,
                stops=car.stops,
                tokens=account.output_tokens,
                tokens_per_second=window.rate(start.id) if window else 0.0,
                pages=request.pages if request else 0,
                note=car.note,
            )
        )
    return tuple(views)


def _state(car: Car, request: RequestStats | None, preemptions: int) -> CarState:
    if car.over:
        return "finished" if car.finished else "out"
    seen = bool(car.marks) or preemptions > 0
    match request.state if request else "waiting":
        case "decode":
            return "track"
        case "parked":
            return "parked"
        case "prefill":
            return "pit" if seen else "formation"
        case _:
            return "pit" if seen else "grid"
