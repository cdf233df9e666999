"""The player of recordings from outside: every key, the mouse, and how it looks."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from pitwall_tui.cli import main
from pitwall_tui.cli.replay import DEMO
from pitwall_tui.commands import COMMANDS, KEYS, KNOB_KEYS
from pitwall_tui.draw.cells import plain, row_width
from pitwall_tui.draw.player import SIGNS, clock, draw_player
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.player import PLAYER, PlayerApp, player_keys
from pitwall_tui.race.playback import Mark, PlaybackView
from pitwall_tui.race.state import RaceState
from pitwall_tui.screens.help import HelpPage, HelpScreen
from pitwall_tui.screens.race import RaceScreen, Tower
from pitwall_tui.screens.results import ResultsScreen
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine
from tests.feed.test_feed_record import Clock
from tests.feed.test_feed_recorder import SEASON
from tests.feed.test_feed_replay import LENGTH, events_until, record
from tests.tui.recorded import FILE

Compare = Callable[..., bool]


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "season.gz", SEASON)


@asynccontextmanager
async def playing(
    path: Path, size: tuple[int, int] = (120, 40), at: float = 0.0
) -> AsyncIterator[tuple[PlayerApp, Pilot[None], Clock]]:
    now = Clock()
    app = PlayerApp(ReplayFeed(path, now), clock=now, fps=0)
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.player.seek(at)
        app.tick()
        await pilot.pause()
        yield app, pilot, now


def text_of(app: PlayerApp, panel: type) -> str:
    widget = app.screen.query(panel).first()
    return "\n".join(widget.render_line(y).text for y in range(widget.size.height))


def stands_where_played(app: PlayerApp) -> None:
    expected = RaceState("replay")
    for event in SEASON[: events_until(app.player.view().position)]:
        expected.apply(event)
    if app.ended is not None:
        expected.apply(app.ended)
    assert app.state.view(0.0) == expected.view(0.0)


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (["left"], 7.0),
        (["right"], 17.0),
        (["right", "right", "left"], 17.0),
        (["shift+left"], 0.0),
        (["shift+right"], LENGTH),
        (["home"], 0.0),
        (["end"], LENGTH),
        (["right", "home", "right"], 5.0),
        *(([str(tenth)], LENGTH * tenth / 10) for tenth in range(10)),
        (["full_stop"], 12.25),
        (["full_stop", "full_stop", "comma"], 12.25),
        (["comma"], 11.75),
    ],
)
async def test_a_key_goes_to_its_place(season: Path, keys: list[str], to: float) -> None:
    async with playing(season, at=12.0) as (app, pilot, _):
        await pilot.press(*keys)
        assert app.player.view().position == pytest.approx(to)
        stands_where_played(app)


@pytest.mark.parametrize("key", ["space", "p"])
async def test_it_is_stopped_and_played(season: Path, key: str) -> None:
    async with playing(season, at=3.0) as (app, pilot, now):
        assert "▶" in text_of(app, KnobBar)
        await pilot.press(key)
        now.now += 5
        app.tick()
        await pilot.pause()
        assert app.player.view().position == 3.0
        assert "PAUSED" in text_of(app, StatusLine)
        assert "‖ 0:03" in text_of(app, KnobBar)
        assert "play" in text_of(app, KeyBar)
        await pilot.press(key)
        now.now += 2
        app.tick()
        await pilot.pause()
        assert app.player.view().position == 5.0
        assert "PAUSED" not in text_of(app, StatusLine)
        stands_where_played(app)


@pytest.mark.parametrize(
    ("keys", "speed"),
    [
        (["plus"], 1.5),
        (["plus", "equals_sign"], 2.0),
        (["minus"], 0.5),
        (["minus"] * 3, 0.25),
        (["plus"] * 9, 8.0),
    ],
)
async def test_speed(season: Path, keys: list[str], speed: float) -> None:
    async with playing(season) as (app, pilot, now):
        await pilot.press(*keys)
        now.now += 1
        app.tick()
        await pilot.pause()
        assert app.player.view().position == pytest.approx(speed)
        assert f"{speed:g}x" in text_of(app, KnobBar)


async def test_loop(season: Path) -> None:
    async with playing(season) as (app, pilot, now):
        await pilot.press("o")
        assert "↻" in text_of(app, KnobBar)
        now.now += LENGTH + 9
        app.tick()
        app.tick()
        assert app.player.view().position == 0
        await pilot.press("o")
        assert "↻" not in text_of(app, KnobBar)


async def test_from_race_to_race(season: Path) -> None:
    async with playing(season, at=3.0) as (app, pilot, _):
        numbers = []
        for key in ("n", "n", "b", "b"):
            await pilot.press(key)
            numbers.append(app.state.view(0.0).race_number)
        assert numbers == [2, 3, 2, 1]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 45)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.77, 1.0])
async def test_a_click_on_the_bar_goes_there(
    season: Path, size: tuple[int, int], share: float
) -> None:
    async with playing(season, size, at=20.0) as (app, pilot, _):
        await pilot.press("space")
        spans = draw_player(app.player.view(), size[0])[0]
        cells = [place for place, span in enumerate(spans) if "seek_share" in span.action]
        cell = cells[round(share * (len(cells) - 1))]
        await pilot.click(KnobBar, offset=(row_width(spans[:cell]), 0))
        assert abs(app.player.view().position - share * LENGTH) <= LENGTH / len(cells)
        stands_where_played(app)


async def test_results_come_and_go_with_the_flag(season: Path) -> None:
    async with playing(season) as (app, pilot, _):
        await pilot.press("end")
        await pilot.pause()
        assert isinstance(app.screen, ResultsScreen)
        await pilot.press("home")
        await pilot.pause()
        assert isinstance(app.screen, RaceScreen)


async def test_the_end_is_said_and_forgotten(season: Path) -> None:
    async with playing(season, at=LENGTH - 1) as (app, pilot, now):
        now.now += 5
        app.tick()
        await pilot.pause()
        assert "the recording is over" in text_of(app, StatusLine)
        await pilot.press("left")
        await pilot.pause()
        assert "the recording is over" not in text_of(app, StatusLine)


@pytest.mark.parametrize("key", ["d", "left_square_bracket"])
async def test_a_knob_cannot_be_turned_and_says_so(
    season: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(season, at=3.0) as (app, pilot, _):
        said: list[str] = []
        monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
        await pilot.press(key)
        assert said == ["a recording cannot be changed"]


async def test_each_key_does_one_thing() -> None:
    keys = [key for command in PLAYER for key in command.keys.split(",")]
    assert len(set(keys)) == len(keys)
    assert {"1", "comma", "full_stop"} <= {knob.key for knob in KNOB_KEYS} | {
        knob.down for knob in KNOB_KEYS
    } | {knob.up for knob in KNOB_KEYS}  # which the player has taken


async def test_the_footer_the_help_and_the_palette_have_the_players_keys(season: Path) -> None:
    async with playing(season, (200, 50)) as (app, pilot, _):
        assert "pause  , . step  ← → 5 s  ⇧← ⇧→ 30 s" in text_of(app, KeyBar)
        assert "rec" not in text_of(app, KeyBar)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"step back", "loop", "help"} <= titles
        assert not titles & {"academy", "record", "kv_cache: off"}
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        assert "play faster, up to 8x" in text_of(app, HelpPage)
        assert "F6 " not in text_of(app, HelpPage)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 45), (200, 60)])
async def test_all_cars_and_the_player_are_seen_at_every_size(size: tuple[int, int]) -> None:
    async with playing(FILE, size, at=4.0) as (app, pilot, _):
        await pilot.pause()
        assert all(car.code in text_of(app, Tower) for car in app.state.view(0.0).cars)
        assert "▶ 0:04/" in text_of(app, KnobBar)
        assert "REPLAY" in text_of(app, StatusLine)
        assert app.screen.query_one(KnobBar).size.height == (1 if size[1] < 30 else 2)


@pytest.mark.parametrize("size", ["80x24", "120x40"])
@pytest.mark.parametrize("theme", ["pitwall", "pitwall-light"])
def test_pictures(size: str, theme: str, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    now = Clock()
    app = PlayerApp(ReplayFeed(FILE, now), clock=now, fps=0)
    app.animation_level = "none"
    app.theme = theme

    async def prepare(pilot: Pilot[None]) -> None:
        await pilot.press("space", "7", "full_stop")
        app.tick()
        await pilot.pause()

    assert snap_compare(app, terminal_size=(width, height), run_before=prepare)


def test_a_picture_without_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    now = Clock()
    app = PlayerApp(ReplayFeed(FILE, now), clock=now, fps=0)

    async def prepare(pilot: Pilot[None]) -> None:
        await pilot.press("space", "7")
        app.tick()
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=prepare)


# The line by itself

VIEW = PlaybackView(
    position=50.0,
    length=100.0,
    read=1.0,
    playing=True,
    speed=1.0,
    loop=False,
    seeking=False,
    marks=(Mark(0.0, "race", "Monza"), Mark(20.0, "pit", "pit stop"), Mark(49.0, "knob", "k v")),
)


def test_the_line() -> None:
    assert plain(draw_player(VIEW, 60)) == (
        " ▶ 0:50/1:40 1x ╋━━━━━━━○━━━━━━━━━━━━◆█─────────────────────"
    )
    assert "» " in plain(draw_player(replace(VIEW, seeking=True), 60))
    assert "↻" in plain(draw_player(replace(VIEW, loop=True), 60))
    assert plain(draw_player(VIEW, 120)).endswith(" ◆ k v ")
    [half] = draw_player(replace(VIEW, read=0.6), 120)
    assert plain((half,)).endswith(" 60 % looked through ")
    bar = [span.text for span in half if "seek_share" in span.action]
    assert bar.count("┈") == len(bar) - round(0.6 * len(bar))


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.9, 60, 3599, 3600, 36061)] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]


@given(
    view=st.builds(
        PlaybackView,
        position=st.floats(0, 1e5),
        length=st.floats(0, 1e5),
        read=st.floats(0, 1),
        playing=st.booleans(),
        speed=st.sampled_from([0.25, 8.0]),
        loop=st.booleans(),
        seeking=st.booleans(),
        marks=st.lists(
            st.builds(Mark, st.floats(0, 1e5), st.sampled_from(list(SIGNS)), st.text(max_size=30)),
            max_size=20,
        ).map(tuple),
    ),
    cells=st.integers(1, 300),
    height=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_the_line_fills_its_box_at_any_size(view: PlaybackView, cells: int, height: int) -> None:
    rows = draw_player(view, cells, height)
    assert len(rows) == height
    assert {row_width(row) for row in rows} == {cells}


def test_the_demo_is_small_and_shows_what_it_is_for() -> None:
    assert DEMO.stat().st_size < 1.5 * 2**20
    now = Clock()
    feed = ReplayFeed(DEMO, now, loop=True)
    feed.start()
    assert feed.turn() is None
    view = feed.view()
    assert view.read == 1
    words = " ".join(mark.text for mark in view.marks)
    for word in ("batching static", "batching continuous", "weights int8", "speculation junior"):
        assert word in words
    kinds = {mark.kind for mark in view.marks}
    assert {"race", "knob", "pit", "safety", "chequered"} <= kinds
    assert sum(mark.kind == "race" for mark in view.marks) == 3


def test_the_players_commands_are_the_walls_but_for_the_engines() -> None:
    ids = {command.id for command in player_keys(KEYS).commands}
    gone = {command.id for command in COMMANDS} - ids
    assert gone == {"freeze", "again", "workshop", "academy", "record", "guide"}


# The command line


def test_a_replay_headless_is_its_document_alone(
    season: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(season), "--headless", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["circuit"] == "monaco"
    assert err == "the recording is over\nrace 3 of 3\n" or err == "race 3 of 3\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--demo"], "no terminal to draw on: use pitwall replay"),
        (["--demo", "race"], "--demo stands alone, without race"),
        (["replay", "nowhere.gz"], "nowhere.gz: cannot be read: No such file"),
        (["replay", "nowhere.gz", "--headless"], "nowhere.gz: cannot be read: No such file"),
        (["race", "--headless", "--record-limit-mib", "0", "--record", "x"], "give 1 to"),
        (["race", "--headless", "--record-limit-mib", "nan", "--record", "x"], "give 1 to"),
        (["race", "--headless", "--record", "no/x.gz"], "no/x.gz: cannot be written: No such"),
    ],
)
def test_bad_input_is_told_in_one_line(
    argv: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []


_WATCHED = """
import asyncio, sys, time
from pitwall_tui.cli.replay import DEMO
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.player import PlayerApp

async def watch():
    app = PlayerApp(ReplayFeed(DEMO, time.monotonic, loop=True), fps=0)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("n")
        app.tick()
        print(app.state.view(0.0).circuit, "torch" in sys.modules, "numpy" in sys.modules)

asyncio.run(watch())
"""


def test_the_demo_loads_no_model_and_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "monza False False\n"
