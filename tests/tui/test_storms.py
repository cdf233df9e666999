"""Storms: every key on every page, sizes by the dozen, pages turned while a race pours in."""

from pathlib import Path
from random import Random

import pytest
from textual.pilot import Pilot

from engine.config import Knobs
from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import KEYS, KNOB_KEYS, Command
from pitwall_tui.draw.cells import row_width
from pitwall_tui.draw.knobs import draw_knobs
from pitwall_tui.feed.script import ScriptFeed
from pitwall_tui.race.events import FeedEvent
from pitwall_tui.race.state import RaceState
from pitwall_tui.screens.help import HelpScreen
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.bars import KnobBar
from tests.scripted import Script
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.frames import rich
from tests.tui.tour import PAGES, on_tour
from tests.tui.wall import feed_of, resized, settled

pytestmark = pytest.mark.usefixtures("_in_a_folder_of_its_own")

# What ends the app, and what turns a page: all others leave the page as it is.
_OTHERS = {"quit", "interrupt", *(command.action for command in PAGES)}
STAYING = [
    key
    for _, action, keys in KEYS.bound()
    if action not in _OTHERS
    for key in filter(None, keys.split(","))
]
# Faster than they are drawn but for the last of each row.
SIZES = [
    ((80, 24), (160, 45), (1, 1)),
    ((300, 1), (79, 24), (80, 24)),
    ((81, 25), (2, 50), (300, 100)),
    ((100, 30), (3, 3), (99, 29)),
    ((119, 39), (121, 41), (200, 60)),
    ((40, 12), (159, 44), (60, 10)),
    ((140, 28), (110, 55), (160, 45)),
]


@pytest.fixture
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some keys write files."""
    monkeypatch.chdir(tmp_path)


async def opened(app: PitWallApp, pilot: Pilot[None], page: Command) -> None:
    await app.run_action(page.action)
    await pilot.pause()
    app.tick()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
async def test_every_key_may_be_pressed_on_every_page(page: Command, build: Build) -> None:
    app = build(rich(views.drafting()).view)
    async with on_tour(app, (120, 40)) as pilot:
        await opened(app, pilot, page)
        screen = app.screen
        await pilot.press(*STAYING)
        app.tick()
        await settled(app, pilot, (120, 40))
        assert app.is_running
        assert app.screen is screen
        modal = isinstance(screen, HelpScreen)
        asked = [knobs for knobs in feed_of(app).sent("knobs") if isinstance(knobs, Knobs)]
        changed = {name for knobs in asked for name, _ in knobs.changes(Knobs(max_batch=8))}
        # A screen's own keys come before the wall's; knobs are nobody's own.
        assert changed >= (set() if modal else {knob.name for knob in KNOB_KEYS} - {"speculation"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
async def test_every_size_is_filled_on_every_page(page: Command, build: Build) -> None:
    app = build(rich(views.drafting()).view)
    async with on_tour(app, (160, 45)) as pilot:
        await opened(app, pilot, page)
        screen = app.screen
        for sizes in SIZES:
            await resized(app, pilot, *sizes)
        assert app.screen is screen


@pytest.mark.parametrize("page", [p for p in PAGES if p.id != "help"], ids=lambda page: page.id)
async def test_a_click_turns_a_knob_on_every_page_as_its_key_does(
    page: Command, build: Build
) -> None:
    app = build(rich(views.racing()).view)
    async with on_tour(app, (160, 45)) as pilot:
        await opened(app, pilot, page)
        [spans] = draw_knobs(views.KNOBS, 160)
        for knob in (KNOB_KEYS[0], KNOB_KEYS[-1]):
            before = next(n for n, span in enumerate(spans) if f"'{knob.name}'" in span.action)
            feed_of(app).commands.clear()
            app._asked.refused()
            await pilot.click(KnobBar, offset=(row_width(spans[:before]), 0))
            await pilot.press(knob.key)
            clicked, pressed = feed_of(app).sent("knobs")
            assert clicked != pressed == Knobs(max_batch=8)  # there, and back


class Pouring(ScriptFeed):
    """Many events at each pull, as after a stop."""

    def __init__(self, script: Script) -> None:
        super().__init__(script.events())
        self.poured = 0

    def pull(self) -> tuple[FeedEvent, ...]:
        due = self.advance(8)
        self.poured += len(due)
        return due


async def test_pages_are_turned_while_a_race_pours_in() -> None:
    rng = Random(5)
    feed, state = Pouring(Script(laps=12, cars=20)), RaceState("script")
    app = PitWallApp(feed, state, clock=lambda: 10.0, fps=0)
    app.animation_level = "none"
    app._disable_notifications = True
    keys = [page.keys.partition(",")[0] for page in PAGES] * 2
    rng.shuffle(keys)
    seen = set()
    async with app.run_test(size=(120, 40)) as pilot:
        for key in keys:
            app.tick()
            await pilot.press(key)
            app.tick()
            await settled(app, pilot, (120, 40))
            seen.add(type(app.screen))
            if isinstance(app.screen, HelpScreen):
                await pilot.press("escape")
        assert len(seen) >= len(PAGES)
        assert all(issubclass(screen, WallScreen | HelpScreen) for screen in seen)
        assert feed.poured > 90  # of up to six steps each
        assert state.over
        await pilot.press("f1", "f1")
        assert isinstance(app.screen, RaceScreen)
