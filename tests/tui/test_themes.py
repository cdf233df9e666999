"""Our themes: text stands out from its ground, signs from each other, in any eye or terminal."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import pytest
from rich._palettes import STANDARD_PALETTE
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from pitwall_tui.app import PitWallApp
from pitwall_tui.draw.cells import Rows
from pitwall_tui.theme import OWN, PITWALL, PITWALL_COLOUR_BLIND, following, names
from pitwall_tui.widgets.palette import Palette
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.taught import FakeAcademy
from tests.tui.tour import on_tour, pages, panels

AA, AAA, SIGN = 4.5, 7.0, 3.0  # WCAG 2.2: 1.4.3, 1.4.6, 1.4.11
SIXTEEN = 2.8  # the VGA's cyan on its white
APART = 20.0  # CIE 1976 distance; 2.3 is just noticeable


class Seen(NamedTuple):
    """A role on its ground, somewhere on the wall, and whether letters or figures had it."""

    role: str
    back: str
    text: bool


async def _look() -> set[Seen]:
    """One moment as all pages show it, and others in the panels that they are made of."""
    seen = set()
    state = StillState(views.drafting())
    app = PitWallApp(FakeFeed(), state, FakeAcademy(), clock=lambda: 10.0, fps=0)
    app._disable_notifications = True
    async with on_tour(app, (160, 45)) as pilot:
        async for _ in pages(app, pilot):
            for panel in panels(app):
                bar = panel.styles.background == Color.parse(PITWALL.background or "")
                own = "background" if bar else "surface"
                seen |= set(_spans(panel._rows, own))
                for view in (views.racing(), views.loading(), views.finished()):
                    frame = replace(app._frame, view=view, live=view)
                    seen |= set(_spans(panel.picture(frame, *panel.size), own))
    return seen


def _spans(rows: Rows, own: str) -> Iterator[Seen]:
    for span in (span for row in rows for span in row):
        if span.text.strip():
            role = span.role.split()[0] if span.role else "text"
            yield Seen(role, span.back or own, bool(re.search(r"[A-Za-z0-9]", span.text)))


@pytest.fixture(scope="module")
def seen() -> set[Seen]:
    """All pages' roles, as they are drawn."""
    found = asyncio.run(_look())
    assert {"surface", "background", "title-back", "chip", "flag.green"} <= {s.back for s in found}
    return found


def _palette(theme: Theme) -> Palette:
    colours = {"surface": theme.surface or "", "background": theme.background or ""}
    return Palette({**theme.variables, **colours}, tuple(colour for _, colour in views.TEAMS))


def _luminance(colour: Color) -> float:
    return sum(
        weight * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
        for weight, v in zip((0.2126, 0.7152, 0.0722), colour.normalized, strict=True)
    )


def _contrast(one: Color, other: Color) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _colours(theme: Theme, seen: Seen) -> tuple[Color, Color]:
    palette = _palette(theme)
    one, ground = (palette._colour(name) for name in (seen.role, seen.back))
    assert one is not None, seen
    assert ground is not None, seen
    return one, ground


def _weak(theme: Theme, seen: Iterable[Seen], least: float) -> list[str]:
    found = ((each, _contrast(*_colours(theme, each))) for each in seen)
    return [f"{role} on {back}: {c:.1f}" for (role, back, _), c in found if c < least]


def _of_a_team(seen: Seen) -> bool:
    return any(name.startswith(("team.", "reserve.")) for name in seen[:2])


@pytest.mark.parametrize("theme", OWN, ids=lambda theme: theme.name)
def test_all_text_stands_out_from_its_ground(theme: Theme, seen: set[Seen]) -> None:
    texts = {each for each in seen if each.text and not _of_a_team(each)}
    assert len(texts) > 30
    assert _weak(theme, texts, AAA if theme.name == "pitwall-contrast" else AA) == []


def test_with_high_contrast_all_signs_stand_out_too(seen: set[Seen]) -> None:
    [theme] = [theme for theme in OWN if theme.name == "pitwall-contrast"]
    signs = {each for each in seen if each.back == "surface" and not _of_a_team(each)}
    assert {"page.free", "track", "chart.area"} <= {each.role for each in signs}
    assert _weak(theme, signs, SIGN) == []


@pytest.mark.parametrize("theme", OWN, ids=lambda theme: theme.name)
def test_in_sixteen_colours_nothing_is_lost_in_its_ground(theme: Theme, seen: set[Seen]) -> None:
    lost = []
    for each in seen:
        if each.back.startswith(("page.", "team.", "reserve.")):
            continue  # the upper and lower page of one cell, which may well be alike
        one, ground = map(_of_sixteen, _colours(theme, each))
        if one == ground or (each.text and _contrast(one, ground) < SIXTEEN):
            lost.append(each)
    assert lost == []


