"""A layer's weights before and after quantization, looked at from all sides."""

import torch
from torch import Tensor

from engine.quantize import Quantized, errors
from engine.studies import BINS, SIDE, Histogram, LayerStudy


def study(layer: str, scheme: str, weight: Tensor, codes: Quantized) -> LayerStudy:
    """Figures and distributions over all of a float [out, in] weight and its codes."""
    values = codes.dequantize()
    off = values - weight.to(values.dtype)
    reach = max(float(weight.abs().max()), float(values.abs().max()))
    rows, columns = weight.shape
    least, most = codes.scheme.levels
    return LayerStudy(
        layer=layer,
        scheme=scheme,
        shape=(rows, columns),
        figures=errors(weight, codes),
        bytes_before=weight.numel() * weight.element_size(),
        bytes_after=codes.nbytes,
        codes=len(codes.values().unique()),
        levels=most - least + 1,
        outputs=len(values.unique()),
        before=_histogram(weight, reach),
        after=_histogram(values, reach),
        off=_histogram(off, float(off.abs().max())),
        pairs=_pairs(weight, values, reach),
    )


def _places(values: Tensor, reach: float, parts: int) -> Tensor:
    """int64 [values]: in which of equal parts of [-reach, reach] each lies."""
    if reach == 0:
        return torch.full((values.numel(),), parts // 2)
    # float64, as float32 could not hold twice its largest number.
    shares = (values.flatten().to(torch.float64) / reach + 1) / 2
    return (shares * parts).to(torch.int64).clamp_(0, parts - 1)


def _histogram(values: Tensor, reach: float) -> Histogram:
    counts = torch.bincount(_places(values, reach, BINS), minlength=BINS)
    return Histogram(reach, tuple(counts.tolist()))


def _pairs(before: Tensor, after: Tensor, reach: float) -> tuple[tuple[int, int, int], ...]:
    cells = _places(before, reach, SIDE) * SIDE + _places(after, reach, SIDE)
    counts = torch.bincount(cells, minlength=SIDE * SIDE)
    used = counts.nonzero().flatten()
    return tuple(
        (cell // SIDE, cell % SIDE, count)
        for cell, count in zip(used.tolist(), counts[used].tolist(), strict=True)
    )
