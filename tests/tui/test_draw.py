"""Drawings as text: exact small pictures, and every size for every drawing."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitwall_tui.commands import KNOB_KEYS
from pitwall_tui.draw.cells import Rows, plain, row_width
from pitwall_tui.draw.chart import ceiling, draw_chart, spark
from pitwall_tui.draw.footer import draw_footer
from pitwall_tui.draw.help import help_rows
from pitwall_tui.draw.knobs import draw_knobs
from pitwall_tui.draw.lights import disc, draw_lights
from pitwall_tui.draw.pages import block_size, draw_pages
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.results import draw_results
from pitwall_tui.draw.small import draw_too_small
from pitwall_tui.draw.status import Notice, draw_status
from pitwall_tui.draw.tower import behind, columns, draw_tower, lap_time
from pitwall_tui.draw.track import draw_track, raster
from pitwall_tui.race.view import (
    CarView,
    ChartView,
    KnobView,
    PagesView,
    QualityView,
    RaceView,
    RadioView,
)
from tests.tui import views

NASTY = st.text(st.characters(), max_size=30)
Draw = Callable[[RaceView, int, int], Rows]
DRAWINGS: dict[str, Draw] = {
    "tower": lambda view, w, h: draw_tower(view, w, h, {7: 1, 28: -1}),
    "track": draw_track,
    "pages": lambda view, w, h: draw_pages(view.pages, w, h),
    "chart": lambda view, w, h: draw_chart(view.chart, w, h, view.traffic, view.quality),
    "radio": lambda view, w, h: draw_radio(view.radio, w, h, view.writing),
    "lights": lambda view, w, h: draw_lights(view.lights, view.time, w, h),
    "status": lambda view, w, h: draw_status(view, Notice(frozen=True, replay=True), w, h),
    "knobs": lambda view, w, h: draw_knobs(view.knobs, w, h),
    "footer": lambda view, w, h: draw_footer(frozenset({"freeze", "pause"}), w, h),
    "results": lambda view, w, h: draw_results(view, 11.2, w, h),
    "small": lambda view, w, h: draw_too_small(w, h),
}


@st.composite
def odd_views(draw: st.DrawFn) -> RaceView:
    """Moments of a race with odd text, counts, times and shapes in them."""
    view = draw(st.sampled_from([views.drafting(), views.loading(), views.finished()]))
    number = st.floats(allow_nan=False, width=32)
    text = draw(NASTY)
    total = draw(st.integers(0, 5000))
    pages = replace(views.pages(max(16, total)), page_bytes=draw(st.integers(0, 2**30)))
    point = st.tuples(st.floats(0, 1), st.floats(0, 1))
    car = views.car(
        draw(st.integers(0, 19)),
        code=text,
        note=text,
        tyre=draw(NASTY),
        team=draw(st.integers(0, 255)),
        state=draw(st.sampled_from(["track", "out", "pit", "grid"])),
        gap=draw(number),
        last_lap=draw(st.floats(0, 1e7)),
        tyre_age=draw(st.integers(0, 10**6)),
        pages=draw(st.integers(0, 10**9)),
        fraction=draw(st.floats(0, 1)),
    )
    return replace(
        view,
        circuit=text,
        title=text,
        outline=tuple(draw(st.lists(point, max_size=8))),
        cars=(car, *view.cars[1:]),
        pages=pages if total else views.empty().pages,
        radio=(*view.radio, RadioView(1.0, "radio", text, 3, 999, draw(NASTY))),
        knobs=(*view.knobs[1:], KnobView(text, text, draw(st.none() | NASTY), text)),
        status=replace(view.status, reason=text, tokens_per_second=draw(number)),
        lights=tuple(replace(light, title=text, detail=text) for light in view.lights),
        chart=replace(
            view.chart,
            values=tuple(draw(st.lists(st.floats(), max_size=300))),
            marks=((0, text), (1, text), (7, text), (299, text)),
        ),
        results=tuple(replace(row, code=text, reason=text) for row in view.results),
        totals=((text, text), *view.totals),
    )


@pytest.mark.parametrize("name", DRAWINGS)
@settings(max_examples=40)
@given(view=odd_views(), cells=st.integers(1, 300), height=st.integers(1, 100))
def test_a_drawing_fills_its_box_exactly(
    name: str, view: RaceView, cells: int, height: int
) -> None:
    rows = DRAWINGS[name](view, cells, height)
    assert len(rows) == height
    assert {row_width(row) for row in rows} == {cells}


@pytest.mark.parametrize("cells", [1, 20, 78, 92, 300])
def test_help_is_as_wide_as_asked(cells: int) -> None:
    assert {row_width(row) for row in help_rows(cells)} == {cells}


# The tower


def _field(*changes: CarView) -> RaceView:
    return replace(views.racing(), cars=changes)


def test_the_tower_at_46_columns() -> None:
    field = _field(
        views.car(0, tyre="S", tyre_age=12),
        views.car(3, position=2),
        views.car(9, position=3, state="pit", laps_down=1),
        views.car(19, position=4, state="out", note="gearbox"),
    )
    assert plain(draw_tower(field, 46, 5, {51: 1})).split("\n") == [
        " POS  CAR    GAP    INT SEC    LAST TYRE STATE",
        "  1  ▌KES LAP 18            1:24.21 S 12 TRACK",
        "  2▲ ▌MBE  +2.56  +0.94 ●·  1:24.62 M 18 TRACK",
        "  3  ▌PET   +1 L  +1.44 ●   1:25.44 W 10  PIT ",
        "  4  ▌GRE gearbox                        OUT  ",
    ]


def test_a_wide_tower_shows_every_column() -> None:
    head, leader = plain(draw_tower(_field(views.car(7, position=1)), 96, 2)).split("\n")
    names = "POS CAR LAP GAP INT S1 S2 S3 LAST BEST TYRE STOPS TOK/S PAGES STATE"
    assert " ".join(head.split()) == names
    assert "28.39·" in leader
    assert "▌64 ASH" in leader


@given(st.integers(1, 120))
def test_a_wider_tower_never_shows_less(cells: int) -> None:
    now, wider = set(columns(cells)), set(columns(cells + 1))
    replaced = {"mini": "s1", "tag": "numbered"}
    assert {replaced.get(n, n) if replaced.get(n) in wider else n for n in now} <= wider


def test_all_cars_have_a_row_at_the_least_size() -> None:
    text = plain(draw_tower(views.racing(), 46, 21))
    assert all(code in text for code in views.CODES)


def test_times_read_as_on_a_timing_screen() -> None:
    assert lap_time(84.214) == "1:24.21"
    assert lap_time(59.999) == "1:00.00"
    assert lap_time(None) == ""
    assert behind(0.774, 6) == "+0.77"
    assert behind(123.456, 6) == "+123.5"
    assert behind(None, 6) == ""


# The map


SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def test_a_square_circuit_keeps_its_proportions() -> None:
    assert raster(SQUARE, 20, 5).lines == (
        "     ⣿⠛⠛⠛⠛⠛⠛⠛⠛⣿     ",
        "     ⣿        ⣿     ",
        "     ⣿        ⣿     ",
        "     ⣿        ⣿     ",
        "     ⣿⣤⣤⣤⣤⣤⣤⣤⣤⣿     ",
    )


def test_a_tall_circuit_lies_down_in_a_wide_box_alone() -> None:
    tall = tuple((x / 5, y) for x, y in SQUARE)
    upright, lying = raster(tall, 20, 20).lines, raster(tall, 80, 10).lines
    assert max(len(line.strip()) for line in upright) <= 10
    assert max(len(line.strip()) for line in lying) > 60


@given(st.floats(0, 1))
def test_a_car_is_always_on_the_track(fraction: float) -> None:
    ground = raster(views.outline(), 50, 16)
    x, y = ground.cell(fraction)
    assert ground.lines[y][x] != " "


def test_cars_and_the_leaders_code_are_on_the_map() -> None:
    view = replace(views.racing(), cars=views.cars()[:1])
    text = plain(draw_track(view, 40, 14))
    assert text.count("KES") == 1
    assert sum(line.count("●") for line in text.split("\n")[:-2]) == 1
    assert "▞" in text


def test_the_track_takes_the_flags_colour() -> None:
    for flag, role in (("green", "track"), ("yellow", "flag.yellow"), ("red", "flag.red")):
        status = replace(views.STATUS, flag=flag)  # type: ignore[arg-type]
        rows = draw_track(views.racing(status=status, cars=()), 40, 14)
        roles = {span.role for row in rows for span in row if "⣿" in span.text}
        assert roles == {role}


# Pages


def _pages(kinds: list[int], teams: list[int]) -> PagesView:
    return replace(
        views.pages(16), kinds=bytes(kinds), teams=bytes(teams), cars=bytes(teams), total=len(kinds)
    )


def test_pages_are_half_cells_in_the_colour_of_their_team() -> None:
    # Two rows of half cells: used by team 1, reserved by team 2 above each other, then free.
    pages = _pages([2, 4, 0, 2, 4, 0], [1, 2, 255, 3, 2, 255])
    *_, row = draw_pages(pages, 5, 4)
    spans = [span for span in row if span.text.strip()]
    assert [(span.text, span.role, span.back) for span in spans] == [
        ("▀", "team.1", "team.3"),
        ("░", "team.2", ""),
        ("█", "page.free", ""),
    ]


@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(1, 40))
def test_blocks_have_room_for_every_page(total: int, cells: int, height: int) -> None:
    wide, each = block_size(total, cells, height)
    assert -(-total // max(1, each)) <= (cells // wide) * height * 2


def test_the_title_says_how_many_pages_a_block_stands_for() -> None:
    assert "1 block = 2 pages" in plain(draw_pages(views.pages(1024), 60, 8))
    assert "1 block" not in plain(draw_pages(views.pages(128), 60, 8))


@pytest.mark.parametrize(("kinds", "teams"), [(128, 100), (100, 128), (0, 5), (1024, 0)])
def test_a_damaged_page_map_is_drawn_as_far_as_it_goes(kinds: int, teams: int) -> None:
    pages = replace(views.pages(1024), kinds=bytes([2]) * kinds, teams=bytes(teams))
    for height in (8, 40):
        assert all(row_width(row) == 60 for row in draw_pages(pages, 60, height))


def test_the_bar_shares_its_cells_by_the_counts() -> None:
    pages = replace(views.pages(), total=100, used=50, reserved=10, cached=20, free=30)
    bar = plain(draw_pages(pages, 102, 2)).split("\n")[1]
    assert [bar.count(glyph) for glyph in "█░▒·"] == [40, 10, 20, 30]


# Throughput


def test_the_spark_is_lowest_at_nought_and_highest_at_the_ceiling() -> None:
    assert spark((0.0, 50.0, 100.0), 5) == "   ▄█"
    assert spark((), 4) == "    "
    assert spark((float("nan"), float("inf"), 10.0), 3) == "  █"


@given(st.floats(1e-3, 1e6))
def test_the_axis_ends_above_the_peak_and_not_far_above(peak: float) -> None:
    assert peak <= ceiling(peak) <= peak * 2.0001


def test_a_chart_with_axis_and_mark() -> None:
    chart = ChartView(0.5, (100.0, 50.0, 0.0, 100.0), ((2, "kv_cache off"),), 100.0, 62.5)
    assert plain(draw_chart(chart, 30, 7)).split("\n") == [
        " THROUGHPUT     mean 62 tok/s ",
        "   100┤█ │█                   ",
        "      │█ │█                   ",
        "    50┤█▄│█                   ",
        "      │██│█                   ",
        "     0┤██│█                   ",
        "         kv_cache off         ",
    ]


def test_what_is_read_is_under_the_chart_or_in_its_head() -> None:
    view = views.racing()
    lines = plain(draw_chart(view.chart, 46, 12, view.traffic)).split("\n")
    assert lines[-2].rstrip() == " decode  4.86+1.14 MiB/tok 20.1 GB/s 72%"
    assert lines[-1].rstrip() == " prefill 0.29+0.01 MiB/tok 3.3 GB/s"
    assert "20.1 GB/s 72%" in plain(draw_chart(view.chart, 58, 5, view.traffic)).split("\n")[0]


def test_what_a_format_loses_is_under_what_it_reads() -> None:
    view = views.racing()
    assert view.quality is not None

    def last(quality: QualityView | None, height: int = 12) -> str:
        rows = draw_chart(view.chart, 46, height, view.traffic, quality)
        return plain(rows).split("\n")[-1].rstrip()

    assert last(view.quality) == " quality KL 0.0004 top-1 94.5/99.8% cost 4.8%"
    assert "94.5% cost" in last(replace(view.quality, clear_top1_percent=None))
    assert last(replace(view.quality, tokens=0)) == " quality int8: not scored yet"
    assert last(None).startswith(" prefill")
    assert "KL" not in last(view.quality, 6)


# Radio, status, knobs, lights


def test_the_radio_tells_speakers_apart_without_colour() -> None:
    lines = [line.rstrip() for line in plain(draw_radio(views.RADIO, 60, 6)).split("\n")]
    assert lines == [
        " RADIO",
        " L17 ■ RC  GRE out: gearbox",
        " L18 ▌ OHL car behind is one second back, push now",
        " L18 ▌ QUI understeer through every slow corner since the",
        "           stop",
        " L18 ◆ SET max_batch 8",
    ]


def test_a_message_that_does_not_fit_is_cut_not_dropped() -> None:
    lines = plain(draw_radio(views.RADIO[-2:-1], 34, 2)).split("\n")
    assert lines[1].rstrip() == " ▌ QUI understeer through every…"


def test_the_status_line_says_why_a_flag_is_out() -> None:
    held = replace(views.STATUS, flag="safety", reason="no pages for KES")
    line = plain(draw_status(views.racing(status=held), Notice(), 80))
    assert line.startswith(" SAFETY CAR  MONZA LAP 18/53  no pages for KES")
    assert "287 tok/s" in line


def test_before_a_race_is_known_the_status_line_names_none() -> None:
    assert "LAP" not in plain(draw_status(views.empty(), Notice(), 80))


def test_the_status_line_shows_pace_pause_freeze_and_replay() -> None:
    paused = replace(views.STATUS, paused=True, pace=40.0)
    view = views.racing(status=paused)
    line = plain(draw_status(view, Notice(frozen=True, replay=True), 100))
    assert " REPLAY  PAUSED  FROZEN " in line
    assert "pace 40/s" in line


@pytest.mark.parametrize("cells", [80, 100, 120, 160])
def test_every_knob_and_its_key_are_on_the_bar(cells: int) -> None:
    text = plain(draw_knobs(views.KNOBS, cells))
    assert all(f" {keys.key}" in text for keys in KNOB_KEYS)
    assert cells < 100 or all(name in text for name in ("kv", "pfx", "max", "st", "ch", "qual"))


@given(st.tuples(*(st.sampled_from(keys.steps) for keys in KNOB_KEYS)))
def test_there_is_room_for_any_values_of_all_knobs(values: tuple[str, ...]) -> None:
    knobs = [replace(knob, value=v) for knob, v in zip(views.KNOBS, values, strict=True)]
    (row,) = draw_knobs(tuple(knobs), 80)
    shown = {span.action: span.text for span in row if span.action}  # values are the last spans
    assert list(shown) == [f"app.turn_knob('{keys.name}', 1)" for keys in KNOB_KEYS]
    assert row_width(row) == 80
    assert plain((row,)).endswith(" ")  # nothing was cut


def test_a_pending_knob_shows_old_and_new() -> None:
    knobs = (replace(views.KNOBS[0], pending="off"), *views.KNOBS[1:])
    assert "kv on→off" in plain(draw_knobs(knobs, 160))
    assert "1kv●→○" in plain(draw_knobs(knobs, 100))
    assert "1●→○" in plain(draw_knobs(knobs, 80))  # names give way


@pytest.mark.parametrize("cells", [80, 100, 160])
def test_help_and_quit_are_always_in_the_footer(cells: int) -> None:
    text = plain(draw_footer(frozenset(), cells))
    assert "? help" in text
    assert "q quit" in text


def test_the_current_light_is_moved_by_the_clock_alone() -> None:
    early, later = (draw_lights(views.LIGHTS, now, 60, 16) for now in (0.0, 0.6))
    assert draw_lights(views.LIGHTS, 0.1, 60, 16) == early
    changed = [span for row in later for span in row if span not in {s for r in early for s in r}]
    assert changed


def test_a_disc_is_round() -> None:
    assert disc(8, 4) == (" ▄████▄ ", "████████", "████████", " ▀████▀ ")


# Results


def test_the_classification_marks_the_bests_and_who_is_out() -> None:
    rows = draw_results(views.finished(), 11.6, 100, 24)
    text = plain(rows)
    assert "next race in 12 s" in text
    assert "OUT" in text
    running = replace(views.finished().results[0], race_time=None, reason="")
    text = plain(draw_results(replace(views.finished(), results=(running,)), None, 120, 12))
    assert "OUT" not in text
    purple = {span.text.strip() for row in rows for span in row if "purple" in span.role}
    assert purple == {"1:23.64", "412.0", "31.20", "61.27"}


def test_twenty_cars_and_the_totals_fit_at_the_least_size() -> None:
    text = plain(draw_results(views.finished(), 3.0, 80, 23))
    assert all(code in text for code in views.CODES)
    assert "36 470" in text


def test_too_small_says_what_is_needed_and_what_there_is() -> None:
    text = " ".join(plain(draw_too_small(50, 10)).split())
    assert text == "pitwall needs 80x24, this terminal is 50x10; the race goes on"
