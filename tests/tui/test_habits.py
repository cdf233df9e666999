"""What the wall does by itself: remembers a theme, rings, copies, and draws less where it must."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitwall_tui.app import PitWallApp
from pitwall_tui.cadence import LATE, Cadence
from pitwall_tui.cli.output import need_terminal
from pitwall_tui.memory import Memory
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.view import Flag, RaceView
from pitwall_tui.settings import Wall
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.test_app import running, state_of, step


def wall_app(wall: Wall, view: RaceView | None = None) -> PitWallApp:
    state = StillState(view or views.racing())
    return PitWallApp(FakeFeed(), state, clock=lambda: 10.0, fps=0, wall=wall)


# Themes


async def test_the_theme_key_goes_round_our_own_themes() -> None:
    app = wall_app(Wall())
    async with running(app) as pilot:
        seen = []
        for _ in range(4):
            await pilot.press("t")
            seen.append(app.theme)
    assert seen == ["pitwall-light", "pitwall-contrast", "pitwall-colour-blind", "pitwall"]


async def test_a_theme_that_was_chosen_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "wall.json"
    app = wall_app(Wall(theme="nord", memory=Memory(file)))
    async with running(app) as pilot:
        assert app.theme == "nord"
        assert not file.exists()  # nothing was chosen yet
        await pilot.press("t")
        await pilot.pause()
        assert Memory(file).recall("theme") == "pitwall"
        app.theme = "dracula"  # as the palette does
        await pilot.pause()
    assert Memory(file).recall("theme") == "dracula"


async def test_what_cannot_be_remembered_costs_a_word(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = wall_app(Wall(memory=Memory(tmp_path / "file" / "wall.json")))
    async with running(app) as pilot:
        await pilot.press("t")
        await pilot.pause()
        assert app.theme == "pitwall-light"
        assert "not remembered" in "".join(note.message for note in app._notifications)


# The bell


@pytest.mark.parametrize(("bell", "times"), [(True, 3), (False, 0)])
async def test_the_bell_rings_once_for_each_flag_that_stops_somebody(
    bell: bool, times: int
) -> None:
    rung: list[str] = []
    app = wall_app(Wall(bell=bell))
    app.bell = lambda: rung.append(app.state.view(0.0).status.flag)  # type: ignore[method-assign]
    flags: tuple[Flag, ...] = ("green", "yellow", "safety", "safety", "green", "red", "green")
    async with running(app) as pilot:
        for flag in (*flags, "chequered", "chequered"):
            view = views.racing()
            state_of(app).at = replace(view, status=replace(view.status, flag=flag))
            await step(app, pilot)
    assert rung == ["safety", "red", "chequered"][:times]


# Copies


async def test_the_race_is_copied_as_its_tower() -> None:
    app = wall_app(Wall())
    async with running(app, (160, 45)) as pilot:
        await pilot.press("c")
        lines = app.clipboard.splitlines()
        assert lines[0].split()[0] == "POS"
        assert len([line for line in lines if any(code in line for code in views.CODES)]) == 20
        assert [line for line in lines if line != line.rstrip()] == []
        said = "".join(note.message for note in app._notifications)
        assert f"copied {len(lines)} lines" in said


async def test_a_page_is_copied_whole_without_its_bars() -> None:
    app = wall_app(Wall(), views.drafting())
    async with running(app, (120, 40)) as pilot:
        await pilot.press("y")
        await pilot.pause()
        await pilot.press("c")
        copied = app.clipboard
    assert all(word in copied for word in ("BY DRAFT LENGTH", "BY ACCEPTANCE", "MEASURED"))
    assert "quit" not in copied
    assert "tok/s  run" not in copied


async def test_a_copy_goes_to_the_terminal_s_clipboard() -> None:
    written: list[str] = []
    app = wall_app(Wall())
    async with running(app) as pilot:
        assert app._driver is not None
        app._driver.write = written.append  # type: ignore[method-assign]
        await pilot.press("c")
        (sequence,) = [text for text in written if text.startswith("\x1b]52;c;")]
        text = base64.b64decode(sequence.removeprefix("\x1b]52;c;").removesuffix("\a")).decode()
        assert text == app.clipboard


# Frames


@dataclass
class Terminal:
    """One that takes so many bytes a second, on a line that buffers nothing."""

    rate: float
    waiting: float = 0.0
    most: float = 0.0

    def give(self, size: float) -> None:
        self.waiting += size
        self.most = max(self.most, self.waiting)

    def take(self, seconds: float) -> None:
        self.waiting = max(0.0, self.waiting - self.rate * seconds)


FRAME = 10_000.0  # bytes, about what a frame of 160x45 has


def play(
    cadence: Cadence,
    terminal: Terminal,
    seconds: float,
    late: Callable[[float], float] = lambda at: 0.0,
) -> int:
    """Frames drawn in so many seconds of ten ticks each."""
    frames = 0
    for tick in range(round(seconds * 10)):
        terminal.take(0.1)
        if cadence.due(late(tick / 10), terminal.waiting > 0):
            terminal.give(FRAME)
            frames += 1
    return frames


def test_a_fast_terminal_has_every_frame() -> None:
    assert play(Cadence(), Terminal(rate=1e9), 10) == 100


@given(st.floats(4_000, 95_000))
def test_a_slow_terminal_gets_what_it_can_take_and_never_waits_for_more(rate: float) -> None:
    """A terminal that takes less than ten frames a second is busy most of the time, and what it
    has not yet taken is one frame at most."""
    cadence, terminal = Cadence(), Terminal(rate)
    play(cadence, terminal, 10)  # to find its rate
    terminal.most = terminal.waiting
    frames = play(cadence, terminal, 60)
    assert terminal.most <= FRAME
    assert frames * FRAME <= rate * 60 + FRAME
    least = min(rate / FRAME, 10) / 3  # the rate is a power of two; looking for more costs some
    assert frames / 60 >= min(least, 10 / 8 * 0.7)


def test_a_rate_that_fell_comes_back() -> None:
    cadence, terminal = Cadence(), Terminal(rate=15_000)
    play(cadence, terminal, 20)
    assert cadence.ticks_per_frame >= 4
    terminal.rate = 1e9
    play(cadence, terminal, 20)
    assert cadence.ticks_per_frame == 1
    assert play(cadence, terminal, 10) == 100


def test_a_busy_machine_makes_frames_fewer_until_it_rests() -> None:
    cadence, terminal = Cadence(), Terminal(rate=1e9)
    busy = play(cadence, terminal, 30, lambda at: LATE * 2 if at % 1.0 == 0 else 0.0)
    assert busy < 30 * 10 / 4
    play(cadence, terminal, 20)
    assert play(cadence, terminal, 10) == 100


def test_one_late_tick_makes_no_frame_rarer() -> None:
    cadence, terminal = Cadence(), Terminal(rate=1e9)
    assert play(cadence, terminal, 9, lambda at: 1.0 if at % 3.0 == 0 else 0.0) == 90


async def test_the_app_takes_everything_where_frames_are_few() -> None:
    app = wall_app(Wall())
    app.fps = 10
    async with running(app) as pilot:
        taken, drawn = [], []
        app.take, app.draw = lambda: taken.append(1), lambda: drawn.append(1)  # type: ignore[method-assign]
        app._cadence.ticks_per_frame = 4
        for _ in range(8):
            app._ticked_at = monotonic()
            app._on_interval()
        assert (len(taken), len(drawn)) == (8, 2)
        await pilot.pause()


async def test_the_app_draws_nothing_while_the_terminal_is_behind() -> None:
    app = wall_app(Wall())
    app.fps = 10
    async with running(app) as pilot:
        drawn: list[int] = []
        app.draw = lambda: drawn.append(1)  # type: ignore[method-assign]
        writer = type("Writer", (), {"_queue": Queue()})()
        app._driver._writer_thread = writer  # type: ignore[union-attr]
        writer._queue.put("a frame")
        for _ in range(20):
            app._ticked_at = app._ticked_at or 0.0
            app._on_interval()
        assert drawn == []
        assert app._cadence.ticks_per_frame == 8
        writer._queue.get()
        for _ in range(8):
            app._on_interval()
        assert drawn
        await pilot.pause()


# Browsers


def test_a_browser_behind_textual_serve_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """textual-serve starts `pitwall` with pipes for a terminal, and this in the environment."""
    with pytest.raises(RaceError, match="no terminal to draw on"):
        need_terminal("--headless")
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    need_terminal("--headless")


async def test_a_picture_is_handed_to_the_browser_that_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PitWallApp, "is_web", True)
    delivered: list[str | None] = []
    app = wall_app(Wall())
    monkeypatch.setattr(app, "deliver_screenshot", delivered.append)
    async with running(app) as pilot:
        await pilot.press("s")
    assert delivered == ["pitwall-monza-lap18.svg"]
    assert list(tmp_path.iterdir()) == []
