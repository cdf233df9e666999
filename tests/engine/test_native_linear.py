"""Linear layers on the native kernels: a row's result is its own, to the bit.

Sums of whole numbers are exact in any order, so int8 and int4 equal torch to the bit; floats are
held to a bound on their rounding.
"""

import pytest
import torch
from torch import Tensor

from engine.config import WEIGHT_FORMATS
from engine.kernels.native import PackedMatrix
from engine.memory import Arena
from engine.scheme import GROUP
from engine.tensors import Matrix
from tests.engine.compiled import (
    TARGETS,
    WHOLE,
    as_read,
    compiled,
    hold_rows_alike,
    kernels_for,
    random_matrix,
    random_rows,
)

pytestmark = [
    compiled,
    # As many as the engine's kernels get: more only wait for each other here.
    pytest.mark.usefixtures("one_thread"),
]
# (inputs, outputs): whole panels, strips and groups, and none of them.
SIZES = ((16, 16), (128, 64), (384, 208), (100, 77), (130, 33), (7, 5), (65, 1), (257, 129))


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", list(WHOLE))
def test_whole_number_linears_are_torchs_to_the_bit(
    weights: str, target: str, biased: bool
) -> None:
    for inputs, outputs in SIZES:
        matrix, x = random_matrix(inputs, outputs, biased), random_rows(13, inputs)
        packed = PackedMatrix(matrix, weights, Arena())
        found = kernels_for(target).linear(packed, as_read(x, weights))
        assert found.shape == (13, outputs)
        assert torch.equal(found, WHOLE[weights](matrix)(x)), (inputs, outputs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", list(WHOLE))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_codes_do_not_saturate(sign: int, weights: str, target: str) -> None:
    """Neighbours that are all 127 overflow 16 bits in a kernel that is not careful."""
    weight = torch.ones((32, 256))
    weight[1::2] = -1
    weight[2, ::2] = -1
    x = torch.full((5, 256), float(sign))
    x[3, ::2] *= -1
    matrix = Matrix(weight)
    found = kernels_for(target).linear(PackedMatrix(matrix, weights, Arena()), x)
    assert torch.equal(found, WHOLE[weights](matrix)(x))
    torch.testing.assert_close(found, x @ weight.T)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", list(WHOLE))
def test_rows_get_the_very_codes_that_torch_gives(weights: str, target: str) -> None:
    """Halfway between two codes, and so many values that some are within a rounding of that."""
    halves = torch.arange(-127, 127) + 0.5
    x = torch.cat((halves, torch.tensor([127.0, 0.0])))[None]
    generator = torch.Generator().manual_seed(0)
    x = torch.cat((x, x / 8, torch.randn((4000, 256), generator=generator)))
    matrix = random_matrix(256, 16)
    found = kernels_for(target).linear(PackedMatrix(matrix, weights, Arena()), x)
    assert torch.equal(found, WHOLE[weights](matrix)(x))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", ["fp32", "bf16"])
def test_float_linears_are_as_near_as_their_rounding(weights: str, target: str) -> None:
    """A sum of n fused products in order is off by at most n roundings of the sizes it adds up."""
    for inputs, outputs in SIZES:
        matrix, x = random_matrix(inputs, outputs), random_rows(13, inputs)
        assert matrix.bias is not None
        held = matrix.weight if weights == "fp32" else matrix.weight.bfloat16()
        exact = x.double() @ held.double().T + matrix.bias.double()
        sizes = x.double().abs() @ held.double().abs().T + matrix.bias.double().abs()
        found = kernels_for(target).linear(PackedMatrix(matrix, weights, Arena()), x)
        assert bool(((found - exact).abs() <= (inputs + 1) * 2.0**-24 * sizes).all())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
def test_a_row_is_the_same_in_any_number_of_rows(weights: str, target: str) -> None:
    kernels = kernels_for(target)
    for inputs, outputs in SIZES:
        packed = PackedMatrix(random_matrix(inputs, outputs), weights, Arena())

        def linear(x: Tensor, packed: PackedMatrix = packed) -> Tensor:
            return kernels.linear(packed, x)

        hold_rows_alike(linear, inputs, weights)


@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
def test_threads_and_targets_change_no_bit(weights: str) -> None:
    for inputs, outputs in SIZES:
        packed = PackedMatrix(random_matrix(inputs, outputs), weights, Arena())
        x = as_read(random_rows(37, inputs), weights)
        expected = kernels_for("native").linear(packed, x)
        for target in TARGETS:
            for threads in (1, 2, 3):
                assert torch.equal(kernels_for(target, threads).linear(packed, x), expected)


@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
def test_packed_bytes_are_those_of_whole_panels(weights: str) -> None:
    for inputs, outputs in SIZES:
        channels = -(-outputs // 16) * 16
        size = {
            "fp32": 4 * inputs,
            "bf16": 2 * inputs,
            "int8": -(-inputs // 4) * 4 + 4,
            "int4": -(-inputs // GROUP) * (GROUP // 2 + 4),
        }[weights]
        for biased in (False, True):
            packed = PackedMatrix(random_matrix(inputs, outputs, biased), weights, Arena())
            assert packed.nbytes == channels * (size + 4 * biased)
