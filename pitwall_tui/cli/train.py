"""`pitwall train`: trains a chief on simulated races and saves it as a Hugging Face folder."""

import argparse
import json
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--size", choices=("chief", "tiny"), default="chief")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model folder")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=int, metavar="N", help="budget in tokens")
    budget.add_argument("--minutes", type=float, metavar="M", help="budget in minutes of training")
    parser.add_argument("--seed", type=int, default=7, metavar="S")
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
    parser.add_argument("--shard-mib", type=int, metavar="N", help="write shards of at most N MiB")
    parser.add_argument("--json", metavar="FILE|-", help="write what was measured as JSON")


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit status. Raises EngineError for bad options."""
    from engine.config import EngineError
    from engine.training.run import train
    from engine.training.settings import RECIPES, TrainSettings
    from pitwall_tui.race.simulator import documents

    settings = TrainSettings(
        recipe=RECIPES[args.size],
        out=args.out,
        tokens=args.tokens,
        minutes=args.minutes,
        seed=args.seed,
        device=args.device,
        workers=args.workers,
        checkpoint=args.checkpoint,
        compile=not args.no_compile,
        shard_mib=args.shard_mib,
    )
    facts = train(documents, settings, lambda line: print(line, file=sys.stderr, flush=True))
    text = json.dumps(facts, indent=2) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    elif args.json is not None:
        try:
            Path(args.json).write_text(text, encoding="utf-8")
        except OSError as error:
            raise EngineError(f"cannot write {args.json}: {error.strerror}") from error
    return 0
