"""How often the wall is drawn: less where a slow terminal or a busy machine makes ticks late."""

LATE = 0.1  # seconds by which a tick may be late
RECOVERY = 50  # ticks on time in a row before the rate goes up again
_SLOWEST = 8  # ticks to a frame at most


class Cadence:
    """Frames as every 1st, 2nd, 4th or 8th tick of a steady timer."""

    def __init__(self) -> None:
        self.ticks_per_frame = 1
        self._tick = 0
        self._on_time = 0

    def due(self, lateness: float) -> bool:
        """Whether this tick, `lateness` seconds late, is to be a frame."""
        self._tick += 1
        if lateness > LATE:
            self.ticks_per_frame = min(_SLOWEST, self.ticks_per_frame * 2)
            self._on_time = 0
        else:
            self._on_time += 1
            if self._on_time >= RECOVERY and self.ticks_per_frame > 1:
                self.ticks_per_frame //= 2
                self._on_time = 0
        return self._tick % self.ticks_per_frame == 0
