"""Rates over engine time: tokens per second of the last moments, and of the race so far."""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Literal

from engine.stats import QualitySample, StepStats
from pitwall_tui.race.samples import summed
from pitwall_tui.race.view import ChartView, QualityView, TrafficView

Phase = Literal["decode", "prefill"]

_FIRST_BUCKET = 0.5
_MOST_BUCKETS = 240
# Share of the newest bucket that must have passed before its rate says anything.
_LEAST_SHARE = 0.25


class Window:
    """Output tokens of each request over the last `seconds` of engine time, or over the steps that
    reach into them where those took longer."""

    def __init__(self, start: float, seconds: float = 2.0) -> None:
        self._start = start
        self._seconds = seconds
        self._now = start
        self._steps: deque[tuple[float, tuple[tuple[str, int], ...], float]] = deque()
        self._counts: Counter[str] = Counter()
        self._total = 0

    def add(self, time: float, counts: tuple[tuple[str, int], ...], ms: float) -> None:
        """A step that ended at `time`, took `ms` and committed `counts` tokens by request."""
        self._steps.append((time, counts, ms))
        for id, count in counts:
            self._counts[id] += count
            self._total += count
        self.advance(time)

    def advance(self, now: float) -> None:
        """Moves the window's end to `now`."""
        self._now = max(self._now, now)
        # A step longer than the window counts for as long as it took: the next one may, too.
        while self._steps:
            time, counts, ms = self._steps[0]
            if time + max(self._seconds, ms / 1e3) > now:
                break
            self._steps.popleft()
            for id, count in counts:
                self._counts[id] -= count
                self._total -= count

    @property
    def _span(self) -> float:
        start = self._now - self._seconds
        if self._steps:
            time, _, ms = self._steps[0]
            if ms / 1e3 > self._seconds:
                start = min(start, time - ms / 1e3)
        return max(self._now - max(start, self._start), 1e-3)

    def rate(self, id: str) -> float:
        """Tokens/s of one request."""
        return self._counts[id] / self._span

    def latency(self, id: str) -> float | None:
        """Mean seconds between its tokens; None of fewer than two steps."""
        commits = [
            (time, count)
            for time, counts, _ in self._steps
            for request, count in counts
            if request == id and count
        ]
        if len(commits) < 2:
            return None
        return (commits[-1][0] - commits[0][0]) / sum(count for _, count in commits[1:])

    @property
    def total_rate(self) -> float:
        """Tokens/s of all requests."""
        return self._total / self._span

    @property
    def step_ms(self) -> float:
        """Median duration of a step; 0 where there was none."""
        durations = sorted(ms for _, _, ms in self._steps)
        middle = len(durations) // 2
        if not durations:
            return 0.0
        if len(durations) % 2:
            return durations[middle]
        return (durations[middle - 1] + durations[middle]) / 2


class Traffic:
    """What steps of each phase have read, over their last `seconds`.

    A step that runs any prefill counts as prefill: its tokens share one pass through the weights.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._steps: dict[Phase, deque[StepStats]] = {"decode": deque(), "prefill": deque()}

    def add(self, step: StepStats) -> None:
        """A step that has ended."""
        if not step.weight_bytes:
            return
        steps = self._steps["prefill" if step.prefill_tokens else "decode"]
        steps.append(step)
        while steps[0].time < step.time - self._seconds:
            steps.popleft()

    def view(self, read_gbs: float) -> tuple[TrafficView, ...]:
        """Each phase that has run; `read_gbs` is what the machine's memory gives, 0 if unknown."""
        return tuple(
            _traffic(phase, steps, read_gbs) for phase, steps in self._steps.items() if steps
        )


def _traffic(phase: Phase, steps: Iterable[StepStats], read_gbs: float) -> TrafficView:
    weights = kv = tokens = 0
    seconds = 0.0
    for step in steps:
        weights += step.weight_bytes
        kv += step.kv_bytes
        drafted = sum(verdict.accepted for verdict in step.verdicts)
        tokens += step.prefill_tokens + step.decode_rows + drafted
        seconds += step.ms.forward / 1e3
    gbs = (weights + kv) / max(seconds, 1e-9) / 1e9
    share = 100 * gbs / read_gbs if read_gbs else None
    return TrafficView(phase, weights / tokens, kv / tokens, gbs, share)


class Quality:
    """What fp32 makes of what is being served, since weights and kv_dtype are what they are."""

    def __init__(self, samples: int = 20) -> None:
        """Over the last so many samples."""
        self._samples: deque[QualitySample] = deque(maxlen=samples)
        self._form = ("fp32", "fp32")
        self._on = False
        self._scoring = self._total = 0.0

    def add(self, step: StepStats) -> None:
        """A step that has ended."""
        form = (step.knobs.weights, step.knobs.kv_dtype)
        if form != self._form:
            self._form = form
            self._samples.clear()
            self._scoring = self._total = 0.0
        self._on = step.knobs.quality == "on"
        self._scoring += step.ms.score
        self._total += step.ms.total
        if step.quality is not None:
            self._samples.append(step.quality)

    def view(self) -> QualityView | None:
        """None where nothing can be lost, or nobody measures it."""
        weights, kv = self._form
        if not self._on or self._form == ("fp32", "fp32"):
            return None
        whole = summed(self._samples)
        return QualityView(
            form=weights if kv == "fp32" else f"{weights}, kv {kv}",
            tokens=whole.tokens,
            kl=whole.mean_kl,
            top1_percent=whole.top1_percent,
            clear_top1_percent=whole.clear_top1_percent,
            cost_percent=100 * self._scoring / self._total if self._total else 0.0,
        )


class Chart:
    """Tokens in buckets of engine time since `start`; they double in width as a race grows long."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._now = start
        self._bucket = _FIRST_BUCKET
        self._tokens = [0]
        self._marks: list[tuple[float, str]] = []

    def add(self, time: float, tokens: int) -> None:
        """`tokens` came at `time`."""
        self.advance(time)
        self._tokens[-1] += tokens

    def mark(self, time: float, label: str) -> None:
        """Something changed at `time`."""
        self._marks.append((time, label))

    def advance(self, now: float) -> None:
        """The race has reached `now`."""
        self._now = max(self._now, now)
        last = self._index(now)
        while last >= _MOST_BUCKETS:
            pairs = self._tokens + [0] * (len(self._tokens) % 2)
            self._tokens = [a + b for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
            self._bucket *= 2
            last = self._index(now)
        self._tokens += [0] * (last + 1 - len(self._tokens))

    def view(self) -> ChartView:
        elapsed = self._now - self._start
        newest = elapsed - self._bucket * (len(self._tokens) - 1)
        values = [tokens / self._bucket for tokens in self._tokens[:-1]]
        if newest >= self._bucket * _LEAST_SHARE:
            values.append(self._tokens[-1] / newest)
        mean = sum(self._tokens) / elapsed if elapsed > 0 else 0.0
        return ChartView(
            bucket=self._bucket,
            values=tuple(values),
            marks=_merged((self._index(time), label) for time, label in self._marks),
            peak=max((mean, *values)),  # also of what is too short yet to be shown
            mean=mean,
        )

    def _index(self, time: float) -> int:
        return max(int((time - self._start) / self._bucket), 0)


def _merged(marks: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Marks of the same bucket as one."""
    labels: dict[int, str] = {}
    for index, label in marks:
        labels[index] = f"{labels[index]}, {label}" if index in labels else label
    return tuple(labels.items())
