"""What all tests of the screens share: a plain environment, and apps over fixed moments."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.css.stylesheet import CSSLocation, Stylesheet

from pitwall_tui.app import PitWallApp
from pitwall_tui.race.view import RaceView
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.taught import FakeAcademy

_SCRUBBED = ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "TERM", "UNICODE_VERSION")
MOMENTS: dict[str, Callable[[], RaceView]] = {
    "empty": views.empty,
    "loading": views.loading,
    "racing": views.racing,
    "drafting": views.drafting,
    "finished": views.finished,
}

Build = Callable[..., PitWallApp]


@pytest.fixture(scope="session", autouse=True)
def _style_sheets_are_parsed_once() -> Iterator[None]:
    """A third of an app's start, and the same for all: Textual keeps it for one app alone."""
    parse, parsed = Stylesheet._parse_rules, {}

    def once(self: Stylesheet, css: str, read_from: CSSLocation, *args: Any, **more: Any) -> Any:
        variables = tuple(sorted(self._variables.items()))
        key = (css, read_from, args, tuple(sorted(more.items())), variables)
        if key not in parsed:
            parsed[key] = parse(self, css, read_from, *args, **more)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", once)
        yield


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No terminal setting of whoever runs the tests gets into a picture."""
    for name in list(os.environ):
        of_textual = name.startswith("TEXTUAL_") and not name.startswith("TEXTUAL_SNAPSHOT_")
        if name in _SCRUBBED or of_textual:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture
def moment() -> Callable[[str], RaceView]:
    """The view at a named moment of a race: the one source of what pictures show."""
    return lambda name: MOMENTS[name]()


@pytest.fixture
def build(moment: Callable[[str], RaceView]) -> Build:
    """An app that stands at a moment (or at a view), with no timer and a clock that stands."""

    def make(at: str | RaceView = "racing", *, live: bool = True, now: float = 10.0) -> PitWallApp:
        view = moment(at) if isinstance(at, str) else at
        academy = FakeAcademy() if live else None
        app = PitWallApp(FakeFeed(live=live), StillState(view), academy, clock=lambda: now, fps=0)
        app.animation_level = "none"
        app._disable_notifications = True  # a toast leaves by a timer
        return app

    return make
