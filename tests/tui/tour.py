"""A tour of the wall: every page of it, with much to see on each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import COMMANDS
from pitwall_tui.widgets.panel import Panel
from tests.tui.fakes import FakeFeed
from tests.tui.studied import LAYER, stored
from tests.tui.taught import STEPS, FakeAcademy, lessons, sweep

# What opens nothing, but does something.
_DEEDS = {
    *("guide", "freeze", "pause", "slower", "faster", "next", "again", "record"),
    *("theme", "copy", "shot", "quit"),
}
PAGES = [command for command in COMMANDS if command.id not in {*_DEEDS, "interrupt"}]


@asynccontextmanager
async def on_tour(app: PitWallApp, size: tuple[int, int]) -> AsyncIterator[Pilot[None]]:
    """The app with studies of weights and a course that have been told of."""
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert isinstance(app.feed, FakeFeed)
        app.feed.found += stored()
        if isinstance(app.academy, FakeAcademy):
            app._school.start()
            app.academy.news += [*lessons(STEPS), *sweep(2, 0.4)]
        app.tick()
        app._workshop.choose_layer(LAYER)
        await pilot.pause()
        yield pilot


async def pages(app: PitWallApp, pilot: Pilot[None]) -> AsyncIterator[str]:
    """Turns to one page after the other; the names of their commands."""
    for command in PAGES:
        await app.run_action(command.action)
        await pilot.pause()
        app.tick()
        await pilot.pause()
        yield command.id
        if command.id == "help":
            await pilot.press("escape")


def panels(app: PitWallApp) -> list[Panel]:
    """Those that can be seen."""
    return [panel for panel in app.screen.query(Panel) if panel.is_on_screen and panel.size.height]
