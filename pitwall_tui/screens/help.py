"""The help screen: keys, knobs and signs, over whatever is on."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from pitwall_tui.screens.wall import Latest
from pitwall_tui.widgets.panels import HelpPage


class HelpScreen(ModalScreen[None]):
    """Scrolls; escape, ?, q and enter close it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,question_mark,f1,q,enter", "dismiss", "close")
    ]

    def __init__(self, latest: Latest) -> None:
        super().__init__()
        self._latest = latest

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield HelpPage()

    def on_mount(self) -> None:
        self.query_one(HelpPage).show(*self._latest())
