"""Driving the wall in tests: an app that runs, its parts, and what its panels show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import Rows, row_width
from tests.tui.fakes import FakeFeed, StillState

SIZES = [(80, 24), (100, 30), (120, 40), (160, 45), (200, 60), (80, 60), (200, 24)]


def text_of(app: PitWallApp, panel: type) -> str:
    widget = app.screen.query(panel).first()
    return "\n".join(widget.render_line(y).text for y in range(widget.size.height))


def feed_of(app: PitWallApp) -> FakeFeed:
    assert isinstance(app.feed, FakeFeed)
    return app.feed


def state_of(app: PitWallApp) -> StillState:
    assert isinstance(app.state, StillState)
    return app.state


@asynccontextmanager
async def running(app: PitWallApp, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    """The app once its first frame is up and its feed has been started."""
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot


async def step(app: PitWallApp, pilot: Pilot[None]) -> None:
    app.tick()
    await pilot.pause()


def all_in_sight(app: PitWallApp) -> bool:
    """Whether every widget lies within the screen."""
    whole = app.screen.region
    return all(whole.contains_region(widget.region) for widget in app.screen.walk_children())


def fill(rows: Rows, cells: int, height: int) -> bool:
    """Whether a drawing fills its box exactly."""
    return len(rows) == height and {row_width(row) for row in rows} <= {cells}
