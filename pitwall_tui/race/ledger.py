"""The race's accounts: each car's tokens and latencies, and the race's totals."""

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.config import Knobs
from engine.stats import (
    FinishReason,
    ModelInfo,
    PageCounts,
    QualitySample,
    RequestStats,
    StepStats,
)
from pitwall_tui.race.events import RaceStarted
from pitwall_tui.race.latency import percentile
from pitwall_tui.race.samples import summed
from pitwall_tui.race.speculation import DraftAccount

_SCHEMA = 1


@dataclass(slots=True)
class Account:
    """What one request has had. Times are seconds on the race's clock, None until they happen."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    preemptions: int = 0
    submitted: float | None = None
    first_token: float | None = None
    finished: float | None = None
    reason: FinishReason | None = None
    _tokens: "array[int]" = field(default_factory=lambda: array("i"))

    def add(self, tokens: tuple[int, ...]) -> None:
        self._tokens.extend(tokens)
        self.output_tokens += len(tokens)

    @property
    def tokens_sha256(self) -> str:
        """SHA-256 of the output token ids joined by commas."""
        return hashlib.sha256(",".join(map(str, self._tokens)).encode()).hexdigest()

    @property
    def ttft_ms(self) -> float | None:
        """Submission to first output token."""
        return _ms(self.submitted, self.first_token)

    @property
    def e2e_ms(self) -> float | None:
        """Submission to last output token, of a request that has finished."""
        return _ms(self.submitted, self.finished)

    @property
    def tpot_ms(self) -> float | None:
        """Time per output token after the first; None of fewer than two."""
        ttft, e2e = self.ttft_ms, self.e2e_ms
        if ttft is None or e2e is None or self.output_tokens < 2:
            return None
        return (e2e - ttft) / (self.output_tokens - 1)

    @property
    def served(self) -> bool:
        """It ran to its own end; latencies of others say nothing about the engine."""
        return self.reason in ("stop", "length")


class Ledger:
    """The accounts of one race. All times are on the race's clock: see RaceState."""

    def __init__(self, race: RaceStarted) -> None:
        self.race = race
        self.accounts = {car.id: Account() for car in race.cars}
        self.knobs: Knobs | None = None
        self.knob_changes: list[tuple[float, str, str | int]] = []
        self.peak = PageCounts(0, 0, 0, 0, 0, 0, 0)  # when requests held most bytes
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.first_submission: float | None = None
        self.last_token: float | None = None
        self._last_knobs: Knobs | None = None
        self.weights_bytes = 0
        self.paces: list[tuple[float, float]] = []
        self._samples: dict[tuple[str, str], list[QualitySample]] = {}
        self._score_ms = self._step_ms = 0.0
        self._drafts = DraftAccount()

    def add_step(self, step: StepStats, time: float) -> tuple[tuple[str, str | int], ...]:
        """Books a step that ended at `time`; the (name, value) of knobs that changed with it."""
        for id, tokens in step.tokens:
            if tokens and (account := self.accounts.get(id)):
                account.add(tokens)
                self.last_token = time
        for id, _ in step.preempted:
            if account := self.accounts.get(id):
                account.preemptions += 1
        if step.pages.used * step.pages.page_bytes > self.peak.used * self.peak.page_bytes:
            self.peak = step.pages
        if step.quality is not None:
            form = (step.knobs.weights, step.knobs.kv_dtype)
            self._samples.setdefault(form, []).append(step.quality)
        self._drafts.add(step)
        self._score_ms += step.ms.score
        self._step_ms += step.ms.total
        self.prefix_queries += step.prefix_queries
        self.prefix_hits += step.prefix_hits
        before, self._last_knobs = self._last_knobs, step.knobs
        if before is None:
            self.knobs = step.knobs
            return ()
        changes = step.knobs.changes(before)
        self.knob_changes += [(time, name, value) for name, value in changes]
        return changes

    def add_requests(self, requests: Iterable[RequestStats], offset: float) -> None:
        """Books where requests stand; `offset` turns the engine's times into the race's."""
        for request in requests:
            account = self.accounts.get(request.id)
            if account is None:
                continue
            account.prompt_tokens = request.prompt_tokens
            if account.submitted is None:
                account.submitted = request.submitted + offset
                if self.first_submission is None or account.submitted < self.first_submission:
                    self.first_submission = account.submitted
            if account.first_token is None and request.first_token is not None:
                account.first_token = request.first_token + offset
            # A new engine ends those again that had ended when the one before was lost.
            if account.finished is None and request.finished is not None:
                account.finished = request.finished + offset
                account.reason = request.finish_reason

    def note_pace(self, pace: float, time: float) -> None:
        """Books at what output tokens/s the engine is held at `time`, 0 for not at all."""
        if pace != (self.paces[-1][1] if self.paces else 0.0):
            self.paces.append((time, pace))

    @property
    def output_tokens(self) -> int:
        return sum(account.output_tokens for account in self.accounts.values())

    @property
    def preemptions(self) -> int:
        return sum(account.preemptions for account in self.accounts.values())

    @property
    def seconds(self) -> float:
        """From the first submission to the last token; 0 before it."""
        if self.first_submission is None or self.last_token is None:
            return 0.0
        return self.last_token - self.first_submission

    @property
    def tokens_per_second(self) -> float:
        return self.output_tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def prefix_hit_percent(self) -> float | None:
        if not self.prefix_queries:
            return None
        return 100 * self.prefix_hits / self.prefix_queries

    def served(self) -> list[Account]:
        return [account for account in self.accounts.values() if account.served]

    def waste_peak_percent(self, page_size: int) -> float:
        """Token slots of the used pages that held none when requests held most bytes."""
        return waste_percent(self.peak.used, self.peak.empty_slots, page_size)

    def _quality(self) -> dict[str, object] | None:
        """What was served against what fp32 would have, on the places sampled; None of none."""
        if not self._samples:
            return None
        formats = []
        for (weights, kv_dtype), samples in self._samples.items():
            whole = summed(samples)
            formats.append(
                {
                    "weights": weights,
                    "kv_dtype": kv_dtype,
                    "tokens": whole.tokens,
                    "mean_kl": whole.mean_kl,
                    "top1_percent": whole.top1_percent,
                    "clear_tokens": whole.clear,
                    "clear_top1_percent": whole.clear_top1_percent,
                }
            )
        cost = 100 * self._score_ms / self._step_ms
        return {"cost_percent": cost, "formats": formats}

    def summary(
        self, model: ModelInfo | None, laps: Mapping[str, int], losses: int
    ) -> dict[str, object]:
        """The race as the JSON document of `pitwall race --json`; `laps` by request id,
        `losses` how often the engine was lost and replaced.

        `knobs` are those of the first step; `knob_changes` holds (seconds since the first
        submission, name, value), `pace_changes` (seconds, output tokens/s at which the engine was
        held from then on; 0: not held), `weights` are those that served last. A request that has
        not finished counts as aborted, and latencies that never came are null.
        """
        size = model.page_size if model else 0
        return {
            "schema": _SCHEMA,
            "circuit": self.race.circuit,
            "laps": self.race.laps,
            "seed": self.race.seed,
            "temperature": self.race.temperature,
            "model": model.name if model else "",
            "knobs": (self.knobs or Knobs()).as_dict(),
            "knob_changes": [
                [time - (self.first_submission or 0.0), name, value]
                for time, name, value in self.knob_changes
            ],
            "pace_changes": [
                [max(0.0, time - (self.first_submission or 0.0)), pace] for time, pace in self.paces
            ],
            "engine_lost": losses,
            "seconds": self.seconds,
            "prompt_tokens": sum(account.prompt_tokens for account in self.accounts.values()),
            "output_tokens": self.output_tokens,
            "tokens_per_second": self.tokens_per_second,
            "ttft_ms": _spread(account.ttft_ms for account in self.served()),
            "tpot_ms": _spread(account.tpot_ms for account in self.served()),
            "e2e_ms": _spread(account.e2e_ms for account in self.served()),
            "weights": {
                "format": self._last_knobs.weights if self._last_knobs else "",
                "bytes": self.weights_bytes,
            },
            "kv": {
                "page_size": size,
                "pages_total": self.peak.total,
                "pages_peak": self.peak.used,
                "bytes_total": self.peak.total * self.peak.page_bytes,
                "bytes_peak": self.peak.used * self.peak.page_bytes,
                "waste_peak_percent": self.waste_peak_percent(size),
                "preemptions": self.preemptions,
            },
            "quality": self._quality(),
            "speculation": self._drafts.document(),
            "cars": [
                {
                    "id": id,
                    "prompt_tokens": account.prompt_tokens,
                    "output_tokens": account.output_tokens,
                    "laps": laps[id],
                    "finish_reason": account.reason or "abort",
                    "tokens_sha256": account.tokens_sha256,
                    "ttft_ms": account.ttft_ms,
                    "e2e_ms": account.e2e_ms,
                }
                for id, account in self.accounts.items()
            ],
        }


def waste_percent(pages: int, empty_slots: int, page_size: int) -> float:
    """Token slots of used pages that hold no token, of all their slots."""
    slots = pages * page_size
    return 100 * empty_slots / slots if slots else 0.0


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else (end - start) * 1000


def _spread(values: Iterable[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": sum(known) / len(known) if known else None,
        "p50": percentile(known, 50),
        "p99": percentile(known, 99),
    }
