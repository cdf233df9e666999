"""What drafting does for a race: how often drafts are accepted, what they cost, what they bring."""

from collections import Counter, deque
from statistics import median
from typing import NamedTuple

from engine.draft_counts import DraftCounts, counted, together
from engine.stats import DraftInfo, StepStats
from pitwall_tui.race.view import Kind, MeasuredView, SpeculationView

# Steps of a kind before their rate is told; fewer are luck.
LEAST_STEPS = 8
# A rate is over the last so many steps of its kind: contexts grow while a race goes on.
_KEPT_STEPS = 200
# A speed-up within so much of 1 is neither gain nor loss.
_EVEN = 0.02

# What makes steps comparable: weights, kv_dtype, kernels, kv_cache.
Form = tuple[str, str, str, str]


def projected(acceptance: float, length: float, cost: float) -> float:
    """Speed-up by theory, where each of `length` drafts is accepted with one and the same
    probability, to draft one takes `cost` of the chief's pass, and that takes no longer for more
    tokens.

    (Leviathan, Kalman and Matias 2023.)
    """
    places = length + 1
    tokens = places if acceptance >= 1 else (1 - acceptance**places) / (1 - acceptance)
    return tokens / (length * cost + 1)


class DraftAccount:
    """All drafts of a race, for its document."""

    def __init__(self) -> None:
        self._counts = DraftCounts()
        self._used = False
        self._draft_ms = self._verify_ms = 0.0

    def add(self, step: StepStats) -> None:
        """A step that has ended."""
        self._used |= step.knobs.speculation != "off"
        if step.verdicts:
            self._counts = together((self._counts, counted(step)))
            self._draft_ms += step.ms.draft
            self._verify_ms += step.ms.forward

    def document(self) -> dict[str, object] | None:
        """None where speculation was never on. Rates are vLLM's: `accepted_per_position` is of all
        rounds, `mean_acceptance_length` counts the chief's own token; times are sums over the
        steps that had drafts."""
        if not self._used:
            return None
        counts = self._counts
        return {
            "drafts": counts.drafts,
            "draft_tokens": counts.draft_tokens,
            "accepted_tokens": counts.accepted_tokens,
            "accepted_per_position": list(counts.per_position),
            "mean_acceptance_length": counts.mean_length,
            "draft_ms": self._draft_ms,
            "verify_ms": self._verify_ms,
        }


class _Steps:
    """The last steps of a kind, summed up; `counts` are of all of them since the race began."""

    def __init__(self) -> None:
        self._kept: deque[StepStats] = deque()
        self.tokens = self.rows = self.draft_tokens = 0
        self.ms = self.draft_ms = 0.0
        self.counts = DraftCounts()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, step: StepStats) -> None:
        self._kept.append(step)
        self._count(step, 1)
        if len(self._kept) > _KEPT_STEPS:
            self._count(self._kept.popleft(), -1)
        if step.verdicts:
            self.counts = together((self.counts, counted(step)))

    def _count(self, step: StepStats, sign: int) -> None:
        self.tokens += sign * step.output_tokens
        self.rows += sign * step.decode_rows
        self.draft_tokens += sign * sum(len(verdict.drafts) for verdict in step.verdicts)
        # The meter's time is its own, not decoding's.
        self.ms += sign * (step.ms.total - step.ms.score)
        self.draft_ms += sign * step.ms.draft

    @property
    def enough(self) -> bool:
        return len(self) >= LEAST_STEPS

    @property
    def rate(self) -> float:
        """Output tokens/s."""
        return 1e3 * self.tokens / max(self.ms, 1e-9)

    @property
    def step_ms(self) -> float:
        return self.ms / len(self)


def _name(draft: DraftInfo | None) -> str:
    return draft.name if draft else ""


class _Times(NamedTuple):
    """Milliseconds of a decode-only step: to draft, each pass of it, to verify."""

    draft: float
    draft_pass: float
    verify: float


