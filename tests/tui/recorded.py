"""Moments of the shipped recording: a real race of the real engine, the same on any machine."""

from collections.abc import Callable
from functools import cache

from pitwall_tui.feed.reading import events_of
from pitwall_tui.paths import asset
from pitwall_tui.race.events import FeedEvent, Loading
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView

FILE = asset("races/monza.jsonl.gz")

Until = Callable[[FeedEvent, RaceState], bool]

UNTIL: dict[str, Until] = {
    # The second light is on, the third is coming.
    "loading": lambda event, state: isinstance(event, Loading) and event.index == 2,
    # Pages are short, and what int8 weights lose has been scored.
    "racing": lambda event, state: (
        (found := state.view(0.0).quality) is not None and found.tokens > 0
    ),
    "finished": lambda event, state: state.over,
}


@cache
def recorded(name: str) -> RaceView:
    """The first view of the recording that is `name`."""
    state = RaceState()
    for event in events_of(FILE):
        state.apply(event)
        if UNTIL[name](event, state):
            return state.view(10.0)
    raise AssertionError(f"the recording is never {name}")
