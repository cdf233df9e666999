"""Round-to-nearest quantization held to its own half step, and to loops written for plainness."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.config import EngineError
from engine.quantize import Quantized, errors, quantize
from engine.scheme import ErrorFigures, QuantizationError, Scheme

# A part of a step for float32 arithmetic: codes up to 255 steps from the zero-point, a few
# roundings of 2^-24 each on the way there and back.
SLACK = 1e-4
# Steps below the least normal float have no 24 bits; so far below nothing is held to a step.
TINY = 1e-42

GRANULARITIES = ("tensor", "channel", "group")
schemes = st.builds(
    Scheme,
    bits=st.sampled_from((8, 4)),
    granularity=st.sampled_from(GRANULARITIES),
    symmetric=st.booleans(),
    group=st.sampled_from((1, 2, 3, 4, 5, 7, 128)),
)
SIGNS: dict[str, Callable[[Tensor], Tensor]] = {
    "any": lambda t: t,
    "positive": lambda t: t.abs(),
    "negative": lambda t: -t.abs(),
    "far above zero": lambda t: t.abs() + 8,
    "far below zero": lambda t: -t.abs() - 8,
    "constant": lambda t: torch.full_like(t, t.flatten()[0].item()),
    "zeros": lambda t: torch.zeros_like(t),
}


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """0 to 3 dimensions, rows of odd and even lengths, any sign, float dtype and magnitude."""
    shape = (
        *draw(st.lists(st.integers(1, 3), max_size=2)),
        *draw(st.lists(st.integers(1, 11), max_size=1)),
    )
    count = math.prod(shape)
    plain = st.floats(-2, 2, width=32)
    values = draw(st.lists(st.sampled_from((0.0, 1.0)) | plain, min_size=count, max_size=count))
    tensor = SIGNS[draw(st.sampled_from(sorted(SIGNS)))](torch.tensor(values).reshape(shape))
    if len(shape) > 1 and draw(st.booleans()):
        tensor.flatten(0, -2)[draw(st.integers(0, count // shape[-1] - 1))] = 0
    dtype = draw(st.sampled_from((torch.float32, torch.float64, torch.float16, torch.bfloat16)))
    most = 10 if dtype == torch.float16 else 100
    return (tensor * 2.0 ** draw(st.integers(-most, most))).to(dtype)


def columns_of(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.dim() else 1


def as_array(tensor: Tensor) -> np.ndarray:
    """float32 [rows, columns]."""
    return tensor.to(torch.float32).reshape(-1, columns_of(tensor)).numpy()


def sharing(scheme: Scheme, rows: int, columns: int) -> dict[tuple[int, ...], list]:
    """The places (row, column) that share a scale, by the scale's own index."""
    found: dict[tuple[int, ...], list] = {}
    for row in range(rows):
        for column in range(columns):
            key = {
                "tensor": (),
                "channel": (row,),
                "group": (row, column // scheme.group),
            }[scheme.granularity]
            found.setdefault(key, []).append((row, column))
    return found


def naive(tensor: Tensor, scheme: Scheme) -> tuple[np.ndarray, dict, dict]:
    """Codes [rows, columns], scales and zero-points by index: one value after the other."""
    values = as_array(tensor)
    least, most = scheme.levels
    codes = np.zeros(values.shape, dtype=np.int8)
    scales, zeros = {}, {}
    for key, places in sharing(scheme, *values.shape).items():
        here = [values[place] for place in places]
        if scheme.symmetric:
            scale, zero = max(abs(value) for value in here) / np.float32(most), 0
        else:
            low, high = min(*here, np.float32(0)), max(*here, np.float32(0))
            scale = (high - low) / np.float32(most - least)
            zero = min(max(round(least - low / scale), least), most) if scale > 0 else 0
        scales[key], zeros[key] = scale, zero
        for place in places:
            code = round(values[place] / scale + zero) if scale > 0 else zero
            codes[place] = min(max(code, least), most)
    return codes, scales, zeros


def steps(tensor: Tensor, quantized: Quantized) -> np.ndarray:
    """The step that each value was rounded by."""
    found = np.zeros(as_array(tensor).shape)
    scales = quantized.scales.numpy()
    for key, places in sharing(quantized.scheme, *found.shape).items():
        for place in places:
            found[place] = scales[key]
    return found


def hold_to_half_a_step(tensor: Tensor, quantized: Quantized) -> None:
    """No value is further than half a step from what it became, with a zero-point too.

    A zero-point is rounded, so it moves the range by at most half a step against the codes. What
    then sticks out is clipped by no more than that: a value among the codes loses half a step to
    its own rounding, one beyond them half a step to the zero-point's, none loses both.
    """
    original = tensor.to(torch.float64).reshape(-1, columns_of(tensor)).numpy()
    found = quantized.dequantize().to(torch.float64).reshape(-1, columns_of(tensor)).numpy()
    bound = (0.5 + SLACK) * steps(tensor, quantized) + TINY
    assert (np.abs(original - found) <= bound).all()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(tensors(), schemes)
@example(torch.tensor([-1.5, 253.5, 0.0]), Scheme(8, "tensor", False))
def test_no_value_moves_by_more_than_half_its_step(tensor: Tensor, scheme: Scheme) -> None:
    before = tensor.clone()
    quantized = quantize(tensor, scheme)
    found = quantized.dequantize()
    assert quantized.scheme == scheme
    assert quantized.shape == found.shape == tensor.shape
    assert found.dtype == torch.float32
    assert torch.equal(tensor, before)
    hold_to_half_a_step(tensor, quantized)
    # Zero has a code of its own: padding, and what was pruned, stay nothing.
    assert bool((found[tensor == 0] == 0).all())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(tensors(), schemes)
def test_codes_scales_and_zero_points_are_those_of_a_loop(tensor: Tensor, scheme: Scheme) -> None:
    quantized = quantize(tensor, scheme)
    codes, scales, zeros = naive(tensor, scheme)
    least, most = scheme.levels
    assert quantized.values().dtype == torch.int8
    assert quantized.values().shape == tensor.shape
    found = quantized.values().reshape(codes.shape).numpy()
    assert np.array_equal(found, codes)
    assert found.min() >= least
    assert found.max() <= most
    assert quantized.scales.dtype == torch.float32
    assert quantized.scales.numel() == len(scales)
    assert {key: quantized.scales[key].item() for key in scales} == scales
    if scheme.symmetric:
        assert quantized.zeros is None
    else:
        assert quantized.zeros is not None
        assert quantized.zeros.dtype == torch.int8
        assert quantized.zeros.shape == quantized.scales.shape
        assert {key: quantized.zeros[key].item() for key in zeros} == zeros
    # The very float32 that its parts say, to the bit.
    values = np.zeros(codes.shape, dtype=np.float32)
    for key, places in sharing(scheme, *codes.shape).items():
        for place in places:
            values[place] = np.float32(int(codes[place]) - zeros[key]) * np.float32(scales[key])
    assert np.array_equal(as_array(quantized.dequantize()), values)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(tensors(), schemes)
def test_bytes_are_those_of_codes_scales_and_zero_points(tensor: Tensor, scheme: Scheme) -> None:
    quantized = quantize(tensor, scheme)
    columns = columns_of(tensor)
    rows = tensor.numel() // columns
    codes = rows * (columns if scheme.bits == 8 else (columns + 1) // 2)
    groups = (columns + scheme.group - 1) // scheme.group
    scales = {"tensor": 1, "channel": rows, "group": rows * groups}[scheme.granularity]
    expected = codes + scales * (4 if scheme.symmetric else 5)
    assert quantized.nbytes == scheme.nbytes(rows, columns) == expected
    figures = errors(tensor, quantized)
    assert figures.compression == tensor.numel() * tensor.element_size() / expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(tensors(), schemes.filter(lambda scheme: scheme.bits == 4))
def test_two_four_bit_codes_share_a_byte(tensor: Tensor, scheme: Scheme) -> None:
    quantized = quantize(tensor, scheme)
    codes, _, _ = naive(tensor, scheme)
    rows, columns = codes.shape
    assert quantized.codes.dtype == torch.uint8
    assert quantized.codes.shape == (rows, (columns + 1) // 2)
    for row in range(rows):
        for column in range(0, columns, 2):
            byte = int(quantized.codes[row, column // 2])
            assert byte % 16 - 8 == codes[row, column]
            # The half that an odd row leaves over means zero.
            after = codes[row, column + 1] if column + 1 < columns else 0
            assert byte // 16 - 8 == after


@settings(max_examples=100, deadline=None, derandomize=True)
@given(tensors(), schemes)
def test_figures_are_those_of_a_loop(tensor: Tensor, scheme: Scheme) -> None:
    quantized = quantize(tensor, scheme)
    figures = errors(tensor, quantized)
    pairs = list(
        zip(tensor.flatten().tolist(), quantized.dequantize().flatten().tolist(), strict=True)
    )
    noise = math.fsum((value - found) ** 2 for value, found in pairs)
    signal = math.fsum(value**2 for value, _ in pairs)
    assert figures.mse == pytest.approx(noise / len(pairs), rel=1e-9, abs=0)
    assert figures.largest == max(abs(value - found) for value, found in pairs)
    if noise == 0:
        assert figures.snr_db == math.inf
    else:
        assert figures.snr_db == pytest.approx(10 * math.log10(signal / noise), abs=1e-6)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 4])
def test_what_has_a_code_of_its_own_is_not_changed(
    bits: int, symmetric: bool, granularity: str
) -> None:
    """Whole numbers as far as the codes go have a step of one: infinite SNR. So have zeros."""
    scheme = Scheme(bits, granularity, symmetric, 300)
    least, most = scheme.levels
    whole = torch.arange(least, most + 1).to(torch.float32).repeat(2, 1)
    for tensor in (whole, torch.zeros(3, 5), torch.zeros(())):
        quantized = quantize(tensor, scheme)
        assert torch.equal(quantized.dequantize(), tensor)
        compression = 4 * tensor.numel() / quantized.nbytes
        assert errors(tensor, quantized) == ErrorFigures(0.0, 0.0, math.inf, compression)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.floats(2.0**-100, 2.0**100, width=32),
    st.sampled_from([(), (1,), (5,), (2, 3), (2, 2, 3)]),
    schemes,
    st.sampled_from([1, -1]),
)
def test_a_constant_keeps_its_value(
    value: float, shape: tuple[int, ...], scheme: Scheme, sign: int
) -> None:
    """It is the end of its own range: nothing is lost but the rounding of its scale."""
    tensor = torch.full(shape, sign * value)
    found = quantize(tensor, scheme).dequantize()
    torch.testing.assert_close(found, tensor, rtol=2**-22, atol=0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), schemes, st.sampled_from([1, -1]), st.integers(1, 20))
def test_a_one_sided_range_spends_all_codes_on_its_side(
    seed: int, scheme: Scheme, sign: int, columns: int
) -> None:
    """With a zero-point its step is half as long, or nearly, as one that is symmetric."""
    generator = torch.Generator().manual_seed(seed)
    tensor = sign * (torch.rand((3, columns), generator=generator) + 0.1)
    scheme = Scheme(scheme.bits, scheme.granularity, False, scheme.group)
    quantized = quantize(tensor, scheme)
    absmax = quantize(tensor, Scheme(scheme.bits, scheme.granularity, True, scheme.group))
    least, most = scheme.levels
    assert quantized.zeros is not None
    assert bool((quantized.zeros == (least if sign > 0 else most)).all())
    ratio = quantized.scales / absmax.scales
    torch.testing.assert_close(ratio, torch.full_like(ratio, most / (most - least)))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("columns", "group"), [(130, 128), (129, 64), (7, 3), (5, 8), (1, 2)])
