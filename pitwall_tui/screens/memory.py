"""The memory: what the KV pages do, table by table and over time."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pitwall_tui.draw.memory import chosen_row
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.panels import (
    BlockTables,
    CarPages,
    Held,
    Index,
    KeyBar,
    KnobBar,
    KVFormats,
    Pool,
    StatusLine,
    TooSmall,
)


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
