"""What the planner asks of the runner, and what it gets back: plain values, no torch."""

from dataclasses import dataclass

from engine.config import Knobs, Sampling


@dataclass(frozen=True, slots=True)
class Row:
    """Run `tokens`, the request's tokens from position `start` on.

    `pages` is its page table, long enough for all of them; `sampling` is set where the row
    reaches the request's last token, so that the next one can be sampled.
    """

    id: str
    start: int
    tokens: tuple[int, ...]
    pages: tuple[int, ...]
    sampling: Sampling | None

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, under the knobs it was planned with."""

    knobs: Knobs
    rows: tuple[Row, ...]
    admitted: tuple[str, ...]
    preempted: tuple[tuple[str, int], ...]
    held: str
    prefix_queries: int
    prefix_hits: int


@dataclass(frozen=True, slots=True)
class StepResult:
    """`sampled[i]` is the token after row i's last, None where the row asked for none."""

    sampled: tuple[int | None, ...]
    forward_ms: float
    sample_ms: float
