"""The seam between the screen and wherever a race comes from."""

from typing import Protocol

from engine.config import Knobs
from engine.studies import StudyNews
from pitwall_tui.race.events import FeedEvent


class Feed(Protocol):
    """A race that happens somewhere: a live engine, a recording, a script.

    Nothing here blocks: commands are sent, `pull` takes what has come in since the last call.
    `live` is False where no engine listens to the commands. `studies` takes what `pull` has brought
    of the study asked for last: it is no part of the race, and is not recorded.
    """

    live: bool
    source: str

    def start(self) -> None: ...

    def pull(self) -> tuple[FeedEvent, ...]: ...

    def set_knobs(self, knobs: Knobs) -> None: ...

    def set_paused(self, paused: bool) -> None: ...

    def set_pace(self, tokens_per_second: float) -> None: ...

    def set_draft(self, folder: str) -> None: ...

    def next_race(self) -> None: ...

    def again(self) -> None: ...

    def study(self, layer: str, scheme: str) -> None: ...

    def studies(self) -> tuple[StudyNews, ...]: ...

    def close(self) -> None: ...
