"""Draws docs/layouts.md: where the panels of each page lie, taken from the app as it runs.

`python -m docs.layouts` writes it; a test holds the file to what the app does.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from textual.geometry import Region

from pitwall_tui.app import PitWallApp
from pitwall_tui.cli.replay import DEMO
from pitwall_tui.draw.cells import cut, width
from pitwall_tui.feed.reading import events_of
from pitwall_tui.feed.script import ScriptFeed
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView
from pitwall_tui.settings import Wall
from pitwall_tui.widgets.bars import GuideStrip
from pitwall_tui.widgets.panel import Panel

FILE = Path(__file__).with_name("layouts.md")
Size = tuple[int, int]
SIZES: tuple[Size, ...] = ((80, 24), (100, 30), (120, 40), (160, 45), (200, 60))
# What is pressed to come from one page of the document to the next.
PAGES = (
    ("Race", ()),
    ("Race, once somebody drafts", ()),
    ("Race, with a car that is followed", ("down",)),
    ("Memory", ("escape", "f2")),
    ("Batching", ("f3",)),
    ("Workshop", ("f4",)),
    ("Strategy", ("f5",)),
    ("Academy", ("f6",)),
    ("Bottleneck", ("f7",)),
    ("Debrief", ("f8",)),
    ("Classification", ("r",)),
    ("Help", ("f1", "question_mark")),
    ("Guide, over the race", ("escape", "g")),
)
_ABOUT = """\
# Layouts

Where the panels of each page lie in each size class, half as wide and half as high as in the
terminal (a row that stands alone as high as its name), with their sizes in cells. `make layouts`
draws them from the app as it runs over the shipped recording; what the panels show, `?` says on
every page, and how they look, [the wall](wall.md).
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A panel on the screen, in cells."""

    name: str
    region: Region


# From the app to boxes


async def walk(sizes: Sequence[Size] = SIZES) -> AsyncIterator[tuple[str, dict[Size, list[Box]]]]:
    """Every page of the document with its boxes by size: one app, of which each page is resized."""
    steps = _states()
    app = PitWallApp(ScriptFeed(()), RaceState(), clock=lambda: 0.0, fps=0, wall=Wall(guide=False))
    app.animation_level = "none"
    async with app.run_test(size=sizes[0]) as pilot:
        for page, keys in PAGES:
            if not keys:
                app.state = next(steps)
            app.tick()
            await pilot.press(*keys)
            found = {}
            for size in sizes:
                await pilot.resize_terminal(*size)
                app.tick()
                await pilot.pause()
                found[size] = boxes(app)
            yield page, found


def _states() -> Iterator[RaceState]:
    """The race once it runs, then once somebody has drafted in it."""
    moments: tuple[Callable[[RaceView], bool], ...] = (
        lambda view: view.status.flag == "green",
        lambda view: view.speculation is not None,
    )
    state, events = RaceState(), events_of(DEMO)
    for reached in moments:
        while not reached(state.view(0.0)):
            state.apply(next(events))
        yield state


def boxes(app: PitWallApp) -> list[Box]:
    """The panels that can be seen, the guide's strip over what is under it."""
    seen = [panel for panel in app.screen.query(Panel) if panel.is_on_screen and panel.size]
    strips = [panel for panel in seen if isinstance(panel, GuideStrip)]
    whole, found = app.screen.region, []
    codes = [car.code for car in app.latest()[0].view.cars]
    for panel in seen:
        region = panel.region.intersection(whole)
        for strip in strips:
            if panel is not strip and region.overlaps(strip.region):
                region = Region.from_corners(*region.offset, region.right, strip.region.y)
        if region:
            found.append(Box(_name(panel, codes), region))
    return found


def _name(panel: Panel, codes: Sequence[str]) -> str:
    """The title in its head, without what differs from race to race; of a panel that has none, what
    it is."""
    head = panel._rows[0][0]
    if head.role == "title bold":
        title = head.text.strip().partition("  ")[0].split()
        words = takewhile(lambda word: not any(c.islower() or c.isdigit() for c in word), title)
        return " ".join("CAR" if word in codes else word for word in words)
    kind = type(panel).__name__
    return "".join(f" {char}" if char.isupper() else char for char in kind).strip().lower()


# From boxes to text


def sketch(found: list[Box], size: Size) -> str:
    """The boxes with lines around them; what lies between two boxes goes to the first."""
    grown = [Box(box.name, _grown(box, found, size)) for box in found]
    columns = _places({x for box in grown for x in (box.region.x, box.region.right)}, 2)
    rows = _places({y for box in grown for y in (box.region.y, box.region.bottom)}, 2)
    canvas = [[0] * (columns[max(columns)] + 1) for _ in range(rows[max(rows)] + 1)]
    for box in grown:
        left, right = columns[box.region.x], columns[box.region.right]
        top, bottom = rows[box.region.y], rows[box.region.bottom]
        _frame(canvas, left, right, top, bottom)
    lines = [[_LINES[arms] for arms in row] for row in canvas]
    for box, own in zip(grown, found, strict=True):
        left, right = columns[box.region.x] + 1, columns[box.region.right]
        top, bottom = rows[box.region.y] + 1, rows[box.region.bottom]
        for line, text in zip(range(top, bottom), _label(own, right - left), strict=False):
            lines[line][left : left + width(text)] = text
    return "\n".join("".join(line).rstrip() for line in lines)


def _grown(box: Box, found: list[Box], size: Size) -> Region:
    """The region with the blank column at its right and the blank row under it."""
    x, y, wide, high = box.region
    others = [other.region for other in found if other is not box]
    aside, under = Region(x + wide, y, 1, high), Region(x, y + high, wide, 1)
    if x + wide < size[0] and not any(aside.overlaps(other) for other in others):
        wide += 1
    if y + high < size[1] and not any(under.overlaps(other) for other in others):
        high += 1
    return Region(x, y, wide, high)


def _places(edges: set[int], least: int) -> dict[int, int]:
    """Where each edge is drawn: about half as far apart as they are, at least so far."""
    places, at, before = {}, 0, min(edges)
    for edge in sorted(edges):
        if edge > before:
            at += max(least, round((edge - before) / 2))
        places[edge], before = at, edge
    return places


_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8
_LINES = dict(enumerate(" ╵╶└╷│┌├╴┘─┴┐┤┬┼"))


def _frame(canvas: list[list[int]], left: int, right: int, top: int, bottom: int) -> None:
    """The arms that a box gives to the cells of its outline."""
    for y in (top, bottom):
        for x in range(left, right):
            canvas[y][x] |= _RIGHT
            canvas[y][x + 1] |= _LEFT
    for x in (left, right):
        for y in range(top, bottom):
            canvas[y][x] |= _DOWN
            canvas[y + 1][x] |= _UP


def _label(box: Box, cells: int) -> Iterator[str]:
    """The name, and in the same line or the next one the size, where there is room."""
    size = f"{box.region.width}x{box.region.height}"
    if width(box.name) + width(size) + 3 <= cells:
        yield f" {box.name} {size}"
    else:
        yield f" {cut(box.name, cells - 1)}"
        yield f" {cut(size, cells - 1)}"


# The document


def section(page: str, size: Size, found: list[Box]) -> str:
    name = f"### {page}, {size[0]}x{size[1]}"
    return f"{name}\n\n```text\n{sketch(found, size)}\n```\n"


async def document() -> str:
    parts = [_ABOUT]
    async for page, found in walk():
        parts.append(f"## {page}\n")
        parts += [section(page, size, shown) for size, shown in found.items()]
    return "\n".join(parts)


def main() -> int:
    FILE.write_text(asyncio.run(document()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
