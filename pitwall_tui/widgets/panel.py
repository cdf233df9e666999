"""The one way in which drawings get onto the screen."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.filter import ANSIToTruecolor
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from pitwall_tui.commands import KEYS, Keys
from pitwall_tui.draw.cells import Paint, Row, Rows, plain
from pitwall_tui.draw.keys import Key
from pitwall_tui.draw.status import Notice
from pitwall_tui.race.academy import AcademyView
from pitwall_tui.race.guide import GuideView
from pitwall_tui.race.playback import PlaybackView
from pitwall_tui.race.view import FollowView, RaceView
from pitwall_tui.race.whatif import WhatIf
from pitwall_tui.race.workshop import WorkshopView
from pitwall_tui.widgets.palette import Palette

_PLAIN: Paint = ("", "", "")


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
        self._styles: dict[Paint, Style] = {}
        self._base: tuple[Style, list[ANSIToTruecolor], RichColor] | None = None

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
            self._forget()
            self.refresh()
        if not self.is_on_screen:
            return
        changed, size = self._draw(), self._drawn_size
        if len(changed) == size.height:
            self.refresh()
        elif changed:
            self.refresh(*[Region(0, y, size.width, 1) for y in changed])

    def redraw(self) -> None:
        """What the frame is drawn by, other than the frame, has changed."""
        self._drawn = None
        self.refresh()

    def as_text(self) -> str:
        """The rows as they were last drawn."""
        return "\n".join(line.rstrip() for line in plain(self._rows).splitlines())

    def _draw(self) -> list[int]:
        """Bring the rows up to the frame and the size; the indices of those that changed."""
        size = self.size  # Textual works it out each time
        if self._drawn is self._frame and self._drawn_size == size:
            return []
        if self._drawn_size != size:
            self._rows = ()
            self._strips.clear()
        self._drawn, self._drawn_size = self._frame, size
        if self._frame is None:
            return []
        before, self._rows = self._rows, self.picture(self._frame, size.width, size.height)
        changed = [
            y
            for y, (new, old) in enumerate(zip_longest(self._rows, before))
            if new is not old and new != old
        ]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def render_lines(self, crop: Region) -> list[Strip]:
        """Of all that Textual draws around lines and over them a panel has no more than the light
        on what the mouse would click: the lines are kept as they go to the screen."""
        self._draw()
        lines = [self._line(y) for y in crop.line_range]
        under = self.hover_style
        if under.link_id and "@click" in under.meta:
            light = self.link_style_hover
            lines = [line.style_links(under.link_id, light) for line in lines]
        if crop.column_span == (0, self._drawn_size.width):
            return lines
        return [line.crop(*crop.column_span) for line in lines]

    def render_line(self, y: int) -> Strip:
        return self.render_lines(Region(0, y, self.size.width, 1))[0]

    def _line(self, y: int) -> Strip:
        if y not in self._strips:
            if y < len(self._rows):
                strip = self._strip(self._rows[y])
            else:
                strip = Strip.blank(self._drawn_size.width, self._style(_PLAIN))
            for line_filter in self.get_line_filters():
                if not isinstance(line_filter, ANSIToTruecolor):  # which styles have been through
                    strip = strip.apply_filter(line_filter, self.background_colors[1])
            self._strips[y] = strip
        return self._strips[y]

    def _strip(self, row: Row) -> Strip:
        """A strip of as few segments as it takes: blanks go to their left neighbour, but for one
        with a line through or under it."""
        segments = []
        texts: list[str] = []
        paint, lined = _PLAIN, False  # of `texts`
        for span in row:
            text, new = span[0], span[1:]
            if texts:
                if new == paint or (new[1:] == paint[1:] and not lined and text.isspace()):
                    texts.append(text)
                    continue
                segments.append(Segment("".join(texts), self._style(paint)))
            texts, paint, lined = [text], new, new[0].endswith(("underline", "strike"))
        if texts:
            segments.append(Segment("".join(texts), self._style(paint)))
        return Strip(segments, self._drawn_size.width)

    def _style(self, paint: Paint) -> Style:
        """A paint upon the panel's own style."""
        style = self._styles.get(paint)
        if style is None:
            if self._base is None:
                self._base = self._make_base()
            own, filters, ground = self._base
            style = own + self._palette.style(paint) if self._palette is not None else own
            for line_filter in filters:
                style = line_filter.truecolor_style(style, ground)
            self._styles[paint] = style
        return style

    def _make_base(self) -> tuple[Style, list[ANSIToTruecolor], RichColor]:
        """The panel's own style, and what all styles upon it go through, on which ground."""
        filters = [each for each in self.get_line_filters() if isinstance(each, ANSIToTruecolor)]
        return self.rich_style, filters, self.background_colors[1].rich_color

    def notify_style_update(self) -> None:
        self._forget()
        super().notify_style_update()

    def _forget(self) -> None:
        self._strips.clear()
        self._styles.clear()
        self._base = None
