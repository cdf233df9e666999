"""Make the shipped recordings: real races of the shipped chief, with knobs turned on the way.

    python -m benchmarks.record_race monza|demo [FILE]

`monza` is what the screens' pictures show, `demo` what `pitwall --demo` plays. Their memory is
small enough that cars lose pages, so that every sign of a race is in them.
"""

import argparse
import sys
import time
from dataclasses import dataclass

from engine.config import Knobs
from pitwall_tui.feed.live import LiveFeed
from pitwall_tui.feed.record import Recorder, RecordingFeed
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.paths import asset
from pitwall_tui.race.events import FeedEnded, RedFlag, Refused
from pitwall_tui.race.state import RaceState


@dataclass(frozen=True)
class Turn:
    """Knobs and pace (output tokens/s, 0: flat out) from the leader's `lap` on."""

    lap: int
    knobs: Knobs
    pace: float = 0


@dataclass(frozen=True)
class Show:
    """Races one after the other, each with its turns, the first of them on its grid."""

    settings: RaceSettings
    races: tuple[tuple[Turn, ...], ...]


JUNIOR = Knobs(speculation="junior")
SHOWS = {
    "monza": Show(
        RaceSettings(laps=24, kv_memory_mib=72),
        (
            (
                Turn(0, Knobs()),
                Turn(5, Knobs(prefix_cache="off")),
                Turn(8, Knobs(batching="static")),
                Turn(11, Knobs(paging="contiguous")),
                Turn(13, Knobs()),
                Turn(15, JUNIOR),
                Turn(18, Knobs(speculation="junior", weights="int8")),
                Turn(
                    21,
                    Knobs(
                        speculation="junior", draft_length="auto", weights="int4", kv_dtype="int8"
                    ),
                ),
            ),
        ),
    ),
    "demo": Show(
        RaceSettings(laps=20, kv_memory_mib=56),
        (
            # Who waits for whom: one car at a time, fixed groups, whoever is there.
            (
                Turn(0, Knobs(batching="none")),
                Turn(4, Knobs(batching="static")),
                Turn(6, Knobs(), 250),
                Turn(16, Knobs()),
            ),
            # Fewer bits, and drafts.
            (
                Turn(0, Knobs(), 250),
                Turn(3, Knobs(weights="int8"), 500),
                Turn(7, Knobs(weights="int8")),
                Turn(10, Knobs(weights="int8", speculation="junior"), 250),
                Turn(16, Knobs(weights="int4", kv_dtype="int8", speculation="junior"), 500),
            ),
            # Pages run short: pit stops, and what the prefix cache and paging are for.
            (
                Turn(0, Knobs(prefix_cache="off"), 300),
                Turn(8, Knobs(paging="contiguous"), 300),
                Turn(11, Knobs(), 300),
                Turn(15, Knobs(kv_dtype="int8"), 500),
            ),
        ),
    ),
}
POLL_SECONDS = 0.1
REST_SECONDS = 6.0


def run(show: Show, file: str) -> None:
    recorder = Recorder()
    recorder.start(file)
    feed = RecordingFeed(LiveFeed(show.settings), recorder, time.monotonic)
    state = RaceState(feed.source)
    try:
        feed.start()
        for number, (first, *turns) in enumerate(show.races, 1):
            feed.set_knobs(first.knobs)
            feed.set_pace(first.pace)
            if number > 1:
                feed.next_race()
            drive(feed, state, number, turns)
            view = state.view(0.0)
            print(f"race {number}: {view.status.preemptions} preemptions, {len(view.radio)} lines")
    finally:
        feed.close()


def drive(feed: RecordingFeed, state: RaceState, number: int, turns: list[Turn]) -> None:
    """One race to its flag, and a rest after it."""
    rest = REST_SECONDS
    while rest > 0:
        for event in feed.pull():
            if isinstance(event, RedFlag | Refused | FeedEnded):
                raise SystemExit(f"the race was disturbed: {event.reason}")
            state.apply(event)
        view = state.view(0.0)
        if view.race_number == number:
            if turns and view.leader_lap >= turns[0].lap:
                turn = turns.pop(0)
                feed.set_knobs(turn.knobs)
                feed.set_pace(turn.pace)
            if state.over:
                rest -= POLL_SECONDS
        time.sleep(POLL_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record_race")
    parser.add_argument("show", choices=list(SHOWS))
    parser.add_argument("file", nargs="?")
    args = parser.parse_args()
    run(SHOWS[args.show], args.file or str(asset(f"races/{args.show}.jsonl.gz")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
