"""A feed and a state that do as they are told."""

from collections.abc import Iterable

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui.race.events import FeedEvent
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView


class FakeFeed:
    """Hands out `events` at the next pull, and keeps the commands that it gets."""

    source = "fake"

    def __init__(self, *, live: bool = True) -> None:
        self.live = live
        self.events: list[FeedEvent] = []
        self.found: list[StudyNews] = []
        self.commands: list[tuple[object, ...]] = []

    def start(self) -> None:
        self.commands.append(("start",))

    def pull(self) -> tuple[FeedEvent, ...]:
        due, self.events = tuple(self.events), []
        return due

    def set_knobs(self, knobs: Knobs) -> None:
        self.commands.append(("knobs", knobs))

    def set_paused(self, paused: bool) -> None:
        self.commands.append(("paused", paused))

    def set_pace(self, tokens_per_second: float) -> None:
        self.commands.append(("pace", tokens_per_second))

    def set_draft(self, folder: str) -> None:
        self.commands.append(("draft", folder))

    def next_race(self) -> None:
        self.commands.append(("next",))

    def again(self) -> None:
        self.commands.append(("again",))

    def study(self, layer: str, scheme: str) -> None:
        self.commands.append(("study", (layer, scheme)))

    def studies(self) -> tuple[StudyNews, ...]:
        due, self.found = tuple(self.found), []
        return due

    def close(self) -> None:
        self.commands.append(("close",))

    def sent(self, kind: str) -> list[object]:
        """What came with each command of a kind."""
        return [command[-1] for command in self.commands if command[0] == kind]


class StillState(RaceState):
    """A race that stands at one view; a test moves it on by hand."""

    def __init__(self, view: RaceView) -> None:
        super().__init__()
        self.at = view
        self.applied: list[FeedEvent] = []

    def apply(self, event: FeedEvent) -> None:
        self.applied.append(event)

    def view(self, now: float, details: object = (), followed: object = ()) -> RaceView:
        return self.at


def kinds(commands: Iterable[tuple[object, ...]]) -> list[object]:
    return [command[0] for command in commands]
