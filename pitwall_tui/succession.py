"""From race to race: what comes after the flag, and when."""

from pitwall_tui.race.view import Flag

INTERVAL = 12.0  # seconds between a classification and the next race
_RINGING: tuple[Flag, ...] = ("red", "safety", "chequered")


class Succession:
    """Sees each frame's flag. Times are the wall's, in seconds; without `goes_on` nothing follows a
    race by itself, as in a recording."""

    def __init__(self, goes_on: bool) -> None:
        self._goes_on = goes_on
        self._flag: Flag = "lights"
        self._next_at: float | None = None
        self._counted_at = 0.0

    def countdown(self, now: float, paused: bool) -> float | None:
        """Seconds to the next race; they stand still while the engine does."""
        if self._next_at is not None and paused:
            self._next_at += now - self._counted_at
        self._counted_at = now
        return None if self._next_at is None else self._next_at - now

    def see(self, now: float, flag: Flag) -> tuple[bool, bool]:
        """Whether this flag is news for the ear, and whether the race has just ended or begun."""
        rings = flag != self._flag and flag in _RINGING
        turns = (flag == "chequered") != self.over
        self._flag = flag
        if turns:
            self._next_at = now + INTERVAL if self.over and self._goes_on else None
        return rings, turns

    @property
    def over(self) -> bool:
        """The flag is out."""
        return self._flag == "chequered"

    def is_time(self, now: float) -> bool:
        """Whether the next race is due."""
        return self._next_at is not None and now >= self._next_at

    def start(self) -> None:
        """Somebody has asked for the next race."""
        self._next_at = None
