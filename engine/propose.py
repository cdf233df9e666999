"""Who drafts: proposers of tokens that a request may go on with."""

from collections.abc import Mapping
from collections.abc import Sequence as Rows
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from engine.config import Knobs
from engine.decoder import draft_in_turn
from engine.draft_model import Draft
from engine.plan import Row
from engine.sampling import Stream
from engine.sequence import Sequence

# Tokens a step that the draft model may run only to know what it has missed, so that to switch it
# on stalls nobody.
CATCH_UP = 256
# A token or two is no catching up: the last one, and the draft before it where all were kept.
_USUAL = 2


@dataclass(frozen=True, slots=True)
class Proposal:
    """`drafts[i]` are for row i, at most as many as it has room for.

    `logits` [drafts of all rows, vocab] are what they were sampled from, where the ratio test will
    ask; `reached` says up to where the draft model has now seen a request, `caught_up` how many
    tokens it ran for nothing else.
    """

    drafts: tuple[tuple[int, ...], ...]
    logits: Tensor | None = None
    reached: Mapping[str, int] = field(default_factory=dict)
    caught_up: int = 0


class Proposer(Protocol):
    """Proposes tokens. Nothing that it says can change a text, only how soon it comes."""

    def can_draft(self, knobs: Knobs) -> bool:
        """Whether it would ever propose anything with these knobs."""
        ...

    def propose(self, rows: Rows[Row], sequences: Mapping[str, Sequence], knobs: Knobs) -> Proposal:
        """Drafts for the rows that have room; the sequences are only looked at."""
        ...

    def forget(self, id: str) -> None:
        """The request has ended; another may come by its name."""
        ...


class Junior:
    """A draft model. It is behind by as many tokens as it has not seen, and catches up first: in
    requests whose prompt still runs, and in those that it may draft for."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def can_draft(self, knobs: Knobs) -> bool:
        return knobs.kv_cache == "on"  # else it would have to begin anew with every step

    def propose(self, rows: Rows[Row], sequences: Mapping[str, Sequence], knobs: Knobs) -> Proposal:
        budget = CATCH_UP
        own: list[Row] = []
        drafting: list[bool] = []
        for row in rows:
            sequence = sequences[row.id]
            behind = row.end - sequence.drafted
            if row.sampling is not None and not row.room:
                behind = 0  # nobody asks what it knows
            count = behind if behind <= _USUAL else min(behind, budget)
            budget -= count if behind > _USUAL else 0
            drafting.append(count == behind and row.room > 0)
            if count:
                start, end = sequence.drafted, sequence.drafted + count
                sampling = row.sampling if drafting[-1] else None
                tokens = tuple(sequence.tokens[start:end])
                own.append(Row(row.id, start, tokens, row.pages, sampling, row.room))
        if not own:
            return Proposal(((),) * len(rows))
        decoder, cache = self._draft.decoder(knobs), self._draft.cache
        logits = None
        if knobs.acceptance == "ratio":
            drafted, logits = draft_in_turn(decoder, cache, own, Stream.DRAFT)
        else:
            drafted = decoder.draft(cache, own)
        found = iter(drafted)
        # The last draft is not run: nobody knows what it would be followed by.
        reached = {row.id: row.end + max(row.room - 1, 0) * bool(row.sampling) for row in own}
        return Proposal(
            drafts=tuple(tuple(next(found)) if drafts else () for drafts in drafting),
            logits=logits,
            reached=reached,
            caught_up=CATCH_UP - budget,
        )

    def forget(self, id: str) -> None:
        return


class Ngram:
    """Looks a request's own text up: what followed its last tokens when they last stood there.

    (Prompt lookup decoding, Saxena 2023.)
    """

    def __init__(self, longest: int = 4, shortest: int = 2) -> None:
        """Compares so many last tokens, the longest first."""
        self._sizes = range(longest, shortest - 1, -1)
        self._known: dict[str, _Places] = {}

    def can_draft(self, knobs: Knobs) -> bool:
        return True

    def propose(self, rows: Rows[Row], sequences: Mapping[str, Sequence], knobs: Knobs) -> Proposal:
        return Proposal(tuple(self._of(row, sequences[row.id].tokens) for row in rows))

    def _of(self, row: Row, tokens: list[int]) -> tuple[int, ...]:
        if not row.room:
            return ()
        if row.id not in self._known:
            self._known[row.id] = _Places(self._sizes)
        start = self._known[row.id].find(tokens)
        return () if start is None else tuple(tokens[start : start + row.room])

    def forget(self, id: str) -> None:
        self._known.pop(id, None)


class _Places:
    """Where each short run of a text's tokens last ended, of those that are followed by more."""

    def __init__(self, sizes: range) -> None:
        self._sizes = sizes
        self._ends: dict[tuple[int, ...], int] = {}
        self._seen = 0

    def find(self, tokens: list[int]) -> int | None:
        """Where what followed the text's last tokens before begins; None where nothing did."""
        for end in range(self._seen + 1, len(tokens)):
            for size in self._sizes:
                if size <= end:
                    self._ends[tuple(tokens[end - size : end])] = end
        self._seen = max(self._seen, len(tokens) - 1)
        for size in self._sizes:
            run = tuple(tokens[-size:])
            if run in self._ends:
                return self._ends[run]
        return None
