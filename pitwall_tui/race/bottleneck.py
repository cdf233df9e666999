"""What bounds the engine: each kind of step held against what this machine can do at best."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import exp
from typing import Literal

from engine.config import Knobs
from engine.stats import ModelInfo, StepStats, StepTimes

Phase = Literal["prefill", "mixed", "decode", "verify", "recompute"]
Bound = Literal["memory", "compute", "overhead", "cache", "neither", ""]
PHASES: tuple[Phase, ...] = ("prefill", "mixed", "decode", "verify", "recompute")
STAGES = tuple(field.name for field in fields(StepTimes))

# What explains less of a step than this is not what bounds it.
EXPLAINS = 1 / 3
# Steps of a kind that make up its figures of now.
_RECENT = 40
# What took less time than this in all is not compared with or built upon.
_LEAST_MS = 50.0
_MOST_SETTINGS = 64
_NOW = 2.0  # seconds for which a step is of now
_FADE = 1.0  # seconds after which what was spent weighs a third


@dataclass(frozen=True, slots=True)
class Setting:
    """What steps are alike in: `size` is the power of two that their requests (of a prefill: its
    tokens) do not exceed."""

    phase: Phase
    weights: str
    kv_dtype: str
    kernels: str
    size: int

    @property
    def label(self) -> str:
        """All that sets it apart, in words: what is usual goes without saying."""
        words = [self.weights]
        words += ["kv int8"] if self.kv_dtype != "fp32" else []
        words += ["torch"] if self.kernels != "native" else []
        least = self.size // 2 + 1
        size = str(self.size) if least >= self.size else f"{least}-{self.size}"
        of = "tok" if self.phase == "prefill" else "car" if self.size == 1 else "cars"
        return " ".join((*words, size, of))


@dataclass(frozen=True, slots=True)
class Work:
    """Steps of one kind, summed: `ms` by stage as in STAGES; peaks of 0 were not measured."""

    setting: Setting
    steps: int
    tokens: int
    weight_bytes: int
    kv_bytes: int
    flops: int
    ms: tuple[float, ...]
    read_gbs: float
    peak_gflops: float

    @property
    def step_ms(self) -> float:
        """A step's milliseconds, all of its stages together."""
        return sum(self.ms) / self.steps

    @property
    def _forward(self) -> float:
        """Seconds, never 0."""
        return max(self.ms[STAGES.index("forward")], 1e-6) / 1e3

    @property
    def tokens_per_second(self) -> float:
        return 1e3 * self.tokens / max(sum(self.ms), 1e-6)

    @property
    def gbs(self) -> float:
        """10^9 bytes a second of the forward."""
        return (self.weight_bytes + self.kv_bytes) / self._forward / 1e9

    @property
    def gflops(self) -> float:
        """10^9 operations a second of the forward; 0 where they were not counted."""
        return self.flops / self._forward / 1e9

    @property
    def intensity(self) -> float:
        """Operations a byte; 0 where they were not counted."""
        return self.flops / (self.weight_bytes + self.kv_bytes)

    @property
    def mbu(self) -> float | None:
        """Memory bandwidth utilization: the share that the forward reaches of what this machine's
        memory gives, above 1 where caches did; None where a side of it was not measured."""
        return self.gbs / self.read_gbs if self.read_gbs else None

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilization: the share of this machine's peak for the format."""
        return self.gflops / self.peak_gflops if self.peak_gflops and self.flops else None

    @property
    def outside(self) -> float:
        """Share of a step that is not its forward."""
        return max(0.0, 1 - self._forward * 1e3 / max(sum(self.ms), 1e-3))

    @property
    def memory_floor(self) -> float | None:
        """Share of a step that reading its bytes would take alone, as fast as memory can."""
        return None if self.mbu is None else self.mbu * (1 - self.outside)

    @property
    def compute_floor(self) -> float | None:
        """Share of a step that its arithmetic would take alone, at the peak."""
        return None if self.mfu is None else self.mfu * (1 - self.outside)

    @property
    def bound(self) -> Bound:
        """By the largest of both floors and what is outside the forward: "overhead".

        Where none of them explains a third of the step it is "neither" roof that bounds it; bytes
        that came faster than memory gives any are of no floor, and it is "cache" then. "" where a
        floor was not measured."""
        memory, compute, mbu = self.memory_floor, self.compute_floor, self.mbu
        if memory is None or compute is None or mbu is None:
            return ""
        parts: dict[Bound, float] = {"compute": compute, "overhead": self.outside}
        if mbu <= 1:
            parts["memory"] = memory
        most = max(parts, key=parts.__getitem__)
        if parts[most] >= EXPLAINS:
            return most
        return "neither" if mbu <= 1 else "cache"


@dataclass(frozen=True, slots=True)
class PhaseView:
    """A kind of step as it was last: `age` seconds ago, 0 while it goes on."""

    phase: Phase
    age: float
    work: Work


@dataclass(frozen=True, slots=True)
class BottleneckView:
    """`phases` in the order of PHASES, `now` the one that most of the last seconds went into;
    `past` holds (letter, what was done) of each setting that took time enough, the newest first.

    `weights` are those of the newest step; peaks of 0 were not measured. `counted` is False where
    steps came without their arithmetic, as in recordings of before it was.
    """

    weights: str
    read_gbs: float
    float_gflops: float
    int8_gops: float
    memory_bytes: int
    now: Phase | None
    phases: tuple[PhaseView, ...]
    past: tuple[tuple[str, Work], ...]
    counted: bool

    def peak(self, weights: str) -> float:
        """10^9 operations a second for a format of weights."""
        return peak_of(weights, self.float_gflops, self.int8_gops)


