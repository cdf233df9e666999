"""`pitwall train`: trains a chief on simulated races and saves it as a Hugging Face folder."""

import argparse

from pitwall_tui.cli.output import say, write_figures
from pitwall_tui.cli.training import add_run_options, run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--size", choices=("chief", "tiny"), default="chief")
    add_run_options(parser, seed=7)
    parser.add_argument("--shard-mib", type=int, metavar="N", help="write shards of at most N MiB")


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit status. Raises EngineError for bad options."""
    from engine.training.run import train
    from engine.training.settings import RECIPES, TrainSettings
    from pitwall_tui.race.simulator import documents

    settings = TrainSettings(
        recipe=RECIPES[args.size], shard_mib=args.shard_mib, **run_options(args)
    )
    write_figures(train(documents, settings, say), "", args.json)
    return 0