def test_a_last_group_that_does_not_fill_is_a_group_of_its_own(
    columns: int, group: int, symmetric: bool, bits: int
) -> None:
    """Its scale knows its own values alone, and those alone know it."""
    generator = torch.Generator().manual_seed(columns)
    tensor = torch.randn((3, columns), generator=generator)
    start = (columns - 1) // group * group
    tensor[:, start:] *= 100
    scheme = Scheme(bits, "group", symmetric, group)
    whole = quantize(tensor, scheme)
    tail = quantize(tensor[:, start:], Scheme(bits, "channel", symmetric))
    assert whole.scales.shape == (3, (columns + group - 1) // group)
    assert torch.equal(whole.scales[:, -1], tail.scales)
    assert torch.equal(whole.values()[:, start:], tail.values())
    assert torch.equal(whole.dequantize()[:, start:], tail.dequantize())
    if start:
        head = quantize(tensor[:, :start], scheme)
        assert torch.equal(whole.dequantize()[:, :start], head.dequantize())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(tensors().filter(lambda tensor: tensor.dim() > 1), schemes)
def test_layout_in_memory_is_nothing_to_the_codes(tensor: Tensor, scheme: Scheme) -> None:
    strided = tensor.transpose(0, -1).contiguous().transpose(0, -1)
    spread = torch.stack((tensor, tensor), -1)[..., 0]
    plain = quantize(tensor.contiguous(), scheme)
    for other in (strided, spread, tensor.clone().requires_grad_()):
        found = quantize(other, scheme)
        assert torch.equal(found.codes, plain.codes)
        assert torch.equal(found.dequantize(), plain.dequantize())
        assert found.nbytes == plain.nbytes


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_finer_scales_lose_less(seed: int, symmetric: bool, bits: int) -> None:
    """Rows with outliers take a tensor's scale from the others; a row's own outliers stay in
    their group."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((48, 500), generator=generator)
    weight[::12] *= 30
    weight[:, ::125] *= 5
    figures = [
        errors(weight, quantize(weight, Scheme(bits, granularity, symmetric, 32)))
        for granularity in GRANULARITIES
    ]
    for coarse, fine in pairwise(figures):
        assert fine.mse < 0.8 * coarse.mse
        assert fine.snr_db > coarse.snr_db
        assert fine.compression < coarse.compression  # what it costs


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_eight_bits_lose_less_than_four(symmetric: bool, granularity: str) -> None:
    weight = torch.randn((8, 256), generator=torch.Generator().manual_seed(0))
    eight, four = (
        errors(weight, quantize(weight, Scheme(bits, granularity, symmetric))) for bits in (8, 4)
    )
    # Each bit halves the step: 6 dB, four of them 24.
    assert 20 < eight.snr_db - four.snr_db < 28
    assert eight.compression < four.compression


def test_every_scheme_has_a_name_of_its_own() -> None:
    names = {
        Scheme(bits, granularity, symmetric, group).name
        for bits in (8, 4)
        for granularity in GRANULARITIES
        for symmetric in (True, False)
        for group in ((32, 128) if granularity == "group" else (128,))
    }
    assert len(names) == 16


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Scheme(bits=3), "3 bits"),
        (lambda: Scheme(bits=16), "16 bits"),
        (lambda: Scheme(bits=0), "0 bits"),
        (lambda: Scheme(granularity="row"), "granularity 'row'"),
        (lambda: Scheme(granularity="group", group=0), "group 0"),
        (lambda: Scheme(granularity="group", group=-128), "group -128"),
        (lambda: quantize(torch.tensor([1.0, math.nan]), Scheme()), "NaN or Inf"),
        (lambda: quantize(torch.tensor([math.inf, 1.0]), Scheme()), "NaN or Inf"),
        (lambda: quantize(torch.tensor(-math.inf), Scheme(4, "group")), "NaN or Inf"),
        (lambda: quantize(torch.tensor([1, 2]), Scheme()), "torch.int64"),
        (lambda: quantize(torch.tensor([True]), Scheme()), "torch.bool"),
        (lambda: quantize(torch.tensor([1j]), Scheme()), "torch.complex64"),
        (lambda: quantize(torch.zeros(0), Scheme()), "0 values"),
        (lambda: quantize(torch.zeros(3, 0), Scheme(4, "group")), "0 values"),
        (lambda: quantize(torch.zeros(0, 3), Scheme(8, "tensor")), "0 values"),
    ],
)
def test_what_cannot_be_quantized_is_named(make: Callable[[], object], named: str) -> None:
    with pytest.raises(QuantizationError) as caught:
        make()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, EngineError)


def lose_a_code(quantized: Quantized) -> Quantized:
    """One value a whole step off."""
    codes = quantized.codes.clone()
    codes[0, 0] += 1 if codes[0, 0] < 0 else -1
    return Quantized(quantized.scheme, quantized.shape, codes, quantized.scales, quantized.zeros)


def swap_scales(quantized: Quantized) -> Quantized:
    """Two rows read by each other's scale."""
    scales = quantized.scales.flip(0)
    return Quantized(quantized.scheme, quantized.shape, quantized.codes, scales, quantized.zeros)


@pytest.mark.parametrize("plant", [lose_a_code, swap_scales])
@pytest.mark.parametrize("symmetric", [True, False])
def test_half_a_step_is_looked_at(plant: Callable[[Quantized], Quantized], symmetric: bool) -> None:
    weight = torch.randn((2, 64), generator=torch.Generator().manual_seed(1))
    weight[1] *= 10
    quantized = quantize(weight, Scheme(8, "channel", symmetric))
    hold_to_half_a_step(weight, quantized)
    with pytest.raises(AssertionError):
        hold_to_half_a_step(weight, plant(quantized))