def _of_sixteen(colour: Color) -> Color:
    """The nearest of the VGA's colours, as a terminal without others gets it."""
    number = colour.rich_color.downgrade(ColorSystem.STANDARD).number
    assert number is not None
    return Color(*STANDARD_PALETTE[number])


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}
# Roles of which each has to be told from each other.
SETS = {
    "sectors": ("sector.none", "sector.yellow", "sector.green", "sector.purple"),
    "tyres": ("tyre.S", "tyre.M", "tyre.H", "tyre.I", "tyre.W"),
    "flags": (
        *("flag.lights", "flag.green", "flag.yellow", "flag.safety", "flag.red"),
        "flag.chequered",
    ),
    "states": ("state.formation", "state.parked", "state.pit", "state.out"),
    "moves": ("move.up", "move.down"),
    "grounds of moves": ("move.up.back", "move.down.back", "surface"),
    "pages": ("page.used", "page.shared", "page.cached", "page.free"),
    "drafts": ("draft.accepted", "draft.overruled"),
    "knobs": ("knob.key", "knob.usual", "knob.changed", "knob.pending", "dim"),
    "lights": ("light.on", "light.dim", "light.off"),
    "curves": ("chart.area", "chart.mark"),
    "radio": ("radio.control", "radio.knob"),
}
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
Triple = tuple[float, ...]


def _times(matrix: Iterable[Triple], vector: Triple) -> Triple:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def _lab(colour: Color, eye: str) -> Triple:
    """CIELAB of a colour as an eye sees it."""
    linear = tuple(
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour.normalized
    )
    seen = tuple(min(max(v, 0.0), 1.0) for v in _times(EYES[eye], linear))
    white = _times(_TO_XYZ, (1.0, 1.0, 1.0))
    x, y, z = (
        ratio ** (1 / 3) if ratio > 0.008856 else 7.787 * ratio + 16 / 116
        for ratio in (v / w for v, w in zip(_times(_TO_XYZ, seen), white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _distance(theme: Theme, one: str, other: str, eye: str) -> float:
    palette = _palette(theme)
    a, b = (palette._colour(name) for name in (one, other))
    assert a is not None
    assert b is not None
    pairs = zip(_lab(a, eye), _lab(b, eye), strict=True)
    return float(sum((p - q) ** 2 for p, q in pairs) ** 0.5)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("roles", SETS.values(), ids=SETS)
def test_without_a_kind_of_cones_signs_are_still_told_apart(
    roles: tuple[str, ...], eye: str
) -> None:
    alike = [
        (one, other, round(distance, 1))
        for one, other in combinations(roles, 2)
        if (distance := _distance(PITWALL_COLOUR_BLIND, one, other, eye)) < APART
    ]
    assert alike == []


def test_the_usual_theme_is_not_made_for_that() -> None:
    """Or the test above would tell nothing."""
    found = [
        _distance(PITWALL, one, other, eye)
        for roles in SETS.values()
        for one, other in combinations(roles, 2)
        for eye in ("protanopia", "deuteranopia")
    ]
    assert min(found) < APART / 2


def test_the_distance_is_that_of_the_standard() -> None:
    """Black and white are 100 apart; a pure red has the L*a*b* that is found everywhere."""
    black, white, red = (Color.parse(name) for name in ("#000000", "#ffffff", "#ff0000"))
    assert _lab(white, "all cones")[0] - _lab(black, "all cones")[0] == pytest.approx(100, abs=0.1)
    assert _lab(red, "all cones") == pytest.approx((53.24, 80.09, 67.20), abs=0.1)
    assert _contrast(black, white) == pytest.approx(21)


def test_all_of_our_themes_say_the_same_things() -> None:
    assert {frozenset(theme.variables) for theme in OWN} == {frozenset(PITWALL.variables)}
    assert len({theme.name for theme in OWN}) == 4


def test_a_step_goes_round_our_own_themes_and_into_them_from_any_other() -> None:
    walked = [PITWALL.name]
    for _ in OWN:
        walked.append(following(walked[-1]))
    assert walked == [*(theme.name for theme in OWN), PITWALL.name]
    assert following("nord") == PITWALL.name
    assert set(names()) == {theme.name for theme in OWN} | set(BUILTIN_THEMES)


def test_underlines_and_the_like_do_not_change_a_colour() -> None:
    palette = _palette(PITWALL)
    assert (
        palette.style(("dim bold underline", "", "")).color == palette.style(("dim", "", "")).color
    )
