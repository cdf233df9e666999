"""The bottleneck screen: figures where they belong, roofs, dials, keys and mouse."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import Key

from engine.footprint import PUBLISHED
from pitwall_tui.draw.bottleneck import (
    NOTHING,
    UNCOUNTED,
    UNMEASURED,
    draw_ceilings,
    draw_phases,
    portions,
)
from pitwall_tui.draw.cells import Rows, plain, row_width
from pitwall_tui.draw.roofline import draw_roofline
from pitwall_tui.draw.whatif import draw_whatif, seconds
from pitwall_tui.race.bottleneck import Bottleneck, BottleneckView
from pitwall_tui.race.details import Details
from pitwall_tui.race.whatif import DIALS, THIS, WhatIf, calibration, hardware, project
from pitwall_tui.screens.bottleneck import BottleneckScreen, Ceilings, Elsewhere, Phases
from pitwall_tui.screens.race import RaceScreen
from tests.tui import views
from tests.tui.bottlenecks import MACHINE, bound, made, race, view
from tests.tui.conftest import Build
from tests.tui.test_app import running, state_of, step, text_of

VIEW = view()
EMPTY = Bottleneck().view(None, 0.0)


def uncounted() -> BottleneckView:
    tracker = Bottleneck()
    for _ in range(9):
        tracker.add(replace(made(rows=8, forward=9.0), flops=0), 1.0)
    return tracker.view(replace(MACHINE, float_gflops=0.0, int8_gops=0.0), 1.0)


def still() -> BottleneckView:
    """Forwards that took no time, on a machine beyond measure."""
    tracker = Bottleneck()
    for rows in range(1, 40):
        for _ in range(3):
            tracker.add(made(rows=rows, forward=0.0 if rows % 2 else 1e7), 1e6 * rows)
    return tracker.view(replace(MACHINE, read_gbs=1e-6, float_gflops=1e9, int8_gops=1e-3), 9e9)


VIEWS: dict[str, BottleneckView | None] = {
    "none": None,
    "empty": EMPTY,
    "whole": VIEW,
    "uncounted": uncounted(),
    "unmeasured": race().view(None, 1.0),
    "still": still(),
}
cases = st.builds(WhatIf, **{dial: st.sampled_from(values) for dial, values in DIALS.items()})


def text(rows: Rows) -> list[str]:
    return [line.rstrip() for line in plain(rows).split("\n")]


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=40, deadline=None)
@given(cells=st.integers(1, 300), height=st.integers(1, 100), case=cases)
def test_a_drawing_fills_its_box_exactly(name: str, cells: int, height: int, case: WhatIf) -> None:
    found = VIEWS[name]
    for rows in (
        draw_ceilings(found, cells, height),
        draw_phases(found, cells, height),
        draw_roofline(found, cells, height),
        draw_whatif(found, case, cells, height),
    ):
        assert len(rows) == height
        assert {row_width(row) for row in rows} == {cells}


# Kinds of steps


def test_each_kind_has_its_figures_and_the_word_for_them() -> None:
    lines = text(draw_phases(VIEW, 120, 10))
    decode = next(i for i, line in enumerate(lines) if line.startswith(" D decode"))
    (work,) = [phase.work for phase in VIEW.phases if phase.phase == "decode"]
    titles = lines[1].replace("KV MiB/t", "KV-MiB").replace("W MiB/t", "W-MiB").split()[1:]
    figures = dict(zip(titles, lines[decode].split()[2:], strict=True))
    assert figures["MBU"] == f"{100 * (work.mbu or 0):.0f}%"
    assert figures["MFU"] == f"{100 * (work.mfu or 0):.0f}%"
    assert float(figures["GB/s"]) == pytest.approx(work.gbs, rel=0.01)
    assert float(figures["FLOP/B"]) == pytest.approx(work.intensity, rel=0.01)
    assert float(figures["MFLOP/t"]) == pytest.approx(work.flops / work.tokens / 1e6, rel=0.02)
    assert float(figures["W-MiB"]) == pytest.approx(92.8e6 / 2**20, rel=0.01)
    assert lines[decode + 1].split()[0] == "memory-bound"
    prefill = next(i for i, line in enumerate(lines) if line.startswith(" P prefill"))
    assert lines[prefill + 1].split()[0] == "compute-bound"


def test_a_bar_is_made_of_its_stages_letters() -> None:
    lines = text(draw_phases(VIEW, 160, 12))
    bar = lines[-3].split()[-1]
    assert set(bar) == set("pdfsc")
    assert "".join(dict.fromkeys(bar)) == "pdfsc"
    (work,) = [phase.work for phase in VIEW.phases if phase.phase == "verify"]
    assert bar.count("f") / len(bar) == pytest.approx(1 - work.outside, abs=1 / len(bar))


@given(values=st.lists(st.floats(0, 1e9), min_size=1, max_size=6), cells=st.integers(0, 200))
def test_portions_give_every_cell_away_in_proportion(values: list[float], cells: int) -> None:
    found = portions(values, cells)
    assert sum(found) == (cells if sum(values) > 0 else 0)
    for value, count in zip(values, found, strict=True):
        if sum(values) > 0:
            assert abs(count - value / sum(values) * cells) < 1 + 1e-6


def test_where_not_all_kinds_have_room_what_is_now_stays() -> None:
    lines = text(draw_phases(VIEW, 80, 4))
    assert [line[1] for line in lines[2:] if line[1:2].isalpha()] == ["V"]
    assert len([line for line in text(draw_phases(VIEW, 80, 8)) if re.match(" [PMDV] ", line)]) == 3


def test_what_is_missing_is_said() -> None:
    assert NOTHING in plain(draw_phases(EMPTY, 80, 8))
    assert NOTHING in plain(draw_roofline(EMPTY, 80, 8))
    found = uncounted()
    assert "recorded without its arithmetic" in plain(draw_phases(found, 120, 8))
    assert UNCOUNTED in plain(draw_roofline(found, 80, 8))
    assert "arithmetic not measured" in plain(draw_ceilings(found, 120, 2))
    assert UNMEASURED in plain(draw_roofline(race().view(None, 1.0), 80, 8))
    assert UNMEASURED in plain(draw_whatif(found, WhatIf(), 60, 12))
    assert "memory" in plain(draw_whatif(found, WhatIf(hardware="H100 SXM"), 60, 12))


def test_the_head_says_what_bounds_it_now_and_this_machine_s_roofs() -> None:
    first, second = text(draw_ceilings(VIEW, 120, 2))
    assert "verify now: memory-bound" in first
    assert "32.5 GB/s" in second
    assert "float 215 GFLOP/s" in second
    assert f"ridge fp32 {215 / 32.5:.2f} FLOP/B" in second


# The roofline


def places(rows: Rows, glyph: str) -> list[tuple[int, int]]:
    """(line, column) of a glyph in the plot alone."""
    return [
        (y, x)
        for y, line in enumerate(text(rows)[1:20])
        for x, char in enumerate(line)
        if char == glyph and x > 6
    ]


def test_more_operations_a_byte_lie_further_right_and_faster_ones_higher() -> None:
    rows = draw_roofline(VIEW, 80, 26)
    works = {phase.phase: phase.work for phase in VIEW.phases}
    ((py, px),), ((dy, dx),) = places(rows, "P")[:1], places(rows, "D")[:1]
    assert works["prefill"].intensity > works["decode"].intensity
    assert px > dx
    assert works["prefill"].gflops > works["decode"].gflops
    assert py < dy


def test_every_letter_that_is_drawn_is_named() -> None:
    for height in (8, 12, 20, 40):
        for cells in (38, 60, 110):
            lines = text(draw_roofline(VIEW, cells, height))
            axis = next(
                i for i, line in enumerate(lines) if i > 1 and "┤" not in line and "│" not in line
            )
            plot = "".join(line[6:] for line in lines[1:axis])
            plot = re.sub(r"int8 \S+|float \S+|\S+ GB/s", "", plot)
            drawn = {char for char in plot if char.isalpha()}
            legend = " " + " ".join(lines[axis + 1 :]) + " "
            assert drawn
            for letter in drawn:
                assert re.search(rf"(^| ){letter} ", legend), (letter, legend)


def test_settings_of_before_stay_as_small_letters() -> None:
    legend = plain(draw_roofline(VIEW, 120, 40))
    for words in ("decode fp32 17-32 cars", "decode int8 17-32 cars", "decode int4 17-32 cars"):
        assert re.search(rf"[a-z] {words}", legend)


# Elsewhere


@pytest.mark.parametrize("cells", [42, 64])
def test_the_table_is_the_arithmetic_s(cells: int) -> None:
    case = WhatIf(hardware="RTX 4090", weights="int4", batch=4)
    lines = text(draw_whatif(VIEW, case, cells, 14))
    shares = calibration(VIEW, "int4")
    for name in PUBLISHED:
        line = next(line for line in lines if line[1:].startswith(f"{name} "))
        found = project(replace(case, model=name), hardware(VIEW, "RTX 4090"), shares)
        words = line.replace("no room", "none").split()
        assert float(words[-5]) == pytest.approx(found.weights_bytes / 2**30, rel=0.01)
        if found.fits:
            assert words[-3] == seconds(found.ttft)
            assert float(words[-2]) == pytest.approx(found.tokens_per_second, rel=0.01)
            assert words[-1] == found.decode.bound
        else:
            assert words[-3:] == ["-", "-", "none"]
    assert any(line.endswith("no room") for line in lines)  # 70B
    assert any(line.endswith("memory") for line in lines)


def test_all_of_it_is_called_a_projection_and_says_by_what() -> None:
    for size in ((42, 12), (64, 30), (64, 50)):
        found = plain(draw_whatif(VIEW, WhatIf(hardware="H100 SXM"), *size))
        assert "projection" in found.split("\n")[0]
        assert re.search(r"MBU \d+% here, MFU \d+% here", found)
    assert "best here, decode int8" in found
    assert "its maker's peaks" in found
    assert "its maker's peaks" not in plain(draw_whatif(VIEW, WhatIf(), 64, 50))
    assert "MFU 100% unmeasured" in plain(
        draw_whatif(uncounted(), WhatIf(hardware="H100 SXM"), 64, 30)
    )


def test_what_has_no_room_says_by_how_much() -> None:
    case = WhatIf(hardware="RTX 4090", weights="bf16", model="13B")
    assert "GiB too large for 24.0 GiB" in plain(draw_whatif(VIEW, case, 64, 20))
    many = WhatIf(hardware="RTX 4090", weights="int8", model="7B", batch=64)
    assert "KV for 17 of 64" in plain(draw_whatif(VIEW, many, 64, 20))
    assert "made for 4096" in plain(draw_whatif(VIEW, replace(many, context=8192), 64, 20))


def test_keys_and_values_by_context_are_those_of_the_model() -> None:
    found = text(draw_whatif(VIEW, WhatIf(hardware="A100 80GB"), 64, 44))
    line = next(line for line in found if re.match("▸2048 ", line))
    assert line.split()[1:] == ["1.00", "4.00", "16.0"]  # 7B in fp16: half a MiB a token
    assert any("×" in line for line in found)


# On the screen


@pytest.mark.parametrize("live", [True, False])
async def test_it_opens_and_closes_on_any_race(build: Build, live: bool) -> None:
    app = build(bound(), live=live)
    async with running(app) as pilot:
        await pilot.press("f7")
        assert isinstance(app.screen, BottleneckScreen)
        assert "verify now" in text_of(app, Ceilings)
        await pilot.press("o")
        assert isinstance(app.screen, RaceScreen)
        await pilot.press("r", "o")
        assert isinstance(app.screen, BottleneckScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RaceScreen)


async def test_arrows_and_letters_choose_dials_and_turn_them(build: Build) -> None:
    app = build(bound())
    async with running(app) as pilot:
        await pilot.press("o", "right")
        case = app.latest()[0].what_if
        assert (case.dial, case.hardware) == ("hardware", "RTX 4090")
        await pilot.press("down", "j", "l")
        case = app.latest()[0].what_if
        assert (case.dial, case.weights) == ("weights", "int4")
        await pilot.press("h", "left", "k", "up", "left")
        case = app.latest()[0].what_if
        assert (case.dial, case.weights, case.hardware) == ("hardware", "bf16", THIS)
        await pilot.press("escape", "o")
        assert app.latest()[0].what_if == case  # as it was left
        assert "‹bf16›" in text_of(app, Elsewhere)


async def test_keys_that_come_at_once_count_from_each_other(build: Build) -> None:
    app = build(bound())
    async with running(app) as pilot:
        await pilot.press("o")
        for _ in range(3):
            app.post_message(Key("down", None))
        await pilot.pause()
        assert app.latest()[0].what_if.dial == "kv"


async def test_dials_and_models_answer_to_the_mouse(build: Build) -> None:
    app = build(bound())
    async with running(app) as pilot:
        await pilot.press("o")
        lines = text_of(app, Elsewhere).split("\n")
        dial = next(i for i, line in enumerate(lines) if "‹int8›" in line)
        await pilot.click(Elsewhere, offset=(lines[dial].index("‹"), dial))
        assert app.latest()[0].what_if.weights == "bf16"
        await pilot.click(Elsewhere, offset=(lines[dial].index("›"), dial))
        assert app.latest()[0].what_if.weights == "int8"
        row = next(i for i, line in enumerate(lines) if line.startswith(" 70B"))
        await pilot.click(Elsewhere, offset=(2, row))
        assert app.latest()[0].what_if.model == "70B"


async def test_nobody_is_sent_out_of_it_at_the_flag(build: Build) -> None:
    app = build(bound())
    async with running(app) as pilot:
        await pilot.press("o")
        state_of(app).at = views.finished()
        await step(app, pilot)
        assert isinstance(app.screen, BottleneckScreen)


async def test_figures_go_on_while_it_is_open_and_hold_while_frozen(build: Build) -> None:
    app = build(bound())
    async with running(app) as pilot:
        await pilot.press("o", "space")
        before = text_of(app, Phases)
        assert " D decode" in before
        state_of(app).at = views.racing(details=Details(bottleneck=EMPTY))
        await step(app, pilot)
        assert text_of(app, Phases) == before
        await pilot.press("space")
        for _ in range(8):
            await step(app, pilot)
        assert NOTHING in text_of(app, Phases)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 45), (200, 60)])
async def test_every_part_has_its_place(build: Build, size: tuple[int, int]) -> None:
    app = build(bound())
    async with running(app, size) as pilot:
        await pilot.press("o")
        await pilot.pause()
        picture = app.export_screenshot()
        assert "BOTTLENECK" in picture
        lines = text_of(app, Elsewhere).split("\n")
        assert any("MBU" in line and "here" in line for line in lines)
        for panel in app.screen.query("Panel"):
            if panel.display:
                assert panel.region.bottom <= size[1]
                assert panel.region.right <= size[0]
                assert panel.size.height > 0
