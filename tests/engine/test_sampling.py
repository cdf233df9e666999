"""Sampling: the right distribution, and a function of (logits, seed, position) alone."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine import sampling
from engine.config import Sampling
from engine.sampling import SampleSpec, gumbel, hash_words, row_key, sample

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
# The chi-square value that a right sampler exceeds once in ten thousand, by degrees of freedom.
CHI_SQUARE = {2: 18.421, 4: 23.513, 7: 29.878, 15: 44.263}
DRAWS = 20_000
LOGITS = torch.tensor([0.3, -1.2, 2.0, 0.3, 1.1, -0.4, 0.9, -2.0])


def draws(logits: Tensor, how: Sampling, count: int = DRAWS, first: int = 0) -> list[int]:
    """`count` tokens for the same logits at as many positions."""
    rows = logits.expand(count, -1)
    return sample(rows, [SampleSpec(how, first + i) for i in range(count)])


def chi_square(tokens: list[int], probabilities: list[float]) -> float:
    """Pearson's statistic; tokens that may not come must not come."""
    counts = Counter(tokens)
    total = 0.0
    for token, p in enumerate(probabilities):
        expected = p * len(tokens)
        if p == 0:
            assert counts[token] == 0, f"token {token} was filtered out"
        else:
            total += (counts[token] - expected) ** 2 / expected
    return total


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp(logit / temperature) for logit in logits]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_tokens_come_as_often_as_softmax_says(temperature: float, seed: int) -> None:
    tokens = draws(LOGITS, Sampling(temperature=temperature, seed=seed))
    assert chi_square(tokens, softmax(LOGITS.tolist(), temperature)) < CHI_SQUARE[7]


@pytest.mark.parametrize("position", [1, 700])
def test_seeds_sample_as_well_as_positions_do(position: int) -> None:
    rows = LOGITS.expand(DRAWS, -1)
    specs = [SampleSpec(Sampling(temperature=1.0, seed=seed), position) for seed in range(DRAWS)]
    assert chi_square(sample(rows, specs), softmax(LOGITS.tolist())) < CHI_SQUARE[7]


def test_rare_tokens_are_not_lost() -> None:
    """Noise of too few bits would never bring them."""
    logits = torch.tensor([0.0, -7.0, -8.0])
    tokens = draws(logits, Sampling(temperature=1.0, seed=5), 200_000)
    assert chi_square(tokens, softmax(logits.tolist())) < CHI_SQUARE[2]


def test_the_distribution_test_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "gumbel", lambda words: 1.05 * gumbel(words))
    tokens = draws(LOGITS, Sampling(temperature=1.0, seed=0))
    assert chi_square(tokens, softmax(LOGITS.tolist())) > CHI_SQUARE[7]


@pytest.mark.parametrize(("seeds", "apart"), [((3, 3), 1), ((3, 4), 0), ((3, 2**32 + 3), 0)])
def test_neighbours_are_independent(seeds: tuple[int, int], apart: int) -> None:
    """Pairs of tokens at neighbouring positions, or of neighbouring seeds at one position."""
    logits = LOGITS[:4]
    first = draws(logits, Sampling(temperature=1.0, seed=seeds[0]))
    second = draws(logits, Sampling(temperature=1.0, seed=seeds[1]), first=apart)
    pairs = [4 * a + b for a, b in zip(first, second, strict=True)]
    p = softmax(logits.tolist())
    # 16 cells with known probabilities: 15 degrees of freedom.
    assert chi_square(pairs, [a * b for a in p for b in p]) < CHI_SQUARE[15]


def test_tokens_of_one_row_have_independent_noise() -> None:
    noise = gumbel(hash_words([row_key(1, i) for i in range(4000)], 6, CPU))
    correlation = torch.corrcoef(noise.T) - torch.eye(6, dtype=torch.float64)
    assert correlation.abs().max() < 4 / math.sqrt(4000)
    assert abs(noise.mean() - 0.5772156649) < 4 * 1.2825 / math.sqrt(noise.numel())
    assert abs(noise.var() - math.pi**2 / 6) < 0.08


def test_noise_is_finite_at_both_ends_and_never_falls() -> None:
    words = torch.tensor([[0, 1, 2**31, 2**32 - 2, 2**32 - 1]])
    noise = gumbel(words)[0]
    assert noise.isfinite().all()
    assert noise.tolist() == sorted(noise.tolist())
    assert len(set(noise.tolist())) == 5
    assert noise[0] == pytest.approx(-math.log(-math.log(0.5 / 2**32)))
    assert noise[4] == pytest.approx(math.log(2**33), rel=1e-6)


@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_extreme_noise_cannot_bring_back_a_filtered_token(
    monkeypatch: pytest.MonkeyPatch, word: int
) -> None:
    monkeypatch.setattr(
        sampling, "hash_words", lambda keys, vocab, device: torch.full((len(keys), vocab), word)
    )
    assert draws(LOGITS, Sampling(temperature=1.0, top_k=2), 1) == [2]
    assert draws(LOGITS, Sampling(temperature=1.0, top_p=0.01), 1) == [2]


def test_hashed_words_are_32_bits_and_all_of_them() -> None:
    words = hash_words([row_key(seed, 3) for seed in range(2000)], 7, CPU)
    assert (words >= 0).all()
    assert (words < 2**32).all()
    for bit in range(32):
        share = (words >> bit & 1).double().mean()
        assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(words.numel())


