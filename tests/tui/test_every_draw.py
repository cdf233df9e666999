"""Every panel that there is, at any size, with anything on the frame: its picture fills its box."""

import unicodedata
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

import pitwall_tui.app
import pitwall_tui.pages  # noqa: F401 - together they bring in every panel
from pitwall_tui.commands import KEYS
from pitwall_tui.draw.cells import Rows
from pitwall_tui.screens.help import HelpPage
from pitwall_tui.widgets.panel import Frame, Panel
from tests.tui.frames import KINDS, odd


def _all(kind: type[Panel]) -> list[type[Panel]]:
    return [each for sub in kind.__subclasses__() for each in (sub, *_all(sub))]


PANELS = {kind.__name__: kind for kind in _all(Panel)}
LEAST = ((1, 1), (2, 1), (1, 40), (300, 1), (7, 5))
# Wide, combining and joined characters, markup, control characters, escapes, flags, lone halves.
TEXTS = (
    "", "[bold red]x[/]", "\x1b[31mred\x1b[0m\x1b]0;t\x07", "速度 überholt",
    "e\u0301a\u0308\u200d\u0300", "\U0001f469\u200d\U0001f467 \U0001f3c1\U0001f1ec\U0001f1e7",
    "a\tb\nc\r\x00\x7f\x9b", "\ud800\ufeff\u202eba", "x" * 400,
)  # fmt: skip


@cache
def panel(name: str) -> Panel:
    kind = PANELS[name]
    return kind(KEYS, ["RaceScreen"], []) if kind is HelpPage else kind()  # type: ignore[call-arg]


@cache
def moment(kind: str) -> Frame:
    return KINDS[kind]()


def hold(name: str, frame: Frame, cells: int, height: int) -> None:
    """The picture has exactly its rows, each of its cells, and nothing that steers a terminal."""
    rows = panel(name).picture(frame, cells, height)
    if name != "HelpPage":  # which scrolls: it is as high as its text
        assert len(rows) == height, name
    assert {sum(cell_len(span.text) for span in row) for row in rows} == {cells}, name
    assert not _steering(rows), name


def _steering(rows: Rows) -> list[str]:
    texts = {span.text for row in rows for span in row}
    return [t for t in texts if not t.isascii() or not t.isprintable() if any(map(_steers, t))]


def _steers(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def test_all_panels_of_the_wall_are_here() -> None:
    assert {"Tower", "Gantt", "SettingsTable", "HelpPage", "TooSmall"} <= PANELS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_least_sizes(kind: str) -> None:
    for name in PANELS:
        for size in LEAST:
            hold(name, moment(kind), *size)


@pytest.mark.parametrize("name", PANELS)
def test_at_the_largest_size(name: str) -> None:
    hold(name, moment("racing"), 300, 100)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    text=st.sampled_from(TEXTS) | st.text(st.characters(), max_size=30),
    scale=st.sampled_from([1.0, 1e-6, 1e3, 1e9]),
    cells=st.integers(1, 300),
    height=st.integers(1, 100),
)
def test_with_anything_in_it(kind: str, text: str, scale: float, cells: int, height: int) -> None:
    frame = odd(moment(kind), text, scale)
    for name in PANELS:
        hold(name, frame, cells, height)
