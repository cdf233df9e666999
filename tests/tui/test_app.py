"""The app from outside: keys, mouse, palette, sizes, and how it begins and ends."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.config import Knobs
from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import COMMANDS, KNOB_KEY, KNOB_KEYS, turned
from pitwall_tui.draw.cells import row_width
from pitwall_tui.draw.knobs import draw_knobs
from pitwall_tui.feed.reading import events_of
from pitwall_tui.feed.record import Recorder, RecordingFeed
from pitwall_tui.feed.script import ScriptFeed
from pitwall_tui.race.events import FeedEnded, Refused
from pitwall_tui.race.state import RaceState
from pitwall_tui.screens.help import HelpScreen
from pitwall_tui.screens.race import RaceScreen, Tower, TrackMap
from pitwall_tui.screens.results import Results, ResultsScreen
from pitwall_tui.succession import INTERVAL
from pitwall_tui.widgets.bars import KeyBar, KnobBar, StatusLine, TooSmall
from tests.scripted import Script
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.fakes import FakeFeed, StillState, kinds
from tests.tui.wall import feed_of, running, state_of, step, text_of

# Knobs


async def test_a_key_turns_its_knob(build: Build) -> None:
    values = {knob.name: knob.value for knob in views.KNOBS}
    app = build()
    async with running(app, (260, 45)) as pilot:
        for name, keys in KNOB_KEY.items():
            _forget(app)
            await pilot.press(keys.key)
            [knobs] = feed_of(app).sent("knobs")
            assert isinstance(knobs, Knobs)
            assert str(knobs.as_dict()[name]) == turned(name, values[name])
            assert len(knobs.changes(Knobs(max_batch=8))) == 1
            assert f"{name} {values[name]}→{turned(name, values[name])}" in text_of(app, KnobBar)


def _forget(app: PitWallApp) -> None:
    """What was asked for so far, here and at the feed."""
    feed_of(app).commands.clear()
    app._asked.refused()
    app.tick()


async def test_brackets_turn_max_batch_down_and_up(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("left_square_bracket", "left_square_bracket", "right_square_bracket")
        sent = feed_of(app).sent("knobs")
        assert [knobs.max_batch for knobs in sent] == [4, 2, 4]  # type: ignore[attr-defined]


async def test_comma_and_stop_turn_the_draft_length_down_and_up(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("comma", "comma", "full_stop")
        sent = feed_of(app).sent("knobs")
        assert [knobs.draft_length for knobs in sent] == [3, 2, 3]  # type: ignore[attr-defined]


async def test_where_no_draft_model_stands_ready_the_junior_is_passed_over(build: Build) -> None:
    app = build(views.racing(draft=""))
    async with running(app) as pilot:
        await pilot.press("d", "d")
        sent = feed_of(app).sent("knobs")
        assert [knobs.speculation for knobs in sent] == ["ngram", "off"]  # type: ignore[attr-defined]


async def test_keys_count_from_what_was_asked_for_and_not_yet_done(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("4", "4", "1")
        last = feed_of(app).sent("knobs")[-1]
        assert last == Knobs(batching="static", kv_cache="off", max_batch=8)


async def test_a_pending_mark_goes_when_a_plan_has_used_the_knob(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("1")
        assert "●→○" in text_of(app, KnobBar)
        used = (replace(views.KNOBS[0], value="off"), *views.KNOBS[1:])
        state_of(app).at = views.racing(knobs=used)
        await step(app, pilot)
        assert "→" not in text_of(app, KnobBar)
        await pilot.press("1")
        last = feed_of(app).sent("knobs")[-1]
        assert last.kv_cache == "on"  # type: ignore[attr-defined]


async def test_a_refused_change_is_no_longer_pending(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("2")
        feed_of(app).events.append(Refused("no"))
        await step(app, pilot)
        assert "→" not in text_of(app, KnobBar)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 45)])
async def test_a_click_turns_a_knob(size: tuple[int, int], build: Build) -> None:
    app = build()
    async with running(app, size) as pilot:
        await pilot.pause()
        spans = draw_knobs(views.KNOBS, size[0])[0]
        for name in KNOB_KEY:
            _forget(app)
            await pilot.pause()
            before = next(i for i, span in enumerate(spans) if f"'{name}'" in span.action)
            await pilot.click(KnobBar, offset=(row_width(spans[:before]), 0))
            [knobs] = feed_of(app).sent("knobs")
            changed = knobs.changes(Knobs(max_batch=8))  # type: ignore[attr-defined]
            assert [name for name, _ in changed] == [name]


async def test_before_the_engine_is_known_a_key_changes_nothing(build: Build) -> None:
    app = build("empty")
    async with running(app) as pilot:
        await pilot.press("1")
        assert kinds(feed_of(app).commands) == ["start"]


async def test_a_recording_cannot_be_changed_and_says_so(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, said = build(live=False), []
    monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
    async with running(app) as pilot:
        await pilot.press("1", "minus")
        assert kinds(feed_of(app).commands) == ["start"]
        assert said == ["a recording cannot be changed"] * 2
        assert "REPLAY" in text_of(app, StatusLine)


# Commands


async def test_pause_goes_to_the_engine_and_back(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("p")
        state_of(app).at = views.racing(status=replace(views.STATUS, paused=True))
        await step(app, pilot)
        assert "PAUSED" in text_of(app, StatusLine)
        assert "go on" in text_of(app, KeyBar)
        await pilot.press("p")
        assert feed_of(app).sent("paused") == [True, False]


async def test_a_race_is_recorded_from_its_start_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    events = list(Script(laps=3, cars=4).events())
    script, recorder = ScriptFeed(events), Recorder()
    feed = RecordingFeed(script, recorder, lambda: 0.0)
    app = PitWallApp(feed, RaceState("script"), recorder=recorder, clock=lambda: 10.0, fps=0)
    async with running(app, (160, 45)) as pilot:
        for _ in range(20):
            await step(app, pilot)
        assert "REC" not in text_of(app, StatusLine)
        await pilot.press("R")
        await step(app, pilot)
        [path] = tmp_path.iterdir()
        assert f"● REC {path.stat().st_size / 1024:.0f} KiB" in text_of(app, StatusLine)
        assert path.name.startswith("pitwall-monza-")
        await pilot.press("R")
        await step(app, pilot)
        assert "REC" not in text_of(app, StatusLine)
        said = f"recorded {path}, {path.stat().st_size / 1024:.0f} KiB"
        assert [n.message for n in app._notifications] == [said]
    assert list(events_of(path)) == events[:21]


async def test_a_recording_that_cannot_be_begun_costs_no_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    recorder = Recorder()
    feed = RecordingFeed(ScriptFeed(Script(laps=3, cars=4).events()), recorder, lambda: 0.0)
    app = PitWallApp(feed, RaceState("script"), recorder=recorder, clock=lambda: 10.0, fps=0)
    async with running(app, (160, 45)) as pilot:
        await step(app, pilot)
        await pilot.press("R")
        await step(app, pilot)
        assert "cannot be written" in "".join(n.message for n in app._notifications)
        assert "REC" not in text_of(app, StatusLine)


async def test_a_frozen_view_stays_while_the_race_goes_on(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("space")
        later = tuple(replace(car, code="NEW") for car in views.cars())
        state_of(app).at = views.racing(leader_lap=19, cars=later)
        await step(app, pilot)
        assert "FROZEN" in text_of(app, StatusLine)
        assert "LAP 19" in text_of(app, StatusLine)
        assert "NEW" not in text_of(app, Tower)
        await pilot.press("space")
        await pilot.pause()
        assert "NEW" in text_of(app, Tower)


async def test_pace_steps_from_what_was_asked(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("minus", "minus", "plus", "minus", "equals_sign")
        assert feed_of(app).sent("pace") == [200, 150, 200, 150, 200]


async def test_next_race(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("n")
        assert kinds(feed_of(app).commands) == ["start", "next"]


async def test_the_shot_key_saves_a_picture(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = build()
    async with running(app) as pilot:
        await pilot.press("s", "s")
    for name in ("pitwall-monza-lap18.svg", "pitwall-monza-lap18-2.svg"):
        assert "KES" in (tmp_path / name).read_text(encoding="utf-8")


async def test_a_shot_that_cannot_be_saved_is_no_crash(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = build()

    def full(name: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app, "save_screenshot", full)
    async with running(app) as pilot:
        await pilot.press("s")
        assert app.is_running
        assert "No space left" in "".join(n.message for n in app._notifications)


@pytest.mark.parametrize("key", ["escape", "question_mark", "q"])
async def test_help_opens_and_closes(key: str, build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await step(app, pilot)
        await pilot.press(key)
        assert isinstance(app.screen, RaceScreen)


async def test_a_click_in_the_footer_is_its_key(build: Build) -> None:
    app = build()
    async with running(app, (120, 40)) as pilot:
        await pilot.pause()
        await pilot.click(KeyBar, offset=(text_of(app, KeyBar).index("pause"), 0))
        assert feed_of(app).sent("paused") == [True]


async def test_the_palette_has_every_command_and_every_value_of_every_knob(build: Build) -> None:
    app = build()
    async with running(app):
        titles = {command.title for command in app.get_system_commands(app.screen)}
    assert {command.id for command in COMMANDS} <= titles
    assert {f"{keys.name}: {value}" for keys in KNOB_KEYS for value in keys.steps} <= titles


async def test_a_command_of_the_palette_does_what_it_says(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        commands = {command.title: command for command in app.get_system_commands(app.screen)}
        commands["prefill_chunk: 64"].callback()
        await pilot.pause()
        assert feed_of(app).sent("knobs") == [Knobs(max_batch=8, prefill_chunk=64)]


async def test_letters_typed_into_the_palette_are_text(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("ctrl+p", "p", "q", "1")
        await pilot.pause()
        assert kinds(feed_of(app).commands) == ["start"]
        await pilot.press("ctrl+q")
    assert kinds(feed_of(app).commands) == ["start", "close"]


# From flag to lights


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_the_classification_comes_with_the_flag_and_the_next_race_after_it() -> None:
    clock, feed, state = Clock(), FakeFeed(), StillState(views.racing())
    app = PitWallApp(feed, state, clock=clock, fps=0)
    async with running(app, (120, 40)) as pilot:
        state.at = views.finished()
        await step(app, pilot)
        assert isinstance(app.screen, ResultsScreen)
        await pilot.press("1")
        assert feed.sent("knobs")
        clock.now += INTERVAL - 0.1
        await step(app, pilot)
        assert "next" not in kinds(feed.commands)
        clock.now += 0.2
        for _ in range(3):
            await step(app, pilot)
        assert kinds(feed.commands).count("next") == 1
        state.at = views.loading()
        await step(app, pilot)
        assert isinstance(app.screen, RaceScreen)


async def test_the_next_race_can_be_started_at_once(build: Build) -> None:
    app = build("finished")
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        await pilot.press("n")
        for _ in range(3):
            await step(app, pilot)
        assert kinds(feed_of(app).commands).count("next") == 1
        assert "next race in" not in text_of(app, Results)


async def test_help_is_left_alone_when_the_flag_falls(build: Build) -> None:
    app = build("racing")
    async with running(app, (120, 40)) as pilot:
        await pilot.press("question_mark")
        state_of(app).at = views.finished()
        await step(app, pilot)
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        await step(app, pilot)
        assert isinstance(app.screen, ResultsScreen)


async def test_the_wall_can_be_looked_at_after_the_flag(build: Build) -> None:
    app = build("finished")
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        await pilot.press("escape")
        await step(app, pilot)
        assert isinstance(app.screen, RaceScreen)
        await pilot.press("r")
        assert isinstance(app.screen, ResultsScreen)


async def test_a_recording_starts_no_race_by_itself() -> None:
    clock, feed = Clock(), FakeFeed(live=False)
    app = PitWallApp(feed, StillState(views.finished()), clock=clock, fps=0)
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        clock.now += 10 * INTERVAL
        await step(app, pilot)
        assert kinds(feed.commands) == ["start"]


async def test_the_end_of_a_feed_is_said_and_the_screen_stays() -> None:
    feed = FakeFeed()
    app = PitWallApp(feed, RaceState("live cpu"), clock=Clock(), fps=0)
    async with running(app) as pilot:
        feed.events.append(FeedEnded("the recording is over"))
        await step(app, pilot)
        assert "the recording is over" in text_of(app, StatusLine)
        assert app.ended == FeedEnded("the recording is over")


async def test_the_countdown_waits_while_the_engine_is_paused() -> None:
    clock, feed, state = Clock(), FakeFeed(), StillState(views.finished())
    app = PitWallApp(feed, state, clock=clock, fps=0)
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        state.at = replace(state.at, status=replace(state.at.status, paused=True))
        await step(app, pilot)
        clock.now += 10 * INTERVAL
        await step(app, pilot)
        assert "next race in 12 s" in text_of(app, Results)
        state.at = views.finished()
        clock.now += INTERVAL
        await step(app, pilot)
        assert kinds(feed.commands) == ["start", "next"]


@pytest.mark.parametrize("key", ["n", "p"])
async def test_before_the_first_race_there_is_nothing_to_leave_or_to_pause(key: str) -> None:
    feed = FakeFeed()
    app = PitWallApp(feed, RaceState("live cpu"), clock=Clock(), fps=0)
    async with running(app) as pilot:
        await pilot.press(key)
        assert kinds(feed.commands) == ["start"]
        assert [n.message for n in app._notifications] == ["the engine is not up yet"]


async def test_messages_do_not_pile_up(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        feed_of(app).events += [Refused(f"car {number} is refused") for number in range(20)]
        await step(app, pilot)
        assert [n.message for n in app._notifications] == ["car 0 is refused (and 19 more)"]


# Sizes


@pytest.mark.parametrize("size", [(79, 24), (80, 23), (40, 10), (1, 1), (20, 60), (200, 5)])
async def test_too_small_a_terminal_says_so_and_the_race_goes_on(
    size: tuple[int, int], build: Build
) -> None:
    app = build()
    async with running(app, size) as pilot:
        await step(app, pilot)
        assert app.screen.query_one(TooSmall).display
        assert not app.screen.query_one("#wall").display
        feed_of(app).events.append(Refused("still pulled"))
        await step(app, pilot)
        assert state_of(app).applied == [Refused("still pulled")]
        await pilot.resize_terminal(80, 24)
        await step(app, pilot)
        assert "KES" in text_of(app, Tower)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 45), (80, 60), (200, 24)])
async def test_all_twenty_cars_are_seen_at_every_size(size: tuple[int, int], build: Build) -> None:
    app = build()
    async with running(app, size) as pilot:
        await step(app, pilot)
        assert all(code in text_of(app, Tower) for code in views.CODES)
        assert app.screen.query_one(TrackMap).size.height >= 9
        for widget in app.screen.walk_children():
            region = widget.region
            assert app.screen.region.contains_region(region), widget


# Repaint


async def test_only_changed_rows_are_painted_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build()
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        tower, painted = app.screen.query_one(Tower), []
        monkeypatch.setattr(tower, "refresh", lambda *regions, **_: painted.extend(regions))
        app.tick()
        assert painted == []
        field = list(views.cars())
        field[4] = replace(field[4], tokens_per_second=99.9)
        state_of(app).at = views.racing(cars=tuple(field))
        app.tick()
        assert [region.y for region in painted] == [5]


# Beginning and end


async def test_the_feed_starts_after_the_first_frame(build: Build) -> None:
    app = build()
    shown: list[bool] = []
    feed_of(app).start = lambda: shown.append(app.screen.query_one(Tower).is_on_screen)  # type: ignore[method-assign]
    async with running(app) as pilot:
        await pilot.pause()
    assert shown == [True]


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("ctrl+q", 0), ("ctrl+c", 130)])
async def test_leaving_closes_the_feed_once(key: str, status: int, build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press(key)
    assert kinds(feed_of(app).commands) == ["start", "close"]
    assert app.return_code == status


async def test_news_of_a_screen_that_has_just_gone_is_no_crash(build: Build) -> None:
    """Messages may still come while the app ends, and there is nothing to draw them on."""
    app = build()
    async with running(app):
        app.exit()
    assert app._screen_stack == []
    app.on_wall_screen_changed()


def test_a_crash_closes_the_feed_once(
    build: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build()

    def broken() -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(feed_of(app), "pull", broken)

    async def crash(pilot: Pilot[None]) -> None:
        await pilot.pause()
        app.call_next(app.tick)
        await pilot.pause()

    app.run(headless=True, auto_pilot=crash)
    assert app.return_code == 1
    assert kinds(feed_of(app).commands) == ["start", "close"]
    assert "planted" in capsys.readouterr().err


def test_the_timer_ticks_by_itself() -> None:
    feed = FakeFeed()
    pulls: list[int] = []
    feed.pull = lambda: (pulls.append(1), ())[1]  # type: ignore[method-assign, func-returns-value]
    app = PitWallApp(feed, StillState(views.racing()), fps=50)

    async def wait(pilot: Pilot[None]) -> None:
        async with asyncio.timeout(20):
            while len(pulls) < 3:
                await pilot.pause()
        app.exit()

    app.run(headless=True, auto_pilot=wait)
    assert len(pulls) >= 3
    assert kinds(feed.commands) == ["start", "close"]
