"""What a format of the weights costs in quality: figures on the same held-out tokens for all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log10

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.config import EngineError
from engine.decoder import Decoder
from engine.gptq import DequantizedLinear, Document, matrices, stages
from engine.kvcache import KVCache
from engine.linear import INT4, INT8, Bf16Linear, Linear, PlainLinear
from engine.plan import Row
from engine.quantize import ErrorFigures, Quantized, Scheme, errors, quantize
from engine.spec import ModelSpec
from engine.tensors import DecoderTensors

PAGE = 16
SCHEMES = tuple(
    Scheme(bits, granularity, symmetric)
    for bits in (8, 4)
    for granularity, symmetric in (
        ("tensor", True),
        ("tensor", False),
        ("channel", True),
        ("channel", False),
        ("group", True),
        ("group", False),
    )
)
# float [len(body), vocab] of a document: what is expected at each place of its body.
Scorer = Callable[[Document], Tensor]


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures over `tokens` body tokens.

    `mean_kl` is KL(fp32 || format) in nats a token, `top1` the share of places whose likeliest
    token is fp32's; `flip_gap` is how much likelier, in fp32's eyes, its own token was than the
    one put in its place, on average over the others (0 where there are none).
    """

    tokens: int
    perplexity: float
    mean_kl: float
    top1: float
    flip_gap: float


class FormatModel:
    """A decoder in one format, for whole documents at once: fast, and exact up to rounding.

    `nbytes` are those that a step reads: linear layers with their biases, and norms.
    """

    def __init__(self, tensors: DecoderTensors, linears: Mapping[str, Linear]) -> None:
        self._tensors = tensors
        self._linears = linears
        self.nbytes = sum(linear.nbytes for linear in linears.values())
        self.nbytes += sum(layer.norms.nbytes for layer in tensors.layers)
        self.nbytes += tensors.norm.untyped_storage().nbytes()

    @torch.no_grad()
    def __call__(self, document: Document) -> Tensor:
        """float [len(body), vocab]: a Scorer."""
        prompt, body = document
        steps = stages(self._tensors, [[*prompt, *body]])
        name, _, inputs = next(steps)
        while name != "head":
            name, _, inputs = steps.send(self._linears[name])
        first = len(prompt) - 1
        return self._linears["head"](inputs[0][first : first + len(body)])


def served(tensors: DecoderTensors, weights: str) -> FormatModel:
    """fp32, bf16, int8 or int4 (rounded to nearest), as they are served."""
    found: dict[str, Linear] = {}
    for name, matrix in matrices(tensors).items():
        match weights:
            case "fp32":
                found[name] = PlainLinear(matrix)
            case "bf16":
                found[name] = Bf16Linear(matrix)
            case "int8" | "int4":
                scheme = INT8 if weights == "int8" else INT4
                found[name] = DequantizedLinear(quantize(matrix.weight, scheme), matrix.bias)
            case _:
                raise EngineError(f"format {weights!r}: give fp32, bf16, int8 or int4")
    return FormatModel(tensors, found)


def with_codes(tensors: DecoderTensors, codes: Mapping[str, Quantized]) -> FormatModel:
    """A decoder on these codes, e.g. GPTQ's; one for each linear layer."""
    found: dict[str, Linear] = {
        name: DequantizedLinear(codes[name], matrix.bias)
        for name, matrix in matrices(tensors).items()
    }
    return FormatModel(tensors, found)


def decoder_scorer(decoder: Decoder, spec: ModelSpec, dtype: torch.dtype) -> Scorer:
    """A decoder that serves, on the CPU, as a Scorer: each document is one prefill."""

    def score(document: Document) -> Tensor:
        prompt, body = document
        tokens = (*prompt, *body)
        pages = -(-len(tokens) // PAGE)
        cache = KVCache(spec, pages, PAGE, dtype, torch.device("cpu"))
        row = Row("scored", 0, tokens, tuple(range(pages)), None)
        first = len(prompt) - 1
        with torch.no_grad():
            return decoder.run(cache, [row], range(first, first + len(body)))

    return score


def compare(
    reference: Scorer,
    scorers: Mapping[str, Scorer],
    documents: Sequence[Document],
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, Quality]:
    """Each scorer against the reference on the documents' bodies. `tell` hears how many are done.

    Raises EngineError for documents without a prompt, and where there is no body token at all.
    """
    if not all(prompt for prompt, _ in documents):
        raise EngineError("a document without a prompt: nothing says what its body begins with")
    if not any(body for _, body in documents):
        raise EngineError("no body tokens to compare on")
    sums = {name: torch.zeros(5, dtype=torch.float64) for name in scorers}
    for done, document in enumerate(documents, 1):
        labels = torch.tensor(document[1], dtype=torch.int64)
        expected = reference(document).log_softmax(-1)
        for name, scorer in scorers.items():
            found = expected if scorer is reference else scorer(document).log_softmax(-1)
            sums[name] += _sums(expected, found, labels)
        tell(done)
    return {name: _quality(total.tolist()) for name, total in sums.items()}


def _sums(expected: Tensor, found: Tensor, labels: Tensor) -> Tensor:
    """Tokens, nats, KL, equal picks, gaps of unequal ones: float64 [5]."""
    nats = F.nll_loss(found, labels, reduction="none")
    kl = (expected.exp() * (expected - found)).sum(-1)
    best, pick = expected.argmax(-1, keepdim=True), found.argmax(-1, keepdim=True)
    gaps = (expected.gather(1, best).exp() - expected.gather(1, pick).exp())[:, 0]
    parts = (torch.ones_like(nats), nats, kl, (best == pick)[:, 0], gaps)
    return torch.stack([part.to(torch.float64).sum() for part in parts])


def _quality(sums: list[float]) -> Quality:
    tokens, nats, kl, equal, gaps = sums
    unequal = tokens - equal
    return Quality(
        tokens=int(tokens),
        perplexity=exp(nats / tokens),
        mean_kl=kl / tokens,
        top1=equal / tokens,
        flip_gap=gaps / unequal if unequal else 0.0,
    )
