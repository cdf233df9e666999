"""The n-gram baseline: probabilities that sum to one, and strength."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.training.data import Encoded
from engine.training.ngram import NGrams, Text

VOCAB = 12
DOCUMENTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=4),
        st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(DOCUMENTS, st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6), st.integers(1, 5))
def test_probabilities_sum_to_one(pairs: list[Encoded], context: list[int], order: int) -> None:
    model = NGrams(Text.of(pairs, order), VOCAB, order)
    every_word = Text.of([(context, [word]) for word in range(VOCAB)], order)
    for probabilities in model.probabilities(every_word).values():
        assert (probabilities > 0).all()
        assert math.isclose(float(probabilities.sum()), 1.0, rel_tol=1e-9)


def second_order(rng: Random, length: int) -> Encoded:
    """Tokens that follow from the two before them, three times in four."""
    tokens = [rng.randrange(VOCAB), rng.randrange(VOCAB)]
    for _ in range(length):
        guess = (3 * tokens[-1] + 5 * tokens[-2] + 1) % VOCAB
        tokens.append(guess if rng.random() < 0.75 else rng.randrange(VOCAB))
    return tokens[:2], tokens[2:]


def test_longer_contexts_help_as_far_as_the_language_reaches() -> None:
    rng = Random(5)
    order = 5
    model = NGrams(Text.of([second_order(rng, 60) for _ in range(300)], order), VOCAB, order)
    measured = Text.of([second_order(rng, 60) for _ in range(60)], order)
    loss = {key: float(-np.log(p).mean()) for key, p in model.probabilities(measured).items()}
    likely = 0.75 + 0.25 / VOCAB
    entropy = -likely * math.log(likely) - (1 - likely) * math.log(0.25 / VOCAB)
    for kind in ("kneser-ney", "absolute"):
        assert loss[kind, 3] < 0.6 * loss[kind, 1]
        assert loss[kind, 3] == pytest.approx(entropy, rel=0.05)
        assert loss[kind, 5] < 1.25 * loss[kind, 3]  # contexts never seen cost little


def test_orders_and_unseen_tokens_by_hand() -> None:
    # Seen: 1 after 0 twice, 2 after 0 once; with so little data the discounts are 0.5 and 0.75.
    model = NGrams(Text.of([([0], [1]), ([0], [1]), ([0], [2])], 2), 4, 2)
    one = model.probabilities(Text.of([([0], [1])], 2))
    unigram = (2 - 0.75 + (0.75 + 0.5) / 4) / 3
    assert one["absolute", 1][0] == pytest.approx(unigram)
    assert one["absolute", 2][0] == pytest.approx((2 - 0.75 + (0.75 + 0.5) * unigram) / 3)
    # Both tokens were seen after one token only: continuation counts are 1 and 1.
    continuation = (1 - 0.5 + (0.5 + 0.5) / 4) / 2
    assert one["kneser-ney", 2][0] == pytest.approx((2 - 0.75 + 1.25 * continuation) / 3)
    unseen = model.probabilities(Text.of([([3], [3])], 2))
    assert unseen["kneser-ney", 2][0] == pytest.approx((0.5 + 0.5) / 2 / 4)
