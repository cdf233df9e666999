"""Linear layers in torch: one protocol, one class for each way the weights are held."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.quantize import Quantized, quantize
from engine.scheme import GROUP, INT4, INT8
from engine.tensors import Matrix

# Beyond so many rows their count is rounded up to a multiple of it.
ROW_STEP = 64


class Linear(Protocol):
    """y = x W^T + b for rows x: float [rows, in] -> [rows, out]."""

    def __call__(self, x: Tensor) -> Tensor: ...

    @property
    def nbytes(self) -> int:
        """Bytes of the storages it reads."""
        ...


class PlainLinear:
    """The weight as it is, through torch: any dtype, any device."""

    def __init__(self, matrix: Matrix) -> None:
        self._weight = matrix.weight.contiguous()
        self._bias = matrix.bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias)

    @property
    def nbytes(self) -> int:
        return _bytes(self._weight, self._bias)


class PackedLinear:
    """float32 on a CPU with the weight laid out once for oneDNN.

    Twice as fast as torch's own linear at 4 to 20 rows, and a row's result does not depend on
    the rows beside it, as long as there are at least two: a single row is run twice.
    """

    def __init__(self, matrix: Matrix) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(matrix.weight.contiguous())
        self._bias = matrix.bias
        self._nbytes = matrix.weight.numel() * matrix.weight.element_size() + _bytes(matrix.bias)

    def __call__(self, x: Tensor) -> Tensor:
        return _one_dnn(x, self._weight, self._bias)

    @property
    def nbytes(self) -> int:
        return self._nbytes


class Bf16Linear:
    """Weights rounded to bf16 and held so; arithmetic in the rows' own dtype."""

    def __init__(self, matrix: Matrix) -> None:
        self._weight = matrix.weight.to(torch.bfloat16).contiguous()
        self._bias = matrix.bias

    def __call__(self, x: Tensor) -> Tensor:
        return _exact(x, self._weight.to(x.dtype), self._bias)

    @property
    def nbytes(self) -> int:
        return _bytes(self._weight, self._bias)


class Int8Linear:
    """int8 weights with a scale for each output channel, activations int8 with a scale a row.

    Products are summed as whole numbers, so that the order of a sum is nothing.
    """

    def __init__(self, matrix: Matrix) -> None:
        self._weight = quantize(matrix.weight, INT8)
        self._bias = matrix.bias

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_rows(x)
        sums = _whole(codes, self._weight.values())
        y = sums.to(x.dtype) * self._weight.scales.to(x.dtype) * scales
        return y if self._bias is None else y + self._bias

    @property
    def nbytes(self) -> int:
        return self._weight.nbytes + _bytes(self._bias)


class Int4Linear:
    """4-bit weights with a scale for each 128 of a channel; activations as with int8."""

    def __init__(self, matrix: Matrix) -> None:
        self._weight = int4_weight(matrix)
        self._bias = matrix.bias

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_rows(x)
        weight = self._weight.values()
        total = torch.zeros((len(x), len(weight)), dtype=x.dtype, device=x.device)
        for group, start in enumerate(range(0, weight.shape[1], GROUP)):
            part = slice(start, start + GROUP)
            sums = _whole(codes[:, part], weight[:, part])
            total = total + sums.to(x.dtype) * self._weight.scales[:, group].to(x.dtype)
        y = total * scales
        return y if self._bias is None else y + self._bias

    @property
    def nbytes(self) -> int:
        return self._weight.nbytes + _bytes(self._bias)


def make_linear(matrix: Matrix, weights: str) -> Linear:
    """The class for a weight format: fp32 (as it is), bf16, int8 or int4."""
    match weights:
        case "bf16":
            return Bf16Linear(matrix)
        case "int8":
            return Int8Linear(matrix)
        case "int4":
            return Int4Linear(matrix)
    return PackedLinear(matrix) if _packs(matrix.weight) else PlainLinear(matrix)


def int4_weight(matrix: Matrix) -> Quantized:
    """A matrix in 4 bits, 128 to a scale: the codes that it has, or the nearest."""
    return matrix.int4 or quantize(matrix.weight, INT4)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes like x, and a scale a row [rows, 1]: the largest of a row becomes 127."""
    largest = x.abs().amax(-1, keepdim=True)
    # Not 127 / largest: torch makes that a product with the reciprocal.
    factor = torch.full_like(largest, 127).div_(largest)
    factor = torch.where(largest > 0, factor, torch.zeros_like(largest))
    return (x * factor).round().clamp(-127, 127).to(torch.int8), largest / 127


def _whole(x: Tensor, w: Tensor) -> Tensor:
    """int32 [rows, out] = x w^T of int8 codes, exact."""
    if x.device.type == "cpu":
        return torch._int_mm(x.contiguous(), w.t())
    return (x.to(torch.float64) @ w.to(torch.float64).t()).to(torch.int32)


def _exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear whose rows are independent wherever that is to be had."""
    return _one_dnn(x, weight, bias) if _packs(weight) else F.linear(x, weight, bias)


def _one_dnn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.shape[0]
    if rows == 1:
        x = x.expand(2, -1).contiguous()
    elif rows > ROW_STEP and rows % ROW_STEP:
        # oneDNN builds and keeps a kernel for each row count it meets; without a KV cache
        # every step has another.
        x = F.pad(x, (0, 0, 0, -rows % ROW_STEP))
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y[:rows]


def _packs(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
    )


def _bytes(*tensors: Tensor | None) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors if tensor is not None)
