"""What became of drafts, counted from steps: the one way in which anybody counts them."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from engine.stats import StepStats


@dataclass(frozen=True, slots=True)
class DraftCounts:
    """What became of drafts, as vLLM counts them: a round is one verdict on one request's drafts.

    `accepted_at[i]` counts the rounds in which the draft at position i was accepted, as long as
    the longest draft; `judged` the drafts that were accepted or overruled, not those after them;
    `saved` the tokens that needed no step of their own.
    """

    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    accepted_at: tuple[int, ...] = ()
    judged: int = 0
    saved: int = 0

    @property
    def per_position(self) -> tuple[float, ...]:
        """Share of all rounds in which the draft at each position was accepted."""
        return tuple(accepted / self.drafts for accepted in self.accepted_at)

    @property
    def mean_length(self) -> float | None:
        """Accepted drafts a round, and the target's own token; None of no round."""
        return 1 + self.accepted_tokens / self.drafts if self.drafts else None

    @property
    def acceptance(self) -> float | None:
        """Share of the drafts that were judged; None of none."""
        return self.accepted_tokens / self.judged if self.judged else None

    @property
    def used(self) -> float | None:
        """Share of all drafts, those behind an overruled one too; None of none."""
        return self.accepted_tokens / self.draft_tokens if self.draft_tokens else None


def counted(step: StepStats) -> DraftCounts:
    """What became of one step's drafts."""
    lengths = {id: len(tokens) for id, tokens in step.tokens}
    positions = max((len(verdict.drafts) for verdict in step.verdicts), default=0)
    accepted_at = [0] * positions
    judged = saved = 0
    for verdict in step.verdicts:
        for position in range(verdict.accepted):
            accepted_at[position] += 1
        made = lengths.get(verdict.id, 0)  # not one of the target's own where the request ended
        overruled = verdict.accepted < min(len(verdict.drafts), made)
        judged += verdict.accepted + overruled
        saved += max(made - 1, 0)
    return DraftCounts(
        drafts=len(step.verdicts),
        draft_tokens=sum(len(verdict.drafts) for verdict in step.verdicts),
        accepted_tokens=sum(verdict.accepted for verdict in step.verdicts),
        accepted_at=tuple(accepted_at),
        judged=judged,
        saved=saved,
    )


def together(every: Iterable[DraftCounts]) -> DraftCounts:
    """Several counts as one."""
    found = tuple(every)
    return DraftCounts(
        drafts=sum(counts.drafts for counts in found),
        draft_tokens=sum(counts.draft_tokens for counts in found),
        accepted_tokens=sum(counts.accepted_tokens for counts in found),
        accepted_at=tuple(
            map(sum, zip_longest(*(counts.accepted_at for counts in found), fillvalue=0))
        ),
        judged=sum(counts.judged for counts in found),
        saved=sum(counts.saved for counts in found),
    )
