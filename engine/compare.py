"""What a format of the weights costs in quality: figures on the same held-out tokens for all."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log10
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.config import EngineError
from engine.decoder import Decoder
from engine.divergence import divergence
from engine.kvcache import KVCache
from engine.linear import Bf16Linear, Linear, PlainLinear, int4_weight, quantize_rows
from engine.model import gated, heads, rotary
from engine.plan import Row
from engine.quantize import Quantized, errors, quantize
from engine.scheme import INT8, ErrorFigures, QuantizationError, Scheme
from engine.spec import ModelSpec
from engine.tensors import DecoderTensors, LayerNorms, Matrix, matrices, read_tensors

Document = tuple[Sequence[int], Sequence[int]]  # token ids of prompt and body
PAGE = 16
# float [len(body), vocab] of a document: what is expected at each place of its body.
Scorer = Callable[[Document], Tensor]


class DequantizedLinear:
    """Quantized weights as Int8Linear and Int4Linear read them, at float speed for many rows.

    Rows are rounded to int8 as there, but the products are float: equal up to float32 rounding.
    """

    def __init__(self, weight: Quantized, bias: Tensor | None) -> None:
        self._weight = weight.dequantize()
        self._bias = bias
        self.nbytes = weight.nbytes
        if bias is not None:
            self.nbytes += bias.untyped_storage().nbytes()

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(rounded(x), self._weight, self._bias)


def rounded(x: Tensor) -> Tensor:
    """Rows as int8 holds them, in float again."""
    codes, scales = quantize_rows(x)
    return codes.to(x.dtype) * scales


Stage = tuple[str, Matrix, list[Tensor]]


def stages(
    tensors: DecoderTensors, documents: Iterable[Sequence[int]]
) -> Generator[Stage, Linear, None]:
    """Run documents through a decoder, stopping before each linear layer.

    Yields its name, its matrix and its inputs, float [tokens, in] a document; is sent what to
    multiply them with. The head comes last, and with it the end: nothing needs to be sent.
    """
    spec = tensors.spec
    tokens = [torch.tensor(document, dtype=torch.int64) for document in documents]
    longest = max((len(document) for document in tokens), default=0)
    if any(bool((ids < 0).any() or (ids >= spec.vocab_size).any()) for ids in tokens):
        raise EngineError(f"a token outside the vocabulary of {spec.vocab_size}")
    if longest > tensors.max_context:
        raise EngineError(f"a document of {longest} tokens: at most {tensors.max_context}")
    xs = [tensors.embedding[document] for document in tokens]
    cos, sin = rotary(tensors)

    def normed(weight: Tensor) -> list[Tensor]:
        return [F.rms_norm(x, (spec.hidden,), weight, spec.norm_eps) for x in xs]

    for number, layer in enumerate(tensors.layers):
        root = f"layers.{number}."
        hs = normed(layer.norms.attention)
        linear = yield root + "qkv", layer.qkv, hs
        hs = [_attend(linear(h), spec, layer.norms, cos, sin) for h in hs]
        linear = yield root + "out", layer.out, hs
        xs = [x + linear(h) for x, h in zip(xs, hs, strict=True)]
        hs = normed(layer.norms.ffn)
        linear = yield root + "gate_up", layer.gate_up, hs
        hs = [gated(linear(h), spec.ffn) for h in hs]
        linear = yield root + "down", layer.down, hs
        xs = [x + linear(h) for x, h in zip(xs, hs, strict=True)]
    yield "head", tensors.head, normed(tensors.norm)


def _attend(qkv: Tensor, spec: ModelSpec, norms: LayerNorms, cos: Tensor, sin: Tensor) -> Tensor:
    """Causal attention inside one document: [tokens, q + k + v] -> [tokens, heads * head]."""
    length = len(qkv)
    found = heads(qkv, spec, norms, cos[:length], sin[:length])
    query, key, value = (x.transpose(0, 1) for x in found)
    key, value = (x.repeat_interleave(spec.groups, 0) for x in (key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return mixed.transpose(0, 1).reshape(length, -1)


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures over `tokens` body tokens.

    `mean_kl` is KL(fp32 || format) in nats a token, `top1` the share of places whose likeliest
    token is fp32's; `flip_gap` is how much likelier, in fp32's eyes, its own token was than the
    one put in its place, on average over the others (0 where there are none). `clear` is the share
    of places where fp32's first choice leads its second by CLEAR or more, `clear_top1` the
    agreement there (1 where there are none): the rest are near ties, that any rounding turns.
    """

    tokens: int
    perplexity: float
    mean_kl: float
    top1: float
    flip_gap: float
    clear: float
    clear_top1: float


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
    """fp32, bf16, int8 or int4, as they are served."""
    found: dict[str, Linear] = {}
    for name, matrix in matrices(tensors).items():
        match weights:
            case "fp32":
                found[name] = PlainLinear(matrix)
            case "bf16":
                found[name] = Bf16Linear(matrix)
            case "int8":
                found[name] = DequantizedLinear(quantize(matrix.weight, INT8), matrix.bias)
            case "int4":
                found[name] = DequantizedLinear(int4_weight(matrix), matrix.bias)
            case _:
                raise EngineError(f"format {weights!r}: give fp32, bf16, int8 or int4")
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
    sums = {name: torch.zeros(7, dtype=torch.float64) for name in scorers}
    for done, document in enumerate(documents, 1):
        labels = torch.tensor(document[1], dtype=torch.int64)
        expected = reference(document).log_softmax(-1)
        for name, scorer in scorers.items():
            found = expected if scorer is reference else scorer(document).log_softmax(-1)
            sums[name] += _sums(expected, found, labels)
        tell(done)
    return {name: _quality(total.tolist()) for name, total in sums.items()}


