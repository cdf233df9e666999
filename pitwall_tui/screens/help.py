"""The help screen: what the screen under it shows and teaches, and every key."""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.screen import ModalScreen

from pitwall_tui.commands import Keys
from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.help import OwnKey, help_rows
from pitwall_tui.keys import shown
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.panel import Frame, Panel


class HelpPage(Panel):
    """As high as its text at the width it has: see `help_rows`."""

    def __init__(self, keys: Keys, pages: Sequence[str], own: Sequence[OwnKey]) -> None:
        super().__init__()
        self._text = lru_cache(2)(lambda cells: help_rows(cells, keys, pages, own))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._text(width))

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return self._text(cells)


class HelpScreen(ModalScreen[None]):
    """Help for a screen. Scrolls; escape, ?, q and enter close it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,question_mark,f1,q,enter", "dismiss", "close")
    ]

    def __init__(self, latest: Latest, screen: type[WallScreen]) -> None:
        super().__init__()
        self._latest = latest
        self._about = screen

    def compose(self) -> ComposeResult:
        frame, _ = self._latest()
        pages = [self._about.__name__, *(["replay"] if frame.notice.replay else [])]
        with VerticalScroll():
            yield HelpPage(frame.keys, pages, _own(self._about))

    def on_mount(self) -> None:
        self.query_one(HelpPage).show(*self._latest())


def _own(screen: type[WallScreen]) -> list[OwnKey]:
    """The keys that a screen has for itself, as it declares them."""
    keys: dict[tuple[str, str], list[str]] = {}
    for binding in Binding.make_bindings(vars(screen).get("BINDINGS", ())):
        keys.setdefault((binding.action, binding.description), []).append(shown(binding.key))
    return [(" ".join(names), words) for (_, words), names in keys.items()]
