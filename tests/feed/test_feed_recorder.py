"""Recording at any moment, over many races, and on disks that fail."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Knobs
from pitwall_tui.feed import reading
from pitwall_tui.feed.reading import Reader, events_of, read_recording
from pitwall_tui.feed.record import Recorder, RecordingError, RecordingFeed
from pitwall_tui.feed.script import ScriptFeed
from pitwall_tui.feed.tape import Standing, Tape
from pitwall_tui.race.events import (
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    Progress,
    RaceStarted,
    RecordingStopped,
    Refused,
)
from pitwall_tui.race.state import RaceState
from tests.scripted import Script

NOW = datetime(2026, 11, 27, 17, 31)


def season() -> list[FeedEvent]:
    """Three races on one engine, whose clock goes on, and whose knobs do."""
    events = list(Script(laps=3, cars=4).events((Knobs(), Knobs(speculation="junior"))))
    for number, (name, seed) in enumerate((("spa", 2), ("monaco", 3)), 2):
        script = Script(name=name, laps=3, cars=4, seed=seed)
        script.start = replace(script.start, race_number=number)
        last = next(event for event in reversed(events) if isinstance(event, Progress))
        events += [
            _later(event, last.snapshot.time)
            for event in script.events((Knobs(batching="static"), Knobs()))
            if not isinstance(event, Loading | EngineReady)
        ]
    return events


def _later(event: FeedEvent, seconds: float) -> FeedEvent:
    if not isinstance(event, Progress):
        return event
    snapshot = event.snapshot
    steps = tuple(replace(step, time=step.time + seconds) for step in snapshot.steps)
    later = replace(snapshot, time=snapshot.time + seconds, steps=steps)
    return replace(event, snapshot=later)


SEASON = season()
STARTS = [place for place, event in enumerate(SEASON) if isinstance(event, RaceStarted)]


def folded(events: Iterable[FeedEvent]) -> RaceState:
    state = RaceState()
    for event in events:
        state.apply(event)
    return state


def test_the_season_is_one() -> None:
    assert len(STARTS) == 3
    views = [folded(SEASON[:end]).view(0.0) for end in (*STARTS[1:], len(SEASON))]
    assert [view.status.flag for view in views] == ["chequered"] * 3
    assert [view.circuit for view in views] == ["monza", "spa", "monaco"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@given(begun=st.integers(0, len(SEASON)), more=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_whenever_a_recording_begins_it_has_the_whole_race(
    folder: Path, begun: int, more: int
) -> None:
    path, recorder = folder / "race.jsonl.gz", Recorder()
    ended = min(begun + more, len(SEASON))
    for place, event in enumerate(SEASON[:ended]):
        if place == begun:
            recorder.start(path)
        recorder.write(0.1 * place, event)
    if begun == ended:
        recorder.start(path)
    recorder.stop()
    live, replayed = folded(SEASON[:ended]), folded(events_of(path))
    assert replayed.view(0.0) == live.view(0.0)
    if any(start < ended for start in STARTS):
        assert replayed.summary() == live.summary()


def test_a_recording_that_is_ended_is_whole_and_the_next_one_too(tmp_path: Path) -> None:
    recorder, half = Recorder(), STARTS[1] // 2
    for place, event in enumerate(SEASON[: STARTS[1]]):
        if place in (3, half):
            recorder.start(tmp_path / f"{place}.gz")
        recorder.write(0.1 * place, event)
        if place == half - 5:
            recorder.stop()
    recorder.stop()
    assert list(events_of(tmp_path / "3.gz")) == SEASON[: half - 4]
    assert list(events_of(tmp_path / f"{half}.gz")) == SEASON[: STARTS[1]]


def test_what_the_file_has_can_be_read_while_it_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "race.gz")
    for place, event in enumerate(SEASON):
        recorder.write(2.0 * place + 2, event)
        assert recorder.file is not None
        assert recorder.file.size == (tmp_path / "race.gz").stat().st_size
        if place % 20 == 0:
            *events, last = events_of(tmp_path / "race.gz")
            assert events == SEASON[: place + 1]
            assert isinstance(last, FeedEnded)
    recorder.stop()
    assert list(events_of(tmp_path / "race.gz")) == SEASON


def test_past_its_size_a_recording_goes_on_in_a_file_for_each_race(tmp_path: Path) -> None:
    recorder = Recorder(limit=1)
    (tmp_path / "race-2.jsonl.gz").write_bytes(b"taken")
    recorder.start(tmp_path / "race.jsonl.gz")
    for place, event in enumerate(SEASON):
        recorder.write(0.1 * place, event)
    assert recorder.stop() is not None
    assert (tmp_path / "race-2.jsonl.gz").read_bytes() == b"taken"
    names = ("race.jsonl.gz", "race-3.jsonl.gz", "race-4.jsonl.gz")
    for name, start, end in zip(names, STARTS, (*STARTS[1:], len(SEASON)), strict=True):
        events = list(events_of(tmp_path / name))
        assert [event for event in events if isinstance(event, RaceStarted)] == [SEASON[start]]
        assert folded(events).view(0.0) == folded(SEASON[:end]).view(0.0)


def test_below_its_size_a_recording_has_all_races_in_one_file(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "race.gz")
    for place, event in enumerate(SEASON):
        recorder.write(0.1 * place, event)
    recorder.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["race.gz"]
    assert list(events_of(tmp_path / "race.gz")) == SEASON


def test_too_long_a_race_is_not_kept_and_the_next_one_is(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder._tape = Tape(kept=2000)
    for place, event in enumerate(SEASON[: STARTS[1]]):
        recorder.write(2.0 * place, event)
    with pytest.raises(RecordingError, match="record from the next one on"):
        recorder.start(tmp_path / "race.gz")
    assert not (tmp_path / "race.gz").exists()
    for place, event in enumerate(SEASON[STARTS[1] :], STARTS[1]):
        recorder.write(2.0 * place, event)
    recorder.start(tmp_path / "race.gz")
    recorder.stop()
    assert folded(events_of(tmp_path / "race.gz")).view(0.0) == folded(SEASON).view(0.0)


def test_too_long_a_race_is_still_recorded_to_its_file(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder._tape = Tape(kept=2000)
    recorder.start(tmp_path / "race.gz")
    for place, event in enumerate(SEASON):
        recorder.write(2.0 * place, event)
    recorder.stop()
    assert list(events_of(tmp_path / "race.gz")) == SEASON


def test_an_unnamed_recording_is_named_by_circuit_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = Recorder()
    assert recorder.switch(NOW) == (
        "recording pitwall-start-20261127-1731.jsonl.gz, the race from its start"
    )
    recorder.write(0.0, SEASON[0])
    file = tmp_path / "pitwall-start-20261127-1731.jsonl.gz"
    assert recorder.switch(NOW) == f"recorded {file}, 0.0 MiB"
    kept = file.read_bytes()
    for number in ("", "-2", "-3"):
        recorder.switch(NOW)
        recorder.switch(NOW)
        assert list(events_of(tmp_path / f"pitwall-monza-20261127-1731{number}.jsonl.gz")) == [
            SEASON[0]
        ]
    assert file.read_bytes() == kept


class FullFile:
    """A file on a disk with `room` bytes left."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        written = min(self.room, len(data), 7)  # and one that takes little at a time
        self.room -= written
        return written

    def close(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("room", [0, 10, 5000])
def test_a_full_disk_ends_the_recording_and_not_the_race(tmp_path: Path, room: int) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "race.jsonl.gz")
    recorder._out = FullFile(room)  # type: ignore[assignment]
    clock = iter(range(10**6))
    feed = RecordingFeed(ScriptFeed(SEASON), recorder, lambda: 2.0 * next(clock))
    pulled: list[FeedEvent] = []
    while events := feed.pull():
        pulled += events
    told = [event for event in pulled if isinstance(event, RecordingStopped)]
    assert [event for event in pulled if event not in told] == SEASON
    assert len(told) == 1
    assert "race.jsonl.gz: cannot be written: No space left on device" in told[0].reason
    assert recorder.file is None
    # What was kept in memory is not lost with the disk.
    recorder.start(tmp_path / "again.jsonl.gz")
    feed.close()
    assert folded(events_of(tmp_path / "again.jsonl.gz")).view(0.0) == folded(SEASON).view(0.0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_device_is_refused_in_one_line() -> None:
    recorder = Recorder()
    with pytest.raises(RecordingError, match="/dev/full: cannot be written: No space left"):
        recorder.start("/dev/full")
    assert recorder.file is None


def test_a_folder_that_cannot_be_written_is_refused_and_the_race_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    recorder.write(0.0, SEASON[0])
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(RecordingError, match="cannot be written"):
        recorder.switch(NOW)
    recorder.start(tmp_path / "race.gz")
    recorder.stop()
    assert list(events_of(tmp_path / "race.gz")) == [SEASON[0]]


def test_where_the_next_file_cannot_be_made_the_race_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    recorder = Recorder(limit=1)
    recorder.start(folder / "race.gz")
    feed = RecordingFeed(ScriptFeed(SEASON), recorder, lambda: 0.0)
    for _ in range(STARTS[1]):
        feed.pull()
    (folder / "race.gz").unlink()
    folder.rmdir()
    [event, stopped] = feed.pull()
    assert event == SEASON[STARTS[1]]
    assert isinstance(stopped, RecordingStopped)
    for _ in SEASON[STARTS[1] + 1 :]:
        feed.pull()
    recorder.start(tmp_path / "race.gz")
    feed.close()
    assert folded(events_of(tmp_path / "race.gz")).view(0.0) == folded(SEASON).view(0.0)


_WRITER = """
import sys
from tests.feed.test_feed_recorder import SEASON
from pitwall_tui.feed.record import Recorder
recorder = Recorder()
recorder.start(sys.argv[1])
for place, event in enumerate(SEASON):
    recorder.write(0.25 * place, event)
print("written", flush=True)
sys.stdin.read()
"""


def test_a_process_killed_by_force_leaves_all_but_the_last_second(tmp_path: Path) -> None:
    path = tmp_path / "race.gz"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    writer.communicate()
    *events, last = events_of(path)
    assert events == SEASON[: len(events)]
    assert len(SEASON) - len(events) <= 4
    assert last == FeedEnded(f"{path}: the recording breaks off here")


@pytest.mark.parametrize(("chunk", "unpacked"), [(1, 1000), (50, 7), (700, 2000), (10**6, 300)])
def test_races_are_read_whatever_the_pieces_they_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, unpacked: int
) -> None:
    """What follows a race's last byte may have come together with it, or unpack after it."""
    monkeypatch.setattr(reading, "_CHUNK", chunk)
    monkeypatch.setattr(reading, "_UNPACKED", unpacked)
    recorder = Recorder()
    recorder.start(tmp_path / "race.gz")
    events = [SEASON[0], Refused("a"), SEASON[STARTS[1]], Refused("b"), SEASON[STARTS[2]]]
    for event in events:
        recorder.write(1.0, event)
    recorder.stop()
    assert list(events_of(tmp_path / "race.gz")) == events


