"""The command line. What a command needs is imported when it runs: --help takes next to nothing."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pitwall_tui import __version__
from pitwall_tui.cli.loading import loading

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Tells of a bad option in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Main(_Parser):
    """Says where the settings lie, which it looks for only then."""

    def format_help(self) -> str:
        from pitwall_tui.settings import config_file

        self.epilog = f"Settings: {config_file()} (PITWALL_CONFIG names another file)"
        return super().format_help()


def _parser() -> argparse.ArgumentParser:
    from pitwall_tui.cli.wall import add_arguments as add_wall_arguments

    parser = _Main(
        prog="pitwall",
        description="A live race in which every car is a generation request served by a real "
        "engine, with its optimizations switchable mid-race. Without a command the race starts.",
    )
    parser.add_argument("--version", action="version", version=f"pitwall {__version__}")
    parser.add_argument(
        "--demo", action="store_true", help="play a recorded race: no model, nothing to wait for"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    race = commands.add_parser("race", help="run a race, on the screen or headless")
    add_race_options(race)
    race.add_argument("--headless", action="store_true", help="run one race without a screen")
    race.add_argument("--json", metavar="FILE|-", help="headless: write the race's figures")
    _add_files(race, "--debrief", "headless: write what each setting of the knobs gave")
    race.add_argument(
        "--academy", metavar="DIR", help="where the academy keeps its junior (default: nowhere)"
    )
    race.add_argument(
        "--ghost", metavar="FILE", help="run the race of a recording again, against that one"
    )
    race.add_argument("--record", metavar="FILE", help="record the race for pitwall replay")
    add_wall_arguments(race)
    race.add_argument(
        "--record-limit-mib",
        type=float,
        metavar="N",
        help="a race after so many MiB has a file of its own (default 64)",
    )
    replay = commands.add_parser("replay", help="show a recorded race")
    replay.add_argument("file", metavar="FILE")
    replay.add_argument("--loop", action="store_true", help="begin again at the end")
    replay.add_argument("--headless", action="store_true", help="only sum it up")
    replay.add_argument("--json", metavar="FILE|-", help="headless: write the race's figures")
    _add_files(replay, "--debrief", "headless: write what each setting of the knobs gave")
    add_wall_arguments(replay)
    bench = commands.add_parser(
        "bench",
        help="measure the techniques on one and the same race",
        description="Measures the techniques one by one, then stacked, on one and the same race "
        "and engine: speed, memory, quality. A round takes some minutes, one of them for the "
        "stacked row that has no KV cache; the first one warms up.",
    )
    bench.add_argument("--laps", type=int, default=5, metavar="N", help="default 5")
    bench.add_argument("--repeats", type=int, default=3, metavar="N", help="medians of N runs")
    bench.add_argument("--model", metavar="DIR", help="model folder")
    bench.add_argument("--json", metavar="FILE|-", help="write the figures")
    _add_files(bench, "--export", "write the table")
    train = commands.add_parser("train", help="remake the chief from simulated races")
    from pitwall_tui.cli.train import add_arguments

    add_arguments(train)
    distill = commands.add_parser("distill", help="train a small draft model on a teacher")
    from pitwall_tui.cli.distill import add_arguments as add_distill_arguments

    add_distill_arguments(distill)
    quantize = commands.add_parser("quantize", help="compare weight formats; make calibrated int4")
    from pitwall_tui.cli.quantize import add_arguments as add_quantize_arguments

    add_quantize_arguments(quantize)
    return parser


def _add_files(parser: argparse.ArgumentParser, option: str, what: str) -> None:
    """An option that takes files, each in the format of its suffix."""
    parser.add_argument(
        option,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=f"{what}, as .json, .csv, .md or .svg",
    )


def add_race_options(parser: argparse.ArgumentParser) -> None:
    """What a race is to be; None stands for RaceSettings' own default."""
    parser.add_argument("--circuit", metavar="NAME", help="monza, spa, monaco, ... (default monza)")
    parser.add_argument("--laps", type=int, metavar="N", help="default: the full distance")
    parser.add_argument("--cars", type=int, metavar="N", help="1 to 20 (default 20)")
    parser.add_argument("--seed", type=int, metavar="S", help="default 7")
    parser.add_argument("--temperature", type=float, metavar="T", help="default 0.8")
    parser.add_argument("--model", metavar="DIR", help="Hugging Face folder (default: the chief)")
    parser.add_argument("--draft", metavar="DIR", help="draft model (default: the chief's junior)")
    parser.add_argument("--kv-memory-mib", type=float, metavar="N", help="default 256")
    parser.add_argument(
        "--pace", type=float, metavar="N", help="hold at N output tokens/s (default 0: do not)"
    )
    parser.add_argument("--knobs", metavar="NAME=VALUE,...", help="see the README for names")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    try:
        with loading():
            args = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    # Ends as Ctrl-C does: through every finally, so that no process is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from engine.config import EngineError
    from pitwall_tui.race.errors import EngineGoneError, RaceError

    try:
        return _run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (EngineError, RaceError) as error:
        sys.stderr.write(f"pitwall: {error}\n")
        return BAD_INPUT
    except EngineGoneError as error:
        sys.stderr.write(f"pitwall: {error}\n")
        return FAULT
    except Exception as error:
        if os.environ.get("PITWALL_TRACEBACK"):
            raise
        hint = "PITWALL_TRACEBACK=1 shows where"
        sys.stderr.write(f"pitwall: a fault of ours: {type(error).__name__}: {error} ({hint})\n")
        return FAULT


def _run(args: argparse.Namespace) -> int:
    with loading():
        run = _command(args)
    return run(args)


def _command(args: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Loads no more than what this command takes."""
    if args.demo:
        from pitwall_tui.cli.replay import run_demo as run

        return run
    match args.command:
        case "replay":
            from pitwall_tui.cli.replay import run
        case "bench":
            from pitwall_tui.cli.bench import run
        case "train":
            from pitwall_tui.cli.train import run
        case "distill":
            from pitwall_tui.cli.distill import run
        case "quantize":
            from pitwall_tui.cli.quantize import run
        case _:
            from pitwall_tui.cli.race import run
    return run
