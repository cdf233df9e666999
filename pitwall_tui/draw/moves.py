"""Cars that gained or lost a place a moment ago."""

from pitwall_tui.race.view import RaceView

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
