"""What the planner asks of the runner, and what it gets back: plain values, no torch."""

from dataclasses import dataclass, replace

from engine.config import Knobs, Sampling


@dataclass(frozen=True, slots=True)
class Row:
    """Run `tokens`, the request's tokens from position `start` on, the last `drafts` of which are
    proposed ones.

    `pages` is its page table, long enough for all of them, and for `room` drafts, for which alone
    the last `lent` pages are there; `sampling` is set where the row reaches the request's last
    token, so that the next one can be sampled.
    """

    id: str
    start: int
    tokens: tuple[int, ...]
    pages: tuple[int, ...]
    sampling: Sampling | None
    room: int = 0
    drafts: int = 0
    lent: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    @property
    def length(self) -> int:
        """Where the request's own tokens end, and the first new one will stand."""
        return self.end - self.drafts

    @property
    def proposed(self) -> tuple[int, ...]:
        return self.tokens[len(self.tokens) - self.drafts :]

    def carrying(self, drafts: tuple[int, ...]) -> "Row":
        """The same with drafts behind its tokens, as many as it has room for at most."""
        return replace(self, tokens=self.tokens + drafts, drafts=len(drafts))


@dataclass(frozen=True, slots=True)
class Ration:
    """Up to `length` drafts for each of the `requests` that have run longest."""

    length: int
    requests: int


NO_DRAFTS = Ration(0, 0)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, under the knobs it was planned with; `draft_length` is how many drafts a row may
    carry at most, in a `trial` only some of them."""

    knobs: Knobs
    rows: tuple[Row, ...]
    admitted: tuple[str, ...]
    preempted: tuple[tuple[str, int], ...]
    held: str
    prefix_queries: int
    prefix_hits: int
    draft_length: int = 0
    trial: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """`tokens[i]` are those after row i's own: of its drafts those that are kept, then one of the
    model's; none where the row asked for none."""

    tokens: tuple[tuple[int, ...], ...]
    forward_ms: float
    sample_ms: float
