"""`pitwall distill`: trains a small draft model, a junior, on a teacher's distributions."""

import argparse
from pathlib import Path

from pitwall_tui.cli.output import say, write_figures
from pitwall_tui.cli.training import add_run_options, run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--teacher", type=Path, metavar="DIR", help="model folder (default: the chief)"
    )
    parser.add_argument("--student", type=Path, metavar="DIR", help="go on from this model")
    parser.add_argument("--layers", type=int, metavar="N", help="a new student's (default 2)")
    parser.add_argument("--hidden", type=int, metavar="N", help="its size (default 512)")
    parser.add_argument(
        "--temperature", type=float, default=2.0, metavar="T", help="softens both (default 2)"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.9, metavar="A", help="share of the teacher (default 0.9)"
    )
    parser.add_argument(
        "--data",
        choices=("simulator", "teacher"),
        default="simulator",
        help="who writes the races: new ones by the simulator, or a set by the teacher",
    )
    parser.add_argument(
        "--written-tokens", type=int, default=200_000, metavar="N", help="size of the teacher's set"
    )
    parser.add_argument(
        "--drafts", type=int, default=0, metavar="N", help="a last pass on N tokens of its own"
    )
    add_run_options(parser, seed=8)


def run(args: argparse.Namespace) -> int:
    """Distils; returns the exit status. Raises EngineError for bad options."""
    from engine.config import EngineError
    from engine.training.distill import distill
    from engine.training.junior import DistillSettings
    from pitwall_tui.paths import asset
    from pitwall_tui.race.simulator import documents

    if args.student is not None and (args.layers is not None or args.hidden is not None):
        raise EngineError("student: its folder says its size; leave out --layers and --hidden")
    settings = DistillSettings(
        teacher=args.teacher or asset("models/chief"),
        student=args.student,
        layers=2 if args.layers is None else args.layers,
        hidden=512 if args.hidden is None else args.hidden,
        temperature=args.temperature,
        alpha=args.alpha,
        data=args.data,
        written_tokens=args.written_tokens,
        drafts=args.drafts,
        **run_options(args),
    )
    write_figures(distill(documents, settings, say), "", args.json)
    return 0