def _sums(expected: Tensor, found: Tensor, labels: Tensor) -> Tensor:
    """Tokens, nats, KL, equal picks, gaps of unequal ones, clear places, equal picks there:
    float64 [7]."""
    nats = F.nll_loss(found, labels, reduction="none").to(torch.float64)
    by = divergence(expected, found)
    parts = (torch.ones_like(nats), nats, by.kl, by.top1, by.gap, by.clear, by.clear_top1)
    return torch.stack([part.sum() for part in parts])


def _quality(sums: list[float]) -> Quality:
    tokens, nats, kl, equal, gaps, clear, clear_equal = sums
    return Quality(
        tokens=int(tokens),
        perplexity=exp(nats / tokens),
        mean_kl=kl / tokens,
        top1=equal / tokens,
        flip_gap=gaps / (tokens - equal) if tokens > equal else 0.0,
        clear=clear / tokens,
        clear_top1=clear_equal / clear if clear else 1.0,
    )


@dataclass(frozen=True, slots=True)
class WeightFigures:
    """All linear layers of a decoder in one scheme: errors over all their weights, `nbytes` of
    codes, scales and zero-points; compression is against the decoder's own dtype."""

    errors: ErrorFigures
    nbytes: int


def scheme_figures(tensors: DecoderTensors, scheme: Scheme) -> WeightFigures:
    """Round to nearest by a scheme. Raises EngineError naming a layer that cannot be."""
    codes: dict[str, Quantized] = {}
    for name, matrix in matrices(tensors).items():
        try:
            codes[name] = quantize(matrix.weight, scheme)
        except QuantizationError as error:
            raise EngineError(f"{name}: {error}") from None
    return weight_figures(tensors, codes)


def weight_figures(tensors: DecoderTensors, codes: Mapping[str, Quantized]) -> WeightFigures:
    """The figures of codes that there are already, one for each linear layer."""
    noise = signal = largest = 0.0
    count = held = before = 0
    for name, matrix in matrices(tensors).items():
        weight, found = matrix.weight, errors(matrix.weight, codes[name])
        noise += found.mse * weight.numel()
        signal += float(weight.to(torch.float64).square().sum())
        largest = max(largest, found.largest)
        count += weight.numel()
        held += codes[name].nbytes
        before += weight.numel() * weight.element_size()
    snr = inf if noise == 0 else -inf if signal == 0 else 10 * log10(signal / noise)
    return WeightFigures(ErrorFigures(noise / count, largest, snr, before / held), held)


def read_model(folder: Path, max_context: int) -> DecoderTensors:
    """A folder's tensors in float32 on the CPU, as the functions here take them. Raises
    ModelError."""
    return read_tensors(folder, torch.float32, torch.device("cpu"), max_context)
