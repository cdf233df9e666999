"""Pictures of the race in every look of our own: look at each before it is kept."""

from collections.abc import Callable
from functools import lru_cache

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import KEYS
from pitwall_tui.settings import Wall
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.recorded import recorded
from tests.tui.taught import FakeAcademy

Compare = Callable[..., bool]


class Sixteen(LineFilter):
    """What a terminal of sixteen colours makes of a line, in the colours of the VGA."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, _downgraded(style), control) for text, style, control in segments]


@lru_cache
def _downgraded(style: Style | None) -> Style | None:
    if style is None:
        return None
    return style + Style(color=_nearest(style.color), bgcolor=_nearest(style.bgcolor))


def _nearest(colour: RichColor | None) -> RichColor | None:
    if colour is None or colour.is_default:
        return colour
    return RichColor.from_triplet(colour.downgrade(ColorSystem.STANDARD).get_truecolor())


async def _drawn(pilot: Pilot[None]) -> None:
    assert isinstance(pilot.app, PitWallApp)
    pilot.app.tick()
    await pilot.pause()
    pilot.app.tick()
    await pilot.pause()


def _app(wall: Wall, moment: str = "racing") -> PitWallApp:
    state = StillState(recorded(moment))
    app = PitWallApp(FakeFeed(), state, FakeAcademy(), clock=lambda: 10.0, fps=0, wall=wall)
    app.animation_level = "none"
    app._disable_notifications = True
    return app


LOOKS = {
    "ascii": Wall(ascii=True),
    "light": Wall(theme="pitwall-light"),
    "contrast": Wall(theme="pitwall-contrast"),
    "colour-blind": Wall(theme="pitwall-colour-blind"),
    "other-keys": Wall(keys=KEYS.remapped({"pause": "P", "kv_cache": "K", "race": ""})),
}


@pytest.mark.parametrize("look", LOOKS)
def test_race(look: str, snap_compare: Compare) -> None:
    assert snap_compare(_app(LOOKS[look]), terminal_size=(160, 45), run_before=_drawn)


def test_race_in_ascii_at_the_least_size(snap_compare: Compare) -> None:
    assert snap_compare(_app(LOOKS["ascii"]), terminal_size=(80, 24), run_before=_drawn)


def test_race_in_ascii_without_colour(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(_app(LOOKS["ascii"]), terminal_size=(120, 40), run_before=_drawn)


def test_lights_in_ascii(snap_compare: Compare) -> None:
    app = _app(LOOKS["ascii"], "loading")
    assert snap_compare(app, terminal_size=(80, 24), run_before=_drawn)


@pytest.mark.parametrize("theme", ["pitwall", "pitwall-light", "ansi-dark"])
def test_race_in_sixteen_colours(theme: str, snap_compare: Compare) -> None:
    app = _app(Wall(theme=theme))
    app._filters.append(Sixteen())
    assert snap_compare(app, terminal_size=(120, 40), run_before=_drawn)
