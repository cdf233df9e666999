"""The ghost on the wall: its line, the status, the tower, and the race run again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitwall_tui.draw.cells import plain, row_width
from pitwall_tui.draw.ghost import draw_ghost, ghost_bar
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.status import Notice, draw_status
from pitwall_tui.draw.tower import columns, draw_tower
from pitwall_tui.race.ghost import GhostView
from pitwall_tui.race.view import RadioView
from pitwall_tui.screens.race import Ghost, Tower
from pitwall_tui.widgets.bars import StatusLine
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.fakes import kinds
from tests.tui.wall import SIZES, all_in_sight, feed_of, fill, running, state_of, step, text_of

GHOST = GhostView("weights fp32", -3.42, False, {"KES": -3.5, "VAR": 0.25})
PROJECTION = GhostView("weights int8", 12.5, True, {})


@given(
    st.sampled_from([GHOST, PROJECTION, None]),
    st.floats(),
    st.text(max_size=80),
    st.integers(1, 300),
    st.integers(1, 9),
)
def test_a_ghost_fills_its_box(
    ghost: GhostView | None, delta: float, label: str, cells: int, height: int
) -> None:
    odd = ghost and replace(ghost, delta=delta, label=label)
    assert fill(draw_ghost(odd, cells, height), cells, height)


@given(st.floats(-1e4, 1e4), st.integers(3, 200))
def test_the_bar_grows_from_its_middle_to_the_side_of_who_is_ahead(
    delta: float, cells: int
) -> None:
    left, middle, right = ghost_bar(delta, cells)
    assert middle.text == "│"
    assert len(left.text) == len(right.text)
    assert row_width((left, middle, right)) in (cells, cells - 1)
    assert not (left.text if delta < 0 else right.text).strip()


def test_a_larger_delta_is_a_longer_bar_within_a_scale() -> None:
    def length(delta: float) -> int:
        return len("".join(span.text for span in ghost_bar(delta, 81)).replace(" ", ""))

    assert length(0.0) == 1
    assert length(-5.1) < length(-5.5) < length(-6.0)
    assert length(3.9) == length(-3.9)


def test_what_nobody_ran_is_called_a_projection() -> None:
    text = plain(draw_ghost(GHOST, 80)).rstrip()
    assert text.startswith(" GHOST weights fp32 -3.42 s ahead")
    assert "projection" not in text
    text = plain(draw_ghost(PROJECTION, 80)).rstrip()
    assert text.startswith(" GHOST before weights int8 projection  +12.50 s behind")
    short = plain(draw_ghost(PROJECTION, 46))
    assert "projection" in short
    assert "+12.50 s behind" in short


def test_the_status_line_has_the_delta() -> None:
    line = plain(draw_status(views.racing(ghost=GHOST), Notice(), 80))
    assert "ghost -3.42 s" in line
    line = plain(draw_status(views.racing(ghost=PROJECTION), Notice(), 80))
    assert "projection +12.50 s" in line


def test_cars_have_their_own_deltas_where_the_ghost_has_run() -> None:
    text = plain(draw_tower(views.racing(ghost=GHOST), 96, 21)).split("\n")
    assert "GHOST" in text[0]
    assert " -3.50 " in text[1]
    assert " +0.25 " in text[2]
    assert "GHOST" not in plain(draw_tower(views.racing(ghost=PROJECTION), 96, 21))
    assert "ghost" not in columns(46, ghost=True)


def test_what_a_knob_did_stands_out_by_its_sign_and_number() -> None:
    gained = RadioView(1.0, "knob", "", 255, 3, "weights int8 gave 2.50x: 100 to 250", 2.5)
    lost = RadioView(2.0, "knob", "", 255, 3, "kv_cache off gave 0.06x: 250 to 15", 0.06)
    huge = RadioView(3.0, "knob", "", 255, 3, "kv_cache on gave 14.00x: 15 to 210", 14.0)
    rows = draw_radio((gained, lost, huge), 60, 4)
    lines = plain(rows).split("\n")
    assert lines[1].startswith(" L3  ▲2.5x weights int8 gave 2.50x")
    assert lines[2].startswith(" L3  ▼0.1x kv_cache off gave")
    assert lines[3].startswith(" L3  ▲14x  kv_cache on gave")
    assert [span.back for span in rows[1] if "▲" in span.text] == ["move.up"]


# The wall


@pytest.mark.parametrize("size", SIZES)
async def test_the_ghost_has_its_place_at_every_size(size: tuple[int, int], build: Build) -> None:
    app = build(views.racing(ghost=GHOST))
    async with running(app, size) as pilot:
        await step(app, pilot)
        assert all_in_sight(app)
        assert "ghost -3.42 s" in text_of(app, StatusLine)
        assert app.screen.query_one(Ghost).display == (size[1] >= 30)
        assert all(code in text_of(app, Tower) for code in views.CODES)
        state_of(app).at = views.racing()
        await step(app, pilot)
        assert not app.screen.query_one(Ghost).display


async def test_the_same_race_is_run_again_by_its_key(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("N")
        assert kinds(feed_of(app).commands) == ["start", "again"]


async def test_a_race_that_is_over_is_run_again_at_once(build: Build) -> None:
    app = build("finished")
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        await pilot.press("N")
        for _ in range(3):
            await step(app, pilot)
        assert kinds(feed_of(app).commands) == ["start", "again"]


async def test_a_recording_is_not_run_again(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    app, said = build(live=False), []
    monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
    async with running(app) as pilot:
        await pilot.press("N")
        assert kinds(feed_of(app).commands) == ["start"]
        assert said == ["a recording cannot be changed"]
