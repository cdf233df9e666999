"""A race that a test has written."""

from collections.abc import Iterable
from itertools import islice

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui.race.events import FeedEvent


class ScriptFeed:
    """Yields the given events, one a pull, and keeps the commands that it gets in `commands`."""

    source = "script"

    def __init__(self, events: Iterable[FeedEvent], *, live: bool = True) -> None:
        self.live = live
        self.commands: list[tuple[str, object]] = []
        self._events = iter(events)

    def start(self) -> None:
        self.commands.append(("start", None))

    def pull(self) -> tuple[FeedEvent, ...]:
        return self.advance(1)

    def advance(self, count: int) -> tuple[FeedEvent, ...]:
        """The next `count` events at once; fewer at the end."""
        return tuple(islice(self._events, count))

    def set_knobs(self, knobs: Knobs) -> None:
        self.commands.append(("knobs", knobs))

    def set_paused(self, paused: bool) -> None:
        self.commands.append(("paused", paused))

    def set_draft(self, folder: str) -> None:
        self.commands.append(("draft", folder))

    def set_pace(self, tokens_per_second: float) -> None:
        self.commands.append(("pace", tokens_per_second))

    def next_race(self) -> None:
        self.commands.append(("next", None))

    def again(self) -> None:
        self.commands.append(("again", None))

    def study(self, layer: str, scheme: str) -> None:
        self.commands.append(("study", (layer, scheme)))

    def studies(self) -> tuple[StudyNews, ...]:
        return ()

    def close(self) -> None:
        self.commands.append(("close", None))
