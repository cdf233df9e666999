"""The workshop: keys and mouse, what it asks for, what it shows, and how it is left."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from engine.scheme import SCHEMES, ErrorFigures
from engine.studies import (
    BINS,
    CALIBRATED,
    FIRST_LAYER,
    FIRST_SCHEME,
    SIDE,
    Histogram,
    Inventory,
    LayerRow,
    LayerStudy,
    StudyFailed,
)
from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import plain
from pitwall_tui.draw.spread import (
    draw_off,
    draw_pairs,
    draw_weights,
    number,
    pair_rows,
    resampled,
)
from pitwall_tui.draw.workshop import draw_bench, draw_footprints, draw_layers
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.workshop import WorkshopState, WorkshopView
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.screens.results import ResultsScreen
from pitwall_tui.screens.workshop import Bench, Footprints, LayerTable, WorkshopScreen
from pitwall_tui.widgets.bars import StatusLine, TooSmall
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.fakes import FakeFeed, kinds
from tests.tui.studied import GROUP, LAYER, TENSOR, stored
from tests.tui.wall import (
    SIZES,
    all_in_sight,
    feed_of,
    fill,
    running,
    state_of,
    step,
    text_of,
)

NEWS = stored()
INVENTORY = next(news for news in NEWS if isinstance(news, Inventory))
NAMES = [name for name, _ in INVENTORY.layers]
STUDY = next(news for news in NEWS if isinstance(news, LayerStudy))


def state(*news: object, layer: str = LAYER, scheme: str = TENSOR) -> WorkshopState:
    """One that has chosen, and been told."""
    found = WorkshopState()
    found.apply(INVENTORY)
    found.choose_layer(layer)
    schemes = list(INVENTORY.schemes)
    found.step_scheme(schemes.index(scheme))
    for one in news:
        found.apply(one)  # type: ignore[arg-type]
    return found


VIEWS = {
    "nothing": WorkshopState().view(),
    "names": state().view(),
    "whole": state(*NEWS).view(),
    "half": state(*NEWS[:9]).view(),
    "groups": state(*NEWS, scheme=GROUP).view(),
    "failed": state(StudyFailed(LAYER, TENSOR, "layers.3.down: the tensor holds NaN")).view(),
}
DRAWINGS = {
    "bench": draw_bench,
    "layers": draw_layers,
    "footprints": draw_footprints,
    "weights": draw_weights,
    "off": draw_off,
    "pairs": draw_pairs,
}


async def opened(app: PitWallApp, pilot: Pilot[None]) -> FakeFeed:
    """The workshop is open and has an inventory."""
    await pilot.press("w")
    feed_of(app).found.append(INVENTORY)
    await step(app, pilot)
    assert isinstance(app.screen, WorkshopScreen)
    return feed_of(app)


# What it asks for


async def test_the_key_opens_it_and_asks_for_the_first_layer(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("w")
        assert feed_of(app).sent("study") == [(FIRST_LAYER, FIRST_SCHEME)]
        assert "measuring layers.0.qkv" in text_of(app, Bench)
        assert "LAP 18/53" in text_of(app, StatusLine)


async def test_arrows_choose_and_ask(build: Build) -> None:
    app, schemes = build(), [scheme.name for scheme in SCHEMES]
    async with running(app) as pilot:
        feed = await opened(app, pilot)
        await pilot.press("up", "down", "j", "j", "k", "right", "right", "left", "l", "h")
        assert feed.sent("study")[1:] == [
            (NAMES[0], schemes[0]),  # there is none before it
            (NAMES[1], schemes[0]),
            (NAMES[2], schemes[0]),
            (NAMES[3], schemes[0]),
            (NAMES[2], schemes[0]),
            (NAMES[2], schemes[1]),
            (NAMES[2], schemes[2]),
            (NAMES[2], schemes[1]),
            (NAMES[2], schemes[2]),
            (NAMES[2], schemes[1]),
        ]
        await pilot.press(*["pagedown"] * 9, "left", "left")
        assert feed.sent("study")[-1] == (NAMES[-1], CALIBRATED)


async def test_a_click_chooses_a_layer(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        feed = await opened(app, pilot)
        await pilot.click(LayerTable, offset=(5, 2 + 4))
        assert feed.sent("study")[-1] == (NAMES[4], FIRST_SCHEME)
        assert "▸ 1.qkv" in text_of(app, LayerTable)


async def test_a_click_beside_the_scheme_chooses_the_next(build: Build) -> None:
    app = build()
    async with running(app, (120, 40)) as pilot:
        feed = await opened(app, pilot)
        column = text_of(app, Bench).index("›")
        await pilot.click(Bench, offset=(column, 0))
        assert feed.sent("study")[-1] == (FIRST_LAYER, SCHEMES[1].name)


async def test_elsewhere_arrows_ask_for_nothing(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("down", "right", "j")
        assert feed_of(app).sent("study") == []


# What it shows


async def test_answers_fill_the_screen_as_they_come(build: Build) -> None:
    app = build()
    async with running(app, (160, 45)) as pilot:
        feed = await opened(app, pilot)
        await app.run_action(f"screen.choose_layer('{LAYER}')")
        await pilot.press(*["right"] * 6)
        rows = [news for news in NEWS if isinstance(news, LayerRow) and news.scheme == TENSOR]
        feed.found += [STUDY, *rows[:2]]
        await step(app, pilot)
        assert "2 of 33" in text_of(app, LayerTable)
        assert "SNR 10.9 dB" in text_of(app, Bench)
        feed.found += rows[2:]
        await step(app, pilot)
        assert "worst 7.down" in text_of(app, LayerTable)
        assert "projection" in text_of(app, Footprints)


async def test_a_failure_is_one_line_and_the_race_goes_on(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        feed = await opened(app, pilot)
        reason = "layers.0.qkv: the tensor holds NaN or Inf"
        feed.found += [
            StudyFailed(FIRST_LAYER, FIRST_SCHEME, reason),
            LayerRow(FIRST_LAYER, FIRST_SCHEME, None, reason),
        ]
        state_of(app).at = views.racing(leader_lap=19)
        await step(app, pilot)
        assert text_of(app, Bench).splitlines()[1].strip() == reason
        assert "holds NaN or Inf" in text_of(app, LayerTable)
        assert "LAP 19" in text_of(app, StatusLine)
        await pilot.press("down")
        assert reason not in text_of(app, Bench)


async def test_knobs_are_turned_from_here_too(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        feed = await opened(app, pilot)
        await pilot.press("8")
        assert len(feed.sent("knobs")) == 1


# How it is left


@pytest.mark.parametrize("key", ["w", "escape"])
async def test_it_closes_and_opens_again_where_it_was(key: str, build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        feed = await opened(app, pilot)
        await pilot.press("down", key)
        assert isinstance(app.screen, RaceScreen)
        await pilot.press("w")
        assert feed.sent("study")[-1] == (NAMES[1], FIRST_SCHEME)


async def test_results_and_workshop_take_each_other_s_place(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        for key, page in (("r", ResultsScreen), ("w", WorkshopScreen), ("r", ResultsScreen)):
            await pilot.press(key)
            assert isinstance(app.screen, page)
            assert len(app.screen_stack) == 2
        await pilot.press("w", "escape")
        assert isinstance(app.screen, RaceScreen)


async def test_a_reader_is_not_sent_to_the_classification(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await opened(app, pilot)
        state_of(app).at = views.finished()
        await step(app, pilot)
        assert isinstance(app.screen, WorkshopScreen)
        assert "CHEQUERED" in text_of(app, StatusLine)
        await pilot.press("w")
        await step(app, pilot)
        assert isinstance(app.screen, ResultsScreen)


async def test_a_race_begun_meanwhile_is_what_is_found_behind_it(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await opened(app, pilot)
        for view in (views.finished(), views.loading()):
            state_of(app).at = view
            await step(app, pilot)
        await pilot.press("escape")
        await step(app, pilot)
        assert isinstance(app.screen, RaceScreen)


async def test_a_recording_has_no_weights_and_says_so(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = build(live=False), []
    monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
    async with running(app) as pilot:
        await pilot.press("w")
        assert isinstance(app.screen, RaceScreen)
        assert kinds(feed_of(app).commands) == ["start"]
        assert said == ["a recording holds no weights: the workshop is for a live race"]


async def test_before_the_engine_is_up_there_is_nothing_to_study() -> None:
    feed = FakeFeed()
    app = PitWallApp(feed, RaceState("live cpu"), clock=lambda: 1.0, fps=0)
    async with running(app) as pilot:
        await pilot.press("w")
        assert kinds(feed.commands) == ["start"]
        assert [n.message for n in app._notifications] == ["the engine is not up yet"]


async def test_too_small_a_terminal_says_so(build: Build) -> None:
    app = build()
    async with running(app, (79, 24)) as pilot:
        await pilot.press("w")
        await pilot.pause()
        assert app.screen.query_one(TooSmall).display
        assert not app.screen.query_one("#bench").display


@pytest.mark.parametrize("size", SIZES)
async def test_every_panel_has_room_at_every_size(size: tuple[int, int], build: Build) -> None:
    app = build()
    async with running(app, size) as pilot:
        await opened(app, pilot)
        for name in ("LayerTable", "Weights", "Off", "Pairs"):
            assert app.screen.query_one(name).size.height >= 5
        assert "70B GiB" in text_of(app, Footprints)
        assert all_in_sight(app)


# The state


def test_answers_to_earlier_questions_are_not_shown_as_this_one_s() -> None:
    found = state(*NEWS)
    assert found.view().current == STUDY
    found.step_layer(1)
    assert found.view().study == STUDY
    assert found.view().current is None
    found.apply(STUDY)
    found.apply(StudyFailed(LAYER, TENSOR, "late"))
    assert found.view().current is None
    assert found.view().failure == ""


def test_the_table_is_that_of_the_chosen_scheme() -> None:
    found = state(*NEWS)
    rows = found.view().rows
    assert all(row is not None and row.scheme == TENSOR for row in rows)
    found.step_scheme(1)
    assert set(found.view().rows) == {None}
    found.step_scheme(3)
    assert {row.scheme for row in found.view().rows if row} == {GROUP}


def test_before_the_inventory_nothing_can_be_chosen() -> None:
    found = WorkshopState()
    found.step_layer(3)
    found.step_scheme(1)
    assert found.question == (FIRST_LAYER, FIRST_SCHEME)


# Drawings


@given(
    st.sampled_from(sorted(DRAWINGS)), st.sampled_from(sorted(VIEWS)), st.integers(0, 170),
    st.integers(0, 50),
)  # fmt: skip
def test_a_drawing_fills_its_box(name: str, at: str, cells: int, height: int) -> None:
    assert fill(DRAWINGS[name](VIEWS[at], cells, height), cells, height)


@pytest.mark.parametrize("reach", [0.0, 1e-40, 1.0, 3e38])
def test_odd_weights_are_drawn(reach: float) -> None:
    """All weights zero, or of any size, and no error at all."""
    counts = tuple(9 if place == BINS // 2 else 0 for place in range(BINS))
    histogram = Histogram(reach, counts)
    study = replace(
        STUDY,
        figures=ErrorFigures(0.0, 0.0, float("inf"), 4.0),
        before=histogram,
        after=histogram,
        off=Histogram(0.0, counts),
        pairs=((SIDE // 2, SIDE // 2, 9),),
    )
    view = replace(VIEWS["whole"], study=study)
    for draw in DRAWINGS.values():
        assert len(draw(view, 40, 8)) == 8
    assert "SNR ∞ dB" in plain(draw_bench(view, 80, 2))


@given(st.lists(st.integers(0, 9), min_size=BINS, max_size=BINS), st.integers(1, 300))
def test_a_column_is_empty_only_where_all_its_bins_are(counts: list[int], parts: int) -> None:
    sums = resampled(tuple(counts), parts)
    assert len(sums) == parts
    if parts <= BINS:
        assert sum(total > 0 for total in sums) >= (sum(count > 0 for count in counts) > 0)
        edges = [part * BINS // parts for part in range(parts + 1)]
        for total, first, last in zip(sums, edges, edges[1:], strict=False):
            assert (total > 0) == any(counts[first:last])


def test_even_counts_stay_even() -> None:
    for parts in (1, 37, 98, BINS, 333):
        assert resampled((6,) * BINS, parts) == pytest.approx([6 * BINS / parts] * parts)


def test_pairs_lie_on_a_diagonal_where_nothing_was_lost() -> None:
    study = replace(STUDY, pairs=tuple((place, place, 1) for place in range(SIDE)))
    assert plain(pair_rows(study, 6, 3, "text")) == "    ⡠⠊\n  ⡠⠊  \n⡠⠊    "


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.0363, "0.0363"), (0.3, "0.300"), (12.0, "12.0"), (1e-7, "1.0e-07"),
     (123456.0, "1.2e+05"), (0.00201, "0.00201"), (1.5e38, "1.5e+38")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_table_keeps_the_chosen_layer_in_sight() -> None:
    for name in NAMES:
        text = plain(draw_layers(state(*NEWS, layer=name).view(), 43, 10))
        assert f"▸ {name.removeprefix('layers.')} " in text
        assert len(text.splitlines()) == 10


def test_memory_says_what_is_projected() -> None:
    lines = plain(draw_footprints(VIEWS["whole"], 43, 7)).splitlines()
    projected = next(n for n, line in enumerate(lines) if "projection" in line)
    assert "chief MiB" in lines[projected - 1]
    assert [line.split()[0] for line in lines[projected + 1 :]] == ["7B", "13B", "70B"]
    own = next(item for item in INVENTORY.footprints if not item.projection)
    assert lines[projected - 1].split()[2:] == [f"{size / 2**20:.1f}" for size in own.nbytes]


def test_calibrated_codes_say_what_they_were_fitted_to() -> None:
    for scheme in (TENSOR, GROUP, CALIBRATED):
        for cells in (80, 160):
            text = plain(draw_bench(state(*NEWS, scheme=scheme).view(), cells, 2))
            assert ("fitted to outputs, not weights" in text) == (scheme == CALIBRATED)


def test_an_unmeasured_workshop_is_plain() -> None:
    assert WorkshopView().current is None
    assert "measuring" in plain(draw_bench(WorkshopView(), 80, 2))
