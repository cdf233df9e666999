"""Make the shipped recording: a real race of the shipped chief, with knobs turned on the way.

    python -m benchmarks.record_race [FILE]

The memory is small enough that cars lose pages, so that every sign of the race is in it.
"""

import sys
import time

from engine.config import Knobs
from pitwall_tui.feed.live import LiveFeed
from pitwall_tui.feed.record import Recorder, RecordingFeed
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.paths import asset
from pitwall_tui.race.events import FeedEnded, RedFlag, Refused
from pitwall_tui.race.state import RaceState

LAPS = 24
KV_MEMORY_MIB = 72
# (lap of the leader, knobs from then on)
TURNS = (
    (5, Knobs(prefix_cache="off")),
    (8, Knobs(batching="static")),
    (11, Knobs(paging="contiguous")),
    (13, Knobs()),
    (15, Knobs(speculation="junior")),
    (18, Knobs(speculation="junior", weights="int8")),
    (21, Knobs(speculation="junior", draft_length="auto", weights="int4", kv_dtype="int8")),
)
POLL_SECONDS = 0.1


def main() -> int:
    file = sys.argv[1] if len(sys.argv) > 1 else str(asset("races/monza.jsonl.gz"))
    settings = RaceSettings(laps=LAPS, kv_memory_mib=KV_MEMORY_MIB)
    start = time.monotonic()
    feed = RecordingFeed(LiveFeed(settings), Recorder(file), lambda: time.monotonic() - start)
    state = RaceState(feed.source)
    turns = list(TURNS)
    try:
        feed.start()
        while not state.over:
            for event in feed.pull():
                if isinstance(event, RedFlag | Refused | FeedEnded):
                    raise SystemExit(f"the race was disturbed: {event.reason}")
                state.apply(event)
            view = state.view(0.0)
            if turns and view.leader_lap >= turns[0][0]:
                feed.set_knobs(turns.pop(0)[1])
            time.sleep(POLL_SECONDS)
    finally:
        feed.close()
    print(f"{file}: {view.status.preemptions} preemptions, {len(view.radio)} radio lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
