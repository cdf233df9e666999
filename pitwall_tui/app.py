"""The app: pulls the feed, folds it into the race, hands frames to the screen, sends commands."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.filter import LineFilter
from textual.screen import Screen

from engine.config import KNOBS
from pitwall_tui.asked import Asked
from pitwall_tui.commands import KNOB_KEY, Keys, turned
from pitwall_tui.draw.ascii import to_ascii
from pitwall_tui.draw.moves import Fresh, Moves
from pitwall_tui.draw.status import Notice
from pitwall_tui.feed.academy import Academy, NoAcademy
from pitwall_tui.feed.base import Feed
from pitwall_tui.feed.record import Recorder, RecordingError
from pitwall_tui.memory import GUIDE
from pitwall_tui.program import Program
from pitwall_tui.race.details import DETAILS
from pitwall_tui.race.events import FeedEnded, FeedEvent, RecordingStopped, Refused
from pitwall_tui.race.guide import Guide, NextRace, Turn
from pitwall_tui.race.playback import PlaybackView
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView
from pitwall_tui.race.whatif import WhatIf
from pitwall_tui.race.workshop import WorkshopState
from pitwall_tui.school import School
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.screens.wall import WallScreen
from pitwall_tui.settings import WALL, Wall
from pitwall_tui.succession import Succession
from pitwall_tui.theme import OWN, defaults, following
from pitwall_tui.widgets.ascii import Ascii
from pitwall_tui.widgets.palette import Palette
from pitwall_tui.widgets.panel import Frame


class PitWallApp(Program, inherit_bindings=False):
    """The pit wall over any feed; without an `academy` nobody can be taught beside the race, and
    nothing recorded without a `recorder`.

    `fps` 0 starts no timer: `tick()` is then called from outside.
    """

    TITLE = "pitwall"
    # All of it here: a default screen's own style sheet is not loaded.
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        f"screens/{name}.tcss"
        for name in (
            "wall",
            "race",
            "results",
            "workshop",
            "strategy",
            "academy",
            "memory",
            "batching",
            "bottleneck",
            "debrief",
            "help",
        )
    ]

    def __init__(
        self,
        feed: Feed,
        state: RaceState,
        academy: Academy | None = None,
        recorder: Recorder | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        fps: float = 10,
        wall: Wall = WALL,
    ) -> None:
        super().__init__(fps)
        self.wall = wall
        self._signs = [Ascii()] if wall.ascii else []
        self._bind(wall.keys)
        self.feed = feed
        self.state = state
        self.academy = academy or NoAcademy()
        self.recorder = recorder
        self.clock = clock
        self._beat = 0
        self._moves, self._fresh = Moves(), Fresh()
        self._followed: int | None = None
        self._workshop = WorkshopState()
        self._supposed: int | None = None
        self._school = School(self.academy)
        self._what_if = WhatIf()
        self._guide = Guide(wall.guide and feed.live)
        for key, action in (("enter", "guide_next"), ("escape", "guide_leave")):
            self._bindings.bind(key, action, show=False, priority=True)
        self.ended: FeedEnded | None = None
        self._held: RaceView | None = None
        self._detailed: frozenset[str] = frozenset()
        self._asked = Asked()
        self._succession = Succession(feed.live)
        self._due: str | None = None  # a page by its name
        self._palette: tuple[str, tuple[str, ...], Palette] | None = None
        for theme in OWN:
            self.register_theme(theme)
        self.theme = wall.theme
        self._frame = self._make_frame()

    def _bind(self, keys: Keys) -> None:
        """Bind what no class has bound yet; a command comes before a knob with the same key."""
        for _, action, names in keys.bound():
            for key in filter(None, names.split(",")):
                if key not in self._bindings.key_to_bindings:
                    # Keys with ctrl reach us even where text is typed; letters there are text.
                    always = key.startswith("ctrl+")
                    self._bindings.bind(key, action, show=False, priority=always)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return defaults(self.current_theme.dark)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._signs]

    def get_default_screen(self) -> Screen[Any]:
        return RaceScreen(self.latest)

    def begin(self) -> None:
        self.feed.start()
        # Beside an engine that loads, so that no key waits for it.
        self.run_worker(partial(import_module, "pitwall_tui.pages"), thread=True)

    def close(self) -> None:
        self.feed.close()
        self._school.close()

    # Frames

    def latest(self) -> tuple[Frame, Palette]:
        """The newest frame, with what the page on top looks at, and the colours to draw it in."""
        if not self._detailed.issuperset(self._looked_at()):
            self._frame = self._make_frame()
        teams = tuple(colour for _, colour in self._frame.live.teams)
        if self._palette is None or self._palette[:2] != (self.theme, teams):
            self._palette = (self.theme, teams, Palette(self.get_css_variables(), teams))
        return self._frame, self._palette[2]

    def take(self) -> None:
        news = [reason for event in self.feed.pull() for reason in self._take(event)]
        if news:
            more = f" (and {len(news) - 1} more)" if len(news) > 1 else ""
            self._say(news[0] + more, "warning")
        for found in self.feed.studies():
            self._workshop.apply(found)
        self._school.pull()

    def draw(self) -> None:
        self._frame = self._make_frame()
        if arrival := self._school.arrived(self._frame.live):
            self._say(arrival)
        self._follow_race(self._frame.live)
        self._beat += 1
        screen = self._on_top
        if isinstance(screen, WallScreen):
            fps = self.fps / self._cadence.ticks_per_frame
            screen.show(*self.latest(), self._beat, fps)

    def _take(self, event: FeedEvent) -> tuple[str, ...]:
        """Fold an event into the race; what is to be said of it."""
        self.state.apply(event)
        if isinstance(event, FeedEnded):
            self.ended = event
            if self.feed.live and not self._frame.live.cars:
                self.exit()  # there is no race to look at; the command line says why
        if isinstance(event, Refused):
            self._asked.refused()
        return (event.reason,) if isinstance(event, Refused | RecordingStopped) else ()

    def _make_frame(self) -> Frame:
        now, details = self.clock(), self._looked_at()
        live = self._make_live(details, [self._followed] if self._followed else [])
        self._detailed = frozenset(details)
        self._guide.see(live)
        view = live if self._held is None else self._held
        return Frame(
            view=view,
            live=live,
            now=now,
            notice=Notice(
                frozen=self._held is not None, replay=not self.feed.live, recorded=self._recorded()
            ),
            moves=self._moves.update(view, now),
            fresh=self._fresh.update(view, now),
            followed=self._followed,
            active=frozenset(self._active(live)),
            countdown=self._succession.countdown(now, live.status.paused),
            workshop=self._workshop.view(),
            supposed=self._supposed,
            academy=self._school.view(),
            keys=self.wall.keys,
            guide=self._guide.view(),
            what_if=self._what_if,
            playback=self._playback(),
        )

    def _make_live(self, details: Collection[str], followed: Collection[int]) -> RaceView:
        return self._asked.marked(self.state.view(self.clock(), details, followed))

    def _active(self, live: RaceView) -> set[str]:
        """Ids of commands whose thing is on."""
        on = {
            "pause": live.status.paused,
            "freeze": self._held is not None,
            "record": self._recorded() is not None,
        }
        return {id for id, is_on in on.items() if is_on}

    def _recorded(self) -> int | None:
        """Bytes of the file that is being recorded to."""
        file = self.recorder.file if self.recorder is not None else None
        return file.size if file is not None else None

    def _playback(self) -> PlaybackView | None:
        """Where a recording stands: an engine's race is none."""
        return None

    def _looked_at(self) -> Collection[str]:
        """The details that the screen draws."""
        screen = self._on_top
        return screen.details if isinstance(screen, WallScreen) else ()

    @property
    def _on_top(self) -> Screen[Any] | None:
        """The screen that is seen; None before the first, and while the app ends."""
        return self._screen_stack[-1] if self._screen_stack else None

    # From race to race

    def _follow_race(self, view: RaceView) -> None:
        """Bring up the classification after the flag, and the next race after a while."""
        now = self._frame.now
        rings, turns = self._succession.see(now, view.status.flag)
        if rings and self.wall.bell:
            self.bell()
        if turns:
            self._due = "results" if self._succession.over else "race"
        if self._succession.is_time(now):
            self.action_next_race()
        self._turn_to_due()

    def _turn_to_due(self) -> None:
        """Change to the screen that is due, once no help or palette lies on top.

        Nobody is sent out of a screen that holds: what is due then waits for its end.
        """
        screen = self.screen
        if self._due is None or not isinstance(screen, WallScreen) or screen.holds:
            return
        on_results = screen.page == "results"
        if self._due == "results" and not on_results:
            self.push_screen(self._page("results"))
        elif self._due == "race" and on_results:
            self.pop_screen()
        self._due = None

    # Commands

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for command in self.wall.keys.commands:
            name = command.id.replace("_", " ")
            yield SystemCommand(name, command.help, self._runner(command.action))
        for knob in KNOBS if self.feed.live else ():
            for value in KNOB_KEY[knob.name].steps:
                action = f"set_knob('{knob.name}', '{value}')"
                yield SystemCommand(f"{knob.name}: {value}", knob.help, self._runner(action))
        yield SystemCommand("export", "write the debrief to files", self.action_export)
        yield SystemCommand("themes", "choose among all themes", self.action_change_theme)

    def _runner(self, action: str) -> Callable[[], None]:
        return lambda: self.call_next(self.run_action, action)

    def _listens(self) -> bool:
        """Whether an engine takes commands; where none does, that is said."""
        if not self.feed.live:
            self._say("a recording cannot be changed", "warning")
        return self.feed.live

    def _say(self, text: str, severity: Any = "information") -> None:
        """One thing at a time: messages never pile up over the race."""
        self.clear_notifications()
        self.notify(text, severity=severity, markup=False)

    def _engine_is_up(self) -> bool:
        """Whether there is an engine to speak to; where there is none yet, that is said."""
        view = self._frame.live
        up = bool(view.cars) and view.status.flag != "red"
        if not up:
            self._say("the engine is not up yet", "warning")
        return up

    def action_turn_knob(self, name: str, step: int) -> None:
        """Set a knob to its next or previous value, counted from what was last asked for."""
        for knob in self._frame.live.knobs:
            if knob.name == name:
                value = turned(name, knob.pending or knob.value, step)
                if value == "junior" and not self._frame.live.draft:  # it would be refused
                    value = turned(name, value, step)
                self.action_set_knob(name, value)

    def action_set_knob(self, name: str, value: str) -> None:
        if not self._listens():
            return
        self.feed.set_knobs(self._asked.knob(self._frame.live.knobs, name, value))
        self._redraw()

    def action_pace(self, step: int) -> None:
        if not self._listens():
            return
        status = self._frame.live.status
        self.feed.set_pace(self._asked.pace(status.pace, status.tokens_per_second, step))

    def action_pause(self) -> None:
        """Pause the engine between two steps."""
        if not self._frame.live.cars and not self._engine_is_up():
            return
        self.feed.set_paused(self._asked.pause(self._frame.live.status.paused))

    def action_freeze(self) -> None:
        """Hold the view with all that may be looked at while it is held."""
        everyone = [car.number for car in self._frame.live.cars]
        self._held = self._make_live(DETAILS, everyone) if self._held is None else None
        self._redraw()

    def action_follow(self, number: int | None) -> None:
        """Follow the car of this number, or let go of it; None: follow none."""
        self._follow(None if number == self._followed else number)

    def action_step_followed(self, step: int) -> None:
        """Follow the car so many places further down, of none the first or the last; round the
        end."""
        cars, row = self._frame.view.cars, self._frame.followed_row
        if cars:
            start = row if row is not None else -1 if step > 0 else 0
            self._follow(cars[(start + step) % len(cars)].number)

    def _follow(self, number: int | None) -> None:
        self._followed = number
        self._redraw()

    def action_next_race(self) -> None:
        """Start the next race at once."""
        if self._engine_is_up():
            self._succession.start()
            self.feed.next_race()

    def action_again(self) -> None:
        """Run the same race once more; how it ran so far is its ghost."""
        if self._listens() and self._engine_is_up():
            self._succession.start()
            self.feed.again()

    def action_race(self) -> None:
        """Back to the race, from whatever page lies over it."""
        if isinstance(self.screen, WallScreen) and not self._is_on("race"):
            self.pop_screen()

    def action_page(self, name: str) -> None:
        """Open a page of those that are open to everybody, or close it."""
        self._turn_page(name)

    def action_export(self) -> None:
        """Write what is known of the race to files, in every format."""
        view = self._make_live(("debrief",), ()).details.debrief
        if view is None or not view.settings:
            self._say("nothing to export: nothing has run yet", "warning")
            return
        from pitwall_tui.export import WRITERS, write_all

        try:
            self._say(f"saved {write_all(view, Path.cwd())}.{{{','.join(WRITERS)}}}")
        except OSError as error:
            self._say(f"no export: {error.strerror} ({error.filename})", "error")

    def action_workshop(self) -> None:
        if not self.feed.live:
            self._say("a recording holds no weights: the workshop is for a live race", "warning")
        elif self._is_on("workshop") or self._engine_is_up():
            self._turn_page("workshop")

    def _suppose(self, percent: int | None) -> None:
        self._supposed = percent
        self._redraw()  # the next key counts from there

    def _project(self, what_if: WhatIf) -> None:
        self._what_if = what_if
        self._redraw()

    def action_academy(self) -> None:
        if not self.feed.live:
            self._say("a recording takes no junior: the academy is for a live race", "warning")
        else:
            self._turn_page("academy")

    def action_race_junior(self) -> None:
        """Let the newest junior draft in the running race, as soon as it can."""
        junior = self._school.view().junior
        if not junior:
            self._say("there is no new junior yet", "warning")
        elif self._engine_is_up():
            self.feed.set_draft(junior)
            self._say(self._school.sent(junior))

    def _turn_page(self, name: str) -> None:
        """Open a page over the race, in the place of another, or close it where it is open."""
        if self._is_on(name):
            self.pop_screen()
        elif self._is_on("race"):
            self.push_screen(self._page(name))
        elif isinstance(self.screen, WallScreen):
            self.switch_screen(self._page(name))

    def _is_on(self, name: str) -> bool:
        """Whether that page is on top."""
        return isinstance(self.screen, WallScreen) and self.screen.page == name

    def _page(self, name: str) -> WallScreen:
        """A page by its name, but for the race's own."""
        from pitwall_tui import pages

        match name:
            case "workshop":
                return pages.WorkshopScreen(self.latest, self._workshop, self.feed.study)
            case "strategy":
                return pages.StrategyScreen(self.latest, self._suppose)
            case "academy":
                return pages.AcademyScreen(self.latest, self._school)
            case "bottleneck":
                return pages.BottleneckScreen(self.latest, self._project)
        return pages.PLAIN[name](self.latest)

    def on_wall_screen_changed(self) -> None:
        self._redraw()

    def action_record(self) -> None:
        """Record the running race, all of it, or end the recording."""
        if self.recorder is not None:
            try:
                self._say(self.recorder.switch(datetime.now()))
            except RecordingError as error:
                self._say(str(error), "error")
            self._redraw()

    def action_switch_theme(self) -> None:
        self.theme = following(self.theme)

    def watch_theme(self, theme: str) -> None:
        self.call_later(self._redraw)
        if theme != self.wall.memory.recall("theme") and self.is_running:
            self._remember("theme", theme)

    def _remember(self, name: str, word: str) -> None:
        try:
            self.wall.memory.keep(name, word)
        except OSError as error:
            self._say(f"not remembered: {error.strerror}", "warning")

    def action_shot(self) -> None:
        view = self._frame.live
        name = _unused(f"pitwall-{view.circuit or 'start'}-lap{view.leader_lap}")
        if self.is_web:
            self.deliver_screenshot(name)  # to whoever looks, not to the machine that serves
            return
        try:
            path = Path(self.save_screenshot(name))
        except OSError as error:
            self._say(f"no picture: {error.strerror} ({name})", "error")
        else:
            self._say(f"saved {path.name}")

    def action_copy(self) -> None:
        """The page as text, to the clipboard of the terminal (OSC 52)."""
        if isinstance(self.screen, WallScreen):
            text = self.screen.as_text()
            self.copy_to_clipboard(to_ascii(text) if self.wall.ascii else text)
            self._say(f"copied {len(text.splitlines())} lines, where the terminal allows it")

    def action_guide(self) -> None:
        """Begin the guided race, from its start."""
        if self._listens():
            self._guide.start()
            self._redraw()

    def action_guide_next(self) -> None:
        match self._guide.enter(self._frame.live):
            case Turn(knob, value):
                self.action_set_knob(knob, value)
            case NextRace():
                self.action_next_race()
        self._after_guide()

    def action_guide_leave(self) -> None:
        self._guide.leave()
        self._after_guide()

    def _after_guide(self) -> None:
        """One that has been left does not come again by itself."""
        if not self._guide.on:
            self._remember(GUIDE, "left")
        self._redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The guide's keys are its own only while it is shown."""
        if action in ("guide_next", "guide_leave"):
            return self._guide.on and isinstance(self.screen, WallScreen)
        return super().check_action(action, parameters)

    def action_help(self) -> None:
        if isinstance(self.screen, WallScreen):
            from pitwall_tui import pages

            self.push_screen(pages.HelpScreen(self.latest, type(self.screen)))

    def _redraw(self) -> None:
        """At once, and all of it: an answer waits for no panel's turn."""
        self._frame = self._make_frame()
        screen = self._on_top
        if isinstance(screen, WallScreen):
            screen.catch_up()


def _unused(stem: str) -> str:
    """The first name of a picture that is not taken: pictures are never written over."""
    names = (f"{stem}.svg", *(f"{stem}-{number}.svg" for number in range(2, 1000)))
    return next((name for name in names if not Path(name).exists()), names[-1])