def test_the_noise_is_the_one_that_stored_races_have() -> None:
    """Races are told by their tokens' hashes: the noise may never change."""
    assert row_key(7, 11) == (2494548933, 1476813191)
    words = hash_words([row_key(7, 11)], 4, CPU)
    assert words.tolist() == [[1449832352, 446395951, 2109547857, 2253725477]]


# Filters


def test_top_k_keeps_the_k_likeliest() -> None:
    tokens = draws(LOGITS, Sampling(temperature=1.0, seed=9, top_k=3))
    kept = [x if i in (2, 4, 6) else -math.inf for i, x in enumerate(LOGITS.tolist())]
    assert chi_square(tokens, softmax(kept)) < CHI_SQUARE[2]


def test_top_k_keeps_what_equals_the_last_of_the_k() -> None:
    tokens = draws(LOGITS, Sampling(temperature=1.0, seed=9, top_k=4))
    kept = [x if i in (0, 2, 3, 4, 6) else -math.inf for i, x in enumerate(LOGITS.tolist())]
    assert chi_square(tokens, softmax(kept)) < CHI_SQUARE[4]


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
    for p, kept in (
        (0.05, {1}),
        (0.39, {1}),
        (0.41, {1, 2}),
        (0.69, {1, 2}),
        (0.71, {1, 2, 3}),
        (0.99, {0, 1, 2, 3}),
    ):
        tokens = draws(logits, Sampling(temperature=1.0, seed=1, top_p=p), 4000)
        assert set(tokens) == kept, p


def test_top_p_takes_the_lower_id_of_equals() -> None:
    tokens = draws(torch.zeros(8), Sampling(temperature=1.0, seed=1, top_p=0.5), 2000)
    assert set(tokens) == {0, 1, 2, 3}


def test_top_p_counts_after_temperature_and_top_k() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    # Of the two likeliest alone, the first has 0.625.
    assert set(draws(logits, Sampling(temperature=1.0, top_k=2, top_p=0.6), 500)) == {0}
    # At half the temperature the first has 0.66 of all.
    assert set(draws(logits, Sampling(temperature=0.5, top_p=0.6), 500)) == {0}
    assert set(draws(logits, Sampling(temperature=1.0, top_p=0.6), 500)) == {0, 1}


@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=9),
    st.integers(0, 10),
    st.sampled_from((0.1, 0.5, 0.9, 1.0)),
    st.integers(0, 99),
)
def test_filters_only_ever_take_the_unlikelier_away(
    ranks: list[int], top_k: int, top_p: float, seed: int
) -> None:
    """What comes is never less likely than something that cannot come."""
    logits = torch.tensor(ranks, dtype=torch.float32)
    masked = sampling._filter(logits, top_k, top_p)
    kept = masked > -math.inf
    assert kept.any()
    assert logits[kept].min() >= logits[~kept].max() if (~kept).any() else True
    assert torch.equal(masked[kept], logits[kept])
    if top_p == 1:
        limit = sorted(ranks, reverse=True)[top_k - 1] if 0 < top_k <= len(ranks) else -4
        assert kept.tolist() == [rank >= limit for rank in ranks]
    token = draws(logits, Sampling(temperature=1.0, seed=seed, top_k=top_k, top_p=top_p), 1)[0]
    assert kept[token]


# Greedy


def test_temperature_zero_takes_the_lowest_id_of_the_largest() -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0], [5.0, 0.0, 5.0], [-1.0, -1.0, -1.0]])
    greedy = SampleSpec(Sampling(), 3)
    assert sample(logits, [greedy] * 3) == [1, 0, 0]
    warm = SampleSpec(Sampling(temperature=1.0), 3)
    assert sample(logits, [greedy, warm, greedy])[::2] == [1, 0]


@pytest.mark.parametrize("vocab", [1, 7, 1000, 50_000])
def test_ties_go_to_the_lowest_id_in_any_vocabulary(vocab: int) -> None:
    logits = torch.zeros(3, vocab)
    for row, first in enumerate((0, vocab // 3, vocab - 1)):
        logits[row, first:] = 1.0
    assert sample(logits, [SampleSpec(Sampling(), 1)] * 3) == [0, vocab // 3, vocab - 1]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-310, 5e-324])
def test_ever_smaller_temperatures_become_greedy(temperature: float) -> None:
    rows = torch.randn((50, 40), generator=torch.Generator().manual_seed(0))
    specs = [SampleSpec(Sampling(temperature=temperature, seed=i), i) for i in range(50)]
    greedy = [SampleSpec(Sampling(), i) for i in range(50)]
    assert sample(10 * rows, specs) == sample(10 * rows, greedy)


# Alone or in a batch


@given(
    st.lists(
        st.builds(
            SampleSpec,
            st.builds(
                Sampling,
                temperature=st.sampled_from((0.0, 0.3, 1.0, 2.5)),
                seed=st.integers(0, 2**63 - 1),
                top_k=st.sampled_from((0, 1, 3, 100)),
                top_p=st.sampled_from((1.0, 0.5, 0.95)),
            ),
            st.integers(1, 4096),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 99),
)
def test_what_runs_beside_it_moves_no_sample(specs: list[SampleSpec], seed: int) -> None:
    rows = torch.randn((len(specs), 61), generator=torch.Generator().manual_seed(seed)) * 3
    before = rows.clone()
    together = sample(rows, specs)
    alone = [sample(rows[i : i + 1], specs[i : i + 1])[0] for i in range(len(specs))]
    assert together == alone
    assert sample(rows.flip(0), specs[::-1]) == together[::-1]
    assert torch.equal(rows, before), "the logits were changed in place"
