"""What each setting of the knobs gave in one race: speed, memory, quality, latencies."""

from collections import Counter, deque
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase

from engine.config import Knobs
from engine.draft_counts import DraftCounts, counted, together
from engine.stats import EngineSnapshot, ModelInfo, QualitySample, StepStats
from pitwall_tui.race.effects import Effect, acting, changed
from pitwall_tui.race.events import RaceStarted
from pitwall_tui.race.latency import Gaps, LatencyView, latencies
from pitwall_tui.race.samples import summed

# As many as there are letters for them; steps under more are counted as `others`.
LETTERS = ascii_uppercase + ascii_lowercase
MOST = len(LETTERS)
_EFFECTS = 200
_USUAL = Knobs()

Fact = str | int | float
_Form = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class SettingView:
    """All steps of a race under the same knobs, but for those that do not act: `knobs` are those
    of the first step. `letter` stands for them on plots.

    `name` says in words what differs from the race's first setting. `seconds` are those that its
    steps took, tokens/s is over them; `cars` ran in one on average. `itl` is of the gaps between
    tokens that ended in it, `ttft` of first tokens that came in it, `ttft_mean` their mean in
    milliseconds, None of none. Bytes: `weights_bytes` of the model, and of a draft model that
    drafts, 0 where no snapshot told; `kv_peak` and `kv_mean` are those of used pages,
    `waste_percent` the mean share of their slots without a token. `exact` says that its text is
    the fp32 model's own by construction, as nothing lossy was turned on before either; `quality`
    what was measured where it is not. `group` says what was run, where settings of the view did
    not all run the same: only those of one group compare. `decode_tokens_per_second` is of its
    steps that read no prompt, None where there was none.
    """

    letter: str
    name: str
    knobs: Knobs
    now: bool
    seconds: float
    steps: int
    cars: float
    output_tokens: int
    tokens_per_second: float
    step_ms: float
    itl: LatencyView
    ttft: LatencyView
    ttft_mean: float | None
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
    group: str = ""
    decode_tokens_per_second: float | None = None

    @property
    def after_lossy(self) -> bool:
        """Whether it loses nothing itself, but went on in texts that a lossy one had a hand in."""
        return not self.exact and not _lossy(self.knobs)

    @property
    def comparable_rate(self) -> float | None:
        """Tokens/s to be set against those of others: of whole runs of the same, in a race without
        the steps that read prompts, most of which fall to the first setting."""
        return self.tokens_per_second if self.group else self.decode_tokens_per_second

    @property
    def memory(self) -> int | None:
        """Bytes of its weights, and of its keys and values at their peak; None where those of the
        weights are not known."""
        return self.weights_bytes + self.kv_peak if self.weights_bytes else None


@dataclass(frozen=True, slots=True)
class Others:
    """Steps under more settings than there are letters for."""

    steps: int = 0
    seconds: float = 0.0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class DebriefView:
    """The settings in order of their first steps; together with `others` they are all of the race.

    `facts` say by name what race it was; `effects` are the turns of knobs that were measured before
    and after, the oldest first; `latencies` are TTFT, TPOT, E2E and ITL of the race; `ratios` by
    title are those of settings that were measured to be compared, none in a race.
    """

    facts: tuple[tuple[str, Fact], ...]

    settings: tuple[SettingView, ...]
    others: Others
    effects: tuple[Effect, ...]
    latencies: tuple[LatencyView, ...]
    ratios: tuple[tuple[str, float], ...] = ()

    @property
    def grouped(self) -> bool:
        return any(setting.group for setting in self.settings)

    def first(self, setting: SettingView) -> SettingView:
        """The first of its group."""
        return next(other for other in self.settings if other.group == setting.group)


@dataclass(slots=True)
class _Setting:
    letter: str
    knobs: Knobs  # of its first step
    steps: int = 0
    ms: float = 0.0
    rows: int = 0
    tokens: int = 0
    decode_ms: float = 0.0
    decode_tokens: int = 0
    prefill: int = 0
    preemptions: int = 0
    lost: int = 0
    kv_peak: int = 0
    kv_total: int = 0
    used_pages: int = 0
    empty_slots: int = 0
    exact: bool = True
    drafts: DraftCounts = field(default_factory=DraftCounts)
    gaps: Gaps = field(default_factory=Gaps)
    ttft: list[float] = field(default_factory=list)
    quality: QualitySample | None = None


