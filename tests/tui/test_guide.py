"""The guide on the wall: its strip, its keys, and that it comes once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from engine.config import Knobs
from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import DEFAULTS, KEYS
from pitwall_tui.draw.cells import plain, wrap
from pitwall_tui.draw.guide import draw_guide
from pitwall_tui.draw.spoken import spoken
from pitwall_tui.memory import GUIDE, Memory
from pitwall_tui.race.guide import SECONDS, Guide, GuideView, Turn
from pitwall_tui.race.guide_steps import STEPS
from pitwall_tui.race.view import QualityView, RaceView, TrafficView
from pitwall_tui.screens.help import HelpScreen
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.screens.strategy import StrategyScreen
from pitwall_tui.settings import Wall
from pitwall_tui.widgets.bars import GuideStrip, KeyBar, KnobBar
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.recorded import recorded
from tests.tui.taught import FakeAcademy
from tests.tui.wall import feed_of, fill, running, state_of, step, text_of

Compare = Callable[..., bool]
ROOM = 6  # lines under the strip's head


def guided(
    wall: Wall | None = None, view: RaceView | None = None, *, live: bool = True
) -> PitWallApp:
    app = PitWallApp(
        FakeFeed(live=live),
        StillState(view or views.racing()),
        FakeAcademy(),
        clock=lambda: 10.0,
        fps=0,
        wall=wall or Wall(guide=True),
    )
    app.animation_level = "none"
    app._disable_notifications = True
    return app


def raced(app: PitWallApp, seconds: float, **knobs: str) -> None:
    """The race goes on for a while with these knobs, at the rate that its view has."""
    state = state_of(app)
    for _ in range(round(seconds * 10)):
        view = state.at
        turned = tuple(
            replace(knob, value=knobs.get(knob.name, knob.value), pending=None)
            for knob in view.knobs
        )
        made = round(view.status.tokens_per_second / 10)
        cars = (replace(view.cars[0], tokens=view.cars[0].tokens + made), *view.cars[1:])
        state.at = replace(view, time=view.time + 0.1, knobs=turned, cars=cars)
        app.tick()


# The strip


@given(st.integers(1, 300), st.integers(1, 30), st.booleans())
def test_a_strip_fills_its_box(cells: int, height: int, some: bool) -> None:
    view = GuideView("T", 1, 9, ("x {pause} " * 40,), ("12 tokens/s",), "Press {weights}", "go")
    assert fill(draw_guide(view if some else None, KEYS, cells, height), cells, height)


def test_what_is_waited_for_is_never_cut() -> None:
    view = GuideView("T", 1, 9, ("word " * 300,), (), "Press {weights} until.", "")
    assert "Press 8 until." in plain(draw_guide(view, KEYS, 78, 7)).splitlines()[-1]


def _lines(text: str) -> int:
    return len(wrap(spoken(text, KEYS), 78))


def test_every_text_has_room_in_the_strip_at_the_least_size() -> None:
    guide = Guide(on=True)
    guide.see(views.racing())
    welcome = guide.view()
    assert welcome is not None
    assert sum(map(_lines, welcome.lines)) <= ROOM
    for step_ in STEPS:
        wanted = f"Press {{{step_.knob}}} until {step_.knob} is {step_.value}."
        heard = (
            f"Heard: {step_.knob} is {step_.value} once what it needs is there, the step in flight"
            " has ended, and a first one planned with it; no token for 34 s."
        )
        assert _lines(step_.lead) + max(_lines(wanted), _lines(heard)) <= ROOM, step_.title
        assert _lines(step_.closing) == 1, step_.title


# The app


async def test_the_guide_lies_over_the_screen_and_leaves_knobs_and_keys() -> None:
    for size in ((80, 24), (100, 30), (120, 40), (160, 45)):
        app = guided()
        async with running(app, size) as pilot:
            await step(app, pilot)
            strip = app.screen.query_one(GuideStrip).region
            assert (strip.width, strip.height) == (size[0], ROOM + 1)
            assert strip.bottom == app.screen.query_one(KnobBar).region.y == size[1] - 2
            assert "GUIDED RACE" in text_of(app, GuideStrip)
            assert "begins the guide" not in text_of(app, GuideStrip)


async def test_without_a_guide_the_screen_has_all_the_room() -> None:
    app = guided(Wall())
    async with running(app) as pilot:
        await step(app, pilot)
        assert not app.screen.query_one(GuideStrip).display
        await pilot.press("g")
        assert app.screen.query_one(GuideStrip).display


async def test_enter_leads_from_the_welcome_to_the_first_knob() -> None:
    app = guided()
    async with running(app) as pilot:
        raced(app, SECONDS + 0.3)
        await pilot.press("enter")
        assert "Press 1 until kv_cache is off." in text_of(app, GuideStrip)
        assert feed_of(app).sent("knobs") == []
        await pilot.press("enter")
        assert feed_of(app).sent("knobs") == [Knobs(max_batch=8, kv_cache="off")]
        raced(app, SECONDS + 0.3, kv_cache="off")
        await pilot.pause()
        assert "kv_cache on to off: " in text_of(app, GuideStrip)
        await pilot.press("1")
        assert feed_of(app).sent("knobs")[-1] == Knobs(max_batch=8)


async def test_a_click_is_the_key() -> None:
    app = guided()
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        head = text_of(app, GuideStrip).splitlines()[0]
        await pilot.click(GuideStrip, offset=(head.index("begin"), 0))
        assert STEPS[0].title in text_of(app, GuideStrip)
        await pilot.click(GuideStrip, offset=(head.index("leave"), 0))
        await pilot.pause()
        assert not app.screen.query_one(GuideStrip).display


async def test_the_guide_goes_along_to_other_screens_and_has_its_keys_there() -> None:
    app = guided()
    async with running(app) as pilot:
        await step(app, pilot)
        await pilot.press("y")
        await step(app, pilot)
        assert isinstance(app.screen, StrategyScreen)
        assert app.screen.query_one(GuideStrip).display
        await pilot.press("escape")  # the guide first
        await pilot.pause()
        assert isinstance(app.screen, StrategyScreen)
        assert not app.screen.query_one(GuideStrip).display
        await pilot.press("escape")
        assert isinstance(app.screen, RaceScreen)


async def test_help_and_palette_have_their_keys_to_themselves() -> None:
    app = guided()
    async with running(app, (100, 30)) as pilot:
        await step(app, pilot)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RaceScreen)
        await pilot.press("ctrl+p", *"draft_length: 16", "enter")
        await pilot.pause()
        await pilot.pause()
        assert feed_of(app).sent("knobs") == [Knobs(max_batch=8, draft_length=16)]
        assert app.screen.query_one(GuideStrip).display


async def test_a_guide_that_was_left_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "wall.json"
    app = guided(Wall(guide=True, memory=Memory(file)))
    async with running(app) as pilot:
        await step(app, pilot)
        assert Memory(file).recall(GUIDE) == ""
        await pilot.press("escape")
        assert Memory(file).recall(GUIDE) == "left"
        await pilot.press("g")
        assert app.screen.query_one(GuideStrip).display


async def test_a_recording_has_no_guide() -> None:
    app = guided(live=False)
    async with running(app) as pilot:
        await step(app, pilot)
        assert not app.screen.query_one(GuideStrip).display
        await pilot.press("g")
        assert not app.screen.query_one(GuideStrip).display


async def test_a_terminal_that_is_too_small_shows_no_strip() -> None:
    app = guided()
    async with running(app, (60, 18)) as pilot:
        await step(app, pilot)
        assert not app.screen.query_one(GuideStrip).display
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert app.screen.query_one(GuideStrip).display


async def test_every_bar_still_answers_to_the_mouse() -> None:
    app = guided()
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        await pilot.click(KeyBar, offset=(text_of(app, KeyBar).index("pause"), 0))
        assert feed_of(app).sent("paused") == [True]


# Pictures


def _at(title: str, told: bool) -> Callable[[Pilot[None]], object]:
    """Brings the guide to a step, and through its measurement."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        raced(app, SECONDS + 0.3)
        state = state_of(app)
        app._guide.enter(state.at)
        target = next(step_ for step_ in STEPS if step_.title == title)
        while True:
            app.tick()
            shown = app._guide.view()
            assert shown is not None
            if shown.title == title and not shown.figures:
                break
            match app._guide.enter(state.at):
                case Turn(knob, value):
                    raced(app, SECONDS + 0.3, **{knob: value})
                case None:
                    continue
                case _:
                    state.at = replace(state.at, race_number=state.at.race_number + 1)
                    raced(app, SECONDS + 0.3)
        if told:
            raced(app, SECONDS + 0.3)
            decode = TrafficView("decode", 1.1 * 2**20, 1.3 * 2**20, 15.2, 46.0)
            state.at = replace(
                state.at,
                status=replace(state.at.status, tokens_per_second=5312.0, step_ms=3.4),
                traffic=(decode,),
                quality=QualityView(target.value, 640, 0.0004, 94.6, 99.8, 3.1),
            )
            raced(app, SECONDS + 0.3, **{target.knob: target.value})
        await pilot.pause()
        app.tick()
        await pilot.pause()

    return prepare


PICTURES = [("GUIDED RACE", False), ("CONTINUOUS BATCHING", False), ("WEIGHTS IN 8 BITS", True)]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
@pytest.mark.parametrize(("title", "told"), PICTURES, ids=["welcome", "ask", "told"])
def test_picture(title: str, told: bool, size: tuple[int, int], snap_compare: Compare) -> None:
    async def welcome(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, PitWallApp)
        await step(pilot.app, pilot)

    moment = recorded("racing")
    usual = tuple(replace(knob, value=DEFAULTS[knob.name], pending=None) for knob in moment.knobs)
    app = guided(view=replace(moment, knobs=usual))
    prepare = welcome if title == "GUIDED RACE" else _at(title, told)
    assert snap_compare(app, terminal_size=size, run_before=prepare)
