"""Calibrated 4-bit weights: GPTQ, Frantar et al. 2022, https://arxiv.org/abs/2210.17323.

Rounding to nearest treats all weights alike. GPTQ weighs an error by what it does to a layer's
output on real inputs X: it minimizes |(W - Q) X|^2, which is (W - Q) H (W - Q)^T for H = X X^T,
one column after another, each column's error made good by those still to come. On top of the
paper: a search for each group's scale, the regression of a layer's weights on the inputs that it
will see behind layers quantized before it, and rounds of coordinate descent over codes and scales
(as QuantEase, Behdin et al. 2023, https://arxiv.org/abs/2309.01885).
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.config import EngineError
from engine.linear import INT4, Linear, PlainLinear, quantize_rows
from engine.quantize import GROUP, Quantized
from engine.spec import ModelSpec
from engine.tensors import DecoderTensors, LayerNorms, Matrix

Document = tuple[Sequence[int], Sequence[int]]  # token ids of prompt and body
BLOCK = 64  # columns whose effect on all the others is one matrix product
MOST = INT4.levels[1]


@dataclass(frozen=True, slots=True)
class GptqOptions:
    """How hard to try. `damping` is a share of the Hessian's mean diagonal, added to it.

    `order` takes the columns by descending diagonal (groups keep their places), `clip` is the
    number of narrower scales tried for each group, `rounds` those of coordinate descent, `follow`
    the share of earlier layers' error that a layer's weights are regressed to make good.
    """

    damping: float = 0.01
    order: bool = True
    clip: int = 20
    rounds: int = 3
    follow: float = 0.5


def names(layers: int) -> list[str]:
    """The linear layers of a decoder in the order that they run in."""
    parts = ("qkv", "out", "gate_up", "down")
    return [f"layers.{number}.{part}" for number in range(layers) for part in parts] + ["head"]


def matrices(tensors: DecoderTensors) -> dict[str, Matrix]:
    """A decoder's linear layers by name."""
    found = [matrix for layer in tensors.layers for matrix in layer.matrices]
    return dict(zip(names(len(tensors.layers)), [*found, tensors.head], strict=True))


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
    if longest > tensors.max_context:
        raise EngineError(f"a document of {longest} tokens: at most {tensors.max_context}")
    xs = [tensors.embedding[document] for document in tokens]
    cos, sin = (
        torch.cat((table, table), -1)[:longest, None, :].to(tensors.embedding)
        for table in (tensors.cos, tensors.sin)
    )

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
        hs = [_gated(linear(h), spec.ffn) for h in hs]
        linear = yield root + "down", layer.down, hs
        xs = [x + linear(h) for x, h in zip(xs, hs, strict=True)]
    yield "head", tensors.head, normed(tensors.norm)


def _gated(gate_up: Tensor, ffn: int) -> Tensor:
    gate, up = gate_up.split(ffn, -1)
    return F.silu(gate) * up


