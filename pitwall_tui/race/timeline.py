"""What a row shows over time: runs of the same, however long a race is."""

from collections import defaultdict
from typing import Literal, NamedTuple

# What a car, or a slot, is doing. A slot is `idle` while somebody waits for one, else `spare`; a
# preempted car is in the `pit` until it is admitted again, its slot for one step.
Kind = Literal["waiting", "prefill", "decode", "parked", "pit", "idle", "spare"]
NOBODY = -1
_MOST = 600  # runs kept of a row


class Run(NamedTuple):
    """From `start` to `end` seconds, `car` (its index in the race, or NOBODY) did this."""

    start: float
    end: float
    car: int
    kind: Kind


class Line:
    """Runs, oldest first. Where there are too many, short neighbours become one; the sums in
    `seconds` stay exact."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._since = 0.0
        self._now: tuple[int, Kind] | None = None
        self.seconds: defaultdict[Kind, float] = defaultdict(float)

    @property
    def kind(self) -> Kind | None:
        """What it does now; None where it does nothing."""
        return self._now[1] if self._now else None

    @property
    def since(self) -> float:
        """When it began to."""
        return self._since

    def set(self, time: float, car: int, kind: Kind) -> None:
        """From `time` on, until something else is set."""
        if self._now != (car, kind):
            self.stop(time)
            self._since, self._now = time, (car, kind)

    def stop(self, time: float) -> None:
        """From `time` on it does nothing."""
        if self._now is not None and time > self._since:
            self._runs.append(Run(self._since, time, *self._now))
            self.seconds[self._now[1]] += time - self._since
            if len(self._runs) > _MOST:
                self._runs = _thinned(self._runs)
        self._now = None

    def runs(self, now: float) -> tuple[Run, ...]:
        """All of it, until `now`."""
        if self._now is None or now <= self._since:
            return tuple(self._runs)
        return (*self._runs, Run(self._since, now, *self._now))

    def total(self, kind: Kind, now: float) -> float:
        """Seconds of a kind until `now`."""
        going = max(0.0, now - self._since) if self.kind == kind else 0.0
        return self.seconds[kind] + going


def _thinned(runs: list[Run]) -> list[Run]:
    """Neighbours that together are shorter than a few pixels of any picture become one run, of
    what they did longest. Any two that are left are longer, so there are at most _MOST / 2 + 1."""
    width = 4 * (runs[-1].end - runs[0].start) / _MOST
    kept: list[Run] = []
    group: list[Run] = []
    for run in runs:
        if group and run.end - group[0].start > width:
            kept.append(_as_one(group))
            group = []
        group.append(run)
    return [*kept, _as_one(group)]


def _as_one(group: list[Run]) -> Run:
    seconds: defaultdict[tuple[int, Kind], float] = defaultdict(float)
    for run in group:
        seconds[run.car, run.kind] += run.end - run.start
    return Run(group[0].start, group[-1].end, *max(seconds, key=lambda what: seconds[what]))
