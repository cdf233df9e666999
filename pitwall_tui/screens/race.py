"""The race screen: tower, map, pages, throughput, radio, knobs."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Click

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.chart import draw_chart
from pitwall_tui.draw.follow import draw_follow
from pitwall_tui.draw.ghost import draw_ghost
from pitwall_tui.draw.lights import draw_lights
from pitwall_tui.draw.pages import draw_pages, page_at
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.speculation import draw_speculation
from pitwall_tui.draw.tower import car_at, draw_tower
from pitwall_tui.draw.track import draw_track
from pitwall_tui.race.view import RadioView
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame, Panel


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
        view, followed = frame.view, frame.followed
        place = (view.outline, view.circuit, view.title, view.teams)
        return self.once(
            (view.cars, view.status.flag, place, followed, cells, height),
            lambda: draw_track(view, cells, height, followed),
        )


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


class RaceScreen(WallScreen):
    """Everything that happens, at one glance; drafting too, once somebody has drafted.

    Arrows choose a car to be followed; escape lets go of it.
    """

    keys = (("↑↓", "car", "app.step_followed(1)"),)
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "app.step_followed(-1)", "car ahead"),
        ("down,j", "app.step_followed(1)", "car behind"),
        ("escape", "app.follow(None)", "let go"),
        ("pageup", "radio(1)", "earlier radio"),
        ("pagedown", "radio(-1)", "later radio"),
    ]

    copied = (Tower,)

    def action_radio(self, pages: int) -> None:
        for radio in self.query(Radio):
            if radio.is_on_screen:
                radio.go_back_page(pages)

    def catch_up(self) -> None:
        self._make_room(self._latest()[0])
        super().catch_up()

    def show(self, frame: Frame, palette: Palette, beat: int, fps: float) -> None:
        self._make_room(frame)
        super().show(frame, palette, beat, fps)

    def _make_room(self, frame: Frame) -> None:
        self.set_class(frame.view.speculation is not None, "-drafting")
        self.set_class(frame.view.ghost is not None, "-ghosted")
        self.set_class(frame.following is not None, "-following")

    def compose(self) -> ComposeResult:
        yield StatusLine()
        with Horizontal(id="wall"):
            with Vertical(id="left"):
                yield Tower()
                yield Following(id="left-following")
                yield Ghost()
                with Horizontal(id="under"):
                    yield Throughput()
                    yield Radio(id="left-radio")
            with Vertical(id="right"):
                yield TrackMap()
                yield Following(id="right-following")
                yield Speculation()
                yield PageMap()
                yield Throughput(id="right-throughput")
                yield Radio(id="right-radio")
        yield KnobBar()
        yield KeyBar()
        yield TooSmall()
