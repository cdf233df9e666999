"""The academy: keys, what they ask for, what is shown of a course, and how it is left."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from engine.academy import (
    TEMPERATURES,
    AcademyNews,
    Cancelled,
    Done,
    Held,
    Lesson,
    Lost,
    Saved,
)
from engine.messages import Unusable
from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.academy import (
    draw_agreement,
    draw_lectern,
    draw_losses,
    draw_marks,
    draw_sweep,
)
from pitwall_tui.draw.cells import plain
from pitwall_tui.race.academy import AcademyState, AcademyView
from pitwall_tui.screens.academy import AcademyScreen, Agreement, Lectern, Losses, MarkSheet, Sweep
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.widgets.bars import StatusLine, TooSmall
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.taught import COURSE, JUNIOR, STEPS, FakeAcademy, lessons, sweep
from tests.tui.wall import (
    SIZES,
    all_in_sight,
    feed_of,
    fill,
    running,
    state_of,
    step,
    text_of,
)

Compare = Callable[..., bool]
HALF, WHOLE = lessons(110), [*lessons(STEPS), *sweep(2, 0.4)]
OVER: list[AcademyNews] = [*lessons(STEPS), *sweep(len(TEMPERATURES), 0.0), Done()]


def state(*news: AcademyNews) -> AcademyState:
    """One that has begun, and been told."""
    found = AcademyState()
    found.begin()
    for one in news:
        found.apply(one)
    return found


VIEWS = {
    "idle": AcademyState().view(),
    "loading": state().view(),
    "enrolled": state(COURSE).view(),
    "half": state(*HALF).view(),
    "paused": state(*HALF, Held(True)).view(),
    "whole": state(*WHOLE).view(),
    "over": state(*OVER).view(),
    "cancelled": state(*HALF, Cancelled()).view(),
    "refused": state(Unusable("cannot write to folder x: Permission denied")).view(),
    "lost": state(*HALF, Lost("killed by SIGKILL")).view(),
}
DRAWINGS = {
    "lectern": draw_lectern,
    "losses": draw_losses,
    "agreement": draw_agreement,
    "marks": draw_marks,
    "sweep": draw_sweep,
}


def academy_of(app: PitWallApp) -> FakeAcademy:
    assert isinstance(app.academy, FakeAcademy)
    return app.academy


async def told(app: PitWallApp, pilot: Pilot[None], news: list[AcademyNews]) -> None:
    """The academy is open, a course has begun, and this has come of it."""
    await pilot.press("a", "enter")
    academy_of(app).news += news
    await step(app, pilot)
    assert isinstance(app.screen, AcademyScreen)


# What it asks for


async def test_nothing_is_taught_until_it_is_asked_for(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("enter", "h", "x", "u", "a")
        assert academy_of(app).commands == []
        assert "NOT STARTED" in text_of(app, Lectern)
        await pilot.press("h", "x", "enter", "enter")
        assert academy_of(app).commands == [("start",)]
        assert "LOADING" in text_of(app, Lectern)


async def test_it_is_held_and_goes_on(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, HALF)
        await pilot.press("h")
        assert "PAUSING" in text_of(app, Lectern)
        academy_of(app).news.append(Held(True))
        await step(app, pilot)
        assert "PAUSED" in text_of(app, Lectern)
        assert "go on" in text_of(app, Lectern)
        await pilot.press("h")
        assert academy_of(app).commands[1:] == [("pause", True), ("pause", False)]


async def test_it_is_cancelled_and_can_begin_again(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, HALF)
        await pilot.press("x")
        academy_of(app).news.append(Cancelled())
        await step(app, pilot)
        assert "CANCELLED" in text_of(app, Lectern)
        await pilot.press("x", "h", "enter")
        assert academy_of(app).commands == [("start",), ("cancel",), ("start",)]
        assert "nats" not in text_of(app, Losses)


async def test_the_junior_is_put_into_the_race_once_there_is_one(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, HALF)
        await pilot.press("u")
        assert feed_of(app).sent("draft") == []
        academy_of(app).news.append(Saved(JUNIOR))
        await step(app, pilot)
        assert f"ready: {JUNIOR}" in text_of(app, Lectern)
        await pilot.press("u")
        assert feed_of(app).sent("draft") == [JUNIOR]


async def test_a_junior_drafts_only_when_the_engine_says_so(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = build("drafting"), []
    monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
    async with running(app) as pilot:
        await told(app, pilot, WHOLE)
        await pilot.press("u")
        await step(app, pilot)
        assert said == ["academy-1 is being prepared beside the race"]
        state_of(app).at = views.drafting(draft="academy-1")
        await step(app, pilot)
        await step(app, pilot)
        assert said[1:] == ["academy-1 drafts now"]


async def test_a_junior_that_nobody_asks_for_drafts_is_ready(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = build(), []
    monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
    async with running(app) as pilot:
        await told(app, pilot, WHOLE)
        await pilot.press("u")
        state_of(app).at = views.racing(draft="academy-1")
        await step(app, pilot)
        assert said[1:] == ["academy-1 is ready: turn speculation to junior"]


async def test_a_click_does_what_the_key_does(build: Build) -> None:
    app = build()
    async with running(app, (120, 40)) as pilot:
        await told(app, pilot, HALF)
        await pilot.click(Lectern, offset=(text_of(app, Lectern).index("cancel"), 0))
        assert academy_of(app).commands[-1] == ("cancel",)


async def test_space_and_p_are_the_race_s_own_here_too(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, HALF)
        await pilot.press("p", "space")
        assert feed_of(app).sent("paused") == [True]
        assert "FROZEN" in text_of(app, StatusLine)
        assert academy_of(app).commands == [("start",)]


# What it shows


async def test_news_fills_the_screen_while_the_race_goes_on(build: Build) -> None:
    app = build()
    async with running(app, (160, 45)) as pilot:
        await told(app, pilot, WHOLE)
        state_of(app).at = views.racing(leader_lap=19)
        await step(app, pilot)
        assert "LAP 19" in text_of(app, StatusLine)
        assert "14 900 tok/s" in text_of(app, Lectern)
        assert "distillation loss" in text_of(app, Losses)
        assert "40%" in text_of(app, Sweep)
        assert "same sample" in text_of(app, Agreement)


async def test_it_goes_on_while_nobody_looks(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, [])
        await pilot.press("escape")
        assert isinstance(app.screen, RaceScreen)
        academy_of(app).news += WHOLE
        await step(app, pilot)
        await pilot.press("a")
        assert "SWEEP" in text_of(app, Lectern)


@pytest.mark.parametrize(
    ("end", "word", "why"),
    [
        (Lost("killed by SIGKILL"), "LOST", "killed by SIGKILL"),
        (Unusable("cannot write to folder /x: Permission denied"), "REFUSED", "cannot write"),
    ],
)
async def test_an_end_nobody_asked_for_says_why(
    end: AcademyNews, word: str, why: str, build: Build
) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, [*HALF, end])
        assert word in text_of(app, Lectern)
        assert why in text_of(app, Lectern)
        assert "enter start" in text_of(app, Lectern)
        assert "nats" in text_of(app, Losses)  # what was measured stays


# How it is left


async def test_a_student_s_teacher_is_not_sent_to_the_classification(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, HALF)
        state_of(app).at = views.finished()
        await step(app, pilot)
        assert isinstance(app.screen, AcademyScreen)


async def test_the_process_ends_with_the_app(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await told(app, pilot, HALF)
    assert academy_of(app).commands[-1] == ("close",)
    assert academy_of(app).commands.count(("close",)) == 1


async def test_a_recording_has_none_and_says_so(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = build(live=False), []
    monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
    async with running(app) as pilot:
        await pilot.press("a")
        assert isinstance(app.screen, RaceScreen)
        assert said == ["a recording takes no junior: the academy is for a live race"]


async def test_too_small_a_terminal_says_so(build: Build) -> None:
    app = build()
    async with running(app, (79, 24)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        assert app.screen.query_one(TooSmall).display


@pytest.mark.parametrize("size", SIZES)
async def test_every_panel_has_room_at_every_size(size: tuple[int, int], build: Build) -> None:
    app = build()
    async with running(app, size) as pilot:
        await told(app, pilot, WHOLE)
        for panel in (Losses, Agreement, Sweep):
            assert app.screen.query_one(panel).size.height >= 7
        assert "T=16" in text_of(app, Sweep)
        assert "hard" in text_of(app, MarkSheet)
        assert all_in_sight(app)


# The state


def test_a_new_course_keeps_nothing_but_the_junior() -> None:
    found = state(*WHOLE)
    found.begin()
    assert found.view() == AcademyView(stage="loading", junior=JUNIOR)


def test_what_runs_is_what_is_counted() -> None:
    half, whole = VIEWS["half"], VIEWS["whole"]
    assert (half.stage, half.tokens, half.budget) == ("students", 110 * 1024, COURSE.tokens)
    assert (whole.stage, whole.budget) == ("sweep", COURSE.sweep_tokens)
    assert [row.share > 0 for row in whole.rows] == [True, True, True, False, False]
    assert [row.marks is not None for row in whole.rows] == [True, True, False, False, False]
    assert [row.temperature for row in half.rows] == list(TEMPERATURES)
    assert VIEWS["over"].stage == "done"


def test_an_end_ends_the_pause_too() -> None:
    found = state(*HALF, Held(True))
    found.ask_pause(True)
    found.apply(Lost("killed by SIGKILL"))
    view = found.view()
    assert (view.paused, view.asked, view.running) == (False, False, False)


# Drawings


@given(
    st.sampled_from(sorted(DRAWINGS)), st.sampled_from(sorted(VIEWS)), st.integers(0, 170),
    st.integers(0, 50),
)  # fmt: skip
def test_a_drawing_fills_its_box(name: str, at: str, cells: int, height: int) -> None:
    assert fill(DRAWINGS[name](VIEWS[at], cells, height), cells, height)


NATS = st.floats(0, 1e6)


@given(st.lists(st.tuples(NATS, NATS), min_size=1, max_size=40), st.integers(1, 60))
def test_any_losses_are_drawn(nats: list[tuple[float, float]], height: int) -> None:
    told = [
        Lesson(at + 1, (at + 1) * 1024, 1.0, 1.0, one, other, one)
        for at, (one, other) in enumerate(nats)
    ]
    view = replace(VIEWS["half"], lessons=tuple(told))
    assert len(draw_losses(view, 60, height)) == height


def test_the_legend_names_both_by_their_lines() -> None:
    text = plain(draw_losses(VIEWS["half"], 60, 12))
    assert "━━ distilled T=2" in text
    assert "┅┅ hard labels" in text
    sheet = plain(draw_marks(VIEWS["half"], 38, 4))
    assert "━━ distilled" in sheet
    assert "┅┅ hard" in sheet


def test_the_sweep_s_rows_are_empty_running_and_done() -> None:
    lines = plain(draw_sweep(VIEWS["whole"], 38, 8)).splitlines()
    rows = {line.split()[0]: line for line in lines[2:7]}
    assert rows["T=1"].split()[1:] == ["53.8", "61.1", "60.2", "1.424"]
    assert "▸62.4" in rows["T=2"]
    assert "░" in rows["T=4"]
    assert "40%" in rows["T=4"]
    assert rows["T=16"].split() == ["T=16", "·"]


def test_time_left_is_said_while_it_runs_only() -> None:
    assert "0:24 left" in plain(draw_lectern(VIEWS["half"], 120, 3))
    assert "left" not in plain(draw_lectern(VIEWS["cancelled"], 120, 3))


def test_what_stands_has_no_speed() -> None:
    assert "8 140 tok/s" in plain(draw_lectern(VIEWS["half"], 120, 3))
    paused = plain(draw_lectern(VIEWS["paused"], 120, 3))
    assert "tok/s" not in paused
    assert "left" in paused


# Pictures


def _read(
    *keys: str, news: list[AcademyNews], theme: str = "pitwall"
) -> Callable[[Pilot[None]], object]:
    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        app.tick()
        if news:
            await told(app, pilot, news)
        await pilot.press(*keys)
        app.tick()
        await pilot.pause()

    return prepare


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45"])
def test_picture(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(build(), terminal_size=(width, height), run_before=_read(news=WHOLE))


def test_picture_of_the_two_students(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build(), terminal_size=(120, 40), run_before=_read(news=HALF))


def test_picture_before_the_start(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build(), terminal_size=(100, 30), run_before=_read("a", news=[]))


def test_picture_of_a_loss(build: Build, snap_compare: Compare) -> None:
    news = [*HALF, Lost("killed by SIGKILL")]
    assert snap_compare(build(), terminal_size=(80, 24), run_before=_read(news=news))


def test_picture_light(build: Build, snap_compare: Compare) -> None:
    prepare = _read(news=OVER, theme="pitwall-light")
    assert snap_compare(build(), terminal_size=(120, 40), run_before=prepare)


def test_picture_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build(), terminal_size=(120, 40), run_before=_read(news=WHOLE))
