"""Whole-number codes for float tensors, and back: the schemes of round-to-nearest quantization.

Codes of four bits are packed two to a byte.
"""

from dataclasses import dataclass
from math import inf, log10

import torch
from torch import Tensor

from engine.scheme import ErrorFigures, QuantizationError, Scheme


@dataclass(frozen=True, slots=True)
class Quantized:
    """Codes with the scales to read them by.

    `codes` is int8 like the tensor, or uint8 with two codes a byte (the even one in the low
    half), rows padded to whole bytes. `scales` is float32 and, where the scheme has them,
    `zeros` int8: one for the tensor, one a row [rows], or one a group [rows, groups].
    """

    scheme: Scheme
    shape: tuple[int, ...]
    codes: Tensor
    scales: Tensor
    zeros: Tensor | None

    @property
    def nbytes(self) -> int:
        """Bytes of the storages, scales and zero-points included."""
        held = [self.codes, self.scales, *([] if self.zeros is None else [self.zeros])]
        return sum(tensor.untyped_storage().nbytes() for tensor in held)

    def values(self) -> Tensor:
        """int8 codes in the tensor's shape, unpacked."""
        if self.scheme.bits == 8:
            return self.codes.view(self.shape)
        low = (self.codes & 15).to(torch.int8) - 8
        high = (self.codes >> 4).to(torch.int8) - 8
        columns = self.shape[-1] if self.shape else 1
        pairs = torch.stack((low, high), -1).flatten(-2)
        return pairs[:, :columns].reshape(self.shape)

    def dequantize(self) -> Tensor:
        """float32 in the tensor's shape."""
        rows = _as_rows(self.values())
        scales, zeros = self.scales, self.zeros
        if self.scheme.granularity == "group":
            columns = rows.shape[1]
            scales = scales.repeat_interleave(self.scheme.group, 1)[:, :columns]
            if zeros is not None:
                zeros = zeros.repeat_interleave(self.scheme.group, 1)[:, :columns]
        elif self.scheme.granularity == "channel":
            scales = scales[:, None]
            zeros = zeros[:, None] if zeros is not None else None
        shifted = rows.to(torch.float32)
        if zeros is not None:
            shifted = shifted - zeros
        return (shifted * scales).view(self.shape)


def quantize(tensor: Tensor, scheme: Scheme) -> Quantized:
    """Round to nearest by a scheme; any float tensor with at least one value.

    Raises QuantizationError where a value is not finite or there is none.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        raise QuantizationError(
            f"a {tensor.dtype} tensor of {tensor.numel()} values: give floats, one or more"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise QuantizationError("the tensor holds NaN or Inf")
    rows = _as_rows(tensor.detach().to(torch.float32))
    low, high = _ranges(rows, scheme)
    least, most = scheme.levels
    if scheme.symmetric:
        scales = torch.maximum(high, -low) / most
        zeros = None
    else:
        # Zero is in the range, so that it has a code of its own.
        low, high = low.clamp(max=0), high.clamp(min=0)
        scales = (high - low) / (most - least)
        zeros = torch.where(scales > 0, least - low / scales, torch.zeros_like(scales))
        zeros = zeros.round_().clamp_(least, most)
    if not bool(torch.isfinite(scales).all()):
        raise QuantizationError("the tensor's range is too wide for float32 scales")
    codes = _spread(scales, rows, scheme)
    codes = torch.where(codes > 0, rows / codes, torch.zeros_like(rows))
    if zeros is not None:
        codes = codes + _spread(zeros, rows, scheme)
    codes = codes.round_().clamp_(least, most).to(torch.int8)
    return Quantized(
        scheme=scheme,
        shape=tuple(tensor.shape),
        codes=codes.view(tensor.shape) if scheme.bits == 8 else packed(codes),
        scales=scales,
        zeros=None if zeros is None else zeros.to(torch.int8),
    )


def errors(tensor: Tensor, quantized: Quantized) -> ErrorFigures:
    """How far the dequantized tensor is from the original; sums in float64."""
    original = tensor.detach().to(torch.float64)
    difference = original - quantized.dequantize().to(torch.float64)
    noise, signal = float(difference.square().sum()), float(original.square().sum())
    return ErrorFigures(
        mse=noise / tensor.numel(),
        largest=float(difference.abs().max()),
        snr_db=inf if noise == 0 else -inf if signal == 0 else 10 * log10(signal / noise),
        compression=tensor.numel() * tensor.element_size() / quantized.nbytes,
    )


def _as_rows(tensor: Tensor) -> Tensor:
    """[rows, columns]: the last dimension is a row's, a scalar is a row of one."""
    return tensor.reshape(1, 1) if tensor.dim() == 0 else tensor.reshape(-1, tensor.shape[-1])


def _ranges(rows: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Least and largest value of what shares a scale."""
    if scheme.granularity == "tensor":
        return rows.min(), rows.max()
    if scheme.granularity == "channel":
        return rows.amin(1), rows.amax(1)
    columns = rows.shape[1]
    groups = -(-columns // scheme.group)
    # The last group's missing values repeat one that it has.
    padded = torch.cat(
        (rows, rows[:, -1:].expand(-1, groups * scheme.group - columns)), 1
    ).unflatten(1, (groups, scheme.group))
    return padded.amin(2), padded.amax(2)


def _spread(values: Tensor, rows: Tensor, scheme: Scheme) -> Tensor:
    """A value for each element of `rows`."""
    if scheme.granularity == "tensor":
        return values.expand_as(rows)
    if scheme.granularity == "channel":
        return values[:, None].expand_as(rows)
    return values.repeat_interleave(scheme.group, 1)[:, : rows.shape[1]]


def packed(codes: Tensor) -> Tensor:
    """uint8 [rows, ceil(columns / 2)] of int8 codes from -8 to 7."""
    if codes.shape[1] % 2:
        codes = torch.nn.functional.pad(codes, (0, 1))
    raised = (codes + 8).to(torch.uint8)
    return raised[:, ::2] | raised[:, 1::2] << 4
