"""The one way in which drawings get onto the screen."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from pitwall_tui.commands import KEYS, Keys
from pitwall_tui.draw.cells import Row, Rows, Span, plain
from pitwall_tui.draw.keys import Key
from pitwall_tui.draw.status import Notice
from pitwall_tui.race.academy import AcademyView
from pitwall_tui.race.guide import GuideView
from pitwall_tui.race.playback import PlaybackView
from pitwall_tui.race.view import FollowView, RaceView
from pitwall_tui.race.whatif import WhatIf
from pitwall_tui.race.workshop import WorkshopView
from pitwall_tui.widgets.palette import Palette


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels draw at one tick.

    `view` is the race as shown (held while frozen), `live` as it is; `now` is the wall's clock
    in seconds; `moves` are cars that gained (1) or lost (-1) a place, `fresh` the tower's columns
    in which a car has something new, both by car number; `followed` is the number of the car that
    somebody follows, in this race or not; `active` ids of commands
    whose thing is on; `countdown` seconds to the next race, where one is due; `workshop` what has
    been measured of the weights; `supposed` the acceptance that the strategy supposes, in percent;
    `academy` how its students do; `what_if` what is supposed of other machines and models; `keys`
    are those that the wall listens to; `playback` where a recording stands that is played, None
    where the race is an engine's.
    """

    view: RaceView
    live: RaceView
    now: float
    notice: Notice
    moves: dict[int, int]
    fresh: dict[int, frozenset[str]]
    followed: int | None
    active: frozenset[str]
    countdown: float | None
    workshop: WorkshopView
    supposed: int | None
    academy: AcademyView
    what_if: WhatIf
    keys: Keys = KEYS
    playback: PlaybackView | None = None
    guide: GuideView | None = None

    @property
    def followed_row(self) -> int | None:
        """The row of the car that is followed, in RaceView.cars; None where there is none."""
        numbers = [car.number for car in self.view.cars]
        return numbers.index(self.followed) if self.followed in numbers else None

    @property
    def following(self) -> FollowView | None:
        return None if self.followed is None else self.view.followed.get(self.followed)


class Panel(Widget):
    """Rows of spans through the Line API: a row is rendered again only where it changed."""

    ALLOW_SELECT = False
    hz: float = 10.0
    """Most repaints a second that this panel's content is worth."""
    page = ""
    """The id of the command that opens the screen it stands on."""
    keys: Sequence[Key] = ()
    """The keys of that screen alone."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._frame: Frame | None = None
        self._palette: Palette | None = None
        self._rows: Rows = ()
        self._drawn: Frame | None = None
        self._inputs: Hashable = None
        self._of_inputs: Rows = ()
        self._drawn_size = Size(0, 0)
        self._strips: dict[int, Strip] = {}
        self._styles: dict[tuple[str, str, str], Style] = {}

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        """The rows of `frame` at a size."""
        raise NotImplementedError

    def once(self, inputs: Hashable, draw: Callable[[], Rows]) -> Rows:
        """What was drawn last, where that was of the same inputs: bars hardly ever change."""
        if inputs != self._inputs:
            self._inputs, self._of_inputs = inputs, draw()
        return self._of_inputs

    def show(self, frame: Frame, palette: Palette) -> None:
        """Take a new frame; rows that differ from those on the screen are marked for repaint."""
        self._frame = frame
        if palette is not self._palette:
            self._palette = palette
            self._strips.clear()
            self._styles.clear()
            self.refresh()
        if not self.is_on_screen:
            return
        changed = self._draw()
        if len(changed) == self.size.height:
            self.refresh()
        elif changed:
            self.refresh(*[Region(0, y, self.size.width, 1) for y in changed])

    def redraw(self) -> None:
        """What the frame is drawn by, other than the frame, has changed."""
        self._drawn = None
        self.refresh()

    def as_text(self) -> str:
        """The rows as they were last drawn."""
        return "\n".join(line.rstrip() for line in plain(self._rows).splitlines())

    @property
    def _stale(self) -> bool:
        return self._drawn is not self._frame or self._drawn_size != self.size

    def _draw(self) -> list[int]:
        """Bring the rows up to the frame and the size; the indices of those that changed."""
        if self._frame is None or not self._stale:
            return []
        before = () if self._drawn_size != self.size else self._rows
        self._rows = self.picture(self._frame, self.size.width, self.size.height)
        self._drawn, self._drawn_size = self._frame, self.size
        changed = [y for y, row in enumerate(self._rows) if y >= len(before) or row != before[y]]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def render_line(self, y: int) -> Strip:
        if self._stale:
            self._draw()
        if y not in self._strips:
            if y >= len(self._rows):
                return Strip.blank(self.size.width, self._style(Span("")))
            self._strips[y] = self._strip(self._rows[y])
        return self._strips[y]

    def _strip(self, row: Row) -> Strip:
        """A strip of as few segments as it takes: blanks go to their left neighbour, but for one
        with a line through or under it."""
        texts: list[list[str]] = []
        styles: list[Style] = []
        before = Span("")
        for span in row:
            plain = not before.role.endswith(("underline", "strike"))
            blank = span.text.isspace() and span[2:] == before[2:] and bool(texts) and plain
            if blank or (texts and span[1:] == before[1:]):
                texts[-1].append(span.text)
                continue
            texts.append([span.text])
            styles.append(self._style(span))
            before = span
        segments = [
            Segment("".join(parts), style) for parts, style in zip(texts, styles, strict=True)
        ]
        return Strip(segments, self.size.width)

    def _style(self, span: Span) -> Style:
        """The style of a span upon the panel's own."""
        key = span[1:]
        if key not in self._styles:
            own = self._palette.style(span) if self._palette is not None else Style()
            self._styles[key] = self.rich_style + own
        return self._styles[key]

    def notify_style_update(self) -> None:
        self._strips.clear()
        self._styles.clear()
        super().notify_style_update()
