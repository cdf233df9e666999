"""The row of pages and keys at the foot of every screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitwall_tui.commands import COMMANDS, Command
from pitwall_tui.draw.cells import plain, row_width
from pitwall_tui.draw.footer import draw_footer, pages
from pitwall_tui.screens.results import ResultsScreen
from pitwall_tui.widgets.bars import KeyBar
from tests.tui.conftest import Build
from tests.tui.wall import feed_of, running, step, text_of

NAMES = {2: "memory", 3: "batching", 7: "bottleneck", 8: "debrief"}
KNOWN = {command.function_key for command in COMMANDS}
ALL = (
    *COMMANDS,
    *(Command(n, f"f{k}", f"F{k}", n, n, n) for k, n in NAMES.items() if k not in KNOWN),
)
OWN = (("↑↓", "car", ""),)


def test_pages_are_what_function_keys_open_in_their_order() -> None:
    found = pages(ALL)
    assert [page.shown for page in found] == [f"F{n}" for n in range(1, 9)]
    assert all(page.keys.split(",")[0] == page.shown.lower() for page in found)


def test_a_page_is_there_by_its_command_alone() -> None:
    more = Command("weather", "f9", "F9", "weather", "rain", "weather")
    text = plain(draw_footer(frozenset(), 200, commands=(*COMMANDS, more)))
    assert " F9 weather " in text


@given(
    st.integers(80, 300),
    st.sampled_from([page.id for page in pages(ALL)]),
    st.sets(st.sampled_from(["pause", "freeze"])),
)
def test_every_page_help_and_quit_are_in_any_footer(
    cells: int, page: str, active: set[str]
) -> None:
    own = OWN if page == "race" else ()
    (row,) = draw_footer(frozenset(active), cells, 1, ALL, page, own)
    text = plain((row,))
    assert all(f"F{number}" in text for number in range(1, 9))
    assert text.count("[") == text.count("]") == 1
    here = next(command for command in ALL if command.id == page)
    assert f"[{here.shown} {here.label}]" in text
    assert all(key in text for key in ("? help ", "q quit ", "space ", " p "))
    assert not own or "↑↓ car" in text
    assert row_width(row) == cells


@pytest.mark.parametrize("page", pages(ALL), ids=lambda page: page.id)
def test_a_wide_footer_has_every_command(page: Command) -> None:
    text = plain(draw_footer(frozenset(), 220, commands=ALL, page=page.id))
    for command in ALL:
        if command.label and command.label != "pace":  # two keys share it
            assert f"{command.shown} {command.label}" in text


def test_every_span_of_a_page_or_key_is_its_command() -> None:
    (row,) = draw_footer(frozenset(), 220, commands=ALL)
    for span in row:
        if span.text.strip():
            assert span.action in {f"app.{command.action}" for command in ALL}


# The wall


@pytest.mark.parametrize(("key", "page"), [("f5", "F5 strategy"), ("f6", "F6 academy")])
async def test_the_page_on_screen_is_marked(key: str, page: str, build: Build) -> None:
    app = build()
    async with running(app, (120, 40)) as pilot:
        assert "[F1 race]" in text_of(app, KeyBar)
        assert "↑↓ car" in text_of(app, KeyBar)
        await pilot.press(key)
        await pilot.pause()
        assert f"[{page}]" in text_of(app, KeyBar)
        assert "↑↓" not in text_of(app, KeyBar)
        await pilot.press("f1")
        await pilot.pause()
        assert "[F1 race]" in text_of(app, KeyBar)


async def test_a_click_on_a_page_opens_it(build: Build) -> None:
    app = build()
    async with running(app, (160, 45)) as pilot:
        await pilot.pause()
        await pilot.click(KeyBar, offset=(text_of(app, KeyBar).index("strategy"), 0))
        await pilot.pause()
        assert app.screen.page == "strategy"  # type: ignore[attr-defined]
        await pilot.click(KeyBar, offset=(text_of(app, KeyBar).index("F1"), 0))
        await pilot.pause()
        assert app.screen.page == "race"  # type: ignore[attr-defined]


async def test_a_screen_without_a_function_key_marks_none(build: Build) -> None:
    app = build("finished")
    async with running(app, (120, 40)) as pilot:
        await step(app, pilot)
        assert isinstance(app.screen, ResultsScreen)
        assert "[" not in text_of(app, KeyBar)
        assert feed_of(app).commands


async def test_the_largest_size_has_a_class_of_its_own_beside_the_others(build: Build) -> None:
    app = build()
    async with running(app, (200, 60)) as pilot:
        assert {"-large", "-xwide", "-tall"} <= app.screen.classes
        await pilot.resize_terminal(199, 60)
        await pilot.pause()
        assert "-large" not in app.screen.classes
