"""The bars that every page has, and what lies over a page."""

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.footer import draw_footer
from pitwall_tui.draw.guide import draw_guide
from pitwall_tui.draw.knobs import draw_knobs
from pitwall_tui.draw.player import draw_player
from pitwall_tui.draw.small import draw_too_small
from pitwall_tui.draw.status import draw_status
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame, Panel


class StatusLine(Panel):
    """Flag, race, engine figures: always of the race as it is, frozen or not."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_status(frame.live, frame.notice, cells, height)


class KnobBar(Panel):
    """The knobs of the engine as it is, frozen or not; over them, or in the place of them where
    there is one row, the player of a recording."""

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        rows: Rows = ()
        if frame.playback is not None:
            rows = draw_player(frame.playback, cells, min(height, 1))
        knobs, room = frame.live.knobs, height - len(rows)
        bar = self.once(
            (knobs, cells, room, id(frame.keys)),
            lambda: draw_knobs(knobs, cells, room, frame.keys),
        )
        return (*rows, *bar)


class KeyBar(Panel):
    """The pages and all keys."""

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        active, commands = frame.active, frame.keys.commands
        return self.once(
            (active, cells, height, commands),
            lambda: draw_footer(active, cells, height, commands, page=self.page, own=self.keys),
        )


class GuideStrip(Panel):
    """Over the lower part of a screen, while there is a guide."""

    def show(self, frame: Frame, palette: Palette) -> None:
        self.set_class(frame.guide is not None, "-on")
        super().show(frame, palette)

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_guide(frame.guide, frame.keys, cells, height)


class TooSmall(Panel):
    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_too_small(cells, height)
