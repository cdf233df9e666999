"""Rules of acceptance: whatever is drafted, tokens come as often as the target would say them."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from engine import verify
from engine.config import Sampling
from engine.kvcache import KVCache
from engine.plan import Row
from engine.sampling import SampleSpec, Stream, hash_words, probabilities, sample
from engine.verify import accept_by_ratio, accept_equal
from tests.engine.test_sampling import CHI_SQUARE, chi_square

pytestmark = pytest.mark.usefixtures("one_thread")
ROUNDS = 6_000
P = torch.tensor([0.1, 0.5, 0.4, 0.0, 0.0]).log()
LIKE = P
OFF = torch.tensor([0.45, 0.15, 0.2, 0.1, 0.1]).log()
DISJOINT = torch.tensor([0.0, 0.0, 0.0, 0.3, 0.7]).log()
CERTAIN = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]).log()
# What the target says after each token: another distribution, so that places are told apart.
AFTER = torch.stack([P.roll(shift) for shift in range(5)])


class Sampler:
    """All of a decoder that judging asks for."""

    def sample(self, logits: Tensor, specs: Sequence[SampleSpec]) -> list[int]:
        return sample(logits, specs)

    def run(self, cache: KVCache, rows: Sequence[Row], wanted: Sequence[int]) -> Tensor:
        raise AssertionError

    def draft(self, cache: KVCache, rows: Sequence[Row]) -> list[list[int]]:
        raise AssertionError

    nbytes = read_bytes = 0


def played(rule: verify.Rule, q: Tensor, drafts: int, temperature: float = 1.0) -> list[list[int]]:
    """The text's next tokens in many rounds of as many drafts from q, each of another seed."""
    stream = Stream.DRAFT if rule is accept_by_ratio else Stream.TOKEN
    rows, logits = [], []
    for seed in range(ROUNDS):
        how = Sampling(temperature=temperature, seed=seed)
        proposed = sample(
            q.expand(drafts, -1), [SampleSpec(how, 5 + i, stream) for i in range(drafts)]
        )
        rows.append(Row(str(seed), 4, (1, *proposed), (), how, drafts, drafts))
        logits.append(torch.stack([AFTER[token] for token in (0, *proposed)]))
    found = rule(Sampler(), rows, torch.cat(logits), q.repeat(ROUNDS * drafts, 1))
    return [list(tokens) for tokens in found]


def scaled(logits: Tensor, temperature: float) -> list[float]:
    found: list[float] = torch.softmax(logits.double() / temperature, -1).tolist()
    return found


@pytest.mark.parametrize("rule", [accept_equal, accept_by_ratio])
@pytest.mark.parametrize(
    ("q", "name"), [(LIKE, "like"), (OFF, "off"), (DISJOINT, "disjoint"), (CERTAIN, "certain")]
)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_tokens_are_distributed_as_without_drafts(
    rule: verify.Rule, q: Tensor, name: str, temperature: float
) -> None:
    """The first token, and the second after each of the first: drafted, replaced or a bonus."""
    found = played(rule, q, 2, temperature)
    expected = scaled(P, temperature)
    assert chi_square([tokens[0] for tokens in found], expected) < CHI_SQUARE[4]
    for first in range(3):
        # Of the rounds in which the second token was drafted at all.
        second = [tokens[1] for tokens in found if tokens[0] == first and len(tokens) > 1]
        if len(second) > 500:
            assert chi_square(second, scaled(AFTER[first], temperature)) < CHI_SQUARE[4]
    kept = sum(len(tokens) - 1 for tokens in found) / ROUNDS
    if name == "like" and rule is accept_by_ratio:
        # The second draft comes from P too, but the target says something else by then.
        assert all(len(tokens) > 1 for tokens in found)
    if name == "disjoint":
        assert kept == 0
    elif name == "off":
        assert 0 < kept < 2


@pytest.mark.parametrize("q", [OFF, DISJOINT])
def test_the_ratio_keeps_as_many_as_can_be(q: Tensor) -> None:
    """A draft is kept as often as the distributions overlap: 1 - TV."""
    found = played(accept_by_ratio, q, 1)
    overlap = float(torch.minimum(P.softmax(-1), q.softmax(-1)).sum())
    kept = sum(len(tokens) - 1 for tokens in found) / ROUNDS
    assert abs(kept - overlap) < 4 * (overlap * (1 - overlap) / ROUNDS) ** 0.5 + 1e-9


