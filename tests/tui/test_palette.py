"""Every role that a drawing uses has a colour, under every theme."""

import pytest
from textual.theme import BUILTIN_THEMES

from pitwall_tui.draw.help import help_rows
from pitwall_tui.help import PAGES
from pitwall_tui.theme import OWN, defaults
from pitwall_tui.widgets.palette import Palette
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.test_draw import DRAWINGS


def _roles() -> set[str]:
    moments = (views.empty(), views.loading(), views.racing(), views.finished())
    spans = [
        span
        for draw in DRAWINGS.values()
        for view in moments
        for size in ((46, 21), (160, 45))
        for row in draw(view, *size)
        for span in row
    ]
    spans += [span for row in help_rows(90, pages=tuple(PAGES)) for span in row]
    names = {span.role.split()[0] for span in spans if span.role}
    return names | {span.back for span in spans if span.back}


@pytest.mark.parametrize("theme", OWN, ids=lambda theme: theme.name)
def test_every_role_is_a_variable_of_our_themes(theme: object) -> None:
    known = {name.replace("-", ".") for name in theme.variables}  # type: ignore[attr-defined]
    plain = {role for role in _roles() if not role.startswith(("team.", "reserve."))}
    assert {role for role in plain if role.replace("-", ".") not in known} == set()


def test_both_themes_define_the_same_names() -> None:
    assert defaults(dark=True).keys() == defaults(dark=False).keys()


def test_a_reserved_page_lies_between_its_team_and_the_ground() -> None:
    palette = Palette({"surface": "#000000"}, ("#ff0000",))
    red = palette.style(("reserve.0", "", "")).color
    assert red is not None
    assert red.triplet is not None
    assert 0 < red.triplet.red < 255


def test_a_team_that_is_not_known_is_grey() -> None:
    palette = Palette({"dim": "#808080"}, ())
    assert palette.style(("team.255", "", "")) == palette.style(("dim", "", ""))


async def test_no_theme_is_fatal(build: Build) -> None:
    app = build("racing")
    async with app.run_test(size=(80, 24)) as pilot:
        for name in (*(theme.name for theme in OWN), *BUILTIN_THEMES):
            app.theme = name
            await pilot.pause()
            app.tick()
            await pilot.pause()
            assert "KES" in app.export_screenshot(), name


async def test_no_colour_leaves_every_sign(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = build("racing")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        picture = app.export_screenshot()
    assert all(sign in picture for sign in ("●", "▲", "PIT", "PARK", "OUT", "RC", "SET"))
