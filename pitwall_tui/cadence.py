"""How often the wall is drawn: less where a slow terminal or a busy machine makes ticks late."""

LATE = 0.1  # seconds by which a tick may be late
RECOVERY = 50  # ticks on time in a row before the rate goes up again
_AGAIN = 20  # ticks within which a second late one comes, where the machine is too slow
_SLOWEST = 8  # ticks to a frame at most


class Cadence:
    """Frames as every 1st, 2nd, 4th or 8th tick of a steady timer.

    No frame is drawn while one before it has still to be taken by the terminal: what is seen is
    never older than that, and keys are answered at once.
    """

    def __init__(self) -> None:
        self.ticks_per_frame = 1
        self._since = 0  # ticks, from the last frame
        self._on_time = _AGAIN  # ticks in a row

    def due(self, lateness: float, waiting: bool = False) -> bool:
        """Whether this tick, `lateness` seconds late, is to be a frame; `waiting` where the last
        one has not all been written."""
        self._since += 1
        turn = self._since >= self.ticks_per_frame
        late = lateness > LATE or (turn and waiting)
        # A single one, such as that in which a race begins, is no reason.
        if late and self._on_time < _AGAIN:
            self.ticks_per_frame = min(_SLOWEST, self.ticks_per_frame * 2)
        self._on_time = 0 if late else self._on_time + 1
        if self._on_time >= RECOVERY and self.ticks_per_frame > 1:
            self.ticks_per_frame //= 2
            self._on_time = 0
        if waiting or self._since < self.ticks_per_frame:
            return False
        self._since = 0
        return True
