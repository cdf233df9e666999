"""Pictures of the screens at fixed moments. Look at the report before accepting new ones."""

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from pitwall_tui.app import PitWallApp
from tests.tui.conftest import Build
from tests.tui.fakes import FakeFeed
from tests.tui.recorded import recorded
from tests.tui.studied import LAYER, stored

Compare = Callable[..., bool]


def _drawn(*keys: str, theme: str = "pitwall") -> Callable[[Pilot[None]], object]:
    """Brings an app to the picture: two ticks, and the keys between them."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        app.theme = theme
        app.tick()
        await pilot.pause()
        await pilot.press(*keys)
        app.tick()
        await pilot.pause()

    return prepare


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45", "200x60"])
def test_race(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(
        build(recorded("racing")), terminal_size=(width, height), run_before=_drawn()
    )


def test_race_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(recorded("racing")), terminal_size=(120, 40), run_before=_drawn(theme="pitwall-light")
    )


def test_race_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build(recorded("racing")), terminal_size=(120, 40), run_before=_drawn())


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45"])
def test_drafting(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(build("drafting"), terminal_size=(width, height), run_before=_drawn())


def test_drafting_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build("drafting"), terminal_size=(120, 40), run_before=_drawn(theme="pitwall-light")
    )


def test_drafting_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build("drafting"), terminal_size=(80, 24), run_before=_drawn())


@pytest.mark.parametrize("size", ["80x24", "120x40"])
def test_lights(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(
        build(recorded("loading")), terminal_size=(width, height), run_before=_drawn()
    )


@pytest.mark.parametrize("size", ["80x24", "120x40"])
def test_results(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(
        build(recorded("finished")), terminal_size=(width, height), run_before=_drawn()
    )


SUPPOSING = ("y", "right", "right", "right")


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45"])
def test_strategy(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(
        build("drafting"), terminal_size=(width, height), run_before=_drawn(*SUPPOSING)
    )


def test_strategy_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build("drafting"),
        terminal_size=(120, 40),
        run_before=_drawn(*SUPPOSING, theme="pitwall-light"),
    )


def test_strategy_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(build("drafting"), terminal_size=(120, 40), run_before=_drawn(*SUPPOSING))


def test_strategy_before_anything_is_measured(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build("racing"), terminal_size=(80, 24), run_before=_drawn("y"))


def _read(
    *keys: str, after: tuple[str, ...] = (), theme: str = "pitwall"
) -> Callable[[Pilot[None]], object]:
    """Opens the workshop on the stored studies."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PitWallApp)
        assert isinstance(app.feed, FakeFeed)
        app.theme = theme
        app.feed.found += stored()
        app.tick()
        await pilot.press("w")
        await app.run_action(f"screen.choose_layer('{LAYER}')")
        await pilot.press(*keys)
        app.feed.found += stored()
        app.tick()
        await pilot.pause()
        await pilot.press(*after)
        await pilot.pause()

    return prepare


TO_TENSOR, TO_CALIBRATED = ["right"] * 6, ["left"]


@pytest.mark.parametrize("size", ["80x24", "100x30", "120x40", "160x45"])
def test_workshop(size: str, build: Build, snap_compare: Compare) -> None:
    width, height = map(int, size.split("x"))
    assert snap_compare(
        build(recorded("racing")), terminal_size=(width, height), run_before=_read(*TO_TENSOR)
    )


def test_workshop_on_calibrated_codes(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(recorded("racing")), terminal_size=(160, 45), run_before=_read(*TO_CALIBRATED)
    )


def test_workshop_light(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(recorded("racing")),
        terminal_size=(120, 40),
        run_before=_read(*TO_TENSOR, theme="pitwall-light"),
    )


def test_workshop_without_colour(
    build: Build, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(
        build(recorded("racing")), terminal_size=(120, 40), run_before=_read(*TO_TENSOR)
    )


def test_workshop_while_it_measures(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(recorded("racing")),
        terminal_size=(100, 30),
        run_before=_read(*TO_TENSOR, after=("down",)),
    )


def test_frozen_with_a_pending_knob(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(recorded("racing")), terminal_size=(120, 40), run_before=_drawn("space", "4", "1")
    )


def test_help(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(
        build(recorded("racing")), terminal_size=(80, 24), run_before=_drawn("question_mark")
    )


def test_too_small(build: Build, snap_compare: Compare) -> None:
    assert snap_compare(build(recorded("racing")), terminal_size=(60, 18), run_before=_drawn())