class Debrief:
    """Folds the steps of one race. All times are on the race's clock: see RaceState."""

    def __init__(self) -> None:
        self._settings: dict[Knobs, _Setting] = {}  # by the knobs that act
        self._others = Others()
        self._effects: deque[Effect] = deque(maxlen=_EFFECTS)
        self._lossy = False  # something has been turned that can change texts
        self._now: Knobs | None = None
        self._weights: dict[_Form, int] = {}  # bytes
        self._submitted: dict[str, float] = {}
        self._last: dict[str, float] = {}  # when each request had its last token
        # First tokens of requests that no snapshot has told of: when they came, and in which.
        self._unheard: dict[str, tuple[float, _Setting]] = {}

    def add_step(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        self._now = step.knobs
        self._lossy |= _lossy(step.knobs)
        setting = self._setting(step.knobs)
        if setting is None:
            self._others = Others(
                self._others.steps + 1,
                self._others.seconds + step.ms.total / 1e3,
                self._others.output_tokens + step.output_tokens,
            )
        else:
            self._count(step, setting)
        self._take_tokens(step, setting, time)

    def _setting(self, knobs: Knobs) -> _Setting | None:
        """The one of these knobs, None where there is no letter for it any more."""
        key = acting(knobs)
        if key not in self._settings and len(self._settings) < MOST:
            self._settings[key] = _Setting(LETTERS[len(self._settings)], knobs)
        return self._settings.get(key)

    def _count(self, step: StepStats, setting: _Setting) -> None:
        pages = step.pages
        setting.exact &= not self._lossy
        setting.steps += 1
        setting.ms += step.ms.total
        setting.rows += step.running
        setting.tokens += step.output_tokens
        if _decodes(step):
            setting.decode_ms += step.ms.total
            setting.decode_tokens += step.output_tokens
        setting.prefill += step.prefill_tokens
        setting.preemptions += len(step.preempted)
        setting.lost += sum(lost for _, lost in step.preempted)
        setting.kv_peak = max(setting.kv_peak, pages.used * pages.page_bytes)
        setting.kv_total += pages.used * pages.page_bytes
        setting.used_pages += pages.used
        setting.empty_slots += pages.empty_slots
        if step.verdicts:
            setting.drafts = together((setting.drafts, counted(step)))
        if step.quality is not None:
            before = (setting.quality,) if setting.quality else ()
            setting.quality = summed((*before, step.quality))

    def _take_tokens(self, step: StepStats, setting: _Setting | None, time: float) -> None:
        gaps = Counter[float]()
        for id, tokens in step.tokens:
            if not tokens:
                continue
            if id in self._last:
                gaps[(time - self._last[id]) * 1e3] += 1
            elif setting is not None:
                self._unheard[id] = time, setting
            self._last[id] = time
        if setting is not None:
            setting.gaps.add(time, gaps)

    def add_snapshot(self, snapshot: EngineSnapshot, time: float) -> None:
        """What came with the last of its steps, at `time`."""
        if snapshot.steps:
            knobs, draft = snapshot.steps[-1].knobs, snapshot.draft
            more = draft.weights_bytes if draft and knobs.speculation == "junior" else 0
            self._weights[_form(knobs)] = snapshot.weights_bytes + more
        offset = time - snapshot.time
        for request in snapshot.requests:
            # A new engine is given them again: they have been waiting since the first time.
            submitted = self._submitted.setdefault(request.id, request.submitted + offset)
            if request.id in self._unheard:
                first, setting = self._unheard.pop(request.id)
                setting.ttft.append((first - submitted) * 1e3)

    def add_effect(self, effect: Effect) -> None:
        """A turn of knobs that has been measured."""
        self._effects.append(effect)

    def settings(self, page_size: int) -> tuple[SettingView, ...]:
        """Those so far; pages are of so many slots, 0 where that is not known."""
        return tuple(self._view(setting, page_size) for setting in self._settings.values())

    def view(
        self,
        race: RaceStarted,
        model: ModelInfo | None,
        latencies: tuple[LatencyView, ...],
    ) -> DebriefView:
        """The race so far; `latencies` are those of all of it."""
        return DebriefView(
            facts=_facts(race, model),
            settings=self.settings(model.page_size if model else 0),
            others=self._others,
            effects=tuple(self._effects),
            latencies=latencies,
        )

    def _view(self, setting: _Setting, page_size: int) -> SettingView:
        knobs = setting.knobs
        first = next(iter(self._settings.values()))
        slots = setting.used_pages * page_size
        steps = max(setting.steps, 1)
        return SettingView(
            letter=setting.letter,
            name=changed(knobs, _USUAL if setting is first else first.knobs) or "usual knobs",
            knobs=knobs,
            now=self._now is not None and acting(knobs) == acting(self._now),
            seconds=setting.ms / 1e3,
            steps=setting.steps,
            cars=setting.rows / steps,
            output_tokens=setting.tokens,
            tokens_per_second=1e3 * setting.tokens / max(setting.ms, 1e-9),
            step_ms=setting.ms / steps,
            itl=setting.gaps.view()[0],
            ttft=latencies("TTFT", "setting", setting.ttft),
            ttft_mean=sum(setting.ttft) / len(setting.ttft) if setting.ttft else None,
            weights_bytes=self._weights.get(_form(knobs), 0),
            kv_peak=setting.kv_peak,
            kv_mean=setting.kv_total / steps,
            waste_percent=100 * setting.empty_slots / slots if slots else 0.0,
            prefill_tokens=setting.prefill,
            preemptions=setting.preemptions,
            lost_tokens=setting.lost,
            tokens_a_round=setting.drafts.mean_length,
            exact=setting.exact,
            quality=setting.quality,
            decode_tokens_per_second=(
                1e3 * setting.decode_tokens / setting.decode_ms if setting.decode_ms else None
            ),
        )


def _facts(race: RaceStarted, model: ModelInfo | None) -> tuple[tuple[str, Fact], ...]:
    facts: dict[str, Fact] = {
        "race": race.race_number,
        "circuit": race.circuit,
        "laps": race.laps,
        "cars": len(race.cars),
        "seed": race.seed,
        "temperature": race.temperature,
    }
    if model is not None:
        facts |= {"model": model.name, "device": model.device, "threads": model.threads}
    return tuple(facts.items())


def _decodes(step: StepStats) -> bool:
    """Whether it reads no prompt, the junior neither. Without a KV cache every token is had by
    reading all before it: that is how such a step decodes."""
    return step.knobs.kv_cache == "off" or not (step.prefill_tokens or step.caught_up)


def _form(knobs: Knobs) -> _Form:
    """What weights are held for them."""
    return knobs.weights, knobs.kernels, knobs.speculation


def _lossy(knobs: Knobs) -> bool:
    """Whether something here can change what the fp32 model says."""
    drafted = knobs.speculation != "off" and knobs.acceptance != "equal"
    return drafted or (knobs.weights, knobs.kv_dtype) != ("fp32", "fp32")
