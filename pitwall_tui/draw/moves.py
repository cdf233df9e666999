"""What has changed in the tower a moment ago: places, and what stands in its columns."""

from collections.abc import Mapping

from pitwall_tui.race.view import CarView, RaceView

_RACING = ("track", "pit", "parked")


class Moves:
    """Remembers places between frames; a change shows for `seconds` of the wall's clock."""

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._race = -1
        self._places: dict[int, int] = {}
        self._changes: dict[int, tuple[float, int]] = {}

    def update(self, view: RaceView, now: float) -> dict[int, int]:
        """Car numbers that gained (1) or lost (-1) a place within the last seconds."""
        if view.race_number != self._race:
            self._race, self._places, self._changes = view.race_number, {}, {}
        for car in view.cars:
            before = self._places.get(car.number, car.position)
            if car.position != before and car.state in _RACING:
                self._changes[car.number] = (now, 1 if car.position < before else -1)
            self._places[car.number] = car.position
        self._changes = {
            number: change
            for number, change in self._changes.items()
            if now - change[0] < self._seconds
        }
        return {number: direction for number, (_, direction) in self._changes.items()}


class Fresh:
    """Remembers what stood in the tower's columns; something new shows for `seconds` of the wall's
    clock. What came in the place of something as new is no news: of a race so fast that all of it
    changes all the time, nothing is marked."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._race = -1
        # By car number and column: what stands there, since when, and until when it is news.
        self._known: dict[tuple[int, str], tuple[object, float, float]] = {}

    def update(self, view: RaceView, now: float) -> dict[int, frozenset[str]]:
        """The names of the columns that have something new, by car number."""
        if view.race_number != self._race:
            self._race, self._known = view.race_number, {}
        return {car.number: news for car in view.cars if (news := self._look(car, now)) is not None}

    def _look(self, car: CarView, now: float) -> frozenset[str] | None:
        news = []
        for name, value in _worth(car).items():
            before, since, until = self._known.get((car.number, name), (value, now, now))
            if value != before:
                is_news = bool(value) and now - since >= self._seconds
                since, until = now, now + self._seconds if is_news else now
            self._known[car.number, name] = (value, since, until)
            if now < until:
                news.append(name)
        return frozenset(news) if news else None


def _worth(car: CarView) -> Mapping[str, object]:
    """What of a car is worth a mark when it changes, by the tower's columns; all else is none."""
    return {
        "s1": car.sectors[0].text,
        "s2": car.sectors[1].text,
        "s3": car.sectors[2].text,
        "last": car.last_lap,
        "best": car.best_lap,
        "tyre": car.tyre,
        "stops": car.stops,
        "state": "pit" if car.state == "pit" else "",
    }
