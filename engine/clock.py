"""A clock that can be stopped."""

import time


class PausableClock:
    """Seconds since it was made, standing still while paused."""

    def __init__(self) -> None:
        self._origin = time.monotonic()
        self._stopped: float | None = None

    def __call__(self) -> float:
        return (self._stopped or time.monotonic()) - self._origin

    def pause(self, paused: bool) -> None:
        if paused and self._stopped is None:
            self._stopped = time.monotonic()
        elif not paused and self._stopped is not None:
            self._origin += time.monotonic() - self._stopped
            self._stopped = None
