"""Recordings: what is read is what was written, whatever happens to the file in between."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import KNOBS, Knobs
from engine.stats import EngineSnapshot, StepStats
from pitwall_tui.feed.base import Feed
from pitwall_tui.feed.codec import decode_event, encode_event
from pitwall_tui.feed.record import (
    SCHEMA,
    Recorder,
    RecordingError,
    RecordingFeed,
    events_of,
    read_recording,
)
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.feed.script import ScriptFeed
from pitwall_tui.race.events import (
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    Progress,
    RaceStarted,
    RecordingStopped,
    RedFlag,
    Refused,
)
from tests.scripted import Script

st.register_type_strategy(
    Knobs,
    st.builds(
        Knobs,
        **{
            knob.name: st.sampled_from(knob.values) if knob.values else st.integers(knob.low, 999)
            for knob in KNOBS
        },
    ),
)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
EVENTS = st.one_of(
    *(
        st.from_type(kind)
        for kind in (
            RaceStarted,
            Loading,
            EngineReady,
            Progress,
            RedFlag,
            Refused,
            RecordingStopped,
            FeedEnded,
        )
    )
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def race() -> list[FeedEvent]:
    return list(Script(laps=3, cars=5).events((Knobs(), Knobs(speculation="junior"))))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "race.gz"


def record(path: Path, events: list[FeedEvent], step: float = 0.25) -> Path:
    recorder = Recorder(path)
    for index, event in enumerate(events):
        recorder.write(1000 + index * step, event)
    recorder.close()
    return path


@given(event=EVENTS)
@settings(max_examples=80, deadline=None)
def test_every_event_survives_json(event: FeedEvent) -> None:
    assert decode_event(json.loads(json.dumps(encode_event(event)))) == event


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        ["Nothing"],
        ["RedFlag"],
        ["RedFlag", 1],
        ["RedFlag", "a", "b"],
        ["Loading", 0, "a", "b", "c"],
        ["Progress", [], []],
        ["EngineReady", None],
    ],
)
def test_what_is_no_event_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_event(data)


def test_fields_added_later_take_their_defaults(race: list[FeedEvent]) -> None:
    event = next(event for event in race if isinstance(event, Progress))
    data = encode_event(event)
    steps = data[1][list(EngineSnapshot.__dataclass_fields__).index("steps")]
    # `ms` and the fields of a step after it have a default.
    del steps[0][list(StepStats.__dataclass_fields__).index("ms") :]
    assert data.pop() == []  # what was overruled, in a step without drafts
    read = decode_event(data)
    assert isinstance(read, Progress)
    assert read.snapshot.steps[0].ms.total == 0
    assert read.snapshot.steps[1:] == event.snapshot.steps[1:]


def test_what_is_read_is_what_was_written(tmp_path: Path, race: list[FeedEvent]) -> None:
    path = record(tmp_path / "race.jsonl.gz", race)
    assert list(events_of(path)) == race
    times = [time for time, _ in read_recording(path)]
    assert times == [1000 + 0.25 * index for index in range(len(race))]


def test_a_killed_process_leaves_all_but_the_last_second(
    tmp_path: Path, race: list[FeedEvent]
) -> None:
    path = tmp_path / "race.jsonl.gz"
    recorder = Recorder(path)
    for index, event in enumerate(race):
        recorder.write(1000 + index * 0.25, event)
    left = path.read_bytes()  # the recorder is neither flushed nor closed
    recorder.close()
    (tmp_path / "left.gz").write_bytes(left)
    *events, last = events_of(tmp_path / "left.gz")
    assert events == race[: len(events)]
    assert len(race) - len(events) <= 4
    assert isinstance(last, FeedEnded)
    assert "breaks off" in last.reason


def read_all(path: Path) -> tuple[list[FeedEvent], str]:
    """The events, or the refusal."""
    try:
        return list(events_of(path)), ""
    except RecordingError as error:
        return [], str(error)


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, deadline=None)
def test_a_truncated_file_plays_as_far_as_it_goes(damaged: Path, cut: float) -> None:
    race = list(Script(laps=3, cars=2).events())
    content = record(damaged, race).read_bytes()
    damaged.write_bytes(content[: int(len(content) * cut)])
    events, refusal = read_all(damaged)
    if refusal:
        assert refusal.startswith(str(damaged))
        assert "\n" not in refusal
    else:
        *played, last = events
        assert played == race[: len(played)]
        assert isinstance(last, FeedEnded)
        assert "breaks off" in last.reason


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_a_changed_byte_does_not_go_unseen(damaged: Path, place: float, flip: int) -> None:
    race = list(Script(laps=3, cars=2).events())
    content = bytearray(record(damaged, race).read_bytes())
    content[int(len(content) * place)] ^= flip
    damaged.write_bytes(content)
    events, refusal = read_all(damaged)
    # Some bytes mean nothing: gzip's time stamp, the padding of a flush.
    unharmed = events == race
    broken = bool(events) and isinstance(events[-1], FeedEnded)
    assert refusal or unharmed or broken


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "not a recording"),
        (b"plain text", "not a recording"),
        (gzipped(""), "not a recording"),
        (gzipped("[1, 2]\n"), "not a recording"),
        (gzipped('{"format": "other", "schema": 1}\n'), "not a recording"),
        (
            gzipped(json.dumps({"format": "pitwall recording", "schema": SCHEMA + 1}) + "\n"),
            "newer than this one",
        ),
    ],
)
def test_a_foreign_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "race.gz"
    if content is not None:
        path.write_bytes(content)
    for read in (read_recording, events_of, lambda path: ReplayFeed(path, Clock())):
        with pytest.raises(RecordingError, match=reason) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be written"):
        Recorder(tmp_path / "nowhere" / "race.gz")


def test_a_recorded_feed_is_the_feed(tmp_path: Path, race: list[FeedEvent]) -> None:
    clock, script = Clock(), ScriptFeed(race[:8])
    feed: Feed = RecordingFeed(script, Recorder(tmp_path / "race.gz"), clock)
    assert (feed.live, feed.source) == (True, "script")
    feed.start()
    pulled = []
    while events := feed.pull():
        pulled += events
        clock.now += 1
    feed.set_knobs(Knobs(kv_cache="off"))
    feed.set_paused(True)
    feed.set_pace(50)
    feed.set_draft("junior")
    feed.next_race()
    feed.close()
    assert pulled == race[:8]
    assert list(read_recording(tmp_path / "race.gz")) == [
        (100.0 + index, event) for index, event in enumerate(race[:8])
    ]
    assert script.commands == [
        ("start", None),
        ("knobs", Knobs(kv_cache="off")),
        ("paused", True),
        ("pace", 50),
        ("draft", "junior"),
        ("next", None),
        ("close", None),
    ]


def play(path: Path, clock: Clock, speed: float = 1.0) -> ReplayFeed:
    feed = ReplayFeed(path, clock, speed)
    feed.start()
    return feed


def test_a_replay_keeps_the_recorded_times(tmp_path: Path, race: list[FeedEvent]) -> None:
    clock = Clock()
    feed = play(record(tmp_path / "race.gz", race), clock, speed=2.0)
    assert (feed.live, feed.source) == (False, "replay")
    assert feed.pull() == (race[0],)
    assert feed.pull() == ()
    clock.now += 0.25
    assert feed.pull() == tuple(race[1:3])
    clock.now += 1e6
    *rest, ended = feed.pull()
    assert rest == race[3:]
    assert ended == FeedEnded("the recording is over")
    assert feed.pull() == ()


def test_a_recorded_end_is_the_only_end(tmp_path: Path) -> None:
    clock, events = Clock(), [RedFlag("killed"), FeedEnded("closed")]
    feed = play(record(tmp_path / "race.gz", events), clock)
    clock.now += 10
    assert feed.pull() == tuple(events)
    assert feed.pull() == ()


def test_a_paused_replay_stands_still(tmp_path: Path, race: list[FeedEvent]) -> None:
    clock = Clock()
    feed = play(record(tmp_path / "race.gz", race), clock)
    feed.pull()
    feed.set_paused(True)
    clock.now += 50
    assert feed.pull() == ()
    feed.set_paused(False)
    clock.now += 0.25
    assert feed.pull() == (race[1],)


def test_a_replay_winds_on_to_the_next_race(tmp_path: Path, race: list[FeedEvent]) -> None:
    clock = Clock()
    feed = play(record(tmp_path / "race.gz", [*race, *race]), clock)
    assert feed.pull() == (race[0],)
    feed.next_race()
    assert feed.pull() == (*race[1:], race[0])
    clock.now += 0.25
    assert feed.pull() == (race[1],)
    feed.next_race()
    assert feed.pull() == (*race[2:], FeedEnded("the recording is over"))
    feed.next_race()
    assert feed.pull() == ()


def test_a_closed_replay_plays_no_more(tmp_path: Path, race: list[FeedEvent]) -> None:
    clock = Clock()
    feed = play(record(tmp_path / "race.gz", race), clock)
    feed.close()
    clock.now += 10
    assert feed.pull() == ()


def test_a_script_yields_one_event_a_pull() -> None:
    events: list[FeedEvent] = [RedFlag("a"), RedFlag("b"), RedFlag("c")]
    feed: Feed = ScriptFeed(events, live=False)
    assert not feed.live
    assert feed.pull() == (events[0],)
    assert isinstance(feed, ScriptFeed)
    assert feed.advance(5) == tuple(events[1:])
    assert feed.pull() == ()


def test_studies_pass_a_recording_by(tmp_path: Path) -> None:
    path = tmp_path / "race.jsonl.gz"
    script = ScriptFeed([RedFlag("a")])
    feed = RecordingFeed(script, Recorder(path), lambda: 0.0)
    feed.start()
    feed.study("head", "int8")
    feed.pull()
    assert feed.studies() == ()
    feed.close()
    assert ("study", ("head", "int8")) in script.commands
    assert [event for _, event in read_recording(path)] == [RedFlag("a")]
    replay = ReplayFeed(path, lambda: 0.0)
    replay.study("head", "int8")
    assert replay.studies() == ()


def test_a_full_disk_ends_the_recording_and_not_the_race(tmp_path: Path) -> None:
    events = [Refused(f"event {number}") for number in range(4)]
    recorder = Recorder(tmp_path / "race.jsonl.gz")
    feed = RecordingFeed(ScriptFeed(events), recorder, lambda: 0.0)
    feed.start()
    first = feed.pull()

    def full(data: bytes) -> int:
        raise OSError(28, "No space left on device")

    recorder._file.write = full  # type: ignore[method-assign]
    second = feed.pull()
    assert second[: len(first)] == (events[1],)
    assert isinstance(second[-1], RecordingStopped)
    assert "No space left" in second[-1].reason
    assert feed.pull() == (events[2],)
    feed.close()
