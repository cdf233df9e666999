"""Driving the wall in tests: an app that runs, its parts, and what its panels show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import Rows, row_width
from pitwall_tui.widgets.panel import Panel
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


def unfilled(app: PitWallApp) -> list[str]:
    """Panels whose picture is not of their size, after the screen if that is not the terminal's."""
    strips = app.screen._compositor.render_strips()
    found = [f"{len(strips)} lines"] if len(strips) != app.size.height else []
    found += sorted({f"{s.cell_length} cells" for s in strips if s.cell_length != app.size.width})
    return found + [
        f"{type(panel).__name__} at {panel.size}, drawn at {panel._drawn_size}"
        for panel in _seen(app)
        if not fill(panel._rows, panel.size.width, panel.size.height)
    ]


async def settled(app: PitWallApp, pilot: Pilot[None], size: tuple[int, int]) -> None:
    """Until the terminal of this size is filled: a busy machine may take its time."""
    for _ in range(200):
        if app.screen.size == size and not unfilled(app):
            return
        await pilot.pause()
    raise AssertionError(f"{app.screen} at {size}: {app.screen.size}, {unfilled(app)}")


async def resized(app: PitWallApp, pilot: Pilot[None], *sizes: tuple[int, int]) -> None:
    """The terminal at these sizes, one right after the other, and the screen drawn for the last."""
    for size in sizes[:-1]:
        app.post_message(Resize(Size(*size), Size(*size)))
    await pilot.resize_terminal(*sizes[-1])
    app.tick()
    await settled(app, pilot, sizes[-1])


def _seen(app: PitWallApp) -> list[Panel]:
    """Those of which a cell at least is on the screen: others need not be drawn."""
    found = app.screen._compositor.visible_widgets
    return [each for each in app.screen.query(Panel) if each in found and each.size.height]