def peak_of(weights: str, floats: float, int8: float) -> float:
    """The peak that a format computes at: int8 and int4 weights meet int8 activations."""
    return int8 if weights in ("int8", "int4") else floats


def phase_of(step: StepStats) -> Phase | None:
    """None where no forward was run."""
    if not step.weight_bytes:
        return None
    if step.knobs.kv_cache == "off":
        return "recompute"
    if step.prefill_tokens:
        return "mixed" if step.decode_rows else "prefill"
    return "verify" if any(verdict.drafts for verdict in step.verdicts) else "decode"


def _tokens(step: StepStats, phase: Phase) -> int:
    """What its work was for: tokens whose keys and values stay, without a cache those it gave."""
    if phase == "recompute":
        return step.output_tokens
    accepted = sum(verdict.accepted for verdict in step.verdicts)
    return step.prefill_tokens + step.decode_rows + accepted


def _setting(step: StepStats, phase: Phase) -> Setting:
    knobs: Knobs = step.knobs
    size = step.prefill_tokens if phase == "prefill" else step.decode_rows
    if phase in ("mixed", "recompute"):
        size = max(step.running, len(step.tokens))
    return Setting(
        phase, knobs.weights, knobs.kv_dtype, knobs.kernels, 1 << max(size - 1, 0).bit_length()
    )


class _Sums:
    """Steps added up."""

    def __init__(self, letter: str = "") -> None:
        self.letter = letter
        self.steps = self.tokens = self.weights = self.kv = self.flops = 0
        self.ms = [0.0] * len(STAGES)

    def add(self, step: StepStats, phase: Phase) -> None:
        self.steps += 1
        self.tokens += _tokens(step, phase)
        self.weights += step.weight_bytes
        self.kv += step.kv_bytes
        self.flops += step.flops
        for index, stage in enumerate(STAGES):
            self.ms[index] += getattr(step.ms, stage)

    def work(self, setting: Setting, model: ModelInfo | None) -> Work:
        floats, int8 = (model.float_gflops, model.int8_gops) if model else (0.0, 0.0)
        return Work(
            setting=setting,
            steps=self.steps,
            tokens=self.tokens,
            weight_bytes=self.weights,
            kv_bytes=self.kv,
            flops=self.flops,
            ms=tuple(self.ms),
            read_gbs=model.read_gbs if model else 0.0,
            peak_gflops=peak_of(setting.weights, floats, int8),
        )


class Bottleneck:
    """Folds steps: the newest of each kind, and the sums of each setting they were made in."""

    def __init__(self) -> None:
        self._recent: dict[Phase, deque[tuple[float, StepStats]]] = {}
        self._settings: dict[Setting, _Sums] = {}  # the one used last at the end
        self._letters = 0
        self._newest: StepStats | None = None
        self._time = 0.0  # of the newest
        self._spent: dict[Phase, float] = {}  # milliseconds, fading
        self._counted = True

    def add(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        phase = phase_of(step)
        if phase is None:
            return
        recent = self._recent.setdefault(phase, deque(maxlen=_RECENT))
        if recent and _form(recent[-1][1].knobs) != _form(step.knobs):
            recent.clear()  # another model, or other kernels: nothing to be mixed with
        recent.append((time, step))
        setting = _setting(step, phase)
        sums = self._settings.pop(setting, None) or self._begin()
        sums.add(step, phase)
        self._settings[setting] = sums
        if len(self._settings) > _MOST_SETTINGS:
            del self._settings[next(iter(self._settings))]
        fade = exp((self._time - time) / _FADE)
        self._spent = {known: ms * fade for known, ms in self._spent.items()}
        self._spent[phase] = self._spent.get(phase, 0.0) + step.ms.total
        self._newest, self._time = step, time
        self._counted = step.flops > 0

    def _begin(self) -> _Sums:
        letter = chr(ord("a") + self._letters % 26)
        self._letters += 1
        return _Sums(letter)

    def view(self, model: ModelInfo | None, now: float) -> BottleneckView:
        """As it stands at `now`; `model` None before an engine is ready."""
        phases = tuple(
            self._phase(phase, self._recent[phase], model, now)
            for phase in PHASES
            if phase in self._recent
        )
        return BottleneckView(
            weights=self._newest.knobs.weights if self._newest else "fp32",
            read_gbs=model.read_gbs if model else 0.0,
            float_gflops=model.float_gflops if model else 0.0,
            int8_gops=model.int8_gops if model else 0.0,
            memory_bytes=model.memory_bytes if model else 0,
            now=self._now if now - self._time <= _NOW else None,
            phases=phases,
            past=tuple(
                (sums.letter, sums.work(setting, model))
                for setting, sums in reversed(self._settings.items())
                if sum(sums.ms) >= _LEAST_MS
            ),
            counted=self._counted,
        )

    def _phase(
        self,
        phase: Phase,
        recent: Iterable[tuple[float, StepStats]],
        model: ModelInfo | None,
        now: float,
    ) -> PhaseView:
        sums, last = _Sums(), 0.0
        for last, step in recent:  # noqa: B007 - the last one's time is what is wanted
            sums.add(step, phase)
        age = now - last
        return PhaseView(phase, age if age > _NOW else 0.0, sums.work(_setting(step, phase), model))

    @property
    def _now(self) -> Phase | None:
        """What most of the last moments' steps went into."""
        return max(self._spent, key=self._spent.__getitem__, default=None)


def _form(knobs: Knobs) -> tuple[str, str, str]:
    return knobs.weights, knobs.kv_dtype, knobs.kernels
