"""What drawings do with much room, and with too little: nothing is cut, nothing is a void."""

from dataclasses import replace

import pytest

from pitwall_tui.draw.ascii import to_ascii
from pitwall_tui.draw.batching import draw_latencies
from pitwall_tui.draw.cells import Rows, plain
from pitwall_tui.draw.chart import draw_chart
from pitwall_tui.draw.gantt import Look, draw_gantt
from pitwall_tui.draw.memory import draw_chosen, draw_pool
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.results import draw_results
from pitwall_tui.draw.status import Notice, draw_status
from pitwall_tui.draw.tower import draw_tower
from pitwall_tui.draw.track import draw_track
from pitwall_tui.race.view import ChartView
from tests.batched import toured
from tests.tui import views
from tests.tui.memories import MEMORY, remembering


def lines(rows: Rows) -> list[str]:
    return [line.rstrip() for line in plain(rows).split("\n")]


def test_a_car_s_bar_is_its_share_of_the_longest_time() -> None:
    rows = lines(draw_results(views.finished(), None, 200, 60))
    of = {row.code: row for row in views.results()}
    longest = max(row.e2e_ms or 0.0 for row in of.values())
    scale = max(line.count("░") + line.count("█") for line in rows)
    assert scale >= 24
    bars = {code: next(line for line in rows if f" {code} " in line) for code in of}
    for code, line in bars.items():
        row = of[code]
        assert row.e2e_ms is not None
        assert row.ttft_ms is not None
        assert line.count("░") == round(scale * row.ttft_ms / longest)
        assert line.count("░") + line.count("█") == round(scale * row.e2e_ms / longest)


def test_every_total_has_a_row_and_a_meaning_where_there_is_room() -> None:
    text = plain(draw_results(views.finished(), None, 160, 45))
    assert "THE WHOLE RACE" in text
    assert all(f" {name} " in text and value in text for name, value in views.TOTALS)
    assert "from a car's place on the grid to its first token" in text
    assert "THE WHOLE RACE" not in plain(draw_results(views.finished(), None, 80, 24))


def test_the_block_table_in_full_has_every_page_with_its_tokens() -> None:
    text = " ".join(plain(draw_chosen(remembering(), 0, 99, 22)).split())
    table, size = MEMORY.tables[0], MEMORY.page_size
    for place, page in enumerate(table.pages):
        assert f"{place * size}-{place * size + size - 1} → {page} " in f"{text} "
    assert "shared by 18" in text
    assert "12/16 filled" in text


def test_the_signs_of_the_pool_are_whole_words_at_any_width() -> None:
    words = {"shared", "others'", "cached", "empty", "free"}
    counts = set()
    for cells in range(9, 90):
        legend = lines(draw_pool(remembering(), 0, cells, 12))[-1].split()
        found = [word for word in legend[2:] if len(word) > 1]
        assert set(found) <= words
        counts.add(len(found))
    assert counts == set(range(6))


@pytest.mark.parametrize(("height", "apart"), [(40, True), (14, False)])
def test_slots_stand_apart_where_there_is_room(height: int, apart: bool) -> None:
    view = toured(300, 26)
    rows = lines(draw_gantt(view, Look(), 120, height))
    first, second = (next(i for i, row in enumerate(rows) if f"  {n} " in row[:6]) for n in (1, 2))
    assert second - first == 1 + apart


def test_a_spread_is_three_rows_high_where_all_have_so_many() -> None:
    batching = toured(300, 26).details.batching
    assert batching is not None
    count = len(batching.latencies)
    high = lines(draw_latencies(batching, 160, 2 + 3 * count))
    low = lines(draw_latencies(batching, 160, 1 + 3 * count))
    figures = [[line[:50].rstrip() for line in text if line[:50].strip()] for text in (high, low)]
    assert figures[0] == figures[1]
    assert sum("█" in line for line in high) > sum("█" in line for line in low)


def test_a_label_of_which_nothing_would_be_left_is_left_out() -> None:
    marks = ((3, "batching static"), (5, "weights int8"), (7, "paging contiguous"))
    chart = ChartView(0.5, (90.0,) * 40, marks, 90.0, 90.0)
    foot = lines(draw_chart(chart, 60, 8))[-1]
    assert "…" not in foot
    assert foot.split() == ["paging", "contiguous"]


def test_while_the_engine_loads_it_is_said_what_is_missing() -> None:
    view = views.empty()
    assert "once the engine is up" in plain(draw_tower(view, 46, 21))
    assert "silence" in plain(draw_radio((), 40, 5))
    assert "nothing has run yet" in plain(draw_chart(view.chart, 60, 12))
    status = plain(draw_status(view, Notice(), 120))
    assert "tok/s" not in status
    assert view.status.source in status


def test_a_circuit_has_its_short_name_where_the_long_one_would_be_cut() -> None:
    view = views.racing()
    assert view.title in lines(draw_track(view, 40, 12))[0]
    assert lines(draw_track(view, 33, 12))[0].split() == ["TRACK", "Monza"]
    untitled = replace(view, title="", circuit="")
    assert lines(draw_track(untitled, 33, 12))[0].split() == ["TRACK"]


def test_dots_of_three_kinds_are_three_signs_in_ascii() -> None:
    assert len({to_ascii(sign) for sign in "●◐○"} - set("0123456789")) == 3
