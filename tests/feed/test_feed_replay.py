"""Playing a recording: at its times, to any place, and whatever the file holds."""

import gzip
import json
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitwall_tui.cli import main
from pitwall_tui.feed import index as index_module
from pitwall_tui.feed import reading
from pitwall_tui.feed.index import Index
from pitwall_tui.feed.reading import LONGEST_LINE, events_of, read_recording
from pitwall_tui.feed.record import Recorder, RecordingError
from pitwall_tui.feed.replay import SPEEDS, ReplayFeed
from pitwall_tui.feed.tape import FORMAT, SCHEMA
from pitwall_tui.race.events import FeedEnded, FeedEvent, Progress, RaceStarted, RedFlag
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView
from tests.feed.test_feed_record import Clock
from tests.feed.test_feed_recorder import SEASON, STARTS

STEP = 0.25
LENGTH = STEP * (len(SEASON) - 1)


def record(path: Path, events: list[FeedEvent], step: float = STEP) -> Path:
    recorder = Recorder()
    recorder.start(path)
    for index, event in enumerate(events):
        recorder.write(1000 + index * step, event)
    recorder.stop()
    return path


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "season.gz", SEASON)


class Player:
    """A wall without a screen: turns and pulls, and folds what it gets."""

    def __init__(self, path: Path, *, loop: bool = False, speed: float = 1.0) -> None:
        self.clock = Clock()
        self.feed = ReplayFeed(path, self.clock, speed, loop=loop)
        self.state = RaceState(self.feed.source)
        self.feed.start()
        self.tick()

    def tick(self, seconds: float = 0.0) -> tuple[FeedEvent, ...]:
        self.clock.now += seconds
        if (state := self.feed.turn()) is not None:
            self.state = state
        events = self.feed.pull()
        for event in events:
            self.state.apply(event)
        return events

    @property
    def position(self) -> float:
        return self.feed.view().position


@cache
def told() -> list[tuple[RaceView, dict[str, Any] | None]]:
    """What the race shows and comes to after each event of the season, played without a break."""
    state = RaceState("replay")
    found = [(state.view(0.0), None)]
    for event in SEASON:
        state.apply(event)
        found.append((state.view(0.0), state.summary()))
    return found


def view_after(count: int) -> RaceView:
    return told()[count][0]


def events_until(time: float) -> int:
    return bisect_right([STEP * place for place in range(len(SEASON))], time)


def test_a_replay_keeps_the_recorded_times(season: Path) -> None:
    clock = Clock()
    feed = ReplayFeed(season, clock, speed=2.0)
    feed.start()
    assert (feed.live, feed.source) == (False, "replay")
    assert feed.pull() == (SEASON[0],)
    assert feed.pull() == ()
    clock.now += 0.25
    assert feed.pull() == tuple(SEASON[1:3])
    clock.now += 1e6
    *rest, ended = feed.pull()
    assert rest == SEASON[3:]
    assert ended == FeedEnded("the recording is over")
    assert feed.pull() == ()


def test_a_recorded_end_is_the_only_end(tmp_path: Path) -> None:
    events: list[FeedEvent] = [RedFlag("killed"), FeedEnded("closed")]
    player = Player(record(tmp_path / "race.gz", events))
    assert player.tick(10) == (events[1],)
    assert player.tick(10) == ()


def test_a_paused_replay_stands_still(season: Path) -> None:
    player = Player(season)
    player.feed.set_paused(True)
    assert player.tick(50) == ()
    player.feed.set_paused(False)
    assert player.tick(0.25) == (SEASON[1],)


def test_a_closed_replay_plays_no_more(season: Path) -> None:
    player = Player(season)
    player.feed.close()
    assert player.tick(10) == ()