def _attend(qkv: Tensor, spec: ModelSpec, norms: LayerNorms, cos: Tensor, sin: Tensor) -> Tensor:
    """Causal attention inside one document: [tokens, q + k + v] -> [tokens, heads * head]."""
    length, size = len(qkv), spec.head_size
    parts = [spec.heads, spec.kv_heads, spec.kv_heads]
    q, k, v = qkv.view(length, -1, size).split(parts, 1)
    if norms.q is not None and norms.k is not None:
        q = F.rms_norm(q, (size,), norms.q, spec.norm_eps)
        k = F.rms_norm(k, (size,), norms.k, spec.norm_eps)
    turned = []
    for x in (q, k):
        half = torch.cat((-x[..., size // 2 :], x[..., : size // 2]), -1)
        turned.append(x * cos[:length] + half * sin[:length])
    query, key, value = (x.transpose(0, 1) for x in (*turned, v))
    key, value = (x.repeat_interleave(spec.groups, 0) for x in (key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return mixed.transpose(0, 1).reshape(length, -1)


@torch.no_grad()
def calibrate(
    tensors: DecoderTensors,
    documents: Sequence[Document],
    options: GptqOptions | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Quantized]:
    """All linear layers of a float32 decoder in 4 bits, fitted to the documents' inputs.

    Layers run in order, each on what the quantized ones before it give. `tell` hears of each.
    Raises EngineError where there is nothing to calibrate on, or a layer's inputs are not finite.
    """
    options = options or GptqOptions()
    if not documents or not all(len(prompt) + len(body) for prompt, body in documents):
        raise EngineError("calibration needs documents, each with one token or more")
    whole = [[*prompt, *body] for prompt, body in documents]
    exact, served = stages(tensors, whole), stages(tensors, whole)
    found: dict[str, Quantized] = {}
    wanted, given = next(exact), next(served)
    while True:
        name, matrix, inputs = given
        rows = inputs, wanted[2]
        if name == "head":
            # It is asked for what comes after a token of the body, or the prompt's last.
            starts = [max(len(prompt) - 1, 0) for prompt, _ in documents]
            rows = tuple([x[s:] for x, s in zip(part, starts, strict=True)] for part in rows)
        hessian, weight = _statistics(name, matrix.weight, *rows, options)
        found[name] = quantize_matrix(weight, hessian, options)
        tell(f"{name}: {list(weight.shape)} in 4 bits")
        if name == "head":
            return found
        wanted = exact.send(PlainLinear(matrix))
        given = served.send(DequantizedLinear(found[name], matrix.bias))


def _statistics(
    name: str,
    weight: Tensor,
    inputs: list[Tensor],
    exact: list[Tensor],
    options: GptqOptions,
) -> tuple[Tensor, Tensor]:
    """The Hessian 2 X X^T of the inputs, float64 [in, in], and the weight to quantize.

    That is the one that comes nearest, on these inputs, to what the layer gives on exact ones:
    |Q X - W Y|^2 is |(Q - W') X|^2 and a constant for W' = W Y X^T (X X^T)^-1.
    """
    size = weight.shape[1]
    hessian = torch.zeros((size, size), dtype=torch.float64)
    drift = torch.zeros((size, size), dtype=torch.float64)
    for x, y in zip(inputs, exact, strict=True):
        seen = rounded(x)
        hessian += (2 * seen.T @ seen).to(torch.float64)
        if options.follow:
            drift += (2 * (y - seen).T @ seen).to(torch.float64)
    if not bool(torch.isfinite(hessian).all() and torch.isfinite(drift).all()):
        raise EngineError(f"the inputs of {name} hold NaN or Inf: nothing to calibrate on")
    if options.follow:
        damped, _ = _factor(hessian, options.damping)
        change = torch.linalg.solve(damped, drift.T).T  # (Y - X) X^T (X X^T)^-1
        moved = weight.to(torch.float64) @ change * options.follow
        weight = weight + moved.to(weight.dtype)
    return hessian, weight


def quantize_matrix(
    weight: Tensor, hessian: Tensor, options: GptqOptions | None = None
) -> Quantized:
    """float [out, in] in 4 bits, 128 to a scale, for inputs with this Hessian [in, in].

    Inputs that were never seen are rounded to nearest. Raises EngineError for values that are not
    finite or a Hessian of another size.
    """
    options = options or GptqOptions()
    rows, columns = weight.shape
    if hessian.shape != (columns, columns):
        raise EngineError(f"a Hessian {list(hessian.shape)} for {columns} inputs")
    if not bool(torch.isfinite(weight).all() and torch.isfinite(hessian).all()):
        raise EngineError("the weight or its Hessian holds NaN or Inf")
    # Transposed, so that a column lies in one piece: [in, out].
    target = weight.detach().to(torch.float32).T.contiguous()
    damped, upper = _factor(hessian.to(torch.float64), options.damping, options.order)
    group = torch.arange(columns) // GROUP
    scales = _scales(target, group, hessian.diagonal().to(torch.float32), options.clip)
    codes = _propagate(target, scales[group], *upper)
    curvature = damped.to(torch.float32)
    for _ in range(options.rounds):
        codes = _descend(target, codes, scales[group], curvature)
        scales = _refit(target, codes, scales, group, damped)
    return Quantized(INT4, (rows, columns), _packed(codes.T), scales.T.contiguous(), None)


def _factor(
    hessian: Tensor, damping: float, order: bool = False
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The damped Hessian; the order of its columns, and the upper Cholesky factor of the inverse
    in that order."""
    diagonal = hessian.diagonal()
    dead = diagonal <= 0
    mean = float(diagonal.mean())
    hessian = hessian + torch.diag(dead.to(hessian.dtype) * (mean if mean > 0 else 1.0))
    places = torch.arange(len(hessian))
    if order:
        places = hessian.diagonal().argsort(descending=True, stable=True)
    share = damping
    while True:
        damped = hessian + torch.eye(len(hessian), dtype=hessian.dtype) * share * mean
        lower, failed = torch.linalg.cholesky_ex(damped[places][:, places])
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed:
                return damped, (places, upper)
        # Fewer inputs than columns, and no damping to speak of.
        share = max(10 * share, 1e-6)


def _scales(target: Tensor, group: Tensor, weights: Tensor, steps: int) -> Tensor:
    """A scale for each group and output [groups, out]: absmax, or up to half of it where the
    squared error, inputs weighed by their size, is least."""
    found = []
    for number in range(int(group[-1]) + 1):
        part = target[group == number]
        weigh = weights[group == number][:, None]
        weigh = weigh if bool((weigh > 0).any()) else torch.ones_like(weigh)
        widest = part.abs().amax(0) / MOST
        best, least = widest, torch.full_like(widest, torch.inf)
        for step in range(steps + 1):
            scale = widest * (1 - 0.5 * step / max(steps, 1))
            error = (part - _round(part, scale) * scale).square_().mul_(weigh).sum(0)
            best = torch.where(error < least, scale, best)
            least = torch.minimum(error, least)
        found.append(best)
    return torch.stack(found)


def _round(values: Tensor, scale: Tensor) -> Tensor:
    """The nearest codes, float; 0 where a scale is 0."""
    codes = torch.where(scale > 0, values / scale, torch.zeros_like(values))
    return codes.round_().clamp_(-MOST, MOST)


def _propagate(target: Tensor, scales: Tensor, places: Tensor, upper: Tensor) -> Tensor:
    """GPTQ itself: codes, float [in, out], columns in the order of `places`."""
    left = target[places]
    scales = scales[places]
    upper = upper.to(torch.float32)
    codes = torch.empty_like(left)
    for start in range(0, len(left), BLOCK):
        end = min(start + BLOCK, len(left))
        errors = torch.empty((end - start, left.shape[1]))
        for j in range(start, end):
            codes[j] = _round(left[j], scales[j])
            errors[j - start] = (left[j] - codes[j] * scales[j]) / upper[j, j]
            left[j + 1 : end].addr_(upper[j, j + 1 : end], errors[j - start], alpha=-1)
        left[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    return torch.empty_like(codes).index_copy_(0, places, codes)


def _descend(target: Tensor, codes: Tensor, scales: Tensor, curvature: Tensor) -> Tensor:
    """Each column in turn to its best code, the others held: the error never grows."""
    codes = codes.clone()
    slope = curvature @ (codes * scales - target)
    for start in range(0, len(codes), BLOCK):
        end = min(start + BLOCK, len(codes))
        here = slope[start:end].clone()
        steps = torch.empty_like(here)
        for j in range(start, end):
            value = codes[j] * scales[j]
            codes[j] = _round(value - here[j - start] / curvature[j, j], scales[j])
            steps[j - start] = codes[j] * scales[j] - value
            here.addr_(curvature[start:end, j], steps[j - start])
        slope.addmm_(curvature[:, start:end], steps)
    return codes


def _refit(
    target: Tensor, codes: Tensor, scales: Tensor, group: Tensor, damped: Tensor
) -> Tensor:
    """The scales that fit the codes best [groups, out]: least squares for each output."""
    count, outputs = scales.shape
    exact = codes.to(torch.float64)
    pull = damped @ target.to(torch.float64)
    sums = torch.zeros((outputs, count), dtype=torch.float64)
    products = torch.zeros((outputs, count, count), dtype=torch.float64)
    for a in range(count):
        mine = exact[group == a]
        sums[:, a] = (mine * pull[group == a]).sum(0)
        pushed = damped[:, group == a] @ mine
        for b in range(count):
            products[:, a, b] = (exact[group == b] * pushed[group == b]).sum(0)
    # A group whose codes are all zero has no say in its scale.
    empty = products.diagonal(dim1=1, dim2=2) == 0
    products += torch.diag_embed(empty.to(torch.float64))
    fitted = torch.linalg.solve(products, sums).T.to(torch.float32)
    usable = torch.isfinite(fitted) & (fitted > 0) & ~empty.T
    return torch.where(usable, fitted, scales)


def _packed(codes: Tensor) -> Tensor:
    """uint8 [rows, ceil(columns / 2)], as Quantized holds codes of four bits."""
    raised = (F.pad(codes, (0, codes.shape[1] % 2)) + 8).to(torch.uint8)
    return raised[:, ::2] | raised[:, 1::2] << 4
