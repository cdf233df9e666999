"""What turning a knob did: output tokens/s in the seconds before it, and in those after."""

from collections import deque
from dataclasses import dataclass, replace

from engine.config import Knobs
from engine.stats import StepStats

# Rates over less say nothing.
_LEAST_SECONDS = 0.5
_USUAL = Knobs()


def times(ratio: float | None) -> str:
    """A ratio of rates, "-" where it is not known; what is left of one may be next to nothing."""
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if ratio >= 0.1 else f"{ratio:.3f}x"


def acting(knobs: Knobs) -> Knobs:
    """The same, with the usual values for knobs that change no step as the others stand."""
    usual = {name: getattr(_USUAL, name) for name in _inert(knobs)}
    return replace(knobs, **usual)


def changed(knobs: Knobs, since: Knobs) -> str:
    """The knobs that act and did not act so before, such as "weights int8"; "" of none."""
    changes = acting(knobs).changes(since=acting(since))
    inert = _inert(knobs)
    return ", ".join(f"{name} {value}" for name, value in changes if name not in inert)


def _inert(knobs: Knobs) -> set[str]:
    inert: set[str] = set()
    if knobs.speculation == "off":
        inert |= {"draft_length", "acceptance"}
    if (knobs.weights, knobs.kv_dtype) == ("fp32", "fp32"):
        inert |= {"quality"}  # there is nothing to measure
    if knobs.batching != "continuous":
        inert |= {"max_batch"}
    if knobs.batching != "static":
        inert |= {"static_batch"}
    if knobs.kv_cache == "off":
        inert |= {"paging", "prefix_cache", "prefill_chunk"}
    return inert


@dataclass(frozen=True, slots=True)
class Effect:
    """A change of knobs at `time`, such as "weights int8", and rates in output tokens/s.

    `before` was measured in the seconds up to it, `after` in the `seconds` since; `cars_before`
    and `cars_after` are the requests that a step ran on average, as rates depend on them.
    """

    label: str
    time: float
    seconds: float
    before: float
    after: float
    cars_before: float
    cars_after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before


@dataclass(frozen=True, slots=True)
class _Step:
    time: float
    tokens: int
    cars: int


@dataclass(slots=True)
class _Change:
    """A change whose effect is being measured; `start` is when the step before it ended, under the
    knobs `since`."""

    since: Knobs
    knobs: Knobs
    start: float
    before: float
    cars: float


class Effects:
    """Measures changes of knobs on the race's clock, from its start at `start`.

    Knobs that are turned while the last change is still too fresh to be judged belong to it. A
    change that ends where it began, or of knobs that do not act, has no effect.
    """

    def __init__(self, start: float, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._first: float | None = None  # when all that ran began to have tokens
        self._steps: deque[_Step] = deque()
        self._last = start
        self._knobs = _USUAL  # of the last step
        self._change: _Change | None = None

    def turn(self, label: str) -> float | None:
        """Knobs are turned to `label` by the next step; the rate up to here, None where the change
        is taken together with one before, does not act, or has nothing to be compared with."""
        change = self._change
        if change is not None:
            change.knobs = _turned(change.knobs, label)
            return None
        knobs = _turned(self._knobs, label)
        if not changed(knobs, self._knobs):
            return None
        if self._first is None or self._last - self._first < _LEAST_SECONDS:
            return None
        seconds = min(self._seconds, self._last - self._first)
        steps = [step for step in self._steps if step.time > self._last - seconds]
        rate = _rate(steps, seconds)
        if not rate:
            return None
        self._change = _Change(self._knobs, knobs, self._last, rate, _cars(steps))
        return rate

    def add(self, step: StepStats, time: float) -> tuple[Effect, ...]:
        """A step that ended at `time`; what is known by it."""
        self._knobs = step.knobs
        self._steps.append(_Step(time, step.output_tokens, step.running))
        # While the first prompts are read, tokens are few whatever the knobs are.
        having = sum(bool(found) for _, found in step.tokens)
        if self._first is None and having and having >= step.running:
            self._first = time
        self._last = time
        change = self._change
        since = time if change is None else change.start
        while self._steps[0].time <= since - self._seconds:
            self._steps.popleft()
        return self.finish() if time - since >= self._seconds else ()

    def finish(self) -> tuple[Effect, ...]:
        """What is known of the change under way, where it has lasted long enough; it ends."""
        change = self._change
        if change is None or self._last - change.start < _LEAST_SECONDS:
            return ()
        self._change = None
        label = changed(change.knobs, change.since)
        if not label:
            return ()
        seconds = self._last - change.start
        steps = [step for step in self._steps if step.time > change.start]
        rate, cars = _rate(steps, seconds), _cars(steps)
        effect = Effect(label, change.start, seconds, change.before, rate, change.cars, cars)
        return (effect,)


def _turned(knobs: Knobs, label: str) -> Knobs:
    for part in label.split(", "):
        name, _, value = part.partition(" ")
        knobs = knobs.with_value(name, value)
    return knobs


def _rate(steps: list[_Step], seconds: float) -> float:
    return sum(step.tokens for step in steps) / seconds


def _cars(steps: list[_Step]) -> float:
    return sum(step.cars for step in steps) / len(steps) if steps else 0.0