@given(place=st.integers(0, len(SEASON)))
@settings(max_examples=30, deadline=None)
def test_a_fork_of_a_reader_reads_what_the_reader_does(folder: Path, place: int) -> None:
    path = folder / "forked.gz"
    if not path.exists():
        recorder = Recorder()
        recorder.start(path)
        for number, event in enumerate(SEASON):
            recorder.write(0.1 * number, event)
        recorder.stop()
    reader = Reader(path)
    for _ in range(place):
        reader.next()
    fork = reader.fork()
    rest = list(iter(reader.next, None))
    assert list(iter(fork.next, None)) == rest
    assert [event for _, event in rest] == SEASON[place:]


def test_what_stood_before_a_race_comes_with_its_first_event(tmp_path: Path) -> None:
    standing = Standing()
    for event in SEASON[: STARTS[1]]:
        standing.apply(event)
    recorder = Recorder()
    recorder.start(tmp_path / "race.gz")
    recorder._tape = Tape(standing.events())
    recorder.start(tmp_path / "race.gz")
    recorder.write(500.0, SEASON[STARTS[1]])
    recorder.stop()
    rows = list(read_recording(tmp_path / "race.gz"))
    assert {time for time, _ in rows} == {500.0}
    assert [type(event).__name__ for _, event in rows] == [
        *(["Loading"] * 5),
        *("EngineReady", "Progress", "RaceStarted"),
    ]


def test_a_refusal_is_no_race(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "race.gz")
    for event in (Refused("a"), Refused("b")):
        recorder.write(1.0, event)
    recorder.stop()
    assert list(events_of(tmp_path / "race.gz")) == [Refused("a"), Refused("b")]
