"""What all full screens of the wall share: frames to their panels, and the least size."""

from collections.abc import Callable, Collection, Sequence

from textual._styles_cache import StylesCache
from textual.events import Resize
from textual.message import Message
from textual.screen import Screen

from pitwall_tui.draw.keys import Key
from pitwall_tui.draw.small import LEAST
from pitwall_tui.widgets.bars import GuideStrip
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame, Panel

Latest = Callable[[], tuple[Frame, Palette]]
# A screen has the class of the largest size that is not above its own.
WIDTHS = [(0, "-tiny"), (LEAST[0], "-narrow"), (100, "-medium"), (120, "-wide"), (160, "-xwide")]
LARGE = (200, 60)
HEIGHTS = [(0, "-low"), (LEAST[1], "-short"), (30, "-normal"), (40, "-tall")]


class WallScreen(Screen[None]):
    """A screen of panels. `latest` gives the newest frame, for when the screen comes up.

    Whoever is on one that `holds` is not sent on to another when a race ends or begins.
    """

    holds = False
    details: Collection[str] = ()
    """Names of the views in `race.details.Details` that its panels draw."""
    copied: tuple[type[Panel], ...] = (Panel,)
    """Kinds of panels whose text is copied; bars never are."""
    keys: Sequence[Key] = ()
    """Keys of this screen alone that the footer names; others may stand in a head of its own."""
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    def __init__(self, latest: Latest) -> None:
        super().__init__()
        self._latest = latest
        self._panels: list[Panel] = []

    class Changed(Message):
        """Something that is to be shown was changed from here."""

    def changed(self) -> None:
        """Have a new frame drawn at once."""
        self.post_message(self.Changed())

    @property
    def page(self) -> str:
        """The id of the command that opens it: what comes before Screen in its name."""
        return type(self).__name__.removesuffix("Screen").lower()

    def on_resize(self, event: Resize) -> None:
        """Beside the classes of its width and height, one where there is room for everything."""
        self.set_class(event.size.width >= LARGE[0] and event.size.height >= LARGE[1], "-large")

    def on_mount(self) -> None:
        self.mount(GuideStrip())
        self._panels = list(self.query(Panel))
        for panel in self._panels:
            panel.page, panel.keys = self.page, self.keys
        self.catch_up()

    def on_unmount(self) -> None:
        # It remembers each cache that it was asked for, and so all lines of every page ever opened.
        StylesCache.get_inner_outer.cache_clear()

    def on_screen_resume(self) -> None:
        self.catch_up()

    def catch_up(self) -> None:
        """Hand the newest frame to all panels."""
        frame, palette = self._latest()
        for panel in self._panels:
            panel.show(frame, palette)

    def show(self, frame: Frame, palette: Palette, beat: int, fps: float) -> None:
        """Hand frame number `beat` of `fps` a second to the panels whose turn it is."""
        for panel in self._panels:
            every = max(1, round(fps / panel.hz))
            if beat % every == 0:
                panel.show(frame, palette)

    def as_text(self) -> str:
        """What the page shows, panel after panel."""
        return "\n\n".join(
            panel.as_text()
            for panel in self._panels
            if isinstance(panel, self.copied) and panel.is_on_screen and panel.size.height > 1
        )
