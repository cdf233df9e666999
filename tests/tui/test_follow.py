"""Following a car: keys, mouse, and what every panel makes of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import plain
from pitwall_tui.draw.follow import draw_follow, milliseconds
from pitwall_tui.draw.pages import draw_pages, page_at
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.tower import draw_tower
from pitwall_tui.draw.track import draw_track
from pitwall_tui.race.ghost import GhostView
from pitwall_tui.race.view import FollowView, GapView, RaceView, WritingView
from pitwall_tui.screens.race import Following, PageMap, Radio, Tower, TrackMap
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.wall import SIZES, all_in_sight, fill, running, state_of, step, text_of

THIRD = views.NUMBERS[2]


def followed(row: int = 2, **changes: object) -> RaceView:
    """The middle of a race, with the car in a row followed."""
    view = views.racing(**changes)
    gaps = tuple(GapView(0.5 * (other - row), 0) for other in range(len(view.cars)))
    gaps = (*gaps[:-1], GapView(40.0, 2))
    writing = WritingView(view.cars[row].code, 6, 18, (("chief", "L18 M09 "), ("accepted", "27.4")))
    found = FollowView(412.4, 31.24, 28.06, 612, 640, 320, 1, gaps, writing)
    return replace(view, followed={view.cars[row].number: found})


# Drawings


@settings(max_examples=60)
@given(
    st.sampled_from([followed(), followed(19), views.racing(), views.empty(), views.loading()]),
    st.sampled_from([*views.NUMBERS, 1000, None]),
    st.integers(1, 300),
    st.integers(1, 100),
)
def test_every_drawing_fills_its_box_whoever_is_followed(
    view: RaceView, number: int | None, cells: int, height: int
) -> None:
    row = next((row for row, car in enumerate(view.cars) if car.number == number), None)
    car = None if row is None else view.cars[row]
    fresh = {THIRD: frozenset({"last", "s1", "state", "best"})}
    known = view if number in view.followed else replace(view, followed={})
    assert fill(draw_tower(known, cells, height, {}, number, fresh), cells, height)
    assert fill(draw_track(view, cells, height, number), cells, height)
    assert fill(draw_pages(view.pages, cells, height, row), cells, height)
    following = known.followed.get(number) if number is not None else None
    assert fill(draw_follow(car, following, cells, height), cells, height)


def test_gaps_are_to_the_car_that_is_followed() -> None:
    view = followed()
    lines = plain(draw_tower(view, 46, 21, followed=THIRD)).split("\n")
    assert lines[0].startswith(" POS  CAR TO OHL")
    assert lines[1].startswith("  1  ▌KES  -1.00")
    assert lines[3].startswith("▸ 3  ▌OHL ----- ")
    assert lines[4].startswith("  4  ▌MBE  +0.50")


def test_laps_down_and_up_are_laps() -> None:
    view = followed()
    found = view.followed[THIRD]
    gaps = (GapView(-40.0, -1), *found.gaps[1:-2], GapView(40.0, 2), GapView(None, 0))
    view = replace(view, followed={THIRD: replace(found, gaps=gaps)})
    lines = plain(draw_tower(view, 46, 21, followed=THIRD)).split("\n")
    assert "  -1 L " in lines[1]
    assert "  +2 L " in lines[19]


def test_a_car_that_is_followed_is_marked_by_more_than_hue() -> None:
    view = followed()
    text = plain(draw_tower(view, 46, 21, followed=THIRD))
    assert text.count("▸") == 1
    rows = draw_track(view, 60, 20, THIRD)
    assert "[●]" in plain(rows)
    assert "OHL" in plain(rows)
    assert "[" not in plain(draw_track(view, 60, 20))


def test_the_pages_of_the_car_are_lit_and_all_others_dim() -> None:
    pages = views.pages()
    assert 2 in pages.cars
    rows = draw_pages(pages, 60, 12, 2)
    teams = {role for row in rows[3:] for span in row for role in (span.role, span.back)}
    own = {t for t, owner in zip(pages.teams, pages.cars, strict=True) if owner == 2}
    coloured = {role for role in teams if role.startswith(("team.", "reserve."))}
    assert coloured
    assert coloured <= {f"{kind}.{team}" for kind in ("team", "reserve") for team in own}


@given(st.integers(1, 3000), st.integers(1, 120), st.integers(1, 40))
def test_a_cell_of_the_page_map_is_of_the_pages_that_it_shows(
    total: int, cells: int, height: int
) -> None:
    pages = views.pages(max(16, total))
    found = [
        page
        for y in range(height)
        for x in range(cells)
        for page in page_at(pages, cells, height, x, y)
    ]
    if height > 3 and cells > 2:
        assert set(found) == set(range(pages.total))
    else:
        assert found == []


def test_latencies_have_the_decimals_that_they_are_worth() -> None:
    assert [milliseconds(v) for v in (412.4, 31.24, 0.517, None)] == ["412", "31.2", "0.52", "-"]


def test_the_figures_of_the_car_stand_in_two_rows() -> None:
    view = followed()
    text = plain(draw_follow(view.cars[2], view.followed[THIRD], 96, 2))
    assert text.startswith(
        "▸▌OHL P3  TTFT 412 ms  TPOT 31.2 ms  ITL 28.1 ms  44 pages  prefix hits 320 tok"
    )
    assert "preempted 1" in text
    assert "612 in, 640 out" in text
    narrow = plain(draw_follow(view.cars[2], view.followed[THIRD], 33, 2))
    assert all(name in narrow for name in ("TTFT", "TPOT", "ITL"))


def test_its_text_is_the_first_line_of_the_radio() -> None:
    view = followed()
    lines = plain(draw_radio(view.radio, 60, 6, view.followed[THIRD].writing)).split("\n")
    assert lines[1].rstrip() == " ▌ OHL L18 ▏L18 M09 27.4"


# The wall


@pytest.mark.parametrize(("keys", "row"), [("down", 0), ("up", -1), ("j", 0), ("k", -1)])
async def test_arrows_begin_at_an_end_and_go_round(keys: str, row: int, build: Build) -> None:
    app = build(followed())
    async with running(app, (160, 45)) as pilot:
        await pilot.press(keys)
        assert app.latest()[0].followed == views.cars()[row].number
        for _ in views.cars():
            await pilot.press(keys)
        assert app.latest()[0].followed == views.cars()[row].number


@pytest.mark.parametrize("size", SIZES)
async def test_a_followed_car_is_on_every_panel(size: tuple[int, int], build: Build) -> None:
    app = build(followed())
    async with running(app, size) as pilot:
        await pilot.press("down", "down", "down")
        await step(app, pilot)
        assert all_in_sight(app)
        assert "▸ 3  ▌" in text_of(app, Tower)
        assert "OHL" in text_of(app, TrackMap)
        shown = [panel for panel in app.screen.query(Following) if panel.display]
        assert len(shown) == 1
        assert "412 ms" in shown[0].render_line(0).text
        assert any("27.4" in p.render_line(1).text for p in app.screen.query(Radio) if p.display)
        assert app.screen.query_one(TrackMap).size.height >= 7
        await pilot.press("escape")
        assert app.latest()[0].followed is None
        assert not any(panel.display for panel in app.screen.query(Following))
        assert "▸" not in text_of(app, Tower)


async def test_a_click_on_a_row_follows_its_car_and_another_lets_go(build: Build) -> None:
    app = build(followed())
    async with running(app, (120, 40)) as pilot:
        await pilot.pause()
        await pilot.click(Tower, offset=(20, 3))
        assert app.latest()[0].followed == THIRD
        await pilot.click(Tower, offset=(6, 3))
        assert app.latest()[0].followed is None
        for y in (0, 30):  # the heads, and below the last car
            await pilot.click(Tower, offset=(6, y))
            assert app.latest()[0].followed is None


async def test_a_click_on_the_map_follows_the_car_there(build: Build) -> None:
    app = build(followed())
    async with running(app, (160, 45)) as pilot:
        await pilot.pause()
        lines = text_of(app, TrackMap).split("\n")
        y = next(y for y, line in enumerate(lines) if "KES" in line)
        await pilot.click(TrackMap, offset=(lines[y].index("KES") + 1, y))
        assert app.latest()[0].followed == views.NUMBERS[0]


async def test_a_click_on_a_page_follows_the_car_that_holds_it(build: Build) -> None:
    app = build(followed())
    async with running(app, (160, 45)) as pilot:
        await pilot.pause()
        size, pages = app.screen.query_one(PageMap).size, views.pages()
        x, y, owner = next(
            (x, y, pages.cars[found[0]])
            for y in range(size.height)
            for x in range(size.width)
            if (found := page_at(pages, *size, x, y)) and pages.cars[found[0]] == 7
        )
        await pilot.click(PageMap, offset=(x, y))
        assert app.latest()[0].followed == views.NUMBERS[owner]
        await pilot.click(PageMap, offset=(2, 0))
        assert app.latest()[0].followed == views.NUMBERS[owner]


async def test_who_is_followed_may_be_another_while_the_view_is_held(build: Build) -> None:
    asked: list[object] = []
    app = build(followed())
    state = state_of(app)

    def view(now: float, details: object = (), followed: object = ()) -> RaceView:
        asked.append(tuple(followed))  # type: ignore[arg-type]
        return state.at

    state.view = view  # type: ignore[assignment]
    async with running(app, (120, 40)) as pilot:
        await pilot.press("down")
        assert asked[-1] == (views.NUMBERS[0],)
        await pilot.press("space")
        assert views.NUMBERS in asked
        state.at = views.racing()
        await pilot.press("down", "down")
        assert "TTFT" in text_of(app, Following)


Compare = Callable[..., bool]


def _pressed(*keys: str, theme: str = "pitwall") -> Callable[[Pilot[None]], object]:
    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        app.tick()
        await pilot.press(*keys)
        app.tick()
        await pilot.pause()

    return prepare


def against_a_ghost() -> RaceView:
    ghost = GhostView("weights fp32", -3.42, False, dict.fromkeys(views.CODES[:12], -3.0))
    return followed(ghost=ghost, speculation=views.SPECULATION)


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45", "200x60"])
def test_picture(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    app = build(against_a_ghost())
    assert snap_compare(app, terminal_size=(width, height), run_before=_pressed(*["down"] * 3))


def test_picture_light(build: Build, snap_compare: Compare) -> None:
    run = _pressed(*["down"] * 3, theme="pitwall-light")
    assert snap_compare(build(against_a_ghost()), terminal_size=(120, 40), run_before=run)


def test_picture_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = _pressed(*["down"] * 3)
    assert snap_compare(build(against_a_ghost()), terminal_size=(120, 40), run_before=run)


async def test_a_car_of_another_race_is_followed_again_where_it_starts(build: Build) -> None:
    app = build(followed())
    async with running(app, (120, 40)) as pilot:
        await pilot.press("down", "down", "down")
        state_of(app).at = views.racing(cars=views.cars()[:2])
        await step(app, pilot)
        assert "▸" not in text_of(app, Tower)
        state_of(app).at = followed()
        await step(app, pilot)
        assert "▸ 3" in text_of(app, Tower)
