"""The help screen: what the screen under it shows and teaches, and every key."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from pitwall_tui.draw.help import OwnKey
from pitwall_tui.keys import shown
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.widgets.panels import HelpPage


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
