"""Races on a live engine: to the flag, through a lost engine, and on to the next."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.config import EngineError, Knobs
from pitwall_tui.feed import settings as race_settings
from pitwall_tui.feed.live import LiveFeed
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.events import (
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    Progress,
    RaceStarted,
    RedFlag,
    Refused,
)
from pitwall_tui.race.state import RaceState
from tests.live.test_client import PATIENCE, broken

Run = Callable[[Callable[[list[FeedEvent], RaceState], bool]], tuple[list[FeedEvent], RaceState]]


@pytest.fixture
def settings(folder: Path) -> RaceSettings:
    return RaceSettings(model=str(folder), laps=3, cars=4, kv_memory_mib=2)


def hashes(state: RaceState) -> dict[str, str]:
    cars = state.summary()["cars"]
    assert isinstance(cars, list)
    return {car["id"]: car["tokens_sha256"] for car in cars}


@pytest.fixture
def feeds() -> Iterator[list[LiveFeed]]:
    opened: list[LiveFeed] = []
    yield opened
    for feed in opened:
        feed.close()


def drive(
    feed: LiveFeed,
    done: Callable[[list[FeedEvent], RaceState], bool],
    state: RaceState | None = None,
) -> tuple[list[FeedEvent], RaceState]:
    state = state or RaceState(feed.source)
    events: list[FeedEvent] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for event in feed.pull():
            events.append(event)
            state.apply(event)
            if done(events, state):
                return events, state
        time.sleep(0.01)
    raise AssertionError(f"nothing came of it: {events[-2:]}")


def over(events: list[FeedEvent], state: RaceState) -> bool:
    return state.over


@pytest.fixture
def undisturbed(settings: RaceSettings, feeds: list[LiveFeed]) -> dict[str, str]:
    feed = LiveFeed(settings)
    feeds.append(feed)
    feed.start()
    events, state = drive(feed, over)
    kinds = [type(event) for event in events]
    assert kinds.index(EngineReady) < kinds.index(RaceStarted) < kinds.index(Progress)
    lights = {e.index for e in events if isinstance(e, Loading) and e.seconds is not None}
    assert lights == {0, 1, 2, 3, 4}
    return hashes(state)


def test_a_lost_engine_changes_no_token(
    settings: RaceSettings, feeds: list[LiveFeed], undisturbed: dict[str, str]
) -> None:
    feed = LiveFeed(replace(settings, pace=800.0))
    feeds.append(feed)
    feed.start()
    killed = False

    def kill_once(events: list[FeedEvent], state: RaceState) -> bool:
        nonlocal killed
        tokens = sum(car.tokens for car in state.view(0.0).cars)
        if tokens > 100 and not killed and feed._client is not None:
            os.kill(feed._client.pid, signal.SIGKILL)
            killed = True
        return state.over

    events, state = drive(feed, kill_once)
    assert sum(isinstance(event, RedFlag) for event in events) == 1
    assert hashes(state) == undisturbed


def test_drafts_change_no_token_and_what_was_overruled_is_told(
    settings: RaceSettings, feeds: list[LiveFeed], undisturbed: dict[str, str]
) -> None:
    drafting = Knobs(speculation="junior", draft_length=3)
    feed = LiveFeed(replace(settings, draft=settings.model, knobs=drafting))
    feeds.append(feed)
    feed.start()
    events, state = drive(feed, over)
    assert hashes(state) == undisturbed
    assert state.view(0.0).draft
    told = [event for event in events if isinstance(event, Progress)]
    verdicts = [v for event in told for step in event.snapshot.steps for v in step.verdicts]
    block = state.summary()["speculation"]
    assert isinstance(block, dict)
    assert block["drafts"] == len(verdicts) > 0
    assert sum(len(texts) for event in told for _, texts in event.overruled) == len(verdicts)


def test_the_next_race_is_another_and_knobs_stay(
    settings: RaceSettings, feeds: list[LiveFeed]
) -> None:
    feed = LiveFeed(settings)
    feeds.append(feed)
    feed.start()
    drive(feed, lambda events, state: isinstance(events[-1], Progress))
    feed.set_knobs(Knobs(batching="static", static_batch=2))
    feed.next_race()
    events, _ = drive(feed, lambda events, state: state.over and state.view(0.0).race_number == 2)
    first = events.index(next(event for event in events if isinstance(event, RaceStarted)))
    told = [event for event in events[first:] if isinstance(event, Progress)]
    assert all(r.id.startswith("2-") for event in told for r in event.snapshot.requests)
    starts = [event for event in events if isinstance(event, RaceStarted)]
    assert [(race.race_number, race.circuit) for race in starts] == [(2, "spa")]
    batches = [
        len(step.tokens)
        for event in events
        if isinstance(event, Progress)
        for step in event.snapshot.steps
        if step.knobs.batching == "static"
    ]
    assert max(batches) == 2


def test_the_same_race_again_has_its_first_running_as_its_ghost(
    settings: RaceSettings, feeds: list[LiveFeed]
) -> None:
    feed = LiveFeed(settings)
    feeds.append(feed)
    feed.start()
    events, state = drive(feed, over)
    first = hashes(state)
    feed.again()
    told, _ = drive(feed, lambda _, state: state.over and state.view(0.0).race_number == 2, state)
    starts = [event for event in (*events, *told) if isinstance(event, RaceStarted)]
    assert [(race.race_number, race.circuit) for race in starts] == [(1, "monza"), (2, "monza")]
    assert starts[0].seed == starts[1].seed
    assert not {car.id for car in starts[0].cars} & {car.id for car in starts[1].cars}
    assert list(hashes(state).values()) == list(first.values())
    ghost = state.view(0.0).ghost
    assert ghost is not None
    assert not ghost.projection
    assert ghost.label == "the same knobs"
    assert set(ghost.cars) <= {car.code for car in starts[1].cars}
    feed.next_race()
    last = drive(feed, lambda events, state: isinstance(events[-1], RaceStarted))[0]
    assert [(e.race_number, e.circuit) for e in last if isinstance(e, RaceStarted)] == [(3, "spa")]


def test_too_little_kv_memory_is_refused_by_name(
    settings: RaceSettings, feeds: list[LiveFeed]
) -> None:
    feed = LiveFeed(replace(settings, kv_memory_mib=0.02))
    feeds.append(feed)
    feed.start()
    events, _ = drive(feed, lambda events, state: isinstance(events[-1], FeedEnded))
    assert "give --kv-memory-mib" in events[-1].reason  # type: ignore[union-attr]


def test_a_model_without_a_tokenizer_ends_the_feed(
    settings: RaceSettings, feeds: list[LiveFeed], folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).symlink_to(folder / name)
    feed = LiveFeed(replace(settings, model=str(bare)))
    feeds.append(feed)
    feed.start()
    events, _ = drive(feed, lambda events, state: isinstance(events[-1], FeedEnded))
    assert "tokenizer.json" in events[-1].reason  # type: ignore[union-attr]
    feed.next_race()  # there is no engine to start it on
    assert feed.pull() == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"circuit": "imola"}, ("imola", "monza")),
        ({"laps": 2}, ("laps 2", "3 to 53")),
        ({"laps": 54}, ("laps 54", "3 to 53")),
        ({"cars": 0}, ("cars 0", "1 to 20")),
        ({"cars": 21}, ("cars 21", "1 to 20")),
        ({"seed": -1}, ("seed -1",)),
        ({"temperature": float("nan")}, ("temperature nan",)),
        ({"temperature": -0.1}, ("temperature -0.1",)),
        ({"pace": -5}, ("pace -5",)),
        ({"kv_memory_mib": 0}, ("kv_memory_mib 0",)),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((RaceError, EngineError)) as caught:
        RaceSettings(**change)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_new_junior_is_told_to_every_engine_from_then_on(
    settings: RaceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(EngineClient, "set_draft", lambda client, folder: told.append(folder))
    feed = LiveFeed(settings)
    try:
        feed.start()
        assert told == []
        feed.set_draft("junior")
        assert told == ["junior"]
        assert feed._client is not None
        os.kill(feed._client.pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while len(told) == 1 and time.monotonic() < deadline:
            feed.pull()
            time.sleep(0.01)
        assert told == ["junior", "junior"]
    finally:
        feed.close()


def kill(feed: LiveFeed) -> None:
    assert feed._client is not None
    os.kill(feed._client.pid, signal.SIGKILL)


def verdicts(events: list[FeedEvent]) -> int:
    return sum(
        len(step.verdicts)
        for event in events
        if isinstance(event, Progress)
        for step in event.snapshot.steps
    )


def test_a_lost_engine_comes_back_with_the_junior_that_came_mid_race(
    settings: RaceSettings, feeds: list[LiveFeed], undisturbed: dict[str, str]
) -> None:
    feed = LiveFeed(replace(settings, pace=400.0))
    feeds.append(feed)
    feed.start()
    before: list[int] = []

    def script(events: list[FeedEvent], state: RaceState) -> bool:
        if feed._cars and feed._asked_draft is None and feed._draft is None:
            feed.set_draft(settings.model)
        if feed._draft is not None and feed._knobs.speculation == "off":
            feed.set_knobs(Knobs(speculation="junior", draft_length=2))
        if verdicts(events) and not before:
            before.append(verdicts(events))
            kill(feed)
        return state.over or isinstance(events[-1], FeedEnded)

    events, state = drive(feed, script)
    assert not [event for event in events if isinstance(event, FeedEnded | Refused)]
    assert sum(isinstance(event, RedFlag) for event in events) == 1
    assert verdicts(events) > before[0] > 0, "it drafts again"
    assert hashes(state) == undisturbed


def test_knobs_that_were_refused_are_not_asked_of_the_next_engine(
    settings: RaceSettings, feeds: list[LiveFeed], undisturbed: dict[str, str]
) -> None:
    feed = LiveFeed(replace(settings, pace=400.0))
    feeds.append(feed)
    feed.start()
    good = Knobs(max_batch=3)

    def script(events: list[FeedEvent], state: RaceState) -> bool:
        refused = [event for event in events if isinstance(event, Refused)]
        if isinstance(events[-1], RaceStarted):
            feed.set_knobs(good)
            feed.set_knobs(replace(good, speculation="junior"))
        if isinstance(events[-1], Refused) and len(refused) == 1:
            kill(feed)
        return state.over or isinstance(events[-1], FeedEnded)

    events, state = drive(feed, script)
    told = [event.reason for event in events if isinstance(event, Refused | FeedEnded)]
    assert len(told) == 1, told
    assert "needs a draft model" in told[0]
    assert sum(isinstance(event, RedFlag) for event in events) == 1
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.snapshot.knobs.max_batch == 3
    assert hashes(state) == undisturbed


def test_a_lost_engine_goes_on_without_a_junior_that_is_gone_meanwhile(
    settings: RaceSettings,
    feeds: list[LiveFeed],
    folder: Path,
    tmp_path: Path,
    undisturbed: dict[str, str],
) -> None:
    """Also one that was named at the start: the race has begun."""
    junior = tmp_path / "junior"
    shutil.copytree(folder, junior)
    knobs = Knobs(speculation="junior")
    feed = LiveFeed(replace(settings, pace=400.0, draft=str(junior), knobs=knobs))
    feeds.append(feed)
    feed.start()

    def script(events: list[FeedEvent], state: RaceState) -> bool:
        if verdicts(events) and junior.exists():
            shutil.rmtree(junior)
            kill(feed)
        return state.over or isinstance(events[-1], FeedEnded)

    events, state = drive(feed, script)
    told = [event.reason for event in events if isinstance(event, Refused | FeedEnded)]
    assert len(told) == 1, told
    assert str(junior) in told[0]
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.snapshot.knobs.speculation == "off"
    assert hashes(state) == undisturbed


@pytest.mark.parametrize("speculation", ["off", "junior"])
def test_a_shipped_junior_that_cannot_draft_is_passed_over(
    settings: RaceSettings,
    feeds: list[LiveFeed],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    speculation: str,
) -> None:
    """With a word, and where it was asked for a refusal; one that was named is bad input."""
    (tmp_path / "junior").mkdir()
    monkeypatch.setattr(race_settings, "CHIEF", folder)
    monkeypatch.setattr(race_settings, "JUNIOR", tmp_path / "junior")
    settings = replace(settings, knobs=Knobs(speculation=speculation))
    shipped, named = LiveFeed(settings), LiveFeed(replace(settings, draft=str(tmp_path / "junior")))
    feeds += [shipped, named]
    shipped.start()
    events, _ = drive(shipped, lambda events, state: isinstance(events[-1], Progress))
    words = [event.detail for event in events if isinstance(event, Loading)]
    assert any("junior' has no config.json" in word for word in words)
    refused = [event.reason for event in events if isinstance(event, Refused)]
    assert len(refused) == (speculation == "junior")
    named.start()
    events, _ = drive(named, lambda events, state: isinstance(events[-1], FeedEnded))
    assert "junior' has no config.json" in events[-1].reason  # type: ignore[union-attr]
    assert not any(isinstance(event, RaceStarted) for event in events)
    assert named.pull() == ()


def test_a_named_junior_with_broken_weights_is_bad_input_where_it_is_asked_for(
    settings: RaceSettings, feeds: list[LiveFeed], folder: Path, tmp_path: Path
) -> None:
    junior = broken(folder, tmp_path / "junior")
    feed = LiveFeed(replace(settings, draft=str(junior), knobs=Knobs(speculation="junior")))
    feeds.append(feed)
    feed.start()
    events, _ = drive(feed, lambda events, state: isinstance(events[-1], FeedEnded))
    assert str(junior) in events[-1].reason  # type: ignore[union-attr]
    assert not any(isinstance(event, RaceStarted) for event in events)