@given(
    places=st.lists(
        st.one_of(st.floats(0, LENGTH), st.sampled_from([0.0, LENGTH, 1e9, -5.0])),
        min_size=1,
        max_size=6,
    ),
    played=st.floats(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_to_go_to_a_place_is_to_play_up_to_it(
    season: Path, places: list[float], played: float
) -> None:
    player = Player(season)
    for place in places:
        player.feed.set_paused(True)
        player.feed.seek(place)
        player.tick()
        within = min(max(place, 0.0), LENGTH)
        assert player.position == pytest.approx(within)
        count = events_until(within)
        assert (player.state.view(0.0), player.state.summary()) == told()[count]
    if within + played < LENGTH:
        player.feed.set_paused(False)
        player.tick(played)
        assert player.state.view(0.0) == view_after(events_until(player.position))


def test_states_are_thinned_out_and_lead_to_the_same_places(
    season: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_EVERY", 2)
    monkeypatch.setattr(index_module, "_MOST", 5)
    index = Index(season, "replay")
    index.read_on(lambda: False)
    assert 2 <= len(index._kept) <= 5
    for count in (0, 1, 7, STARTS[1], STARTS[2] + 3, len(SEASON)):
        assert index.state_at(count)[0].view(0.0) == view_after(count)


def test_steps_go_to_the_next_and_the_last_batch(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "race.gz")
    for number in range(9):  # three events at a time
        recorder.write(10.0 + number // 3, RedFlag(str(number)))
    recorder.stop()
    player = Player(tmp_path / "race.gz")

    def newest() -> str:
        return player.state.view(0.0).radio[-1].text.removeprefix("red flag: ")

    assert newest() == "2"
    seen = []
    for by in (1, 1, 1, -1, -1, -1, 1):
        player.feed.step(by)
        player.tick(100)  # it stands
        seen.append((newest(), player.position))
    assert seen == [("5", 1), ("8", 2), ("8", 2), ("5", 1), ("2", 0), ("2", 0), ("5", 1)]
    assert not player.feed.view().playing


def test_seeks_add_up_before_they_are_done(season: Path) -> None:
    player = Player(season)
    for _ in range(3):
        player.feed.seek_by(2.0)
    player.feed.seek_by(-1.0)
    player.tick()
    assert player.position == pytest.approx(5.0)


@pytest.mark.parametrize("tenth", range(11))
def test_tenths(season: Path, tenth: int) -> None:
    player = Player(season)
    player.feed.set_paused(True)
    player.feed.seek_share(tenth / 10)
    player.tick()
    assert player.position == pytest.approx(LENGTH * tenth / 10)


def test_to_the_races_and_back(season: Path) -> None:
    player = Player(season)
    player.feed.set_paused(True)
    numbers = []
    go = [player.feed.next_race] * 3 + [player.feed.last_race] * 4
    for command in go:
        command()
        player.tick()
        view = player.state.view(0.0)
        numbers.append((view.race_number, view.status.flag))
    assert numbers == [
        *((2, "lights"), (3, "lights"), (3, "chequered")),
        *((3, "lights"), (2, "lights"), (1, "lights"), (1, "lights")),
    ]


def test_speeds_go_up_and_down_and_end(season: Path) -> None:
    player = Player(season)
    up = SPEEDS[SPEEDS.index(1.0) + 1 :]
    for speed in (*up, up[-1]):
        player.feed.change_speed(1)
        before = player.position
        player.tick(0.5)
        assert player.feed.view().speed == speed
        assert player.position - before == pytest.approx(0.5 * speed)
    for speed in (*reversed(SPEEDS[:-1]), SPEEDS[0]):
        player.feed.change_speed(-1)
        assert player.feed.view().speed == speed


def test_it_stops_at_the_end_and_begins_again_when_it_is_played(season: Path) -> None:
    player = Player(season)
    *_, ended = player.tick(LENGTH + 100)
    assert isinstance(ended, FeedEnded)
    assert not player.feed.view().playing
    assert player.position == LENGTH
    player.feed.set_paused(False)
    player.tick()
    assert player.position == 0
    assert player.state.view(0.0) == view_after(1)
    *_, ended = player.tick(LENGTH + 100)
    assert isinstance(ended, FeedEnded)


def test_in_a_loop_it_begins_again_after_a_rest(season: Path) -> None:
    player = Player(season, loop=True)
    player.tick(LENGTH)
    assert player.state.view(0.0) == view_after(len(SEASON))
    player.tick(7.9)
    assert player.position == LENGTH
    player.tick(0.2)
    player.tick()
    assert player.position == 0
    player.tick(1.0)
    assert player.state.view(0.0) == view_after(5)
    player.feed.switch_loop()
    *_, ended = player.tick(LENGTH)
    assert isinstance(ended, FeedEnded)


def test_marks_are_what_happened(season: Path) -> None:
    view = Player(season).feed.view()
    found: dict[str, list[float]] = {}
    for mark in view.marks:
        found.setdefault(mark.kind, []).append(mark.time)
    assert found["race"] == [pytest.approx(STEP * start) for start in STARTS]
    assert len(found["chequered"]) == 3
    knobs = []
    pits = set()
    used = None
    for place, event in enumerate(SEASON):
        if isinstance(event, RaceStarted):
            used = None
        if isinstance(event, Progress):
            for step in event.snapshot.steps:
                if used is not None and step.knobs != used:
                    knobs.append(STEP * place)
                used = step.knobs
                if step.preempted:
                    pits.add(STEP * place)
    assert knobs
    assert set(found["knob"]) <= set(knobs)
    assert found["knob"][0] == knobs[0]
    assert set(found["pit"]) <= pits
    assert found["pit"][0] == min(pits)
    words = {mark.text for mark in view.marks if mark.kind == "knob"}
    assert words == {"speculation junior", "batching continuous"}


class Ticking(Clock):
    """A clock on which looking at it takes time."""

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def test_what_is_not_looked_through_yet_is_come_to_in_time(season: Path) -> None:
    feed, state = ReplayFeed(season, Ticking()), RaceState("replay")
    feed.start()
    feed.set_paused(True)
    feed.seek_share(1.0)
    shares, turned = [feed.view().read], None
    while turned is None:
        turned = feed.turn()
        shares.append(feed.view().read)
        assert feed.view().seeking == (turned is None)
        assert len(shares) < 1000
    state = turned
    assert len(shares) > 5  # a little at a time
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert state.view(0.0) == view_after(len(SEASON))
    assert feed.view().position == LENGTH


def test_nothing_is_played_before_it_is_looked_through(season: Path) -> None:
    clock = Ticking()
    feed = ReplayFeed(season, clock)
    feed.start()
    clock.now += 1e6
    pulled: list[FeedEvent] = []
    while not (pulled and isinstance(pulled[-1], FeedEnded)):
        pulled += feed.pull()
        clock.now += 10
    assert pulled[:-1] == SEASON


def test_opening_reads_no_more_than_the_beginning(tmp_path: Path) -> None:
    path = record(tmp_path / "race.gz", SEASON)
    with path.open("ab") as file:
        file.write(path.read_bytes() * 20)
    feed = ReplayFeed(path, time.monotonic)
    assert feed.view().read < 0.2
    assert len(feed._index.times) == 0


# Files that are no recordings of ours


def gzipped(*lines: object) -> bytes:
    return gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode(), mtime=0)


HEADER = {"format": FORMAT, "schema": SCHEMA, "pitwall": "0.1.0", "standing": []}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzipped(HEADER | {"schema": 1}), "earlier pitwall .* record it anew"),
        (gzipped(HEADER | {"schema": 99, "pitwall": "9.9"}), "recorded by pitwall 9.9, newer"),
        (gzipped(HEADER | {"schema": "3"}), "not a recording"),
        (gzipped(HEADER | {"standing": 5}), "first line is damaged, or of a newer"),
        (gzipped(HEADER | {"standing": [["Warp", 1]]}), "first line is damaged, or of a newer"),
        (gzipped([1, 2]), "not a recording"),
        (gzip.compress(b"[" * 100_000, mtime=0), "not a recording"),
        (gzip.compress(b"[" * 100_000 + b"\n", mtime=0), "not a recording"),
        (gzip.compress(b" " * (LONGEST_LINE + 2**20), mtime=0), "not a recording"),
        (gzip.compress(b"\xff\xfe\n", mtime=0), "not a recording"),
    ],
    ids=range(10),
)
def test_a_foreign_beginning_is_refused_in_one_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "race.gz"
    path.write_bytes(content)
    opens: tuple[Callable[[Path], object], ...] = (
        read_recording,
        events_of,
        lambda path: ReplayFeed(path, Clock()),
    )
    for open_it in opens:
        with pytest.raises(RecordingError, match=reason) as caught:
            open_it(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="Is a directory"):
        ReplayFeed(tmp_path, Clock())


