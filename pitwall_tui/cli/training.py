"""The options that `pitwall train` and `pitwall distill` have in common."""

import argparse
import os
from pathlib import Path
from typing import Any


def add_run_options(parser: argparse.ArgumentParser, seed: int) -> None:
    """The options of a training run; `seed` is the default one."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model folder")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=int, metavar="N", help="budget in tokens")
    budget.add_argument("--minutes", type=float, metavar="M", help="budget in minutes of training")
    parser.add_argument("--seed", type=int, default=seed, metavar="S")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, min(12, (os.cpu_count() or 1) - 2)),
        metavar="N",
        help="processes that write races; 0: none beside the training itself",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="save the run here every few minutes, and take it up from there",
    )
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile")
    parser.add_argument("--json", metavar="FILE|-", help="write what was measured as JSON")


def run_options(args: argparse.Namespace) -> dict[str, Any]:
    """The same as arguments of TrainSettings and DistillSettings."""
    names = ("out", "tokens", "minutes", "seed", "device", "workers", "checkpoint")
    return {name: getattr(args, name) for name in names} | {"compile": not args.no_compile}
