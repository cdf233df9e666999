"""The panels of the wall: which drawing each shows, and how often it is worth it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from textual.events import Click
from textual.geometry import Size

from pitwall_tui.commands import Keys
from pitwall_tui.draw.academy import (
    draw_agreement,
    draw_lectern,
    draw_losses,
    draw_marks,
    draw_sweep,
)
from pitwall_tui.draw.batching import draw_batch, draw_latencies, draw_modes, draw_queue
from pitwall_tui.draw.bottleneck import draw_ceilings, draw_phases
from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.chart import draw_chart
from pitwall_tui.draw.debrief import draw_effects, draw_percentiles, draw_scatter
from pitwall_tui.draw.follow import draw_follow
from pitwall_tui.draw.footer import draw_footer
from pitwall_tui.draw.ghost import draw_ghost
from pitwall_tui.draw.guide import draw_guide
from pitwall_tui.draw.held import draw_formats, draw_held, draw_index
from pitwall_tui.draw.help import OwnKey, help_rows
from pitwall_tui.draw.knobs import draw_knobs
from pitwall_tui.draw.lights import draw_lights
from pitwall_tui.draw.memory import draw_chosen, draw_pool, draw_tables
from pitwall_tui.draw.pages import draw_pages, page_at
from pitwall_tui.draw.player import draw_player
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.results import draw_results
from pitwall_tui.draw.roofline import draw_roofline
from pitwall_tui.draw.small import draw_too_small
from pitwall_tui.draw.speculation import draw_speculation
from pitwall_tui.draw.spread import draw_off, draw_pairs, draw_weights
from pitwall_tui.draw.status import draw_status
from pitwall_tui.draw.strategy import (
    draw_by_acceptance,
    draw_by_length,
    draw_measured,
    draw_suppose,
)
from pitwall_tui.draw.tower import car_at, draw_tower
from pitwall_tui.draw.track import draw_track
from pitwall_tui.draw.whatif import draw_whatif
from pitwall_tui.draw.workshop import draw_bench, draw_footprints, draw_layers
from pitwall_tui.race.view import RadioView
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame, Panel


class StatusLine(Panel):
    """Flag, race, engine figures: always of the race as it is, frozen or not."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_status(frame.live, frame.notice, cells, height)


class Tower(Panel):
    """The cars in their order; a click on one follows it."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_tower(frame.view, cells, height, frame.moves, frame.followed, fresh=frame.fresh)

    async def on_click(self, event: Click) -> None:
        number = car_at(self._frame.view, event.y) if self._frame else None
        if number is not None:
            await self.run_action(f"app.follow({number})")


class TrackMap(Panel):
    """The circuit; the start lights in its place until they are out."""

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        if frame.view.status.flag == "lights":
            return draw_lights(frame.view.lights, frame.now, cells, height)
        return draw_track(frame.view, cells, height, frame.followed)


class PageMap(Panel):
    """Who holds which pages; a click on one follows the car that does."""

    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_pages(frame.view.pages, cells, height, frame.followed_row)

    async def on_click(self, event: Click) -> None:
        if self._frame is None:
            return
        view = self._frame.view
        pages = page_at(view.pages, *self.size, event.x, event.y)
        rows = (view.pages.cars[page] for page in pages)
        row = next((row for row in rows if row < len(view.cars)), None)
        if row is not None:
            await self.run_action(f"app.follow({view.cars[row].number})")


class Following(Panel):
    """The car that is followed, in a few figures."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        row = frame.followed_row
        car = None if row is None else frame.view.cars[row]
        return draw_follow(car, frame.following, cells, height)


