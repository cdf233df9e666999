"""The memory screen: block tables, the pool, bytes over time, the index, and its keys and mouse."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import Rows, plain, row_width
from pitwall_tui.draw.held import draw_formats, draw_held, draw_index, squeezed
from pitwall_tui.draw.memory import draw_chosen, draw_pool, draw_tables
from pitwall_tui.race.details import Details
from pitwall_tui.race.memory import HeldView, TableView
from pitwall_tui.race.view import RaceView
from pitwall_tui.screens.memory import BlockTables, CarPages, MemoryScreen, Pool
from pitwall_tui.screens.race import RaceScreen
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.memories import MEMORY, MIB, contiguous, remembering, unbegun, untold
from tests.tui.test_app import feed_of, running, state_of, step, text_of

Draw = Callable[[RaceView, int | None, int, int], Rows]
DRAWINGS: dict[str, Draw] = {
    "tables": draw_tables,
    "chosen": draw_chosen,
    "pool": draw_pool,
    "held": lambda view, _, cells, height: draw_held(view, cells, height),
    "index": lambda view, _, cells, height: draw_index(view, cells, height),
    "formats": lambda view, _, cells, height: draw_formats(view, cells, height),
}
MOMENTS = {
    "paged": remembering,
    "contiguous": contiguous,
    "untold": untold,
    "unbegun": unbegun,
    "unseen": views.racing,
    "lost": lambda: remembering(status=replace(views.STATUS, flag="red")),
}


def text(rows: Rows) -> list[str]:
    return [line.rstrip() for line in plain(rows).split("\n")]


@st.composite
def odd_views(draw: st.DrawFn) -> RaceView:
    """Tables that do not fit the pool, and levels of any size."""
    size = st.floats(0, 1e15)
    levels = st.builds(HeldView, size, size, st.none() | size)
    table = st.builds(
        lambda code, pages, tokens: TableView(
            code,
            1,
            "decode",
            tuple(pages),
            tuple(page % 3 + 1 for page in pages),
            tokens,
            99,
            tokens,
        ),
        st.text(max_size=5),
        st.lists(st.integers(0, 70_000), max_size=300),
        st.integers(0, 5000),
    )
    past = tuple(draw(st.lists(levels, max_size=240)))
    memory = replace(
        MEMORY,
        tables=tuple(draw(st.lists(table, max_size=30))),
        now=draw(levels),
        worst=draw(levels),
        past=past,
        marks=((0, "kv_cache off"), (max(0, len(past) - 1), "paging contiguous")),
    )
    knobs = draw(st.sampled_from([views.KNOBS, ()]))
    return replace(remembering(), details=Details(memory=memory), knobs=knobs)


@pytest.mark.parametrize("name", DRAWINGS)
@settings(max_examples=40, deadline=None)
@given(
    view=odd_views(),
    followed=st.none() | st.integers(0, 100),
    cells=st.integers(1, 300),
    height=st.integers(1, 100),
)
def test_a_drawing_fills_its_box_exactly(
    name: str, view: RaceView, followed: int | None, cells: int, height: int
) -> None:
    rows = DRAWINGS[name](view, followed, cells, height)
    assert len(rows) == height
    assert {row_width(row) for row in rows} == {cells}


# Block tables


def small(*tables: TableView) -> RaceView:
    return remembering(replace(MEMORY, tables=tables))


FEW = TableView("KES", 1, "decode", (0, 1, 2, 3, 7, 9, 8), (3, 3, 3, 3, 1, 1, 1), 89, 200, 88)


def test_a_row_has_shared_own_filling_and_empty_pages() -> None:
    lines = text(draw_tables(small(FEW), 0, 46, 3))
    assert lines[0] == " BLOCK TABLES        1 a cell  2 paging paged"
    assert lines[1] == "▸▌KES   7 S3▚▚█▌░"
    assert "shared" in lines[2]


def test_more_pages_than_cells_are_put_together() -> None:
    long = replace(FEW, pages=tuple(range(100)), holders=(1,) * 100, computed=1590)
    lines = text(draw_tables(small(long), 0, 46, 3))
    assert "3 a cell" in lines[0]
    assert lines[1].endswith("█" * 33 + "▍")  # the last one, by the page that is being filled


def test_who_has_no_page_says_why() -> None:
    lines = text(draw_tables(remembering(), 0, 60, 22))
    assert "waits, without pages" in lines[19]
    assert "has ended, its pages went back" in lines[20]
    away = replace(FEW, pages=(), holders=(), state="decode")
    assert "keeps nothing between steps" in text(draw_tables(small(away), 0, 60, 2))[1]


def test_the_chosen_row_is_always_there() -> None:
    for chosen in range(20):
        lines = text(draw_tables(remembering(), views.NUMBERS[chosen], 60, 8))
        assert [line[2:5] for line in lines if line.startswith("▸")] == [views.CODES[chosen]]


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("untold", "this recording holds no page tables"),
        ("unbegun", "nothing has run yet"),
        ("lost", "the engine is gone, and its pages"),
    ],
)
def test_without_tables_it_is_said_why(moment: str, said: str) -> None:
    assert said in text(draw_tables(MOMENTS[moment](), 0, 60, 8))[1]


# One car's pages, and the pool


def test_pages_are_listed_by_their_numbers() -> None:
    head, line = text(draw_chosen(small(replace(FEW, drafted=80)), 0, 60, 2))
    assert head == " KES PAGES              junior has 80  88 tokens in 7 pages"
    assert line == " 0-3 S3  7  9 8/16  8░"


def test_of_a_long_table_the_first_and_the_newest_are_listed() -> None:
    pages = tuple(range(0, 200, 2))
    long = replace(FEW, pages=pages, holders=(1,) * 100, computed=1590)
    _, first, last = text(draw_chosen(small(long), 0, 30, 3))
    assert first == " 0  2  4  6  8  10  12  14  16"
    assert last == " … 192  194  196  198 6/16"


def lit(rows: Rows) -> str:
    return "".join(
        s.text for row in rows for s in row if s.role.endswith("bold") and "team" in s.role
    )


def test_the_pages_of_the_chosen_car_are_lit_and_no_others() -> None:
    view = remembering(replace(MEMORY, tables=(*MEMORY.tables[:3], FEW)))
    rows = draw_pool(replace(view, cars=(views.car(0),)), FEW.number, 102, 21)[1:-1]
    assert lit(rows) == "SSSS█▓█"
    assert lit(draw_pool(contiguous(), views.NUMBERS[2], 102, 21)[1:-1]).count("▓") == 70
    assert lit(draw_pool(untold(), 0, 102, 21)) == ""


def test_a_click_on_a_page_follows_who_holds_it() -> None:
    rows = draw_pool(remembering(), 0, 102, 21)
    acted = {span.action for row in rows for span in row if span.action}
    assert acted == {f"app.follow({number})" for number in views.NUMBERS[:18]}


# Bytes over time


def test_levels_are_drawn_apart_without_colour() -> None:
    past = (HeldView(80 * MIB, 40 * MIB, 100 * MIB),) * 4
    lines = text(draw_held(remembering(replace(MEMORY, past=past, marks=())), 40, 9))
    assert lines[0] == " HELD          waste now 6.3% mean 5.9%"
    assert lines[1:7] == [
        "   100┤╍╍╍╍",
        "      │░░░░",
        "      │░░░░",
        "      │████",
        "     0┤████",
        "        4 s",
    ]
    assert lines[-2:] == [" █ tokens 29.8 ░ held 31.8 MiB", " ╍ if reserved 301.6 MiB > pool"]


def test_a_reservation_is_computed_until_it_is_real() -> None:
    def said(view: RaceView) -> str:
        return text(draw_held(view, 70, 9))[-1]

    fits = remembering(replace(MEMORY, now=HeldView(20 * MIB, 19 * MIB, 200 * MIB)))
    assert said(fits).endswith("if reserved 200.0 MiB computed")
    assert said(remembering()).endswith("if reserved 301.6 MiB computed, more than the pool")
    assert said(contiguous()).endswith("reserved 241.5 MiB real")
    assert said(untold()).endswith("if reserved: not in this recording")


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=240), st.integers(1, 300))
def test_the_whole_past_is_in_the_columns(held: list[float], cells: int) -> None:
    columns = squeezed([HeldView(value, value, None) for value in held], cells)
    assert len(columns) == min(cells, len(held))
    assert max(c.held for c in columns) <= max(held) * 1.001
    assert columns == [HeldView(v, v, None) for v in held] or len(held) > cells


# Index and formats


def test_the_index_says_who_shares_and_what_that_saves() -> None:
    lines = text(draw_index(remembering(), 60, 7))
    assert lines[1:5] == [
        " found 73.8% of 2 060 tokens",
        " 1 520 tokens of prefill not run",
        " 204 published 30 cached 12 evicted",
        " 5 pages shared by 18 cars: 12.0 MiB not held twice",
    ]
    assert lines[5].split()[:2] == views.CODES[:2]
    assert "not in this recording" in "".join(text(draw_index(untold(), 60, 7)))


def test_formats_are_computed_and_say_so() -> None:
    lines = text(draw_formats(remembering(), 66, 9))
    assert lines[0].startswith(" CARS, COMPUTED")
    assert lines[2].split() == ["▸", "fp32", "144.0K", "9.00K", "16", "17", "129"]
    assert lines[3].split() == ["int8", "38.2K", "2.39K", "61", "64", "489"]
    assert "the junior has 11.1% of every page, 16.0K" in "\n".join(lines)
    assert "not in this recording" in text(draw_formats(untold(), 60, 4))[1]


# On the screen


@pytest.mark.parametrize("key", ["f2", "v"])
async def test_keys_open_and_close_it(key: str, build: Build) -> None:
    app = build(remembering())
    async with running(app) as pilot:
        await pilot.press(key)
        assert isinstance(app.screen, MemoryScreen)
        await pilot.press(key)
        assert isinstance(app.screen, RaceScreen)
        await pilot.press(key, "escape")
        assert isinstance(app.screen, RaceScreen)


async def test_only_its_own_details_are_asked_for_and_only_while_it_is_seen(build: Build) -> None:
    app, asked = build(remembering()), []
    state = state_of(app)
    state.view = lambda now, details=(), followed=(): asked.append(tuple(details)) or state.at  # type: ignore
    async with running(app) as pilot:
        await step(app, pilot)
        assert asked[-1] == ()
        await pilot.press("f2")
        await step(app, pilot)
        assert asked[-1] == ("memory",)


async def test_arrows_and_letters_choose_a_car_round_the_ends(build: Build) -> None:
    app = build(remembering())
    async with running(app) as pilot:
        await pilot.press("f2")
        await step(app, pilot)
        for keys, row in ((("j", "down"), 2), (("k",), 1), (("up", "up"), 19), (("j",), 0)):
            await pilot.press(*keys)
            await pilot.pause()
            code = views.CODES[row]
            assert f"▸▌{code}" in text_of(app, BlockTables)
            assert text_of_shown(app, CarPages).startswith(f" {code} PAGES")


def text_of_shown(app: PitWallApp, panel: type) -> str:
    """Of the one of several panels that the size shows."""
    widget = next(found for found in app.screen.query(panel) if found.display)
    return "\n".join(widget.render_line(y).text for y in range(widget.size.height))


async def test_a_click_on_a_row_or_a_page_chooses_a_car(build: Build) -> None:
    app = build(remembering())
    async with running(app, (160, 45)) as pilot:
        await pilot.press("f2")
        await step(app, pilot)
        await pilot.click(BlockTables, offset=(14, 4))
        assert text_of_shown(app, CarPages).startswith(f" {views.CODES[3]} PAGES")
        await pilot.click(Pool, offset=(4, 1))  # pages 6 and 7, of the second and third car
        assert text_of_shown(app, CarPages).startswith(f" {views.CODES[1]} PAGES")


async def test_the_knobs_are_turned_from_here_by_key_and_mouse(build: Build) -> None:
    app = build(remembering())
    async with running(app, (160, 45)) as pilot:
        await pilot.press("f2")
        await step(app, pilot)
        await pilot.press("2")
        assert feed_of(app).sent("knobs")[-1].paging == "contiguous"  # type: ignore[attr-defined]
        width = app.screen.query_one(BlockTables).size.width
        await pilot.click(BlockTables, offset=(width - 5, 0))
        assert feed_of(app).sent("knobs")[-1].paging == "paged"  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 45), (200, 60)])
async def test_every_part_is_there_at_every_size(size: tuple[int, int], build: Build) -> None:
    app = build(remembering())
    async with running(app, size) as pilot:
        await pilot.press("f2")
        await step(app, pilot)
        shown = [panel for panel in app.screen.query("Panel") if panel.display]
        seen = "\n".join(
            panel.render_line(y).text for panel in shown for y in range(panel.size.height)
        )
        assert all(code in seen for code in views.CODES)
        for word in ("KES PAGES", "POOL", "if reserved", "published", "fp32 144.0K", "int8"):
            assert word in " ".join(seen.split()), word
        height = app.screen.size.height
        assert all(panel.region.bottom <= height for panel in shown)


# Pictures

Compare = Callable[..., bool]


def _seen(*keys: str, theme: str = "pitwall") -> Callable[[Pilot[None]], object]:
    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        await pilot.press("f2", *keys)
        app.tick()
        await pilot.pause()

    return prepare


@pytest.mark.parametrize("size", ["80x24", "160x45"])
def test_memory(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(
        build(remembering()), terminal_size=(width, height), run_before=_seen("j", "j")
    )


def test_memory_reserved(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build(contiguous()), terminal_size=(120, 40), run_before=_seen())


def test_memory_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(remembering()), terminal_size=(120, 40), run_before=_seen(theme="pitwall-light")
    )


def test_memory_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build(contiguous()), terminal_size=(100, 30), run_before=_seen())


def test_memory_of_an_older_recording(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build(untold(), live=False), terminal_size=(80, 24), run_before=_seen())
