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
from pitwall_tui.feed.reading import events_of, read_recording
from pitwall_tui.feed.record import Recorder, RecordingError, RecordingFeed
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.feed.script import ScriptFeed
from pitwall_tui.feed.tape import SCHEMA
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
    recorder = recorder_to(path)
    for index, event in enumerate(events):
        recorder.write(1000 + index * step, event)
    recorder.stop()
    return path


def recorder_to(path: Path) -> Recorder:
    recorder = Recorder()
    recorder.start(path)
    return recorder


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
    recorder = recorder_to(path)
    for index, event in enumerate(race):
        recorder.write(1000 + index * 0.25, event)
    left = path.read_bytes()  # the recorder is neither flushed nor closed
    recorder.stop()
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
        Recorder().start(tmp_path / "nowhere" / "race.gz")


def test_a_recorded_feed_is_the_feed(tmp_path: Path, race: list[FeedEvent]) -> None:
    clock, script = Clock(), ScriptFeed(race[:8])
    feed: Feed = RecordingFeed(script, recorder_to(tmp_path / "race.gz"), clock)
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
    feed = RecordingFeed(script, recorder_to(path), lambda: 0.0)
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
