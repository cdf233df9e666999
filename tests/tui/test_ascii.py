"""ASCII alone: every page of the wall, cell by cell."""

import ast
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

import pitwall_tui
from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.ascii import to_ascii
from pitwall_tui.draw.cells import clean, width
from pitwall_tui.race.view import RaceView
from pitwall_tui.settings import Wall
from pitwall_tui.widgets.ascii import Ascii
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.taught import FakeAcademy
from tests.tui.tour import PAGES, on_tour, pages, panels

PACKAGE = Path(pitwall_tui.__file__).parent


def _own_signs() -> set[str]:
    """Every character beyond ASCII in the text of our own programs."""
    return {
        char
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for char in node.value
        if not char.isascii()
    }


def test_every_sign_of_our_own_has_a_likeness() -> None:
    signs = _own_signs()
    assert {"█", "●", "▞", "…"} <= signs
    assert {sign for sign in signs if "?" in to_ascii(sign)} == set()


@given(st.text(st.characters(), max_size=60))
@example("Autódromo José Carlos Pace · São Paulo → 中文 👩‍👩‍👧")
def test_any_text_becomes_ascii_in_as_many_cells(text: str) -> None:
    plain = to_ascii(text)
    assert plain.isascii()
    assert len(plain) == (len(text) if text.isascii() else width(clean(text)))


def test_letters_keep_their_likeness_and_what_has_none_is_a_question() -> None:
    assert to_ascii("São José ½ 中") == "Sao Jose ? ??"


def test_dots_are_shown_by_their_number_and_half() -> None:
    cells = {"⠀": " ", "⠁": "'", "⠒": "'", "⣀": ".", "⡇": ":", "⠿": "#", "⣿": "#"}
    assert {dots: to_ascii(dots) for dots in cells} == cells


def test_full_blocks_are_full_of_their_colour_and_have_a_sign_where_there_is_none() -> None:
    red, bare = Style.parse("red on black"), Style(bold=True)
    line = [Segment("ab", red), Segment("█▄██", red), Segment("██", bare), Segment("█", None)]
    assert Ascii().apply(line, Color(0, 0, 0)) == [
        Segment("ab", red),
        Segment("#", Style.parse("red on red")),
        Segment("=", red),
        Segment("##", Style.parse("red on red")),
        Segment("##", bare),
        Segment("#", None),
    ]


def _ascii_app(view: object) -> PitWallApp:
    app = PitWallApp(
        FakeFeed(),
        StillState(view),  # type: ignore[arg-type]
        FakeAcademy(),
        clock=lambda: 10.0,
        fps=0,
        wall=Wall(ascii=True),
    )
    app.animation_level = "none"
    return app


def _lines(app: PitWallApp) -> list[str]:
    """What the terminal gets."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


@pytest.mark.parametrize(
    ("view", "size"),
    [
        (views.drafting(), (80, 24)),
        (views.loading(), (160, 45)),
        (views.finished(), (160, 45)),
    ],
    ids=["drafting", "loading", "finished"],
)
async def test_every_page_is_drawn_in_ascii(view: RaceView, size: tuple[int, int]) -> None:
    unlike, visited = 0, []
    app = _ascii_app(view)
    async with on_tour(app, size) as pilot:
        async for page in pages(app, pilot):
            lines = _lines(app)
            assert "".join(lines).isascii(), page
            assert {len(line) for line in lines} == {size[0]}
            own = "".join(span.text for p in panels(app) for row in p._rows for span in row)
            unlike += not own.isascii()
            visited.append(page)
    assert len(visited) == len(PAGES)
    assert unlike > 5  # there was something to translate


async def test_textual_s_own_palette_and_messages_are_ascii_too() -> None:
    app = _ascii_app(views.racing())
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert ">  Search for commands" in "".join(_lines(app))
        assert "".join(_lines(app)).isascii()
        await pilot.press("escape")
        app.notify("a message …")
        await pilot.pause()
        lines = _lines(app)
        assert any("a message ." in line for line in lines)
        assert "".join(lines).isascii()


async def test_a_copy_is_in_ascii_where_the_screen_is() -> None:
    app = _ascii_app(views.racing())
    app._disable_notifications = True
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("c")
        assert "KES" in app.clipboard
        assert app.clipboard.isascii()
