"""`pitwall replay`: a recorded race, without an engine."""

import argparse
import time

from pitwall_tui.cli.output import check_json_target, need_terminal, say, write_figures
from pitwall_tui.cli.wall import open_wall
from pitwall_tui.feed.record import events_of
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.state import RaceState
from pitwall_tui.report import print_summary, summary
from pitwall_tui.settings import read_settings


def run(args: argparse.Namespace) -> int:
    if args.headless:
        check_json_target(args.json)
        figures, notes = summary(events_of(args.file))
        for note in notes:
            say(note)
        write_figures(figures, print_summary(figures), args.json)
        return 0
    if args.json is not None:
        raise RaceError("--json is for --headless replays")
    habits = read_settings()
    feed = ReplayFeed(args.file, time.monotonic)
    need_terminal("pitwall replay FILE --headless")
    app = open_wall(args, habits, feed, RaceState(feed.source))
    app.run()
    return app.return_code or 0
