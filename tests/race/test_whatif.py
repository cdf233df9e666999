"""Projections held to sums made by hand, and to what can never be."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import WEIGHT_FORMATS, Knobs
from engine.footprint import PUBLISHED, projections
from pitwall_tui.race.bottleneck import Bottleneck, BottleneckView
from pitwall_tui.race.whatif import (
    DIALS,
    HARDWARE,
    MODELS,
    THIS,
    Calibration,
    Dial,
    Hardware,
    Share,
    WhatIf,
    calibration,
    hardware,
    project,
)
from tests.race.test_bottleneck import MACHINE, step

ROOF = Calibration(Share(), Share())
H100 = next(found for found in HARDWARE if found.name == "H100 SXM")


def test_a_step_of_7b_by_hand() -> None:
    case = WhatIf(model="7B", weights="bf16", kv="fp16", context=2048, batch=1)
    found = project(case, H100, ROOF)
    layers = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    head = 32000 * 4096
    kv = 2048 * 32 * 2 * 4096 * 2
    norms = 4 * 65 * 4096
    assert found.kv_bytes == kv == 2**30
    assert found.decode.memory == pytest.approx((2 * (layers + head) + norms + kv) / 3350e9)
    attention = 4 * 32 * 4096 * 2048
    assert found.decode.compute == pytest.approx((2 * (layers + head) + attention) / 989.4e12)
    scores = 4 * 32 * 4096 * 2048 * 2049 // 2
    flops = 2 * 2048 * layers + 2 * head + scores
    assert found.prefill.compute == pytest.approx(flops / 989.4e12)
    assert found.decode.bound == "memory"
    assert found.prefill.bound == "compute"
    assert found.ttft == found.prefill.compute
    assert found.tokens_per_second == pytest.approx(1 / found.decode.memory)


def test_weights_are_the_bytes_that_the_workshop_shows() -> None:
    for shown in projections():
        for weights, nbytes in zip(WEIGHT_FORMATS, shown.nbytes, strict=True):
            case = WhatIf(model=shown.name, weights=weights)
            assert project(case, H100, ROOF).weights_bytes == nbytes


cases = st.builds(WhatIf, **{dial: st.sampled_from(values) for dial, values in DIALS.items()})
shares = st.builds(
    lambda memory, compute: Calibration(Share(memory, "x"), Share(compute, "x")),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
machines = st.sampled_from(HARDWARE)


@given(case=cases, machine=machines, found=shares)
def test_no_projection_beats_either_roof(
    case: WhatIf, machine: Hardware, found: Calibration
) -> None:
    result, best = project(case, machine, found), project(case, machine, ROOF)
    assert result.ttft >= best.ttft
    assert result.tokens_per_second <= best.tokens_per_second
    for step_ in (result.decode, result.prefill):
        assert step_.seconds == max(step_.memory, step_.compute)


@given(case=cases, machine=machines, found=shares)
def test_a_larger_batch_costs_each_request_and_serves_all(
    case: WhatIf, machine: Hardware, found: Calibration
) -> None:
    one = project(replace(case, batch=1), machine, found)
    many = project(replace(case, batch=16), machine, found)
    assert many.decode.seconds >= one.decode.seconds
    assert many.tokens_per_second >= one.tokens_per_second * (1 - 1e-9)
    assert many.ttft == one.ttft


@given(case=cases, machine=machines)
def test_the_most_requests_have_room_and_one_more_has_none(case: WhatIf, machine: Hardware) -> None:
    found = project(case, machine, ROOF)
    most = found.most_batch
    assert most is not None
    assert found.fits == (case.batch <= most)
    left = machine.memory_bytes - found.weights_bytes
    if most:
        assert most * found.kv_bytes <= left
    assert (most + 1) * found.kv_bytes > left


def test_a_machine_whose_memory_is_not_known_is_not_said_to_have_room() -> None:
    found = project(WhatIf(), replace(H100, memory_bytes=0), ROOF)
    assert found.most_batch is None
    assert found.fits is None


def test_published_machines_are_faster_with_fewer_bits_and_none_is_nameless() -> None:
    names = [machine.name for machine in HARDWARE]
    assert len({*names, THIS}) == len(HARDWARE) + 1
    for machine in HARDWARE:
        assert list(machine.gflops) == sorted(machine.gflops)


def test_larger_models_take_more_of_everything() -> None:
    found = [project(WhatIf(model=name), H100, ROOF) for name in MODELS]
    for small, large in pairwise(found):
        assert small.weights_bytes < large.weights_bytes
        assert small.ttft < large.ttft
    assert MODELS is PUBLISHED


# By what was measured


def measured(*steps: tuple[str, int, float]) -> BottleneckView:
    """A race of decode steps: (weights, rows, ms of the forward)."""
    tracker = Bottleneck()
    for weights, rows, forward in steps:
        made = step(rows=rows, knobs=Knobs(weights=weights))
        made = replace(made, ms=replace(made.ms, forward=forward))
        for _ in range(10):
            tracker.add(made, 1.0)
    return tracker.view(replace(MACHINE, memory_bytes=2**35), 1.0)


def test_shares_are_the_best_that_these_weights_reached() -> None:
    view = measured(("fp32", 1, 6.0), ("fp32", 16, 12.0), ("int8", 1, 9.0))
    found = calibration(view, "fp32")
    assert found.memory.by == "decode fp32 1 car"
    assert found.memory.share == pytest.approx(101e6 / 6e-3 / 20e9)
    assert found.compute.by == "decode fp32 9-16 cars"
    assert found.compute.share == pytest.approx(16 * 50e6 / 12e-3 / 100e9)
    assert calibration(view, "int8").memory.by == "decode int8 1 car"


def test_other_weights_stand_in_for_those_that_were_not_served() -> None:
    view = measured(("fp32", 1, 6.0))
    assert calibration(view, "int4").memory.by == "decode fp32 1 car"


def test_what_came_from_caches_says_nothing_of_memory() -> None:
    view = measured(("fp32", 1, 6.0), ("int8", 1, 2.0))
    assert calibration(view, "int8").memory.by == "decode fp32 1 car"
    assert calibration(measured(("int8", 1, 2.0)), "int8").memory == Share()


def test_before_anything_is_measured_the_roof_itself_is_taken_and_said_so() -> None:
    empty = Bottleneck().view(MACHINE, 0.0)
    assert calibration(empty, "fp32") == Calibration(Share(1.0, ""), Share(1.0, ""))


def test_this_machine_is_as_measured() -> None:
    found = hardware(measured(("fp32", 1, 6.0)), THIS)
    assert found == Hardware(THIS, 2**35, 20.0, (100.0, 100.0, 400.0, 400.0))
    assert hardware(measured(("fp32", 1, 6.0)), "H100 SXM") is H100


# Dials


@given(case=cases, dial=st.sampled_from(list(DIALS)), turns=st.integers(-20, 20))
def test_a_dial_comes_back_and_leaves_the_others(case: WhatIf, dial: Dial, turns: int) -> None:
    turned = case.turned(dial, turns)
    assert turned.turned(dial, -turns) == replace(case, dial=dial)
    assert case.turned(dial, len(DIALS[dial])) == replace(case, dial=dial)
    for other in DIALS:
        if other != dial:
            assert getattr(turned, other) == getattr(case, other)


def test_the_keys_go_round_all_dials() -> None:
    case, seen = WhatIf(), []
    for _ in DIALS:
        seen.append(case.dial)
        case = case.chosen(1)
    assert seen == list(DIALS)
    assert case == WhatIf()
    assert case.chosen(-1).dial == seen[-1]
