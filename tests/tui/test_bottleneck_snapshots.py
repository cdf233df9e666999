"""Pictures of the bottleneck. Look at the report before accepting new ones."""

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from tests.tui.bottlenecks import bound
from tests.tui.conftest import Build

Compare = Callable[..., bool]


def _drawn(*keys: str, theme: str = "pitwall") -> Callable[[Pilot[None]], object]:
    """Opens the screen; keys after it."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        app.tick()
        await pilot.pause()
        await pilot.press("o", *keys)
        app.tick()
        await pilot.pause()

    return prepare


TURNED = ("right", "down", "right")


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45", "200x60"])
def test_bottleneck(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(build(bound()), terminal_size=(width, height), run_before=_drawn(*TURNED))


def test_bottleneck_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(bound()), terminal_size=(120, 40), run_before=_drawn(theme="pitwall-light")
    )


def test_bottleneck_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build(bound()), terminal_size=(120, 40), run_before=_drawn())


def test_bottleneck_before_anything_ran(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build("empty"), terminal_size=(80, 24), run_before=_drawn())
