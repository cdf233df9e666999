"""`pitwall replay`: a recorded race, without an engine."""

import argparse
import time

from pitwall_tui.cli.output import Outputs, need_terminal, say
from pitwall_tui.cli.wall import open_player
from pitwall_tui.feed.reading import events_of
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.paths import asset
from pitwall_tui.race.errors import RaceError
from pitwall_tui.report import Summary, print_summary, summary
from pitwall_tui.settings import read_settings

DEMO = asset("races/demo.jsonl.gz")


def run(args: argparse.Namespace) -> int:
    outputs = Outputs(args.json, "--debrief", args.debrief)
    if args.headless:
        outputs.check()
        found = _summary(args.file)
        for note in found.notes:
            say(note)
        outputs.write(found.figures, print_summary(found.figures), found.debrief)
        return 0
    outputs.refuse("replays")
    player = ReplayFeed(args.file, time.monotonic, loop=args.loop)
    return play(args, player, "replay FILE --headless")


def _summary(file: str) -> Summary:
    events = events_of(file)
    try:
        return summary(events)
    except RaceError:
        raise
    except Exception as error:  # each is an event, but they make no race, whatever they are
        raise RaceError(f"{file}: the recording is damaged: it makes no race") from error


def run_demo(args: argparse.Namespace) -> int:
    """`pitwall --demo`: the shipped races, again and again."""
    if args.command is not None:
        raise RaceError(f"--demo stands alone, without {args.command}")
    player = ReplayFeed(DEMO, time.monotonic, loop=True)
    player.next_race()  # nobody waits for an engine that is not there
    return play(args, player, f"replay {DEMO} --headless")


def play(args: argparse.Namespace, player: ReplayFeed, instead: str) -> int:
    """On the screen; `instead` is the command for where there is none."""
    habits = read_settings()
    need_terminal(f"pitwall {instead}")
    app = open_player(args, habits, player)
    app.run()
    return app.return_code or 0
