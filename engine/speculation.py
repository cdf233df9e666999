"""Speculation around a step: who drafts, how many tokens, and what is learnt from each step."""

from collections.abc import Mapping
from dataclasses import replace

from engine.config import KnobError, Knobs
from engine.draft_length import Auto, DraftLength, Fixed
from engine.draft_model import Draft, NoDraft
from engine.forecast import Round
from engine.plan import Ration, StepPlan, StepResult
from engine.propose import Junior, Ngram, Proposal, Proposer
from engine.sequence import Sequence
from engine.stats import StepTimes, Verdict

_NOTHING = Proposal(())
_NEVER = Fixed(0)


class Speculation:
    """Proposers by their names, and the draft lengths that `auto` has learnt for each setting."""

    def __init__(self, draft: Draft) -> None:
        self._proposers: dict[str, Proposer] = {"ngram": Ngram()}
        self.use(draft)

    def use(self, draft: Draft) -> None:
        """Another draft model, or none."""
        self._auto: dict[tuple[object, ...], Auto] = {}
        if isinstance(draft, NoDraft):
            self._proposers.pop("junior", None)
        else:
            self._proposers["junior"] = Junior(draft)

    def check(self, knobs: Knobs) -> None:
        """Raises KnobError where nobody is there to draft."""
        if knobs.speculation not in ("off", *self._proposers):
            raise KnobError(
                f"knob speculation: {knobs.speculation} needs a draft model, and none was given"
            )

    def ration(self, knobs: Knobs, requests: int) -> Ration:
        """How many drafts a step of so many requests should carry."""
        return self._length(knobs).choose(requests)

    def _length(self, knobs: Knobs) -> DraftLength:
        proposer = self._proposers.get(knobs.speculation)
        if proposer is None or not proposer.can_draft(knobs):
            return _NEVER
        if isinstance(knobs.draft_length, int):
            return Fixed(knobs.draft_length)
        key = _setting(knobs)
        if key not in self._auto:
            self._auto[key] = Auto()
        return self._auto[key]

    def propose(
        self, plan: StepPlan, sequences: Mapping[str, Sequence]
    ) -> tuple[StepPlan, Proposal]:
        """The plan with drafts behind its rows."""
        if not plan.draft_length:
            return plan, _NOTHING
        proposal = self._proposers[plan.knobs.speculation].propose(plan.rows, sequences, plan.knobs)
        pairs = zip(plan.rows, proposal.drafts, strict=True)
        return replace(plan, rows=tuple(row.carrying(drafts) for row, drafts in pairs)), proposal

    def note(
        self, plan: StepPlan, proposal: Proposal, verdicts: tuple[Verdict, ...], ms: StepTimes
    ) -> None:
        """Learn from a step."""
        knobs = plan.knobs
        if knobs.speculation == "off" or knobs.draft_length != "auto" or not plan.rows:
            return
        # Without a KV cache every step runs whole texts, and drafts come on top as ever.
        whole = knobs.kv_cache == "off"
        if all(row.sampling and (whole or row.length - row.start == 1) for row in plan.rows):
            round = Round(
                requests=len(plan.rows),
                context=sum(row.length for row in plan.rows) / len(plan.rows),
                accepted=[(len(verdict.drafts), verdict.accepted) for verdict in verdicts],
                draft_ms=ms.draft,
                verify_ms=ms.total - ms.draft - ms.score,
                caught_up=proposal.caught_up > 0,
            )
            self._length(knobs).note(round)

    def forget(self, id: str) -> None:
        """The request has ended; another may come by its name."""
        for proposer in self._proposers.values():
            proposer.forget(id)


def verdicts(plan: StepPlan, result: StepResult) -> tuple[Verdict, ...]:
    """What the rows' drafts came to."""
    return tuple(
        Verdict(row.id, row.proposed, len(tokens) - 1)
        for row, tokens in zip(plan.rows, result.tokens, strict=True)
        if row.drafts
    )


def _setting(knobs: Knobs) -> tuple[object, ...]:
    """What makes steps cost and drafts be worth what they are."""
    return (
        *(knobs.speculation, knobs.acceptance, knobs.weights, knobs.kv_dtype),
        *(knobs.kernels, knobs.kv_cache),
    )