def test_shared_noise_would_bias_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test bites: drafts and replacements from one stream are not the target's."""
    words = hash_words

    def same(keys: list[tuple[int, int]], *rest: object) -> Tensor:
        return words(keys, *rest)

    monkeypatch.setattr(verify, "hash_words", same)
    monkeypatch.setattr(SampleSpec, "key", property(lambda spec: verify_key(spec)))
    found = played(accept_by_ratio, OFF, 1)
    assert chi_square([tokens[0] for tokens in found], scaled(P, 1.0)) > CHI_SQUARE[4]


def verify_key(spec: SampleSpec) -> tuple[int, int]:
    from engine.sampling import row_key

    return row_key(spec.sampling.seed, spec.position)


@pytest.mark.parametrize("rule", [accept_equal, accept_by_ratio])
def test_greedy_is_the_same_rule_at_no_temperature(rule: verify.Rule) -> None:
    how = Sampling()
    target = torch.tensor([[0.0, 3.0, 1.0], [2.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    for proposed, expected in {
        (1, 0): (1, 0, 2),  # the lower of two equals
        (1, 1): (1, 0),
        (2, 0): (1,),
        (): (1,),
        (1,): (1, 0),
    }.items():
        row = Row("1", 0, (0, *proposed), (), how, 2, len(proposed))
        drafted = target[: len(proposed)]
        if proposed:
            drafted = torch.nn.functional.one_hot(torch.tensor(proposed), 3).float()
        (found,) = rule(Sampler(), [row], target[: len(proposed) + 1], drafted)
        assert found == expected


def test_rows_are_judged_each_by_its_own_places() -> None:
    """As many drafts as there are, in rows beside rows with none."""
    how = Sampling(temperature=1.0, seed=3)
    logits = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    specs = [SampleSpec(how, position) for position in (5, 5, 6, 7, 5, 5, 6, 7, 8)]
    own = sample(logits, specs)
    rows = [
        Row("none", 4, (1,), (), how, 0, 0),
        Row("all", 4, (1, own[1], own[2]), (), how, 2, 2),
        Row("alone", 4, (1,), (), how, 3, 0),
        Row("some", 2, (1, 1, 1, own[5], own[6], (own[7] + 1) % 5), (), how, 3, 3),
    ]
    assert accept_equal(Sampler(), rows, logits, None) == [
        (own[0],),
        tuple(own[1:4]),
        (own[4],),
        tuple(own[5:8]),
    ]


def test_certain_drafts_need_no_logits() -> None:
    """Looked up and not sampled: kept as often as the target would have said them."""
    rows = [
        Row(str(seed), 4, (1, 2), (), Sampling(temperature=1.0, seed=seed), 1, 1)
        for seed in range(ROUNDS)
    ]
    found = accept_by_ratio(Sampler(), rows, P.repeat(2 * ROUNDS, 1), None)
    assert chi_square([tokens[0] for tokens in found], scaled(P, 1.0)) < CHI_SQUARE[4]
    kept = sum(len(tokens) - 1 for tokens in found) / ROUNDS
    assert abs(kept - 0.4) < 4 * (0.4 * 0.6 / ROUNDS) ** 0.5


def test_streams_are_other_noise() -> None:
    how = Sampling(seed=5)
    keys = {SampleSpec(how, 9, stream).key for stream in Stream}
    assert len(keys) == len(Stream)
    assert not SampleSpec(how, 9, Stream.DRAFT).plain
    assert SampleSpec(how, 9).plain


def test_probabilities_are_what_is_sampled() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.3, 1.1], [1.0, 1.0, 0.0, 0.0, 0.0]])
    how = Sampling(temperature=0.7, top_k=3)
    found = probabilities(logits, how)
    tokens = sample(
        logits[:1].expand(ROUNDS, -1),
        [SampleSpec(Sampling(temperature=0.7, top_k=3, seed=9), i) for i in range(ROUNDS)],
    )
    assert chi_square(tokens, found[0].tolist()) < CHI_SQUARE[4]
    assert probabilities(logits, Sampling())[1].tolist() == [1, 0, 0, 0, 0]