FLAG = [1.0, "RedFlag", "a"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("[2.0", "damaged here, or of a newer"),
        ('[NaN, "RedFlag", "b"]', "damaged here, or of a newer"),
        ('[Infinity, "RedFlag", "b"]', "damaged here, or of a newer"),
        (f'[1{"0" * 400}, "RedFlag", "b"]', "damaged here, or of a newer"),
        ('[2.0, "Warp", 9]', "damaged here, or of a newer"),
        ('[2.0, "RedFlag", "b", "c"]', "damaged here, or of a newer"),
        ('[2.0, "Progress", [], [], []]', "damaged here, or of a newer"),
        ('[2.0, "Progress", 5]', "damaged here, or of a newer"),
        ("[2.0]", "damaged here, or of a newer"),
        ('{"format": "other"}', "not a recording of pitwall"),
        ("[" * 100_000, "damaged here, or of a newer"),
        (" " * (LONGEST_LINE + 2**20), "a line of more than 16 MiB is none of ours"),
    ],
    ids=lambda text: text[:40],
)
def test_what_cannot_be_read_on_ends_in_one_line(tmp_path: Path, row: str, reason: str) -> None:
    path = tmp_path / "race.gz"
    path.write_bytes(gzipped(HEADER, FLAG) + gzip.compress(row.encode() + b"\n", mtime=0))
    flag, ended = events_of(path)
    assert flag == RedFlag("a")
    assert isinstance(ended, FeedEnded)
    assert ended.reason.startswith(str(path))
    assert reason in ended.reason
    assert "\n" not in ended.reason
    player = Player(path)
    player.tick(100)
    assert reason in player.state.view(0.0).status.reason


