"""`pitwall race`, and plain `pitwall`."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.config import Knobs
from engine.spec import read_spec
from pitwall_tui.cli.output import check_json_target, need_terminal, say, write_figures
from pitwall_tui.feed.academy import LiveAcademy
from pitwall_tui.feed.base import Feed
from pitwall_tui.feed.live import LiveFeed
from pitwall_tui.feed.record import Recorder, RecordingFeed, events_of
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.race.errors import EngineGoneError, RaceError
from pitwall_tui.race.events import (
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    RaceStarted,
    RecordingStopped,
    RedFlag,
    Refused,
)
from pitwall_tui.race.ghost import Run
from pitwall_tui.race.state import RaceState
from pitwall_tui.report import print_summary

# Often enough to end soon after the last token, seldom enough to leave the cores to the engine.
POLL_SECONDS = 0.05

_RACE = ("circuit", "laps", "cars", "seed", "temperature")
_OPTIONS = (
    *_RACE,
    *("model", "draft", "kv_memory_mib", "pace"),
)


def run(args: argparse.Namespace) -> int:
    runs = _recorded_runs(getattr(args, "ghost", None))
    settings = _settings(args, runs)
    target, record = getattr(args, "json", None), getattr(args, "record", None)
    headless = getattr(args, "headless", False)
    if not headless:
        if target is not None:
            raise RaceError("--json is for --headless races")
        need_terminal("pitwall race --headless")
    elif getattr(args, "academy", None) is not None:
        raise RaceError("--academy is for races on the screen")
    elif runs:
        raise RaceError("--ghost is for races on the screen")
    check_json_target(target)
    # A folder that cannot be served is told before anything starts.
    for folder in filter(None, (settings.model, settings.draft_folder)):
        read_spec(Path(folder))
    with _feed(settings, record) as feed:
        state = RaceState(feed.source, settings.knobs, runs)
        if not headless:
            from pitwall_tui.app import PitWallApp

            app = PitWallApp(
                feed, state, LiveAcademy(settings.model, getattr(args, "academy", None))
            )
            app.run()
            if app.ended is not None:  # it stood on the screen; here it stays
                _tell(app.ended)
            return app.return_code or 0
        feed.start()
        run_to_flag(feed, state)
        # Before the feed is closed: a recording that cannot be finished costs no figures.
        figures = state.summary()
        write_figures(figures, print_summary(figures), target)
    return 0


def run_to_flag(feed: Feed, state: RaceState) -> None:
    """Pull until the race is over, with progress on stderr.

    Raises RaceError for what the engine refuses, EngineGoneError where it cannot be had any more.
    """
    while not state.over:
        for event in feed.pull():
            state.apply(event)
            _tell(event)
        time.sleep(POLL_SECONDS)


def _tell(event: FeedEvent) -> None:
    match event:
        case Loading(_, title, detail, seconds) if seconds is not None:
            say(f"{title}: {detail}, {seconds:.2f} s")
        case EngineReady(model):
            say(f"{model.name}: {model.parameters:,} parameters, {model.pages_total} KV pages")
        case RaceStarted(number, circuit, laps):
            say(f"race {number}: {circuit}, {laps} laps")
        case RedFlag(reason):
            say(f"red flag: {reason}")
        case RecordingStopped(reason):
            say(f"recording stopped: {reason}")
        case Refused(reason):
            raise RaceError(reason)
        case FeedEnded(reason, fault):
            raise EngineGoneError(reason) if fault else RaceError(reason)


def _settings(args: argparse.Namespace, runs: Sequence[Run]) -> RaceSettings:
    """What is asked for; what is left open is as the first of `runs` had it."""
    given = {name: getattr(args, name, None) for name in _OPTIONS}
    knobs = Knobs.parse(getattr(args, "knobs", None) or "")
    given = {name: value for name, value in given.items() if value is not None}
    recorded = [_asked_of(run.race) for run in runs]
    settings = RaceSettings(**(recorded[0] if recorded else {}) | given, knobs=knobs)
    asked = {name: getattr(settings, name) for name in _RACE} | {"laps": settings.race(1).laps}
    if recorded and asked not in recorded:
        other = ", ".join(f"{k} {v}" for k, v in recorded[0].items() if asked[k] != v)
        raise RaceError(f"--ghost {args.ghost} is another race ({other}): leave these options out")
    return settings


def _asked_of(race: RaceStarted) -> dict[str, Any]:
    cars = len(race.cars)
    values = (race.circuit, race.laps, cars, race.seed, race.temperature)
    return dict(zip(_RACE, values, strict=True))


def _recorded_runs(path: str | None) -> list[Run]:
    """How the races of a recording ran; raises RaceError where there is none in it."""
    if path is None:
        return []
    state, runs = RaceState(), []
    for event in events_of(path):
        if isinstance(event, RaceStarted):
            runs.append(state.run())
        state.apply(event)
    runs = [run for run in (*runs, state.run()) if run.tokens[-1]]
    if not runs:
        raise RaceError(f"{path}: no car has written a token in it, so that it is no ghost")
    return runs


@contextmanager
def _feed(settings: RaceSettings, record: str | None) -> Iterator[Feed]:
    """The live feed, recorded where asked for; closed whatever happens."""
    live = LiveFeed(settings)
    feed: Feed = (
        RecordingFeed(live, Recorder(record), time.monotonic) if record is not None else live
    )
    try:
        yield feed
    finally:
        feed.close()
