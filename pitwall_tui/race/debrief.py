"""What each setting of the knobs gave in one race: speed, memory, quality, latencies."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from string import ascii_letters

from engine.config import Knobs
from engine.draft_counts import DraftCounts, counted, together
from engine.stats import EngineSnapshot, QualitySample, StepStats
from pitwall_tui.race.latency import Gaps, LatencyView, percentile
from pitwall_tui.race.timing import summed

# As many as there are letters for them; steps under more are counted as `others`.
MOST = len(ascii_letters)
# Within these a race's text is the same to the token, whatever else is turned.
_EXACT = Knobs()


@dataclass(frozen=True, slots=True)
class SettingView:
    """All steps of a race under the same knobs; `letter` stands for them on plots.

    `changes` holds (name, value) of what differs from the race's first setting. `seconds` are
    those that its steps took, tokens/s is over them; `cars` ran in one on average. `itl` is of the
    gaps that ended in it, `ttft_ms` of first tokens that came in it (p50, None of none). Bytes:
    `weights_bytes` 0 where no snapshot told, `kv_peak` and `kv_mean` are those of used pages,
    `waste_percent` the mean share of their slots without a token. `exact` says that its text is
    the fp32 model's own by construction, as nothing lossy was turned on before either; `quality`
    what was measured where it is not.
    """

    letter: str
    knobs: Knobs
    changes: tuple[tuple[str, str | int], ...]
    now: bool
    seconds: float
    steps: int
    cars: float
    output_tokens: int
    tokens_per_second: float
    step_ms: float
    itl: LatencyView
    ttft_ms: float | None
    ttft_count: int
    weights_bytes: int
    kv_peak: int
    kv_mean: float
    waste_percent: float
    prefill_tokens: int
    preemptions: int
    lost_tokens: int
    tokens_a_round: float | None
    exact: bool
    quality: QualitySample | None

    @property
    def memory(self) -> int:
        """Bytes of its weights, and of its keys and values at their peak."""
        return self.weights_bytes + self.kv_peak


@dataclass(frozen=True, slots=True)
class DebriefView:
    """The settings in order of their first steps; `others` steps were under still more of them."""

    settings: tuple[SettingView, ...]
    others: int


@dataclass(slots=True)
class _Setting:
    letter: str
    steps: int = 0
    ms: float = 0.0
    rows: int = 0
    tokens: int = 0
    prefill: int = 0
    preemptions: int = 0
    lost: int = 0
    weights_bytes: int = 0
    kv_peak: int = 0
    kv_total: int = 0
    used_pages: int = 0
    empty_slots: int = 0
    exact: bool = True
    drafts: DraftCounts = field(default_factory=DraftCounts)
    gaps: Gaps = field(default_factory=Gaps)
    ttft: list[float] = field(default_factory=list)
    quality: list[QualitySample] = field(default_factory=list)


class Debrief:
    """Folds the steps of one race. All times are on the race's clock: see RaceState."""

    def __init__(self) -> None:
        self._settings: dict[Knobs, _Setting] = {}
        self._others = 0
        self._lossy = False  # something has been turned that can change texts
        self._now: Knobs | None = None
        self._last: dict[str, float] = {}  # when each request had its last token
        self._unheard: dict[str, Knobs] = {}  # under which one had its first, not yet told of

    def add_step(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        self._now = step.knobs
        self._lossy |= not _is_exact(step.knobs)
        setting = self._settings.get(step.knobs)
        if setting is None:
            if len(self._settings) == MOST:
                self._others += 1
                return
            setting = _Setting(ascii_letters[len(self._settings)])
            self._settings[step.knobs] = setting
        pages = step.pages
        setting.exact &= not self._lossy
        setting.steps += 1
        setting.ms += step.ms.total
        setting.rows += step.running
        setting.tokens += step.output_tokens
        setting.prefill += step.prefill_tokens
        setting.preemptions += len(step.preempted)
        setting.lost += sum(lost for _, lost in step.preempted)
        setting.kv_peak = max(setting.kv_peak, pages.used * pages.page_bytes)
        setting.kv_total += pages.used * pages.page_bytes
        setting.used_pages += pages.used
        setting.empty_slots += pages.empty_slots
        setting.drafts = together((setting.drafts, counted(step)))
        if step.quality is not None:
            setting.quality.append(step.quality)
        self._take_tokens(step, setting, time)

    def _take_tokens(self, step: StepStats, setting: _Setting, time: float) -> None:
        gaps = Counter[float]()
        for id, tokens in step.tokens:
            if not tokens:
                continue
            if id in self._last:
                gaps[(time - self._last[id]) * 1e3] += 1
            else:
                self._unheard[id] = step.knobs
            self._last[id] = time
        setting.gaps.add(time, gaps)

    def add_snapshot(self, snapshot: EngineSnapshot) -> None:
        """What came with the last of its steps."""
        if snapshot.steps:
            setting = self._settings.get(snapshot.steps[-1].knobs)
            if setting is not None:
                setting.weights_bytes = snapshot.weights_bytes
        for request in snapshot.requests:
            if request.first_token is None or request.id not in self._unheard:
                continue
            knobs = self._unheard.pop(request.id)
            if setting := self._settings.get(knobs):
                setting.ttft.append((request.first_token - request.submitted) * 1e3)

    def view(self, page_size: int) -> DebriefView:
        """The race so far; pages are of so many slots, 0 where that is not known."""
        return DebriefView(
            tuple(
                self._view(knobs, setting, page_size) for knobs, setting in self._settings.items()
            ),
            self._others,
        )

    def _view(self, knobs: Knobs, setting: _Setting, page_size: int) -> SettingView:
        first = next(iter(self._settings))
        slots = setting.used_pages * page_size
        steps = max(setting.steps, 1)
        return SettingView(
            letter=setting.letter,
            knobs=knobs,
            changes=knobs.changes(since=first),
            now=knobs == self._now,
            seconds=setting.ms / 1e3,
            steps=setting.steps,
            cars=setting.rows / steps,
            output_tokens=setting.tokens,
            tokens_per_second=1e3 * setting.tokens / max(setting.ms, 1e-9),
            step_ms=setting.ms / steps,
            itl=setting.gaps.view()[0],
            ttft_ms=percentile(setting.ttft, 50),
            ttft_count=len(setting.ttft),
            weights_bytes=setting.weights_bytes,
            kv_peak=setting.kv_peak,
            kv_mean=setting.kv_total / steps,
            waste_percent=100 * setting.empty_slots / slots if slots else 0.0,
            prefill_tokens=setting.prefill,
            preemptions=setting.preemptions,
            lost_tokens=setting.lost,
            tokens_a_round=setting.drafts.mean_length,
            exact=setting.exact,
            quality=summed(setting.quality) if setting.quality else None,
        )


def _is_exact(knobs: Knobs) -> bool:
    """Whether nothing here changes what the fp32 model says."""
    drafted = knobs.speculation != "off" and knobs.acceptance != "equal"
    return knobs.weights == _EXACT.weights and knobs.kv_dtype == _EXACT.kv_dtype and not drafted


def differs(changes: Iterable[tuple[str, str | int]]) -> str:
    """What differs from the first setting, in words."""
    return ", ".join(f"{name} {value}" for name, value in changes) or "as it began"
