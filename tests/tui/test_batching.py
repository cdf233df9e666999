"""The batching screen: its keys and clicks, what it says, and pictures of it."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from engine.config import Knobs
from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.batching import draw_batch, draw_latencies, draw_modes, draw_queue
from pitwall_tui.draw.cells import Rows, plain, row_width
from pitwall_tui.draw.gantt import LABEL, SCALES, Look, draw_gantt, scale_of
from pitwall_tui.race.batching import BatchingView
from pitwall_tui.race.details import Details
from pitwall_tui.race.timeline import NOBODY, Run
from pitwall_tui.race.view import RaceView
from pitwall_tui.screens.batching import (
    BatchHead,
    BatchingScreen,
    LatencyTable,
    ModeTable,
    QueueList,
)
from pitwall_tui.screens.race import RaceScreen
from pitwall_tui.widgets.bars import TooSmall
from pitwall_tui.widgets.gantt import Gantt
from tests.batched import RACE, toured
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.wall import feed_of, running, settled, state_of, step, text_of

Compare = Callable[..., bool]
Draw = Callable[[RaceView, Look, int, int], Rows]
DRAWINGS: dict[str, Draw] = {
    "gantt": draw_gantt,
    "head": lambda view, look, w, h: draw_batch(view, w, h),
    "modes": lambda view, look, w, h: draw_modes(view.details.batching, w, h),
    "latencies": lambda view, look, w, h: draw_latencies(view.details.batching, w, h),
    "queue": lambda view, look, w, h: draw_queue(view.details.batching, w, h),
}


@cache
def at(until: int | None, pages: int = 26) -> RaceView:
    """A race in short memory on a tour of all modes, after so many steps or at its end."""
    return toured(until, pages)


def batching_of(view: RaceView) -> BatchingView:
    assert view.details.batching is not None
    return view.details.batching


# Drawings


@st.composite
def odd_views(draw: st.DrawFn) -> RaceView:
    """Moments with odd names, times, counts and knobs in them."""
    view = draw(st.sampled_from([at(20), at(100), at(None)]))
    text = draw(st.text(max_size=12))
    found = batching_of(view)
    car = replace(found.cars[0], code=text, team=text, ttft_ms=draw(st.floats(0, 1e9)))
    run = Run(found.start, draw(st.floats(found.start, 1e6)), NOBODY, "spare")
    changed = replace(
        found,
        now=max(run.end, found.now),
        limit=draw(st.integers(1, 10**9)),
        cars=(car, *found.cars[1 : draw(st.integers(1, 20))]),
        slots=((run,), *[tuple(r for r in row if r.car < 1) for row in found.slots], ()),
        marks=((found.start, text), *found.marks, (run.end, text)),
        queue=tuple(q for q in found.queue if q.car < 1),
        why=text,
        paced=draw(st.booleans()),
    )
    knobs = draw(st.sampled_from([view.knobs, view.knobs[3:5], ()]))
    return replace(view, knobs=knobs, details=Details(batching=changed))


LOOKS = st.builds(
    Look,
    cars=st.booleans(),
    scale=st.none() | st.sampled_from(SCALES),
    until=st.none() | st.floats(-1e6, 1e6),
    picked=st.none() | st.integers(0, 30),
)


@pytest.mark.parametrize("name", DRAWINGS)
@settings(max_examples=40, deadline=None)
@given(view=odd_views(), look=LOOKS, cells=st.integers(1, 300), height=st.integers(1, 100))
def test_a_drawing_fills_its_box_exactly(
    name: str, view: RaceView, look: Look, cells: int, height: int
) -> None:
    rows = DRAWINGS[name](view, look, cells, height)
    assert len(rows) == height
    assert {row_width(row) for row in rows} == {cells}


@pytest.mark.parametrize("name", DRAWINGS)
def test_before_the_first_step_it_is_said_that_nothing_has_run(name: str) -> None:
    assert "nothing has run yet" in plain(DRAWINGS[name](views.empty(), Look(), 80, 8))


def cells_of(view: RaceView, look: Look, cells: int = 130) -> dict[str, str]:
    """The cells of each row by its label, the heading and lines around them left out."""
    rows = plain(draw_gantt(view, look, cells, 30)).split("\n")
    lines = [line for line in rows if line[LABEL - 1 : LABEL] == "│"]
    return {line[1:4]: line[LABEL:] for line in lines}


def test_a_cell_shows_what_was_done_for_longest_in_it() -> None:
    view = at(None, 2000)
    found = batching_of(view)
    signs = {"decode": "━", "prefill": "▒", "parked": "╍", "waiting": "┈", "pit": "P"}
    for scale in (0.01, 0.05, None):
        look = Look(cars=True, scale=scale, until=found.start if scale else None)
        look = replace(look, until=found.start + 1.2 if scale else None)
        wide = scale_of(found, look, 130)
        drawn = cells_of(view, look)
        before = max(0, round((1.2 if scale else 0.0) / wide) - 120)
        assert len(drawn) == 20
        for car in found.cars:
            for column, glyph in enumerate(drawn[car.code]):
                start = found.start + (before + column) * wide
                shares = [
                    (min(run.end, start + wide) - max(run.start, start), run.kind)
                    for run in car.runs
                ]
                best, kind = max(shares)
                rivals = [share for share, other in shares if other != kind]
                if best > 1e-9 and best > max(rivals, default=0.0) + 1e-9:
                    assert glyph == signs[kind], (car.code, column)
                elif best <= 0:
                    assert glyph == " "


def test_a_slot_s_cells_name_who_ran_in_it() -> None:
    view = at(None)
    found = batching_of(view)
    drawn = cells_of(view, Look())
    wide = scale_of(found, Look(), 130)
    named = 0
    for number, runs in enumerate(found.slots, 1):
        for car, group in groupby(runs, key=lambda run: run.car):
            stretch = list(group)
            first, last = (
                (run - found.start) / wide for run in (stretch[0].start, stretch[-1].end)
            )
            if car != NOBODY and last - first > 8 and stretch[0].kind != "pit":
                named += 1
                part = drawn[f"{number:>3}"][int(first) : int(last)]
                assert found.cars[car].code in part, (number, part)
    assert named >= 15


def test_a_preemption_is_seen_however_short_it_was() -> None:
    view = at(None)
    pits = {
        f"{number:>3}"
        for number, runs in enumerate(batching_of(view).slots, 1)
        for run in runs
        if run.kind == "pit"
    }
    drawn = cells_of(view, Look(scale=0.05))
    assert pits
    assert all("P" in drawn[label].replace("PET", "") for label in pits)


def test_time_that_goes_on_moves_whole_cells() -> None:
    """What was drawn of a moment stays as it is until it has left the picture."""
    early, late = at(100, 2000), at(130, 2000)
    look = Look(cars=True, scale=0.01)
    one, two = cells_of(early, look, 60), cells_of(late, look, 60)
    columns = 60 - LABEL
    total = [int((batching_of(v).now - batching_of(v).start) / 0.01 + 1) for v in (early, late)]
    moved = max(0, total[1] - columns) - max(0, total[0] - columns)
    assert 0 < moved < columns
    for code, row in one.items():
        # The newest cell was not complete.
        assert two[code].startswith(row[moved : columns - 1])


def test_a_mode_that_was_not_run_says_so_in_place_of_figures() -> None:
    found = batching_of(at(20))
    lines = plain(draw_modes(found, 110, 6)).split("\n")
    assert "not run in this race" in lines[2]
    assert "not run in this race" in lines[3]
    assert lines[4].startswith("▸continuous")
    assert not any(letter.isdigit() for letter in lines[2] + lines[3])


def test_latencies_that_are_not_known_yet_have_no_figures() -> None:
    lines = plain(draw_latencies(batching_of(at(20)), 100, 7)).split("\n")
    assert "no car has ended yet" in lines[3]
    assert "no car has ended yet" in lines[4]
    assert "ms" in lines[2]


def test_the_queue_tells_who_waits_and_why() -> None:
    view = at(60)
    found = batching_of(view)
    text = plain(draw_queue(found, 100, 8))
    assert f"{len(found.queue)} wait" in text
    assert "a group is filled once" in text
    for waiting in found.queue:
        assert found.cars[waiting.car].code in text
    short = plain(draw_queue(found, 30, 5))
    assert "more" in short
    assert "nobody waits" in plain(draw_queue(batching_of(at(None)), 40, 5))


# Keys and mouse


async def opened(app: PitWallApp, pilot: Pilot[None]) -> Gantt:
    await pilot.press("b")
    await step(app, pilot)
    assert isinstance(app.screen, BatchingScreen)
    return app.screen.query_one(Gantt)


@pytest.mark.parametrize("key", ["f3", "b"])
async def test_it_opens_and_closes(key: str, build: Build) -> None:
    app = build(at(100))
    async with running(app) as pilot:
        await pilot.press(key)
        assert isinstance(app.screen, BatchingScreen)
        await pilot.press(key)
        assert isinstance(app.screen, RaceScreen)
        await pilot.press(key, "escape")
        assert isinstance(app.screen, RaceScreen)


async def test_it_asks_the_race_for_its_own_details_alone(build: Build) -> None:
    app, asked = build(at(100)), []
    async with running(app) as pilot:
        await opened(app, pilot)
        app.state.view = lambda now, details=(), followed=(): asked.append(details) or at(100)  # type: ignore
        await step(app, pilot)
    assert asked == [("batching",)]


async def test_v_turns_from_slots_to_cars(build: Build) -> None:
    app = build(at(100))
    async with running(app) as pilot:
        await opened(app, pilot)
        assert " SLOTS" in text_of(app, Gantt)
        await pilot.press("v")
        assert " CARS 1-8 of 20" in text_of(app, Gantt)
        await pilot.press("v")
        assert " SLOTS" in text_of(app, Gantt)


async def test_zoom_and_time_are_moved_by_keys(build: Build) -> None:
    app = build(at(None))
    async with running(app) as pilot:
        gantt = await opened(app, pilot)
        view = batching_of(at(None))
        whole = scale_of(view, Look(), 80)
        await pilot.press("z", "z")
        assert gantt.look.scale == SCALES[SCALES.index(whole) - 2]
        assert f"{gantt.look.scale:g} s a cell" in text_of(app, Gantt)
        assert "╵0 s" not in text_of(app, Gantt)
        await pilot.press(*["left"] * 12)
        assert "╵0 s" in text_of(app, Gantt)
        await pilot.press("right")
        assert gantt.look.until is not None
        await pilot.press("end")
        assert gantt.look.until is None
        await pilot.press("left", *["x"] * 30)
        assert gantt.look.scale == SCALES[-1]
        await pilot.press("home")
        assert gantt.look == Look()
        await pilot.press(*["z"] * 30)
        assert gantt.look.scale == SCALES[0]


async def test_a_picked_car_is_marked_in_both_readings(build: Build) -> None:
    app = build(at(100))
    async with running(app, (120, 40)) as pilot:
        gantt = await opened(app, pilot)
        await pilot.press("down")
        assert gantt.look.picked == 0
        await pilot.press("up", "up", "v")
        assert gantt.look.picked == 18
        code = RACE.cars[18].code
        assert f"▸{code} " in text_of(app, Gantt)
        assert f"▸{code}  waited" in text_of(app, Gantt).split("\n")[-1]


async def test_a_click_picks_a_car_and_lets_go_of_it(build: Build) -> None:
    app = build(at(100))
    async with running(app, (120, 40)) as pilot:
        gantt = await opened(app, pilot)
        lines = text_of(app, Gantt).split("\n")
        first = next(y for y, line in enumerate(lines) if line.startswith("   1 "))
        code = lines[first][5:8]
        await pilot.click(Gantt, offset=(6, first))
        assert gantt.look.picked is not None
        assert RACE.cars[gantt.look.picked].code == code
        assert text_of(app, Gantt).split("\n")[first].startswith(f"▸  1 {code}")
        await pilot.click(Gantt, offset=(6, first))
        assert gantt.look.picked is None
        column = lines[first].index("KES")
        await pilot.click(Gantt, offset=(column, first))
        assert gantt.look.picked == 0


async def test_a_click_in_the_queue_picks_who_waits(build: Build) -> None:
    app = build(at(60))
    async with running(app, (120, 40)) as pilot:
        gantt = await opened(app, pilot)
        car = batching_of(at(60)).queue[0].car
        lines = text_of(app, QueueList).split("\n")
        y = next(y for y, line in enumerate(lines) if f" {RACE.cars[car].code} " in line[:6])
        await pilot.click(QueueList, offset=(2, y))
        assert gantt.look.picked == car


async def test_knobs_answer_to_keys_and_clicks(build: Build) -> None:
    app = build(at(20))
    async with running(app, (120, 40)) as pilot:
        await opened(app, pilot)
        await pilot.press("4", "right_square_bracket")
        head = text_of(app, BatchHead).split("\n")[1]
        assert "→ none" in head
        await pilot.click(BatchHead, offset=(head.index("static"), 1))
        place = head.index("max_batch")
        await pilot.click(BatchHead, offset=(head.index("‹", place), 1))
        sent = feed_of(app).sent("knobs")
        assert [k.batching for k in sent] == ["none", "none", "static", "static"]  # type: ignore[attr-defined]
        assert [k.max_batch for k in sent] == [8, 12, 12, 8]  # type: ignore[attr-defined]
        modes = text_of(app, ModeTable).split("\n")
        await pilot.click(ModeTable, offset=(3, modes.index(next(m for m in modes if "none" in m))))
        assert feed_of(app).sent("knobs")[-1] == Knobs(batching="none", max_batch=8)


async def test_figures_take_turns_where_there_is_no_room_for_all(build: Build) -> None:
    app = build(at(100))
    panels = (ModeTable, LatencyTable, QueueList)

    def shown() -> list[bool]:
        return [app.screen.query_one(panel).size.height > 0 for panel in panels]

    async with running(app) as pilot:
        await opened(app, pilot)
        turns = []
        for key in ("tab", "tab", "tab", "shift+tab"):
            await pilot.pause()
            turns.append(shown())
            await pilot.press(key)
        assert turns == [
            [True, False, False],
            [False, True, False],
            [False, False, True],
            [True, False, False],
        ]
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert shown() == [True, True, True]


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 45), (200, 60), (200, 24)])
async def test_every_panel_that_is_shown_has_room(size: tuple[int, int], build: Build) -> None:
    app = build(at(100))
    async with running(app, size) as pilot:
        await opened(app, pilot)
        for _ in range(3):
            have_room(app)
            await pilot.press("tab")
            await settled(app, pilot, size)


def have_room(app: PitWallApp) -> None:
    panels = [app.screen.query_one(p) for p in (Gantt, ModeTable, LatencyTable, QueueList)]
    shown = [panel for panel in panels if panel.display and panel.size.height]
    assert len(shown) >= 2
    assert all(panel.size.height >= 6 and panel.size.width >= 28 for panel in shown)
    assert app.screen.query_one("KeyBar").region.bottom == app.size.height


async def test_below_the_least_size_it_says_what_it_needs(build: Build) -> None:
    app = build(at(100))
    async with running(app, (79, 24)) as pilot:
        await opened(app, pilot)
        assert "pitwall needs 80x24" in text_of(app, TooSmall)


async def test_a_new_race_with_fewer_cars_lets_go_of_a_picked_one(build: Build) -> None:
    app = build(at(100))
    async with running(app) as pilot:
        await opened(app, pilot)
        await pilot.press("up")
        found = batching_of(at(100))
        fewer = replace(found, cars=found.cars[:4], slots=found.slots[:1], queue=())
        fewer = replace(fewer, slots=(tuple(r for r in found.slots[0] if r.car < 4),))
        state_of(app).at = replace(at(100), details=Details(batching=fewer))
        await step(app, pilot)
        assert "▸" not in text_of(app, Gantt)


async def test_a_recording_shows_it_too_and_takes_no_knob(build: Build) -> None:
    app = build(at(100), live=False)
    async with running(app) as pilot:
        await opened(app, pilot)
        assert "━" in text_of(app, Gantt)
        await pilot.press("4")
        assert feed_of(app).sent("knobs") == []


# Pictures


def _drawn(*keys: str, theme: str = "pitwall") -> Callable[[Pilot[None]], object]:
    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        await pilot.press("b")
        app.tick()
        await pilot.pause()
        await pilot.press(*keys)
        app.tick()
        await pilot.pause()

    return prepare


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45"])
def test_picture(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(build(at(300)), terminal_size=(width, height), run_before=_drawn())


def test_picture_of_cars(build: Build, snap_compare: Compare) -> None:
    keys = ("v", "down", "down", "tab", "tab")
    assert snap_compare(build(at(300)), terminal_size=(100, 30), run_before=_drawn(*keys))


def test_picture_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(at(300)), terminal_size=(120, 40), run_before=_drawn(theme="pitwall-light")
    )


def test_picture_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build(at(300)), terminal_size=(120, 40), run_before=_drawn("v", "up"))


def test_picture_before_the_start(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build("loading"), terminal_size=(80, 24), run_before=_drawn())


def test_the_pictures_have_all_signs_in_them() -> None:
    found = batching_of(at(300))
    assert {run.kind for row in found.slots for run in row} >= {"parked", "pit", "idle"}
