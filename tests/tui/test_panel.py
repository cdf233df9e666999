"""Panels on the screen: lines that are kept are those that would be drawn anew."""

import gc

import pytest
from textual._styles_cache import StylesCache
from textual.geometry import Region
from textual.strip import Strip

from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import Row, Span
from pitwall_tui.draw.pages import commonest
from pitwall_tui.feed.reading import events_of
from pitwall_tui.paths import asset
from pitwall_tui.race.state import RaceState
from pitwall_tui.screens.race import Tower
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.settings import Wall
from pitwall_tui.widgets.bars import KnobBar, StatusLine
from pitwall_tui.widgets.panel import Panel
from tests.tui.conftest import Build
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.recorded import recorded
from tests.tui.wall import resized, running, step, text_of


def lines(panel: Panel) -> list[Strip]:
    return panel.render_lines(panel.size.region)


def kept_and_anew(app: PitWallApp) -> list[tuple[list[Strip], list[Strip]]]:
    """Every panel's lines as they are, and once it has forgotten all that it keeps."""
    found = []
    for panel in app.screen.query(Panel):
        if panel.is_on_screen:
            kept = lines(panel)
            panel.notify_style_update()
            found.append((kept, lines(panel)))
    assert len(found) >= 6
    return found


@pytest.mark.parametrize("ascii", [False, True])
async def test_lines_that_are_kept_follow_theme_and_size(ascii: bool) -> None:
    state = StillState(recorded("racing"))
    app = PitWallApp(FakeFeed(), state, clock=lambda: 10.0, fps=0, wall=Wall(ascii=ascii))
    app.animation_level = "none"
    async with running(app, (160, 45)) as pilot:
        await step(app, pilot)
        dark = [kept for kept, _ in kept_and_anew(app)]
        app.theme = "pitwall-light"
        await step(app, pilot)
        both = kept_and_anew(app)
        assert [kept for kept, _ in both] != dark
        assert all(kept == anew for kept, anew in both)
        for size in ((120, 45), (160, 45), (80, 24)):
            await resized(app, pilot, size)
            assert all(kept == anew for kept, anew in kept_and_anew(app))


async def test_a_part_of_a_panel_is_that_part_of_its_lines(build: Build) -> None:
    app = build()
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        tower = app.screen.query_one(Tower)
        part = tower.render_lines(Region(5, 2, 20, 3))
        assert [line.text for line in part] == [line.text[5:25] for line in lines(tower)[2:5]]
        below = tower.render_line(tower.size.height + 5)
        assert below.text == " " * tower.size.width


async def test_what_the_mouse_would_click_is_lit(build: Build) -> None:
    app = build()
    async with running(app, (160, 45)) as pilot:
        await step(app, pilot)
        bar = app.screen.query_one(KnobBar)
        before = lines(bar)
        at = before[0].text.index("paged")
        await pilot.hover(KnobBar, offset=(at, 0))
        await pilot.pause()
        lit = lines(bar)
        assert [line.text for line in lit] == [line.text for line in before]
        assert lit != before
        await pilot.hover(Tower, offset=(3, 3))
        await pilot.pause()
        assert lines(bar) == before


async def test_a_key_is_answered_on_panels_whose_turn_it_is_not(build: Build) -> None:
    app = build()
    app.fps = 10  # a panel of 5 a second is drawn at every other frame ...
    app.set_interval = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        while app._beat % 2 == 0:
            await step(app, pilot)
        await pilot.press("space")  # ... but freezes here at once
        assert "FROZEN" in text_of(app, StatusLine)


async def test_a_page_that_is_opened_shows_what_there_is_at_once() -> None:
    state = RaceState()
    for event in events_of(asset("races/monza.jsonl.gz")):
        state.apply(event)
        if len(state.view(0.0).chart.values) > 8:
            break
    app = PitWallApp(FakeFeed(), state, clock=lambda: 10.0, fps=0)
    async with running(app, (160, 45)) as pilot:
        await step(app, pilot)
        for key, said in (("f2", "nothing has run"), ("f3", "nothing has run"), ("f7", "no step")):
            await pilot.press(key)
            await pilot.pause()
            page = app.screen
            assert isinstance(page, WallScreen)
            assert said not in page.as_text()


def test_of_as_many_the_first_is_the_commonest() -> None:
    row: Row = (Span("a"), Span("b"), Span("b"), Span("a"), Span("c"))
    assert commonest(row) == Span("a")
    assert commonest(row[1:]) == Span("b")


async def test_pages_that_were_closed_are_forgotten(build: Build) -> None:
    def caches() -> int:
        gc.collect()
        return sum(type(each) is StylesCache for each in gc.get_objects())

    app = build()
    async with running(app, (120, 40)) as pilot:
        found = []
        for _ in range(4):
            await pilot.press("f2")
            await step(app, pilot)
            await pilot.press("f1")
            await step(app, pilot)
            found.append(caches())
        assert found[-1] == found[0], "every page that is opened leaves something behind"
