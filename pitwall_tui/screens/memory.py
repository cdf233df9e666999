"""The memory: what the KV pages do, table by table and over time."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.held import draw_formats, draw_held, draw_index
from pitwall_tui.draw.memory import chosen_row, draw_chosen, draw_pool, draw_tables
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.panel import Frame, Panel


class BlockTables(Panel):
    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_tables(frame.view, frame.followed, cells, height)


class CarPages(Panel):
    """The pages of the chosen car, by their numbers."""

    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_chosen(frame.view, frame.followed, cells, height)


class Pool(Panel):
    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_pool(frame.view, frame.followed, cells, height)


class Held(Panel):
    """Bytes held over time."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_held(frame.view, cells, height)


class Index(Panel):
    """Of prefixes."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_index(frame.view, cells, height)


class KVFormats(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_formats(frame.view, cells, height)


class MemoryScreen(WallScreen):
    """Arrows follow a car; the wall's keys work here too."""

    holds = True
    details = ("memory",)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "step_table(-1)", "car before"),
        ("down,j", "step_table(1)", "car after"),
    ]

    async def action_step_table(self, step: int) -> None:
        """Follow the car so many tables further down; round the end."""
        frame, _ = self._latest()
        memory = frame.view.details.memory
        if memory is not None and memory.tables:
            row = (chosen_row(memory, frame.followed) + step) % len(memory.tables)
            await self.app.run_action(f"app.follow({memory.tables[row].number})")

    def compose(self) -> ComposeResult:
        yield StatusLine()
        with Horizontal(id="memory"):
            with Vertical(id="holders"):
                yield BlockTables()
                yield CarPages(id="wide-pages")
                yield KVFormats(id="wide-formats")
            with Vertical(id="pool"):
                yield Held()
                yield CarPages(id="narrow-pages")
                yield Pool()
                yield Index()
                yield KVFormats(id="narrow-formats")
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
