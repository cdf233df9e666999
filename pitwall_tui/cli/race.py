"""`pitwall race`, and plain `pitwall`."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.config import Knobs
from engine.spec import read_spec
from pitwall_tui.cli.output import Outputs, need_terminal, say
from pitwall_tui.cli.wall import open_wall
from pitwall_tui.feed.academy import LiveAcademy
from pitwall_tui.feed.base import Feed
from pitwall_tui.feed.live import LiveFeed
from pitwall_tui.feed.reading import events_of
from pitwall_tui.feed.record import LIMIT_MIB, Recorder, RecordingFeed
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.race.circuits import circuit
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
from pitwall_tui.report import debrief, print_summary
from pitwall_tui.settings import Settings, read_settings

# Often enough to end soon after the last token, seldom enough to leave the cores to the engine.
POLL_SECONDS = 0.05
_MOST_MIB = 2**20

_RACE = ("circuit", "laps", "cars", "seed", "temperature")
_OPTIONS = (
    *_RACE,
    *("model", "draft", "kv_memory_mib", "pace"),
)


def run(args: argparse.Namespace) -> int:
    habits = read_settings()
    runs = _recorded_runs(getattr(args, "ghost", None))
    settings = race_settings(args, habits, runs)
    outputs = Outputs(getattr(args, "json", None), "--debrief", getattr(args, "debrief", []))
    record = getattr(args, "record", None)
    headless = getattr(args, "headless", False)
    if not headless:
        outputs.refuse("races")
        need_terminal("pitwall race --headless")
    elif getattr(args, "academy", None) is not None:
        raise RaceError("--academy is for races on the screen")
    elif runs:
        raise RaceError("--ghost is for races on the screen")
    outputs.check()
    # A folder that cannot be served is told before anything starts. The junior that nobody has
    # named is not looked at: the race goes on without one that cannot draft.
    for folder in filter(None, (settings.model, settings.draft)):
        read_spec(Path(folder))
    recorder = None if headless and record is None else _recorder(args)
    if recorder is not None and record is not None:
        recorder.start(record)
    with _feed(settings, recorder) as feed:
        state = RaceState(feed.source, settings.knobs, runs)
        if not headless:
            academy = LiveAcademy(settings.model, getattr(args, "academy", None))
            app = open_wall(args, habits, feed, state, academy, recorder)
            app.run()
            if app.ended is not None:  # it stood on the screen; here it stays
                _tell(app.ended)
            return app.return_code or 0
        feed.start()
        run_to_flag(feed, state)
        # Before the feed is closed: a recording that cannot be finished costs no figures.
        figures = state.summary()
        outputs.write(figures, print_summary(figures), debrief(state))
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


def race_settings(
    args: argparse.Namespace, habits: Settings, runs: Sequence[Run] = ()
) -> RaceSettings:
    """What the command line asks for; where it asks for nothing, what the first of `runs` had,
    and the user's settings."""
    asked = {name: getattr(args, name, None) for name in _OPTIONS}
    asked = {name: value for name, value in asked.items() if value is not None}
    recorded = [_asked_of(run.race) for run in runs]
    given = {**habits.race, **(recorded[0] if recorded else {}), **asked}
    if "laps" in habits.race and "laps" not in asked:  # a habit: no more than this circuit has
        given["laps"] = min(given["laps"], circuit(given.get("circuit", "monza")).laps)
    if "model" in asked and "draft" not in asked:  # the habitual draft model is another model's
        given.pop("draft", None)
    knobs = Knobs.parse(f"{habits.knobs},{getattr(args, 'knobs', None) or ''}")
    settings = RaceSettings(**given, knobs=knobs)
    race = {name: getattr(settings, name) for name in _RACE} | {"laps": settings.race(1).laps}
    if recorded and race not in recorded:
        other = ", ".join(f"{k} {v}" for k, v in recorded[0].items() if race[k] != v)
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


def _recorder(args: argparse.Namespace) -> Recorder:
    limit = getattr(args, "record_limit_mib", None)
    if limit is not None and not 1 <= limit <= _MOST_MIB:
        raise RaceError(f"--record-limit-mib {limit:g}: give 1 to {_MOST_MIB}")
    return Recorder(int((limit or LIMIT_MIB) * 2**20))


@contextmanager
def _feed(settings: RaceSettings, recorder: Recorder | None) -> Iterator[Feed]:
    """The live feed, with its recorder where there is one; closed whatever happens."""
    live = LiveFeed(settings)
    feed: Feed = live if recorder is None else RecordingFeed(live, recorder, time.monotonic)
    try:
        yield feed
    finally:
        feed.close()