class Speculation:
    """Folds steps. Figures are of the last `seconds` in which there were drafts, and of all since
    the draft model or the knobs of speculation, weights, kv_dtype or kernels last changed."""

    def __init__(self, draft: DraftInfo | None = None, seconds: float = 3.0) -> None:
        self._seconds = seconds
        self._draft = draft
        self._mixed = False
        self._junior = ""  # the last that was to draft
        self._setting: tuple[object, ...] = ()
        self._anew = False
        self._since = DraftCounts()
        # Times None of steps that did more than decode.
        self._recent: deque[tuple[float, DraftCounts, _Times | None]] = deque()
        self._plain: dict[tuple[Form, int], _Steps] = {}
        self._drafted: dict[tuple[Form, Kind], _Steps] = {}
        self._form: Form = ("", "", "", "")
        self._kinds: deque[tuple[float, tuple[object, ...], Kind]] = deque()
        self._on = self._auto = False

    def meet(self, draft: DraftInfo | None) -> None:
        """The draft model at the end of the steps that come next.

        Where another one has taken its place among them, nobody knows from which step on: then what
        a junior drafts in them is counted for neither.
        """
        before, self._draft = self._draft, draft
        self._mixed = before is not None and _name(draft) != _name(before)

    def add(self, step: StepStats, time: float) -> None:
        """A step that ended at `time`."""
        knobs = step.knobs
        drafting = knobs.speculation == "junior"
        if self._mixed and drafting:
            return
        draft = _name(self._draft) if drafting else ""
        form = (knobs.weights, knobs.kv_dtype, knobs.kernels, knobs.kv_cache)
        setting = (form, knobs.speculation, draft, knobs.draft_length, knobs.acceptance)
        # What was found stays on the wall until there is something of the new setting.
        self._anew |= setting != self._setting
        self._setting, self._form = setting, form
        if drafting and draft != self._junior:
            self._junior = draft
            self._forget()
        self._on, self._auto = knobs.speculation != "off", knobs.draft_length == "auto"
        # The junior's own prefill is no more decoding than the chief's.
        decoding = bool(step.decode_rows) and not step.prefill_tokens and not step.caught_up
        if decoding and not step.draft_length:
            self._plain.setdefault((form, step.decode_rows), _Steps()).add(step)
        if not self._on:
            return
        kind = Kind(knobs.speculation, draft, knobs.acceptance, step.decode_rows, step.draft_length)
        # In a trial only a few of the cars might draft: it is a step of no kind.
        usual = decoding and not step.trial
        if usual or not self._kinds:
            self._note_kind(kind, time)
        if usual and step.draft_length:
            self._drafted.setdefault((form, kind), _Steps()).add(step)
        if step.verdicts:
            self._add_round(step, time, decoding)

    def _forget(self) -> None:
        """Nothing that one junior did is shown under the name of another."""
        self._since = DraftCounts()
        self._recent.clear()
        self._kinds.clear()

    def _note_kind(self, kind: Kind, time: float) -> None:
        self._kinds.append((time, self._setting, kind))
        while self._kinds[0][0] <= time - self._seconds or self._kinds[0][1] != self._setting:
            self._kinds.popleft()

    @property
    def _kind(self) -> Kind:
        """The usual one of the last seconds: `auto` looks at a neighbour now and then."""
        ((kind, _),) = Counter(kind for _, _, kind in self._kinds).most_common(1)
        return kind

    def _add_round(self, step: StepStats, time: float, decoding: bool) -> None:
        if self._anew:
            self._anew, self._since = False, DraftCounts()
            self._recent.clear()
        counts = counted(step)
        passes = len(counts.accepted_at)  # as many as the longest draft has tokens
        times = _Times(step.ms.draft, step.ms.draft / passes, step.ms.forward)
        self._since = together((self._since, counts))
        self._recent.append((time, counts, times if decoding else None))
        while self._recent[0][0] <= time - self._seconds:
            self._recent.popleft()

    def view(self) -> SpeculationView | None:
        """None where speculation was never on."""
        if not self._kinds:
            return None
        kind = self._kind
        recent = together(counts for _, counts, _ in self._recent)
        times = [found for _, _, found in self._recent if found is not None]
        typical = _Times(*map(median, zip(*times, strict=True))) if times else None
        cost = typical.draft_pass / typical.verify if typical and typical.verify else None
        known = recent.acceptance is not None and cost is not None
        measured = self._measured()
        now = next((row for row in measured if row.kind == kind), None)
        acceptance = recent.acceptance or 0.0
        return SpeculationView(
            kind=kind,
            draft=self._draft if kind.draft and kind.draft == _name(self._draft) else None,
            on=self._on,
            auto=self._auto,
            since=self._since,
            recent=recent,
            draft_ms=typical.draft if typical else None,
            verify_ms=typical.verify if typical else None,
            cost=cost,
            projection=projected(acceptance, kind.length, cost or 0.0) if known else None,
            now=now,
            measured=measured,
            word=self._word(kind, recent, now),
        )

    def _measured(self) -> tuple[MeasuredView, ...]:
        """Every kind of step with drafts that has been measured in the form served now."""
        return tuple(
            self._row(kind, steps)
            for (form, kind), steps in sorted(self._drafted.items(), key=lambda item: item[0])
            if form == self._form and steps.enough
        )

    def _row(self, kind: Kind, steps: _Steps) -> MeasuredView:
        plain = self._plain.get((self._form, kind.cars))
        plain = plain if plain is not None and plain.enough else None
        share = len(steps) * plain.step_ms if plain else None
        return MeasuredView(
            kind=kind,
            rounds=steps.counts.drafts,
            acceptance=steps.counts.acceptance,
            tokens=steps.tokens / steps.rows,
            verified=(steps.rows + steps.draft_tokens) / len(steps),
            tokens_per_second=steps.rate,
            plain_tokens_per_second=plain.rate if plain else None,
            draft_cost=steps.draft_ms / share if share else None,
            verify_cost=(steps.ms - steps.draft_ms) / share if share else None,
        )

    def _word(self, kind: Kind, recent: DraftCounts, now: MeasuredView | None) -> str:
        """Whether it helps at this number of cars, and why."""
        cars = kind.cars
        field = "1 car" if cars == 1 else f"{cars} cars"
        if not self._on:
            return "off: figures of when it was last on"
        if not kind.length:
            return "drafts nothing: for this many cars auto finds that it would not pay"
        if not recent.drafts:
            return f"{kind.who} found nothing to draft yet"
        if now is None:
            return f"too few steps with drafts and {field} so far"
        speedup = now.speedup
        if speedup is None:
            return f"speed-up with {field} not measured yet: switch speculation off for a moment"
        drafting = f", drafting {now.draft_cost:.1f}," if (now.draft_cost or 0.0) >= 0.05 else ""
        why = (
            f"verifying {now.verified:.0f} tokens costs {now.verify_cost:.1f} plain steps{drafting}"
            f" for {now.tokens:.1f} a car"
        )
        if speedup > 1 + _EVEN:
            return f"pays with {field}: {why}"
        if speedup >= 1 - _EVEN:
            return f"neither pays nor hurts with {field}: {why}"
        # Were all accepted, a car would get as many tokens as are verified for it.
        if now.acceptance is not None and now.verified / cars * speedup > now.tokens:
            refused = 100 * (1 - now.acceptance)
            return f"hurts with {field}: {refused:.0f} % of drafts are refused, {why}"
        return f"hurts with {field} whatever is accepted: {why}"
