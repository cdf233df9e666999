"""Calibrated 4-bit weights: GPTQ, Frantar et al. 2022, https://arxiv.org/abs/2210.17323.

Rounding to nearest treats all weights alike. GPTQ weighs an error by what it does to a layer's
output on real inputs X: it minimizes |(W - Q) X|^2, which is (W - Q) H (W - Q)^T for H = X X^T,
one column after another, each column's error made good by those still to come. On top of the
paper: the regression of a layer's weights on the inputs that it will see behind layers quantized
before it. Left out, as the chief's KL was no better or worse for it: narrower scales where they
lessen the rounding error (columns that take on others' errors outgrow them), and coordinate
descent afterwards (QuantEase, Behdin et al. 2023).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.compare import DequantizedLinear, Document, rounded, stages
from engine.config import EngineError
from engine.linear import PlainLinear
from engine.quantize import Quantized, packed
from engine.scheme import GROUP, INT4
from engine.tensors import DecoderTensors

BLOCK = 64  # columns whose effect on all the others is one matrix product
MOST = INT4.levels[1]
DOUBT = 4  # tokens to an input at which a regression counts half


@dataclass(frozen=True, slots=True)
class GptqOptions:
    """How hard to try. `damping` is a share of the Hessian's mean diagonal, added to it.

    `order` takes the columns by descending diagonal (groups keep their places), `follow` has a
    layer's weights regressed to make good the error of earlier ones.
    """

    damping: float = 0.01
    order: bool = True
    follow: bool = True


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
        rows, exact_rows = inputs, wanted[2]
        if name == "head":
            # It is asked for what comes after a token of the body, or the prompt's last.
            rows, exact_rows = _asked(documents, rows), _asked(documents, exact_rows)
        hessian, weight = _statistics(name, matrix.weight, rows, exact_rows, options)
        found[name] = quantize_matrix(weight, hessian, options)
        tell(f"{name}: {list(weight.shape)} in 4 bits")
        if name == "head":
            return found
        wanted = exact.send(PlainLinear(matrix))
        given = served.send(DequantizedLinear(found[name], matrix.bias))


def _asked(documents: Sequence[Document], hidden: list[Tensor]) -> list[Tensor]:
    """The rows that the body's tokens are predicted from."""
    starts = [max(len(prompt) - 1, 0) for prompt, _ in documents]
    return [x[start:] for x, start in zip(hidden, starts, strict=True)]


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
        damped, _, _ = _factor(hessian, options.damping)
        change = torch.linalg.solve(damped, drift.T).T  # (Y - X) X^T (X X^T)^-1
        # Few tokens for each input say little of what others will need.
        tokens = sum(len(x) for x in inputs)
        share = tokens / (tokens + DOUBT * size)
        moved = weight.to(torch.float64) @ change * share
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
    _, *upper = _factor(hessian.to(torch.float64), options.damping, options.order)
    group = torch.arange(columns) // GROUP
    scales = _scales(target, group)
    codes = _propagate(target, scales[group], *upper)
    return Quantized(INT4, (rows, columns), packed(codes.T), scales.T.contiguous(), None)


def _factor(hessian: Tensor, damping: float, order: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The damped Hessian, the order of its columns, and the upper Cholesky factor of the inverse
    in that order."""
    diagonal = hessian.diagonal()
    dead = diagonal <= 0
    mean = float(diagonal.clamp(min=0).mean()) or 1.0
    hessian = hessian + torch.diag(dead.to(hessian.dtype) * mean)
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
                return damped, places, upper
        # Fewer inputs than columns, and no damping to speak of.
        share = max(10 * share, 1e-6)


def _scales(target: Tensor, group: Tensor) -> Tensor:
    """A scale for each group and output [groups, out]: its largest weight has the largest code."""
    count = int(group[-1]) + 1
    return torch.stack([target[group == number].abs().amax(0) / MOST for number in range(count)])


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
