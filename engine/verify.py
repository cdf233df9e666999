"""Which drafts are kept.

A row with k drafts has logits at k + 1 places: after its last own token, and after each draft.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.config import Sampling
from engine.decoder import Decoder
from engine.plan import Row
from engine.sampling import SampleSpec, Stream, gumbel, hash_words, probabilities


class Rule(Protocol):
    """A rule of acceptance."""

    def __call__(
        self, decoder: Decoder, rows: Sequence[Row], logits: Tensor, drafted: Tensor | None
    ) -> list[tuple[int, ...]]:
        """For each row its drafts as far as they are kept, then one token of the model's own.

        `logits` [places of all rows, vocab]; `drafted` [drafts of all rows, vocab] are those that
        the drafts were sampled from, None where they are certain.
        """
        ...


def accept_equal(
    decoder: Decoder, rows: Sequence[Row], logits: Tensor, drafted: Tensor | None
) -> list[tuple[int, ...]]:
    """Every place is sampled as if there were no drafts, with the noise that belongs to it; drafts
    are kept while they are that very token. So they change nothing but how many places there are.

    (Daliri, Musco and Suresh 2024: drafter-invariant speculative decoding.)
    """
    if not rows:
        return []
    specs = [
        SampleSpec(row.sampling, row.length + i)
        for row in rows
        if row.sampling is not None
        for i in range(row.drafts + 1)
    ]
    tokens = decoder.sample(logits, specs)
    if len(tokens) == len(rows):  # without any drafts
        return [(token,) for token in tokens]
    kept, place = [], 0
    for row in rows:
        own = tokens[place : place + row.drafts + 1]
        place += len(own)
        equal = (draft == token for draft, token in zip(row.proposed, own, strict=False))
        kept.append(tuple(own[: 1 + next((i for i, e in enumerate(equal) if not e), row.drafts)]))
    return kept


def accept_by_ratio(
    decoder: Decoder, rows: Sequence[Row], logits: Tensor, drafted: Tensor | None
) -> list[tuple[int, ...]]:
    """A draft d is kept with the probability min(1, p(d) / q(d)), where p is the model's and q the
    draft model's; in place of the first that is not comes a token from max(p - q, 0), scaled.

    The tokens are distributed as without drafts, but they are other tokens: each place draws on
    streams of noise of its own for draft, verdict and replacement. (Leviathan, Kalman and Matias
    2023; Chen et al. 2023.)
    """
    if not any(row.drafts for row in rows):
        return accept_equal(decoder, rows, logits, None)
    kept, place, draft = [], 0, 0
    for row in rows:
        assert row.sampling is not None
        p = probabilities(logits[place : place + row.drafts + 1], row.sampling)
        if drafted is None:
            q = torch.nn.functional.one_hot(
                torch.tensor(row.proposed, dtype=torch.int64, device=p.device), p.shape[-1]
            )
        else:
            q = probabilities(drafted[draft : draft + row.drafts], row.sampling)
        kept.append(tuple(_by_ratio(row, row.sampling, p, q)))
        place += row.drafts + 1
        draft += row.drafts
    return kept


def _by_ratio(row: Row, sampling: Sampling, p: Tensor, q: Tensor) -> list[int]:
    tokens: list[int] = []
    for i, draft in enumerate(row.proposed):
        position = row.length + i
        verdict = SampleSpec(sampling, position, Stream.VERDICT)
        word = int(hash_words([verdict.key], 1, p.device))
        if (word + 0.5) * 2.0**-32 * float(q[i, draft]) >= float(p[i, draft]):
            rest = (p[i] - q[i]).clamp_min(0)
            return [*tokens, _draw(rest, SampleSpec(sampling, position, Stream.RESIDUAL))]
        tokens.append(draft)
    return [*tokens, _draw(p[-1], SampleSpec(sampling, row.end))]


def _draw(weights: Tensor, spec: SampleSpec) -> int:
    """A token as likely as its weight [vocab] says."""
    noise = gumbel(hash_words([spec.key], len(weights), weights.device))[0]
    return int((weights.log() + noise).argmax())


RULES: dict[str, Rule] = {"equal": accept_equal, "ratio": accept_by_ratio}
