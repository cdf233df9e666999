"""`pitwall distill`: trains a small draft model, a junior, on a teacher's distributions."""

import argparse
import json
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--teacher", type=Path, metavar="DIR", help="model folder (default: the chief)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model folder")
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
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=int, metavar="N", help="budget in tokens")
    budget.add_argument("--minutes", type=float, metavar="M", help="budget in minutes of training")
    parser.add_argument("--seed", type=int, default=8, metavar="S")
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
        out=args.out,
        student=args.student,
        layers=2 if args.layers is None else args.layers,
        hidden=512 if args.hidden is None else args.hidden,
        temperature=args.temperature,
        alpha=args.alpha,
        data=args.data,
        written_tokens=args.written_tokens,
        drafts=args.drafts,
        tokens=args.tokens,
        minutes=args.minutes,
        seed=args.seed,
        device=args.device,
        workers=args.workers,
        checkpoint=args.checkpoint,
        compile=not args.no_compile,
    )
    facts = distill(documents, settings, lambda line: print(line, file=sys.stderr, flush=True))
    text = json.dumps(facts, indent=2) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    elif args.json is not None:
        try:
            Path(args.json).write_text(text, encoding="utf-8")
        except OSError as error:
            raise EngineError(f"cannot write {args.json}: {error.strerror}") from error
    return 0
