"""The memory: what the KV pages do, table by table and over time."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

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
    """Arrows choose a car; the wall's keys work here too."""

    holds = True
    details = ("memory",)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back to the wall"),
        ("up,k", "app.step_car(-1)", "car before"),
        ("down,j", "app.step_car(1)", "car after"),
    ]

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
