"""The debrief: what it says, its keys and clicks, what it writes, and pictures of it."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from engine.stats import QualitySample
from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import Rows, plain
from pitwall_tui.draw.debrief import (
    COLUMNS,
    SettingLook,
    draw_effects,
    draw_percentiles,
    draw_scatter,
    draw_settings,
)
from pitwall_tui.race.debrief import DebriefView, Others
from pitwall_tui.race.effects import Effect
from pitwall_tui.race.view import RaceView
from pitwall_tui.screens.debrief import DebriefScreen, Effects, Percentiles, Scatter
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.widgets.bars import KeyBar, TooSmall
from pitwall_tui.widgets.settings import SettingsTable
from tests.tui import debriefs
from tests.tui.conftest import Build
from tests.tui.debriefs import NONE
from tests.tui.wall import fill, running, step, text_of


def decoding(view: DebriefView) -> DebriefView:
    """Of a race whose steps read hardly any prompts."""
    settings = (replace(s, decode_tokens_per_second=s.tokens_per_second) for s in view.settings)
    return replace(view, settings=tuple(settings))


VIEW = decoding(debriefs.VIEW)
SETTINGS = VIEW.settings


def many() -> DebriefView:
    return decoding(debriefs.many())


def race(view: DebriefView = VIEW) -> RaceView:
    return debriefs.race(view)


Compare = Callable[..., bool]
Draw = Callable[[DebriefView | None, SettingLook, int, int], Rows]
DRAWINGS: dict[str, Draw] = {
    "settings": draw_settings,
    "scatter": lambda view, look, w, h: draw_scatter(view, w, h),
    "effects": lambda view, look, w, h: draw_effects(view, w, h),
    "percentiles": lambda view, look, w, h: draw_percentiles(view, w, h),
}


# Drawings


@st.composite
def odd_views(draw: st.DrawFn) -> DebriefView:
    """Debriefs with odd names and figures in them."""
    view = draw(st.sampled_from([VIEW, many(), NONE]))
    if not view.settings:
        return view
    text, figure = st.text(max_size=30), st.floats(0, 1e12)
    odd = replace(
        view.settings[0],
        letter=draw(st.sampled_from("Az")),
        name=draw(text),
        seconds=draw(figure),
        tokens_per_second=draw(figure),
        decode_tokens_per_second=draw(st.none() | figure),
        step_ms=draw(figure),
        weights_bytes=draw(st.integers(0, 2**50)),
        kv_peak=draw(st.integers(0, 2**50)),
        exact=draw(st.booleans()),
        quality=draw(st.none() | st.just(QualitySample(0, 0.0, 0, 0, 0))),
        tokens_a_round=draw(st.none() | figure),
    )
    effect = Effect(draw(text), 1.0, 0.5, draw(st.floats(0.01, 1e9)), draw(figure), 1.0, 30.0)
    kept = draw(st.integers(0, len(view.settings)))
    return replace(
        view,
        settings=(odd, *view.settings[1:kept]),
        effects=(effect, *view.effects[: draw(st.integers(0, 9))]),
        others=draw(st.sampled_from([Others(), Others(10**9, 1.0, 10**12)])),
    )


LOOKS = st.builds(SettingLook, first=st.none() | st.integers(0, 99), memory=st.booleans())


@pytest.mark.parametrize("name", DRAWINGS)
@settings(max_examples=60, deadline=None)
@given(view=odd_views(), look=LOOKS, cells=st.integers(1, 300), height=st.integers(1, 100))
def test_a_drawing_fills_its_box_exactly(
    name: str, view: DebriefView, look: SettingLook, cells: int, height: int
) -> None:
    assert fill(DRAWINGS[name](view, look, cells, height), cells, height)


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("view", [None, NONE])
def test_before_the_first_step_it_is_said_that_nothing_has_run(
    name: str, view: DebriefView | None
) -> None:
    drawn = plain(DRAWINGS[name](view, SettingLook(), 80, 8))
    assert "nothing has run yet" in drawn
    assert not any(letter.isdigit() for letter in drawn.split("\n")[1])


@pytest.mark.parametrize("cells", [80, 100, 120, 160, 200])
def test_every_figure_can_be_had_at_every_width(cells: int) -> None:
    heads = [
        plain(draw_settings(VIEW, SettingLook(memory=memory), cells, 9)).split("\n")[1]
        for memory in (False, True)
    ]
    seen = {title for title in COLUMNS if any(title in head for head in heads)}
    assert {"TOK/S", "VS A", "STEP", "p99", "TTFT p50", "TEXT", "WEIGHTS", "KV PEAK"} <= seen
    if cells >= 160:
        assert seen >= set(COLUMNS) - {"TOKENS"}


def test_a_line_tells_what_its_setting_gave() -> None:
    lines = plain(draw_settings(VIEW, SettingLook(), 200, 9)).split("\n")
    quick = next(line for line in lines if line[1:3] == "D◐")
    for part in ("6289", "17.29x", "22.3 MiB", "25.6 MiB", "KL 0.0004 95%", "3.2 ms"):
        assert part in quick, part
    assert "not measured" in next(line for line in lines if line.startswith("▸F○"))
    assert "exact" in next(line for line in lines if line[1:3] == "B●")


def test_rates_are_compared_without_the_steps_that_read_prompts() -> None:
    first = replace(SETTINGS[0], decode_tokens_per_second=1000.0)
    none = replace(SETTINGS[2], decode_tokens_per_second=None)
    view = replace(VIEW, settings=(first, SETTINGS[1], none))
    lines = text_lines(view)
    assert [ratio(lines, letter) for letter in "ABC"] == ["1.00x", "2.31x", "-"]
    without = replace(VIEW, settings=(replace(first, decode_tokens_per_second=None), SETTINGS[1]))
    assert ratio(text_lines(without), "B") == "-"
    assert "VS A over the first row in steps that read no prompt" in plain(
        draw_settings(view, SettingLook(), 300, 12)
    )
    # Rows that ran the same from start to end are compared by all of it.
    grouped = [replace(s, group="race", decode_tokens_per_second=None) for s in SETTINGS[:2]]
    assert ratio(text_lines(replace(VIEW, settings=tuple(grouped))), "B") == "6.34x"


def test_exact_steps_after_lossy_ones_are_not_called_lossy() -> None:
    back = replace(SETTINGS[0], letter="G", exact=False)
    view = replace(VIEW, settings=(*SETTINGS, back))
    line = next(line for line in text_lines(view) if line[1:3] == "G○")
    assert "exact, after lossy" in line
    assert "lossy, not measured" not in plain(draw_scatter(view, 90, 20))


def text_lines(view: DebriefView) -> list[str]:
    return plain(draw_settings(view, SettingLook(), 200, 12)).split("\n")


def ratio(lines: list[str], letter: str) -> str:
    """The one of VS A."""
    end = lines[1].index("VS A") + len("VS A")
    return next(line for line in lines[2:] if line[1:2] == letter)[:end].split()[-1]


def test_settings_that_have_no_room_are_counted() -> None:
    text = plain(draw_settings(many(), SettingLook(), 100, 10))
    assert "46-52 of 52" in text
    assert "17 steps under still more settings, 210 tokens" in text
    top = plain(draw_settings(many(), SettingLook(first=0), 100, 10)).split("\n")
    assert [line[1] for line in top[2:9]] == list("ABCDEFG")


@pytest.mark.parametrize("size", [(39, 12), (60, 16), (90, 20)])
def test_every_setting_is_on_the_plot_or_said_to_lie_under_another(size: tuple[int, int]) -> None:
    text = plain(draw_scatter(VIEW, *size))
    marks = {s.letter + s_sign for s, s_sign in zip(SETTINGS, "●●●◐◐○", strict=True)}
    under = text.split("under others")[0].split("\n")[-1] if "under others" in text else ""
    assert all(mark in text or mark[0] in under for mark in marks)
    assert sum(mark in text for mark in marks) >= 4


def test_points_lie_where_their_figures_are() -> None:
    lines = plain(draw_scatter(VIEW, 80, 20)).split("\n")
    place = {
        s.letter: next(
            (x, y) for y, line in enumerate(lines[1:-1]) if (x := line.find(s.letter, 6)) >= 0
        )
        for s in SETTINGS
        if s.letter in "ADEF"
    }
    by_memory = sorted(place, key=lambda letter: place[letter][0])
    by_speed = sorted(place, key=lambda letter: -place[letter][1])
    known = [s for s in SETTINGS if s.letter in place]
    assert by_memory == [s.letter for s in sorted(known, key=lambda s: s.memory or 0)]
    assert by_speed == [s.letter for s in sorted(known, key=lambda s: s.tokens_per_second)]


def test_a_setting_of_unknown_weights_is_on_no_plot() -> None:
    unknown = replace(VIEW, settings=(replace(SETTINGS[0], weights_bytes=0), *SETTINGS[1:]))
    text = plain(draw_scatter(unknown, 80, 20))
    assert "A●" not in text
    assert "B●" in text


def test_turns_of_knobs_are_told_before_and_after_the_newest_first() -> None:
    lines = plain(draw_effects(VIEW, 70, 8)).split("\n")
    assert [("int4" in line, "batching" in line) for line in lines[1:6:4]] == [
        (True, False),
        (False, True),
    ]
    assert "361→2291" in lines[5]
    assert "6.34x" in lines[5]
    assert "1→20 cars" in lines[5]
    assert "3 more before" in plain(draw_effects(VIEW, 40, 4))
    # Where there is little room, only cars that became more or fewer are told.
    narrow = plain(draw_effects(VIEW, 39, 8)).split("\n")
    assert ["cars" in line for line in narrow[1:6]] == [True, False, False, False, True]


def test_latencies_that_are_not_known_have_no_figures() -> None:
    lines = plain(draw_percentiles(VIEW, 40, 6)).split("\n")
    assert [line[1:5].strip() for line in lines[2:]] == ["TTFT", "TPOT", "E2E", "ITL"]
    assert "none yet" in lines[4]
    assert "903 ms" in lines[2]


# Keys and mouse


async def opened(app: PitWallApp, pilot: Pilot[None]) -> SettingsTable:
    await pilot.press("f8")
    await step(app, pilot)
    assert isinstance(app.screen, DebriefScreen)
    return app.screen.query_one(SettingsTable)


@pytest.mark.parametrize("key", ["f8"])
async def test_it_opens_and_closes(key: str, build: Build) -> None:
    app = build(race())
    async with running(app) as pilot:
        await pilot.press(key)
        assert isinstance(app.screen, DebriefScreen)
        await pilot.press(key)
        assert isinstance(app.screen, RaceScreen)
        await pilot.press(key, "escape")
        assert isinstance(app.screen, RaceScreen)


async def test_it_asks_the_race_for_its_own_details_alone(build: Build) -> None:
    app, asked = build(race()), []
    async with running(app) as pilot:
        await opened(app, pilot)
        app.state.view = lambda now, details=(), followed=(): asked.append(details) or race()  # type: ignore
        await step(app, pilot)
    assert asked == [("debrief",)]


async def test_arrows_go_through_the_settings_and_follow_again_at_the_end(build: Build) -> None:
    app = build(race(many()))
    async with running(app) as pilot:
        table = await opened(app, pilot)
        newest = text_of(app, SettingsTable)
        assert "▸z" in newest
        await pilot.press("up", "up", "k")
        assert table.look.first is not None
        assert "▸z" not in text_of(app, SettingsTable)
        await pilot.press(*["up"] * 60)
        assert table.look.first == 0
        assert text_of(app, SettingsTable).split("\n")[2].startswith(" A")
        await pilot.press(*["j"] * 60)
        assert table.look.first is None
        assert text_of(app, SettingsTable) == newest


async def test_tab_turns_to_memory_and_quality(build: Build) -> None:
    app = build(race())
    async with running(app) as pilot:
        await opened(app, pilot)
        assert "KV PEAK" not in text_of(app, SettingsTable)
        await pilot.press("tab")
        assert "KV PEAK" in text_of(app, SettingsTable)
        assert "not measured" in text_of(app, SettingsTable)
        await pilot.press("tab")
        assert "KV PEAK" not in text_of(app, SettingsTable)


async def test_a_click_on_a_key_does_what_it_does(build: Build) -> None:
    app = build(race())
    async with running(app, (120, 40)) as pilot:
        await opened(app, pilot)
        head = text_of(app, SettingsTable).split("\n")[0]
        await pilot.click(SettingsTable, offset=(head.index("other figures"), 0))
        assert app.screen.query_one(SettingsTable).look.memory
        await pilot.click(SettingsTable, offset=(head.index("close"), 0))
        assert isinstance(app.screen, RaceScreen)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 45), (200, 60), (200, 24)])
async def test_every_panel_has_room(size: tuple[int, int], build: Build) -> None:
    app = build(race())
    async with running(app, size) as pilot:
        table = await opened(app, pilot)
        assert table.size.height >= 8
        assert app.screen.query_one(Scatter).size.height >= 11
        assert app.screen.query_one(Scatter).size.width >= 39
        assert app.screen.query_one(Effects).size.height >= 5
        assert app.screen.query_one(Percentiles).size.height >= 6
        assert app.screen.query_one(KeyBar).region.bottom == size[1]


async def test_below_the_least_size_it_says_what_it_needs(build: Build) -> None:
    app = build(race())
    async with running(app, (80, 23)) as pilot:
        await opened(app, pilot)
        assert "pitwall needs 80x24" in text_of(app, TooSmall)


# Files


@pytest.mark.parametrize("live", [True, False])
async def test_x_writes_every_format_and_never_over_one(
    live: bool, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pitwall-monza-race1.svg").write_text("mine")
    app = build(race(), live=live)
    said: list[str] = []
    async with running(app) as pilot:
        await opened(app, pilot)
        app._say = lambda text, severity="": said.append(text)  # type: ignore
        await pilot.press("x", "x")
    ends = ("json", "csv", "md", "svg")
    names = {f"pitwall-monza-race1-{n}.{end}" for n in (2, 3) for end in ends}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "pitwall-monza-race1.svg"}
    assert (tmp_path / "pitwall-monza-race1.svg").read_text() == "mine"
    assert said[0] == "saved pitwall-monza-race1-2.{json,csv,md,svg}"
    document = json.loads((tmp_path / "pitwall-monza-race1-2.json").read_text())
    with (tmp_path / "pitwall-monza-race1-2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [s["letter"] for s in document["settings"]] == [row["letter"] for row in rows]


async def test_a_folder_that_cannot_be_written_is_one_line(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = build(race())
    said: list[tuple[str, str]] = []

    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    async with running(app) as pilot:
        await opened(app, pilot)
        app._say = lambda text, severity="": said.append((text, severity))  # type: ignore
        monkeypatch.setattr(Path, "open", refuse)
        await pilot.press("x")
    [(text, severity)] = said
    assert severity == "error"
    assert text.startswith("no export: Permission denied")
    assert "\n" not in text


async def test_where_nothing_has_run_nothing_is_written(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = build(race(NONE))
    async with running(app) as pilot:
        await opened(app, pilot)
        await pilot.press("x")
    assert not list(tmp_path.iterdir())


# Pictures


def _drawn(*keys: str, theme: str = "pitwall") -> Callable[[Pilot[None]], object]:
    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        await pilot.press("f8")
        app.tick()
        await pilot.pause()
        await pilot.press(*keys)
        app.tick()
        await pilot.pause()

    return prepare


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45"])
def test_picture(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(build(race()), terminal_size=(width, height), run_before=_drawn())


def test_picture_of_memory(build: Build, snap_compare: Compare) -> None:
    view = race(many())
    assert snap_compare(build(view), terminal_size=(80, 24), run_before=_drawn("tab"))


def test_picture_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(race()), terminal_size=(120, 40), run_before=_drawn(theme="pitwall-light")
    )


def test_picture_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build(race()), terminal_size=(120, 40), run_before=_drawn())


def test_picture_before_the_start(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build(race(NONE)), terminal_size=(80, 24), run_before=_drawn())
