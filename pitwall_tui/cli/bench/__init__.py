"""`pitwall bench`: the techniques one by one and stacked, on one and the same race and engine."""

import argparse
from dataclasses import replace

from engine.client import EngineClient
from pitwall_tui.cli.bench.figures import debrief, document
from pitwall_tui.cli.bench.measure import measure
from pitwall_tui.cli.bench.settings import usual
from pitwall_tui.cli.bench.table import table
from pitwall_tui.cli.output import Outputs, say
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.race.errors import RaceError


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    if args.repeats < 1:
        raise RaceError(f"repeats {args.repeats}: give 1 or more")
    outputs = Outputs(args.json, "--export", args.export)
    outputs.check()
    race = RaceSettings(laps=args.laps)
    if args.model is not None:
        race = replace(race, model=args.model)
    client = EngineClient(race.engine_config(), race.knobs)
    try:
        results = measure(client, race, usual(race.draft_folder is not None), args.repeats, say)
    finally:
        client.close()
    figures = document(results)
    outputs.write(figures, table(figures), debrief(results))
    return 0
