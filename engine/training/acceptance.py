"""How many of a draft model's tokens the target would accept.

A draft is sampled with the noise of its place, g: argmax(logits / T + g), the very noise that the
target's own token will be sampled with (`engine.sampling`). It is accepted where both are equal.
Beside that stands what the usual rejection sampling would accept, 1 - TV(target, draft).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.sampling import gumbel, hash_words, row_key
from engine.training.data import Encoded, pack
from engine.training.model import Decoder, Llama
from engine.training.trainer import Batch

DRAFTS = 5  # the draft length that runs are measured for
TEMPERATURE = 0.8  # what a race is sampled at
DRAWS = 4


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Shares and means over body tokens of held-out documents, text as it stands there.

    Runs count the drafts accepted in a row out of DRAFTS, from every place; `tokens_per_round`
    walks through the documents as a server would: a round ends with the target's own token.
    """

    places: int
    draws: int
    top1_agreement: float  # greedy acceptance
    overlap: float  # mean 1 - TV at TEMPERATURE
    overlap_at_1: float  # the same at temperature 1
    coupled: float  # at TEMPERATURE, with the noise of each place
    greedy_run: float
    coupled_run: float
    greedy_tokens_per_round: float
    coupled_tokens_per_round: float


def measure(
    student: Llama, teacher: Llama, documents: Sequence[Encoded], row_length: int, pad: int
) -> Acceptance:
    """Both in fp32, on the student's device."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        device = student.embed_tokens.weight.device
        return compare(plain(student), plain(teacher), device, documents, row_length, pad)
    finally:
        torch.set_float32_matmul_precision(precision)


def plain(model: Llama) -> Llama:
    """A copy that attends without the kernels that need 16-bit numbers."""
    copy = Llama(model.shape).to(model.embed_tokens.weight.device)
    copy.load_state_dict(model.state_dict())
    return copy.eval()


@torch.no_grad()
def compare(
    student: Decoder,
    teacher: Decoder,
    device: torch.device,
    documents: Sequence[Encoded],
    row_length: int,
    pad: int,
) -> Acceptance:
    """The same of what decodes on `device`, in the precision that it has."""
    greedy: list[Tensor] = []  # hits of every run of consecutive places
    coupled: list[Tensor] = []
    warm = even = 0.0
    rows = pack(documents, row_length, pad)
    for number in range(len(rows)):
        batch = Batch.of(rows[number : number + 1], device)
        counted = (batch.labels >= 0).flatten()
        if not counted.any():
            continue
        q = student(batch.tokens, batch.positions, batch.bounds).flatten(0, 1)[counted].double()
        p = teacher(batch.tokens, batch.positions, batch.bounds).flatten(0, 1)[counted].double()
        warm += float(overlap(p / TEMPERATURE, q / TEMPERATURE).sum())
        even += float(overlap(p, q).sum())
        slots = counted.nonzero().flatten().cpu()
        # Between two bodies always lies a prompt.
        cuts = ((slots.diff() > 1).nonzero().flatten() + 1).tolist()
        greedy += (p.argmax(-1) == q.argmax(-1)).cpu().tensor_split(cuts)
        positions = (batch.positions.flatten()[counted] + 1).tolist()
        for draw in range(DRAWS):
            hits = coupled_hits(p, q, positions, number * DRAWS + draw)
            coupled += hits.cpu().tensor_split(cuts)
    places = sum(len(hits) for hits in greedy)
    return Acceptance(
        places=places,
        draws=DRAWS,
        top1_agreement=_share(greedy),
        overlap=warm / places,
        overlap_at_1=even / places,
        coupled=_share(coupled),
        greedy_run=mean_run(greedy, DRAFTS),
        coupled_run=mean_run(coupled, DRAFTS),
        greedy_tokens_per_round=tokens_per_round(greedy, DRAFTS),
        coupled_tokens_per_round=tokens_per_round(coupled, DRAFTS),
    )


def overlap(p: Tensor, q: Tensor) -> Tensor:
    """1 - TV of the distributions of logits [places, vocab]."""
    return torch.minimum(p.softmax(-1), q.softmax(-1)).sum(-1)


def coupled_hits(p: Tensor, q: Tensor, positions: Sequence[int], seed: int) -> Tensor:
    """bool [places]: whether both logits sample the same token with the noise of (seed, place)."""
    parts = []
    size = 4096 if p.is_cuda else 512
    for start in range(0, len(positions), size):
        keys = [row_key(seed, position) for position in positions[start : start + size]]
        noise = gumbel(hash_words(keys, p.shape[-1], p.device))
        wanted, drafted = (
            (logits[start : start + size] / TEMPERATURE + noise).argmax(-1) for logits in (p, q)
        )
        parts.append(wanted == drafted)
    return torch.cat(parts)


def _share(bodies: Sequence[Tensor]) -> float:
    return sum(int(hits.sum()) for hits in bodies) / sum(len(hits) for hits in bodies)


def mean_run(bodies: Sequence[Tensor], drafts: int) -> float:
    """Mean accepted drafts of a round of `drafts`, begun at every place; ends cut rounds short."""
    total = 0
    for hits in bodies:
        alive = torch.ones(len(hits), dtype=torch.int64)
        for ahead in range(min(drafts, len(hits))):
            alive = alive[: len(hits) - ahead] * hits[ahead:]
            total += int(alive.sum())
    return total / sum(len(hits) for hits in bodies)


def tokens_per_round(bodies: Sequence[Tensor], drafts: int) -> float:
    """Tokens over rounds, where each round starts behind the one before."""
    rounds = sum(1 for hits in bodies for _ in _rounds(hits.tolist(), drafts))
    return sum(len(hits) for hits in bodies) / rounds


def _rounds(hits: list[bool], drafts: int) -> Iterator[int]:
    """The first place of every round."""
    start = 0
    while start < len(hits):
        yield start
        end = start
        while end < min(start + drafts, len(hits)) and hits[end]:
            end += 1
        start = end + 1
