"""An n-gram baseline as strong as n-grams get: interpolated, with modified Kneser-Ney discounts.

S. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling", 1998.
Order and kind of the lower orders (continuation counts, or plain counts as in absolute
discounting) are chosen on documents of their own. Everything is sorted arrays: the context of
length k + 1 at a place is the pair (context of length k, the token before it), numbered by rank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.training.data import Encoded, Source, Stream

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Text:
    """Documents as one line of tokens, and the places in it whose tokens are predicted."""

    tokens: Ints
    places: Ints

    @classmethod
    def of(cls, documents: Sequence[Encoded], order: int) -> "Text":
        """Each document after `order` copies of its first token: no context crosses documents."""
        tokens: list[Ints] = []
        places: list[Ints] = []
        at = 0
        for prompt, body in documents:
            ids = np.array([prompt[0]] * order + prompt + body, dtype=np.int64)
            tokens.append(ids)
            at += len(ids)
            places.append(np.arange(at - len(body), at))
        return cls(np.concatenate(tokens), np.concatenate(places))


@dataclass(frozen=True, slots=True)
class Discounted:
    """Counts of one order's n-grams, discounted: what is left of each, and what is given away.

    A word's share of its context is kept[n-gram] / total[context]; the lower order's weight is
    given[context] / total[context].
    """

    kept: Floats
    given: Floats
    total: Floats

    @classmethod
    def of(cls, counts: Ints, contexts: Ints) -> "Discounted":
        discount = _discounts(counts)[np.minimum(counts, 3)]
        size = int(contexts[-1]) + 1
        return cls(
            counts - discount,
            np.bincount(contexts, discount, size).astype(np.float64),
            np.bincount(contexts, counts, size).astype(np.float64),
        )


def _discounts(counts: Ints) -> Floats:
    """Discounts of n-grams seen 0, 1, 2 and more times, from the counts of counts."""
    n1, n2, n3, n4 = (int((counts == n).sum()) for n in (1, 2, 3, 4))
    if 0 in (n1, n2, n3):
        return np.array([0.0, 0.5, 0.75, 0.9])  # too little data for the estimate
    y = n1 / (n1 + 2 * n2)
    estimates = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return np.array([0.0, *(min(max(d, 0.05), n - 0.05) for n, d in enumerate(estimates, 1))])


@dataclass(frozen=True, slots=True)
class Level:
    """n-grams of one length: sorted keys (context number x vocabulary + word), and counts."""

    longer: Ints  # sorted keys of the contexts one token longer
    grams: Ints
    plain: Discounted
    continuation: Discounted


class NGrams:
    """Counts up to an order; probabilities for every order and both kinds at once."""

    def __init__(self, text: Text, vocab: int, order: int) -> None:
        self.vocab = vocab
        self.order = order
        words = text.tokens[text.places]
        contexts = np.zeros_like(words)
        grams: list[Ints] = []
        counts: list[Ints] = []
        longer: list[Ints] = []
        for k in range(order):
            keys, times = np.unique(contexts * vocab + words, return_counts=True)
            grams.append(keys)
            counts.append(times.astype(np.int64))
            extended = contexts * vocab + text.tokens[text.places - k - 1]
            keys, ranks = np.unique(extended, return_inverse=True)
            longer.append(keys)
            contexts = ranks.astype(np.int64)
        self.levels: list[Level] = []
        for k in range(order):
            histories = grams[k] // vocab
            plain = Discounted.of(counts[k], histories)
            continuation = plain
            if k + 1 < order:
                # How many different tokens an n-gram was seen after.
                shorter = longer[k][grams[k + 1] // vocab] // vocab
                after = np.unique(shorter * vocab + grams[k + 1] % vocab, return_counts=True)[1]
                continuation = Discounted.of(after.astype(np.int64), histories)
            self.levels.append(Level(longer[k], grams[k], plain, continuation))

    def probabilities(self, text: Text) -> dict[tuple[str, int], Floats]:
        """{(kind, order): probability of the token at each of the text's places}."""
        words = text.tokens[text.places]
        contexts = np.zeros_like(words)
        known = np.ones(len(words), dtype=np.bool_)
        lower = {kind: np.full(len(words), 1 / self.vocab) for kind in ("kneser-ney", "absolute")}
        result: dict[tuple[str, int], Floats] = {}
        for k, level in enumerate(self.levels):
            at, seen = _find(level.grams, contexts * self.vocab + words)
            seen &= known

            def mixed(
                part: Discounted,
                rest: Floats,
                at: Ints = at,
                seen: NDArray[np.bool_] = seen,
                contexts: Ints = contexts,
                known: NDArray[np.bool_] = known,
            ) -> Floats:
                kept = np.where(seen, part.kept[at], 0.0)
                share = (kept + part.given[contexts] * rest) / part.total[contexts]
                return np.where(known, share, rest)

            for kind in lower:
                result[kind, k + 1] = mixed(level.plain, lower[kind])
            lower["kneser-ney"] = mixed(level.continuation, lower["kneser-ney"])
            lower["absolute"] = result["absolute", k + 1]
            before = text.tokens[text.places - k - 1]
            contexts, found = _find(level.longer, contexts * self.vocab + before)
            known &= found
        return result


def _find(keys: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Index of each wanted key in sorted keys (some index where it is missing), and if it is."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best n-gram model's loss on the held-out documents."""

    kind: str
    order: int
    training_tokens: int
    tokens: int
    nats_per_token: float

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats_per_token)


def baseline(
    source: Source, held_out: Sequence[Encoded], vocab: int, order: int, training_tokens: int
) -> Baseline:
    """Trains on `training_tokens` body tokens, chooses order and kind, measures on `held_out`."""
    training = Text.of(source.at_least(Stream.NGRAM, training_tokens), order)
    tuning = Text.of(source.at_least(Stream.NGRAM_TUNING, training_tokens // 50, 5), order)
    model = NGrams(training, vocab, order)
    losses = {key: -np.log(p).mean() for key, p in model.probabilities(tuning).items()}
    kind, best = min(losses, key=lambda key: float(losses[key]))
    measured = Text.of(held_out, order)
    loss = float(-np.log(model.probabilities(measured)[kind, best]).mean())
    return Baseline(kind, best, len(training.places), len(measured.places), loss)