class Throughput(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        view = frame.view
        return draw_chart(view.chart, cells, height, view.traffic, view.quality)


class Ghost(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_ghost(frame.view.ghost, cells, height)


class Radio(Panel):
    """The newest entries, or those up to the one that somebody has gone back to."""

    hz = 5.0
    _last: RadioView | None = None

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        following = frame.following
        writing = frame.view.writing if following is None else following.writing
        radio, count = frame.view.radio, self._place(frame.view.radio) + 1
        return draw_radio(radio[:count], cells, height, writing, len(radio) - count)

    def _place(self, radio: tuple[RadioView, ...]) -> int:
        """Of the last entry that is shown; where that has been forgotten, of the newest."""
        return radio.index(self._last) if self._last in radio else len(radio) - 1

    def go_back(self, entries: int) -> None:
        """So many entries towards the start, towards the newest where less than 0."""
        radio = self._frame.view.radio if self._frame is not None else ()
        if radio:
            place = min(max(self._place(radio) - entries, 0), len(radio) - 1)
            self._last = None if place == len(radio) - 1 else radio[place]
            self.redraw()

    def go_back_page(self, pages: int) -> None:
        self.go_back(pages * max(1, self.size.height // 2))

    def on_mouse_scroll_up(self) -> None:
        self.go_back(1)

    def on_mouse_scroll_down(self) -> None:
        self.go_back(-1)


class Speculation(Panel):
    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_speculation(frame.view.speculation, cells, height)


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


class Results(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_results(frame.live, frame.countdown, cells, height, frame.notice.replay)


class Bench(Panel):
    """What the workshop looks at."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_bench(frame.workshop, cells, height)


class LayerTable(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_layers(frame.workshop, cells, height)


class Footprints(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_footprints(frame.workshop, cells, height)


class Weights(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_weights(frame.workshop, cells, height)


class Off(Panel):
    """The errors."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_off(frame.workshop, cells, height)


class Pairs(Panel):
    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_pairs(frame.workshop, cells, height)


class Suppose(Panel):
    """What the strategy supposes, and what theory makes of it."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_suppose(frame.view.speculation, frame.supposed, cells, height)


class ByLength(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_by_length(frame.view.speculation, frame.supposed, cells, height)


class ByAcceptance(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_by_acceptance(frame.view.speculation, frame.supposed, cells, height)


class MeasuredTable(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_measured(frame.view.speculation, cells, height)


class BatchHead(Panel):
    """The knobs of batching, and what comes of them right now."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        view = replace(frame.view, knobs=frame.live.knobs)
        return draw_batch(view, cells, height)


class ModeTable(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_modes(frame.view.details.batching, cells, height)


class LatencyTable(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_latencies(frame.view.details.batching, cells, height)


class QueueList(Panel):
    hz = 4.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_queue(frame.view.details.batching, cells, height)


class Scatter(Panel):
    """Speed over memory, by setting."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_scatter(frame.view.details.debrief, cells, height)


class Effects(Panel):
    """Of knobs that were turned."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_effects(frame.view.details.debrief, cells, height)


class Percentiles(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_percentiles(frame.view.details.debrief, cells, height)


class Lectern(Panel):
    """How far the academy is."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_lectern(frame.academy, cells, height)


class Losses(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_losses(frame.academy, cells, height)


class Agreement(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_agreement(frame.academy, cells, height)


class MarkSheet(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_marks(frame.academy, cells, height)


class Sweep(Panel):
    """Of temperatures."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_sweep(frame.academy, cells, height)


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


class Ceilings(Panel):
    """What this machine can do, and what bounds the engine on it."""

    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_ceilings(frame.view.details.bottleneck, cells, height)


class Phases(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_phases(frame.view.details.bottleneck, cells, height)


class Roofline(Panel):
    hz = 2.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_roofline(frame.view.details.bottleneck, cells, height)


class Elsewhere(Panel):
    """What is supposed of other machines and models."""

    hz = 5.0

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_whatif(frame.view.details.bottleneck, frame.what_if, cells, height)


class HelpPage(Panel):
    """As high as its text at the width it has: see `help_rows`."""

    def __init__(self, keys: Keys, pages: Sequence[str], own: Sequence[OwnKey]) -> None:
        super().__init__()
        self._text = lru_cache(2)(lambda cells: help_rows(cells, keys, pages, own))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._text(width))

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return self._text(cells)


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