def test_a_small_file_that_unpacks_to_much_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "race.gz"
    path.write_bytes(gzipped(HEADER, FLAG) + gzip.compress(b" " * 300 * 2**20, 9, mtime=0))
    assert path.stat().st_size < 2**20
    longest = 0
    unpack = reading._Lines._unpack

    def watched(lines: reading._Lines) -> bool:
        nonlocal longest
        more = unpack(lines)
        longest = max(longest, len(lines._text))
        return more

    monkeypatch.setattr(reading._Lines, "_unpack", watched)
    *_, ended = events_of(path)
    assert isinstance(ended, FeedEnded)
    assert LONGEST_LINE < longest < LONGEST_LINE + 2**20


def test_events_that_make_no_race_end_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is an event, but their tokens are of no 32 bits, and no list of tokens is."""
    event = next(event for event in SEASON if isinstance(event, Progress) and event.text)
    step = next(step for step in event.snapshot.steps if step.tokens)
    tokens = tuple((id, tuple(2**40 for _ in found)) for id, found in step.tokens)
    snapshot = replace(event.snapshot, steps=(replace(step, tokens=tokens),))
    path = record(tmp_path / "race.gz", [*SEASON[:8], replace(event, snapshot=snapshot), SEASON[8]])
    player = Player(path)
    player.tick(100)
    assert player.state.view(0.0).status.reason == f"{path}: the recording is damaged here"
    assert main(["replay", str(path), "--headless"]) == 2
    assert capsys.readouterr().err == (
        f"pitwall: {path}: the recording is damaged: it makes no race\n"
    )


def test_times_that_go_back_do_not(tmp_path: Path) -> None:
    path = tmp_path / "race.gz"
    path.write_bytes(gzipped(HEADER, [5.0, "RedFlag", "a"], [1.0, "RedFlag", "b"]))
    assert [time for time, _ in read_recording(path)] == [5.0, 5.0]


def test_a_recording_of_the_schema_before_is_still_read(tmp_path: Path) -> None:
    """Its page maps are whole, and it says nothing of what stood before."""
    from pitwall_tui.feed.codec import encode_event

    rows = [[float(place), *encode_event(event)] for place, event in enumerate(SEASON)]
    path = tmp_path / "race.gz"
    path.write_bytes(gzipped({"format": FORMAT, "schema": 2, "pitwall": "0.1.0"}, *rows))
    assert list(events_of(path)) == SEASON


def test_page_maps_are_written_as_what_changed(tmp_path: Path) -> None:
    path = record(tmp_path / "race.gz", SEASON)
    with gzip.open(path) as file:
        lines = [line for line in file if b'"Progress"' in line[:40]]
    first, *rest = (json.loads(line)[2][6] for line in lines)
    assert all(isinstance(part, str) for part in first[:2])
    assert all(isinstance(part, list) for change in rest[:50] for part in change[:2])
    assert max(len(change[0][1]) for change in rest[:50]) < len(first[0]) / 4
