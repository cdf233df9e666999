"""Drafting on the wall and the strategy screen: figures, marks, and curves where they belong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import Key

from engine.draft_counts import DraftCounts
from pitwall_tui.draw.cells import Rows, plain, row_width
from pitwall_tui.draw.plot import Plot
from pitwall_tui.draw.radio import draw_radio
from pitwall_tui.draw.speculation import draw_speculation, draw_writing
from pitwall_tui.draw.strategy import (
    draw_by_acceptance,
    draw_by_length,
    draw_measured,
    draw_suppose,
)
from pitwall_tui.race.speculation import projected
from pitwall_tui.race.view import SpeculationView
from pitwall_tui.screens.race import RaceScreen, Radio, Speculation
from pitwall_tui.screens.strategy import StrategyScreen
from tests.drafters import drafter
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.wall import fill, running, state_of, step, text_of

VIEW = views.SPECULATION
NEW = replace(
    VIEW, since=DraftCounts(), recent=DraftCounts(), draft_ms=None, verify_ms=None, cost=None,
    projection=None, now=None, measured=(), word="nothing yet",
)  # fmt: skip
LONG = replace(
    VIEW,
    kind=VIEW.kind._replace(length=16),
    recent=DraftCounts(9, 144, 72, tuple(range(9, -7, -1))[:16], 90, 72),
)


def text(rows: Rows) -> list[str]:
    return [line.rstrip() for line in plain(rows).split("\n")]


def test_the_panel_at_its_narrowest() -> None:
    assert text(draw_speculation(VIEW, 33, 7)) == [
        " SPECULATION 1.8 MiB  junior k 4",
        " ▆78 ▅60 ▄49 ▃42% 3.30 tok/round",
        " 1.7+8.3 ms a step  saved 4 214",
        " 1.43x measured 2.31x projection",
        " pays with 1 car: verifying 5",
        " tokens costs 1.5 plain steps,",
        " drafting 0.3, for 2.6 a car",
    ]


def test_the_panel_with_room() -> None:
    assert text(draw_speculation(VIEW, 51, 6))[2:4] == [
        " draft 1.7 verify 8.3 ms  saved 4 214 tokens",
        " 1.43x measured 2.31x projection by formula",
    ]


def test_the_panel_says_who_drafts_and_how_large_it_is() -> None:
    kind = VIEW.kind._replace(draft="academy-1")
    view = replace(VIEW, kind=kind, draft=drafter("academy-1"))
    assert text(draw_speculation(view, 51, 6))[0].endswith("1.8 MiB  academy-1 k 4")
    assert text(draw_speculation(view, 33, 6))[0].endswith("academy-1 k 4")
    unbuilt = replace(view, draft=replace(drafter("academy-1"), weights_bytes=0))
    assert "MiB" not in text(draw_speculation(unbuilt, 51, 6))[0]
    ngram = replace(view, kind=views.kind(1, 4, "ngram"), draft=None)
    assert text(draw_speculation(ngram, 51, 6))[0].split() == ["SPECULATION", "ngram", "k", "4"]


def test_the_table_names_each_junior_and_points_are_of_one() -> None:
    kind = VIEW.kind._replace(draft="academy-1")
    rows = (*VIEW.measured, views.measured(kind, rounds=99), views.measured(
        kind._replace(draft="a-junior-of-a-long-name", rule="ratio"), rounds=98
    ))  # fmt: skip
    view = replace(VIEW, kind=kind, measured=rows, now=rows[-2])
    lines = text(draw_measured(view, 80, 12))
    assert [line.split()[0] for line in lines if "▸" in line] == ["▸"]
    assert next(line for line in lines if "▸" in line).split()[1] == "academy-1"
    assert "  a-jun… ratio" in "\n".join(lines)
    assert plain(draw_by_length(view, None, 80, 30)).count("●1 ") == 1


def test_long_drafts_are_bars_with_their_ends_named() -> None:
    line = text(draw_speculation(LONG, 33, 7))[1]
    assert line.startswith(" █▇▆")
    assert "100%.." in line


def test_words_that_do_not_fit_are_cut() -> None:
    assert text(draw_speculation(VIEW, 33, 5))[-1].endswith("…")


def test_what_is_not_measured_is_not_shown_as_figures() -> None:
    lines = text(draw_speculation(NEW, 51, 6))
    assert lines[1:4] == [" no drafts yet", " not timed yet", " - measured - projection by formula"]
    assert "off" in text(draw_speculation(replace(VIEW, on=False), 51, 6))[0]
    ratio = replace(VIEW, auto=True, kind=VIEW.kind._replace(rule="ratio"))
    assert "auto ratio" in text(draw_speculation(ratio, 51, 6))[0]


def test_who_wrote_what_is_told_without_colour() -> None:
    row = draw_writing(views.WRITING, 60)
    assert plain((row,)) == " ▌ KES L18 ▏↵L18 M[1]09 27.[5]41 "
    told = {span.text: span.role for span in row}
    assert told["[5]"].endswith("strike")
    assert told["4"].endswith("bold")
    assert told["7"].endswith("underline")


def test_the_newest_text_is_what_is_shown() -> None:
    (_, line, _) = text(draw_radio(views.RADIO, 20, 3, views.WRITING))
    assert line == " ▌ KES ▏9 27.[5]41"


PIECES = st.lists(
    st.tuples(st.sampled_from(["chief", "accepted", "overruled"]), st.text(max_size=9)), max_size=40
)


@given(pieces=PIECES, cells=st.integers(14, 120))
def test_any_text_stays_within_its_row(pieces: list[tuple[str, str]], cells: int) -> None:
    writing = replace(views.WRITING, pieces=tuple(pieces))  # type: ignore[arg-type]
    assert row_width(draw_writing(writing, cells)) <= cells


# The plot


def test_a_curve_runs_through_its_values_and_a_mark_lies_over_it() -> None:
    plot = Plot(5, 2, 1.0, 1.0)
    plot.curve(lambda x: x, "text")
    assert plain(plot.rows()) == "  ⢀⠤⠊\n⡠⠒⠁  "
    plot.mark(0.5, 1.0, "●20", "dim")
    plot.mark(0.5, 1.0, "●1", "dim")
    assert plain(plot.rows())[2:5] == "●20"


def test_lines_and_dots_are_told_apart_without_colour() -> None:
    plot = Plot(9, 2, 1.0, 1.0)
    plot.through([(0.0, 1.0), (0.999, 1.0)], "text")
    plot.through([(0.0, 0.0), (0.999, 0.0)], "text", (1, 2))
    assert plain(plot.rows()) == "⠉" * 9 + "\n" + "⡀⢀ " * 3


def test_a_steep_line_has_no_gap_and_dots_stay_dots() -> None:
    line, dots = Plot(1, 3, 1.0, 1.0), Plot(1, 3, 1.0, 1.0)
    line.through([(0.0, 0.0), (0.6, 1.0)], "text")
    assert plain(line.rows()) == "⢸\n⢸\n⡸"
    dots.through([(0.0, 0.0), (0.6, 1.0)], "text", (1, 1))
    assert plain(dots.rows()) == " \n \n⡀"


def test_points_of_one_column_are_drawn_as_their_mean() -> None:
    plot = Plot(1, 1, 1.0, 1.0)
    plot.through([(0.0, 0.0), (0.1, 0.0), (0.2, 1.0)], "text")
    assert plain(plot.rows()) == "⠄"


@given(value=st.floats(-10, 10), cells=st.integers(2, 40), lines=st.integers(1, 20))
def test_values_outside_lie_on_the_edge(value: float, cells: int, lines: int) -> None:
    plot = Plot(cells, lines, 1.0, 1.0)
    plot.curve(lambda _: value, "text")
    plot.mark(0.5, value, "●", "text")
    rows = plot.rows()
    assert len(rows) == lines
    assert {row_width(row) for row in rows} == {cells}


# The strategy


@pytest.mark.parametrize("view", [None, VIEW, NEW, LONG], ids=["never", "now", "new", "long"])
@settings(max_examples=30)
@given(
    cells=st.integers(1, 200), height=st.integers(1, 60), supposed=st.none() | st.integers(0, 100)
)
def test_a_drawing_fills_its_box_exactly(
    view: SpeculationView | None, cells: int, height: int, supposed: int | None
) -> None:
    for rows in (
        draw_suppose(view, supposed, cells, height),
        draw_by_length(view, supposed, cells, height),
        draw_by_acceptance(view, supposed, cells, height),
        draw_measured(view, cells, height),
        draw_speculation(view, cells, height),
    ):
        assert fill(rows, cells, height)


def test_what_was_not_measured_is_called_a_projection() -> None:
    for supposed in (None, 85):
        assert "projection" in plain(draw_suppose(VIEW, supposed, 80, 3))
        assert "projection" in plain(draw_by_length(VIEW, supposed, 40, 12))
        assert "projection" in plain(draw_by_acceptance(VIEW, supposed, 40, 12))
    assert "85% hypothesis" in plain(draw_suppose(VIEW, 85, 80, 3))
    assert "71% measured" in plain(draw_suppose(VIEW, None, 80, 3))
    assert "70% hypothesis" in plain(draw_suppose(None, None, 80, 3))
    assert "c not measured, drawn as 0" in plain(draw_suppose(NEW, None, 80, 3))


def test_the_outcome_is_the_formula_s() -> None:
    line = text(draw_suppose(VIEW, 85, 80, 3))[2]
    best = max(range(17), key=lambda k: projected(0.85, k, 0.0518))
    assert f"best k {best}: {projected(0.85, best, 0.0518):.2f}x" in line
    assert f"k 4: {projected(0.85, 4, 0.0518):.2f}x" in line
    # What is measured comes first; theory says what it takes a check to cost.
    assert line.startswith(" measured 1.43x  projection at 1 step a check: best k")


@pytest.mark.parametrize("supposed", [None, 85])
def test_without_what_theory_needs_it_promises_no_speed_up(supposed: int | None) -> None:
    unknown = "c" if supposed else "acceptance and c"
    for view in (None, NEW):
        line = text(draw_suppose(view, supposed, 80, 3))[2]
        assert line == f" measured -  no projection: {unknown} not measured"
    line = text(draw_suppose(replace(VIEW, cost=None), supposed, 80, 3))[2]
    assert line.startswith(" measured 1.43x  no projection: c not measured")
    rejected = replace(VIEW, recent=DraftCounts())
    assert ("best k" in text(draw_suppose(rejected, supposed, 80, 3))[2]) == bool(supposed)


def test_the_longest_outcome_has_room() -> None:
    view = replace(LONG, cost=0.001)
    assert text(draw_suppose(view, 99, 80, 3))[2].endswith("x")


def test_what_theory_leaves_out_is_said_where_there_is_room() -> None:
    said = "measured: 1.5 steps a check"
    assert said in plain(draw_suppose(VIEW, None, 120, 3))
    assert said not in plain(draw_suppose(VIEW, None, 80, 3))
    assert "steps a check" not in plain(draw_suppose(NEW, None, 160, 3))


def test_points_are_those_of_who_drafts_now() -> None:
    rows = plain(draw_by_length(VIEW, None, 80, 30))
    assert rows.count("●1 ") == 3  # one and the same car, three lengths
    assert rows.count("●20") == 1
    assert "●4/20" in plain(draw_by_acceptance(VIEW, None, 80, 30))


def test_the_table_says_where_a_comparison_is_missing() -> None:
    lines = text(draw_measured(VIEW, 80, 12))
    assert lines[3] == "▸ junior          1   4    1840  71%     262     183  1.43x"
    assert lines[5].endswith("no plain step measured")
    assert sum(line.startswith("▸") for line in lines) == 1


def test_a_short_table_keeps_what_is_now_and_most_rounds() -> None:
    lines = text(draw_measured(VIEW, 80, 4))
    assert [line.split()[-1] for line in lines[2:]] == ["1.43x", "0.83x"]


# On the screen


async def test_blanks_behind_a_draft_are_not_underlined(build: Build) -> None:
    app = build("drafting")
    async with running(app):
        radio = app.screen.query_one("#right-radio", Radio)
        lined = [s for s in radio.render_line(1) if s.style and s.style.underline]
        assert [segment.text for segment in lined] == ["L18", "M", "9 27", "1 "]


async def test_the_panel_comes_with_the_first_drafts(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        assert not app.screen.query_one(Speculation).display
        state_of(app).at = views.drafting()
        await step(app, pilot)
        await step(app, pilot)
        assert app.screen.query_one(Speculation).display
        assert "tok/round" in text_of(app, Speculation)


@pytest.mark.parametrize("live", [True, False])
async def test_the_strategy_opens_and_closes_on_any_race(build: Build, live: bool) -> None:
    app = build("drafting", live=live)
    async with running(app) as pilot:
        await pilot.press("y")
        assert isinstance(app.screen, StrategyScreen)
        await pilot.press("y")
        assert isinstance(app.screen, RaceScreen)
        await pilot.press("w" if live else "r", "y")
        assert isinstance(app.screen, StrategyScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RaceScreen)


async def test_arrows_suppose_and_home_returns_to_what_is_measured(build: Build) -> None:
    app = build("drafting")
    async with running(app) as pilot:
        await pilot.press("y", "right")
        assert app.latest()[0].supposed == 75
        await pilot.press("left", "left")
        assert app.latest()[0].supposed == 65
        await pilot.press(*["right"] * 9)
        assert app.latest()[0].supposed == 100
        await pilot.press("home")
        assert app.latest()[0].supposed is None


async def test_arrows_that_come_at_once_count_from_each_other(build: Build) -> None:
    app = build("drafting")
    async with running(app) as pilot:
        await pilot.press("y", "right")
        for _ in range(3):
            app.post_message(Key("right", None))
        await pilot.pause()
        assert app.latest()[0].supposed == 90


async def test_the_slider_answers_to_the_mouse(build: Build) -> None:
    app = build("drafting")
    async with running(app) as pilot:
        await pilot.press("y")
        await pilot.click("Suppose", offset=(12, 1))
        assert app.latest()[0].supposed == 0


async def test_nobody_is_sent_out_of_the_strategy_at_the_flag(build: Build) -> None:
    app = build("drafting")
    async with running(app) as pilot:
        await pilot.press("y")
        state_of(app).at = views.finished()
        await step(app, pilot)
        assert isinstance(app.screen, StrategyScreen)
