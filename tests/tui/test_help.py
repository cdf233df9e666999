"""Help: a page for every screen, all of it at any width, and pictures of each."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.containers import VerticalScroll
from textual.pilot import Pilot

import pitwall_tui.pages  # noqa: F401 - it brings in every screen
from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import COMMANDS, KEYS, KNOB_KEYS
from pitwall_tui.draw.cells import plain, row_width
from pitwall_tui.draw.help import help_rows
from pitwall_tui.draw.spoken import spoken
from pitwall_tui.help import PAGES
from pitwall_tui.screens.help import HelpPage, HelpScreen
from pitwall_tui.screens.wall import WallScreen
from tests.tui.conftest import Build
from tests.tui.recorded import recorded
from tests.tui.wall import running, text_of

Compare = Callable[..., bool]


def _screens() -> set[type[WallScreen]]:
    return {s for s in WallScreen.__subclasses__() if s.__module__.startswith("pitwall_tui")}


def _texts(name: str) -> list[str]:
    page = PAGES[name]
    meanings = [meaning for _, _, meaning in page.signs]
    panels = [text for _, text in page.panels]
    return [page.about, page.technique, page.price, page.parallel, *panels, *meanings]


def test_every_screen_has_its_page() -> None:
    assert len(_screens()) == 9
    assert {screen.__name__ for screen in _screens()} <= PAGES.keys()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_only_keys_that_there_are(name: str) -> None:
    for text in _texts(name):
        assert "{" not in spoken(text, KEYS), text


def test_texts_name_the_keys_that_are_bound() -> None:
    keys = KEYS.remapped({"weights": "f9", "pause": "P", "batching_knob": ""})
    assert spoken("{weights} {pause} {batching} {nothing}", keys) == "F9 P ctrl+p {nothing}"


@given(st.integers(1, 300), st.sampled_from(sorted(PAGES)))
def test_a_page_is_as_wide_as_asked(cells: int, name: str) -> None:
    assert {row_width(row) for row in help_rows(cells, pages=(name,))} == {cells}


@pytest.mark.parametrize("cells", [79, 92])
@pytest.mark.parametrize("name", PAGES)
def test_no_word_of_a_page_is_cut(name: str, cells: int) -> None:
    rows = help_rows(cells, pages=(name,))
    shown = " ".join(plain(rows).split())
    for text in _texts(name)[:4]:
        assert " ".join(spoken(text, KEYS).split()) in shown
    words = set(shown.split())
    for text in _texts(name):
        assert set(spoken(text, KEYS).split()) <= words
    for title, _ in PAGES[name].panels:
        assert title in shown


def test_every_page_tells_all_keys_and_knobs() -> None:
    for name in (*PAGES, "ScreenOfNobody"):
        shown = plain(help_rows(200, pages=(name,)))
        assert all(command.help in shown for command in COMMANDS)
        assert all(f"{knob.name}: " in shown for knob in KNOB_KEYS)


OWN = [
    *(("up k", "car ahead"), ("down j", "car behind"), ("escape", "let go")),
    *(("pageup", "earlier radio"), ("pagedown", "later radio")),
]
OPENED = {
    "RaceScreen": (),
    "ResultsScreen": ("r",),
    "MemoryScreen": ("v",),
    "BatchingScreen": ("b",),
    "WorkshopScreen": ("w",),
    "StrategyScreen": ("y",),
    "AcademyScreen": ("a",),
    "BottleneckScreen": ("o",),
}


@pytest.mark.parametrize("name", OPENED)
async def test_help_is_of_the_screen_that_it_is_asked_on(name: str, build: Build) -> None:
    app = build()
    async with running(app, (100, 30)) as pilot:
        await pilot.press(*OPENED[name], "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert text_of(app, HelpPage).split("  ")[0].strip() == PAGES[name].title
        await pilot.press("escape")
        assert type(app.screen).__name__ == name


async def test_help_tells_a_screen_s_own_keys(build: Build) -> None:
    app = build()
    async with running(app, (100, 30)) as pilot:
        await pilot.press("y", "question_mark")
        assert "  right l   suppose more" in text_of(app, HelpPage)
        await pilot.press("escape", "escape", "question_mark")
        assert "suppose more" not in text_of(app, HelpPage)


async def test_help_over_a_recording_tells_of_recordings(build: Build) -> None:
    for live in (True, False):
        app = build(live=live)
        async with running(app) as pilot:
            app.tick()
            await pilot.press("question_mark")
            assert (PAGES["replay"].title in text_of(app, HelpPage)) is not live


async def test_help_scrolls_to_its_end_at_the_least_size(build: Build) -> None:
    app = build()
    async with running(app) as pilot:
        await pilot.press("question_mark")
        scroll = app.screen.query_one(VerticalScroll)
        page = app.screen.query_one(HelpPage)
        assert page.size.height > scroll.size.height
        assert page.size.height == len(help_rows(page.size.width, own=OWN))
        await pilot.press("end")
        await pilot.pause()
        assert scroll.scroll_y == scroll.max_scroll_y > 0
        assert "quality: " in text_of(app, HelpPage)


def _opened(*keys: str) -> Callable[[Pilot[None]], object]:
    async def prepare(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, PitWallApp)
        pilot.app.tick()
        await pilot.press(*keys)
        await pilot.pause()

    return prepare


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
@pytest.mark.parametrize("name", OPENED)
def test_picture(name: str, size: tuple[int, int], build: Build, snap_compare: Compare) -> None:
    keys = (*OPENED[name], "question_mark")
    app = build(recorded("racing"))
    assert snap_compare(app, terminal_size=size, run_before=_opened(*keys))


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
@pytest.mark.parametrize("name", sorted(PAGES.keys() - OPENED.keys() - {"replay"}))
def test_picture_of_a_page(
    name: str, size: tuple[int, int], build: Build, snap_compare: Compare
) -> None:
    app = build(recorded("racing"))

    async def prepare(pilot: Pilot[None]) -> None:
        screen = type(name, (WallScreen,), {})
        app.push_screen(HelpScreen(app.latest, screen))
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=prepare)
