"""Which temperature, alpha and size make the best draft model? Then the juniors themselves.

    python -m benchmarks.distill_sweep --phase sweep|shapes|final --out DIR [--tokens N]

`sweep` distils one size at several temperatures and alphas, `shapes` several sizes with the best
of these; each row sees the same documents and as many tokens. `final` makes `junior` and
`junior-hard` (alpha 0) as tar files; with --drafts it makes `junior-drafts` alone. Rows go to
DIR/distill.json after each run; rows that --rows FILE already holds are not run again.
"""

import argparse
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.config import EngineError
from engine.training.distill import distill
from engine.training.junior import RECIPE, DistillSettings
from engine.training.junior_card import row_table
from pitwall_tui.paths import asset
from pitwall_tui.race.simulator import documents

Row = dict[str, Any]
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)
ALPHAS = (0.0, 0.5, 1.0)  # at the best temperature; the temperatures are compared at ALPHA
ALPHA = 0.9
SHAPES = [(1, 512), (2, 256), (1, 768), (2, 384)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--phase", choices=("sweep", "shapes", "final"), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="go on from these rows")
    parser.add_argument("--teacher", type=Path, default=asset("models/chief"), metavar="DIR")
    parser.add_argument("--tokens", type=int, default=60_000_000, help="budget of each run")
    parser.add_argument(
        "--seconds", type=float, default=560, help="begin no run that would end later"
    )
    parser.add_argument("--shape", default="2x512", metavar="LAYERSxHIDDEN", help="sweep, final")
    parser.add_argument("--shapes", metavar="LxH,LxH,...", help="of the shapes phase")
    parser.add_argument("--temperature", type=float, help="shapes, final (default: the best row's)")
    parser.add_argument("--alpha", type=float, help="shapes, final (default: the best row's)")
    parser.add_argument("--drafts", type=int, default=0, help="a last pass on N tokens of its own")
    parser.add_argument("--held-out-tokens", type=int, default=RECIPE.held_out_tokens)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 2))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    rows = [] if args.rows is None else json.loads(args.rows.read_text(encoding="utf-8"))["rows"]
    slowest = 0.0
    for name, shape, temperature, alpha in plan(args, rows):
        if any(row["name"] == name for row in rows):
            continue
        start = time.perf_counter()
        if start - began + slowest > args.seconds:
            say(f"{name}: no time left")
            continue
        say(f"--- {name}")
        row = one(args, name, shape, temperature, alpha)
        rows.append(row)
        text = json.dumps({"schema": 1, "rows": rows}, indent=1) + "\n"
        (args.out / "distill.json").write_text(text, encoding="utf-8")
        slowest = max(slowest, time.perf_counter() - start)
        say(f"{name}: {time.perf_counter() - start:.0f} s in all")
    sys.stdout.write(row_table(rows) + "\n")
    return 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def plan(
    args: argparse.Namespace, rows: Sequence[Row]
) -> Iterator[tuple[str, tuple[int, int], float, float]]:
    """(name, (layers, hidden), temperature, alpha) of the phase's runs; reads rows as they come."""
    base = size(args.shape)
    if args.phase == "sweep":
        for heat in TEMPERATURES:
            yield sweep_name(args.shape, heat, ALPHA), base, heat, ALPHA
        for alpha in ALPHAS:
            heat = best(rows)["temperature"]
            yield sweep_name(args.shape, heat, alpha), base, heat, alpha
        return
    heat, alpha = args.temperature, args.alpha
    heat = best(rows)["temperature"] if heat is None else heat
    alpha = best(rows)["alpha"] if alpha is None else alpha
    if args.phase == "final":
        yield "junior" + "-drafts" * bool(args.drafts), base, heat, alpha
        if not args.drafts:
            yield "junior-hard", base, heat, 0.0
        return
    for layers, hidden in SHAPES if args.shapes is None else map(size, args.shapes.split(",")):
        yield f"shape {layers}x{hidden} T{heat:g} a{alpha:g}", (layers, hidden), heat, alpha


def sweep_name(shape: str, temperature: float, alpha: float) -> str:
    return f"sweep {shape} T{temperature:g} a{alpha:g}"


def best(rows: Sequence[Row]) -> Row:
    """The sweep's row with the most coupled acceptance."""
    swept = [row for row in rows if row["name"].startswith("sweep")]
    if not swept:
        raise SystemExit("give --temperature and --alpha, or --rows of a sweep")
    return max(swept, key=lambda row: float(row["acceptance"]["coupled"]))


def size(text: str) -> tuple[int, int]:
    layers, _, hidden = text.partition("x")
    return int(layers), int(hidden)


def one(
    args: argparse.Namespace, name: str, shape: tuple[int, int], temperature: float, alpha: float
) -> Row:
    """Distils one student; the final ones are kept, packed."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / name.replace(" ", "-")
        settings = DistillSettings(
            teacher=args.teacher,
            out=folder,
            layers=shape[0],
            hidden=shape[1],
            temperature=temperature,
            alpha=alpha,
            drafts=args.drafts if alpha else 0,
            tokens=args.tokens,
            device=args.device,
            workers=args.workers,
            compile=not args.no_compile,
            recipe=replace(RECIPE, held_out_tokens=args.held_out_tokens),
        )
        facts = distill(documents, settings, say)
        if args.phase == "final":
            with tarfile.open(args.out / f"{name}.tar", "w") as packed:
                packed.add(folder, name)
    return {"name": name, **facts}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EngineError as error:
        sys.exit(f"distill_sweep: {error}")
