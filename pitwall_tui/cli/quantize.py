"""`pitwall quantize`: what each format of the weights costs, and calibrated 4-bit weights.

Calibration and measuring use simulated races of seeds that training never reaches, and never the
same ones.
"""

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import WEIGHT_FORMATS

if TYPE_CHECKING:
    from engine.compare import Document
    from engine.spec import ModelSpec

# Training with --seed 1 and up starts at 2^42; with --seed 0 it would have to make 2^25 chunks
# to come this far.
CALIBRATION = 2**41
HELD_OUT = 2**41 + 2**40
SEEDS = 2**40
# Of a race's twenty cars every seventh: they share a briefing, so three of them tell as much.
CARS_APART = 7
MAX_CONTEXT = 4096
GPTQ = "int4 GPTQ"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="Hugging Face folder (default: chief)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the model with calibrated int4 weights"
    )
    parser.add_argument(
        "--races",
        type=int,
        default=12,
        metavar="N",
        help="calibrate on N simulated races, measure on N others (default 12)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which races (default 0)")
    parser.add_argument("--json", metavar="FILE|-", help="write the figures")


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status. Raises EngineError, RaceError."""
    from pitwall_tui.cli.output import check_json_target, say, write_figures
    from pitwall_tui.paths import asset
    from pitwall_tui.race.errors import RaceError

    if args.races < 1:
        raise RaceError(f"races {args.races}: give 1 or more")
    if not 0 <= args.seed < SEEDS:
        raise RaceError(f"seed {args.seed}: give 0 to 2^40 - 1")
    check_json_target(args.json)
    model = args.model or asset("models/chief")
    _check_out(args.out, model)
    figures = _measure(model, args.out, args.races, args.seed)
    write_figures(figures, table(figures), args.json)
    if args.out is not None:
        say(f"written: {args.out}")
    return 0


def _check_out(out: Path | None, model: Path) -> None:
    """Raises RaceError now rather than after minutes of work; another model is not overwritten."""
    from pitwall_tui.race.errors import RaceError

    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise RaceError(f"--out {out}: it is no folder")
    own = model.is_dir() and out.samefile(model)
    if not own and any(out.iterdir()) and not (out / "int4.json").exists():
        raise RaceError(f"--out {out}: it holds other files: give a new folder or the model's own")


def _measure(model: Path, out: Path | None, races: int, seed: int) -> dict[str, Any]:
    from engine.calibrated import save_int4
    from engine.compare import (
        compare,
        read_model,
        scheme_figures,
        served,
        weight_figures,
    )
    from engine.gptq import calibrate
    from engine.scheme import SCHEMES
    from engine.tensors import with_codes
    from engine.training.folder import check_writable
    from pitwall_tui.cli.output import say

    begun = time.monotonic()
    tensors = read_model(model, MAX_CONTEXT)
    known = simulated_cars(model, tensors.spec, CALIBRATION + seed, races)
    held_out = simulated_cars(model, tensors.spec, HELD_OUT + seed, races)
    if out is not None:
        check_writable(out)
    schemes = []
    for scheme in SCHEMES:
        say(f"rounding to nearest: {scheme.name}")
        schemes.append({"scheme": scheme.name, **_weights(scheme_figures(tensors, scheme))})
    say(f"calibrating on {_tokens(known)} tokens of {len(known)} cars")
    start = time.monotonic()
    codes = calibrate(tensors, known, tell=say)
    seconds = time.monotonic() - start
    schemes.append({"scheme": GPTQ, **_weights(weight_figures(tensors, codes))})
    if out is not None:
        save_int4(model, out, codes)
    models = {name: served(tensors, name) for name in WEIGHT_FORMATS}
    models[GPTQ] = served(with_codes(tensors, codes), "int4")
    qualities = compare(
        models["fp32"],
        models,
        held_out,
        lambda done: say(f"measuring all formats: car {done} of {len(held_out)}"),
    )
    return {
        "schema": 1,
        "model": model.resolve().name,
        "parameters": tensors.parameters,
        "races": races,
        "seed": seed,
        "calibration": {"cars": len(known), "tokens": _tokens(known), "seconds": seconds},
        "held_out": {"cars": len(held_out), "tokens": qualities["fp32"].tokens},
        "schemes": schemes,
        "formats": [
            {
                "format": name,
                "bytes": models[name].nbytes,
                "perplexity": found.perplexity,
                "mean_kl": found.mean_kl,
                "top1_percent": 100 * found.top1,
                "flip_gap": found.flip_gap,
                "clear_percent": 100 * found.clear,
                "clear_top1_percent": 100 * found.clear_top1,
            }
            for name, found in qualities.items()
        ],
        "seconds": time.monotonic() - begun,
    }


def _weights(figures: Any) -> dict[str, Any]:
    found = figures.errors
    return {
        "mse": found.mse,
        "largest": found.largest,
        "snr_db": found.snr_db if math.isfinite(found.snr_db) else None,
        "bytes": figures.nbytes,
        "compression": found.compression,
    }


def simulated_cars(model: Path, spec: "ModelSpec", seed: int, races: int) -> list["Document"]:
    """Some cars of simulated races as token ids of (prompt, body), cut at the longest context."""
    from engine.config import EngineError
    from pitwall_tui.feed.text import Vocabulary
    from pitwall_tui.race.simulator import documents

    vocabulary = Vocabulary.load(model)
    longest = min(spec.max_context, MAX_CONTEXT)
    found: list[Document] = []
    for number, (prompt, body) in enumerate(documents(seed, races)):
        if number % CARS_APART:
            continue
        ids = vocabulary.encode(prompt)
        # A prompt ends with a line end, over which no token of ours reaches.
        whole = (*vocabulary.encode(prompt + body), *spec.eos_token_ids[:1])[:longest]
        if len(whole) > len(ids):
            found.append((ids, whole[len(ids) :]))
    if not found:
        raise EngineError(f"a briefing alone fills the model's context of {longest} tokens")
    return found


def _tokens(documents: list["Document"]) -> int:
    return sum(len(prompt) + len(body) for prompt, body in documents)


def table(figures: Mapping[str, Any]) -> str:
    """The figures for people."""
    known, held_out = figures["calibration"], figures["held_out"]
    lines = [
        f"{figures['model']}, {figures['parameters']:,} parameters",
        "",
        f"{'weights':34}{'MSE':>11}{'largest':>11}{'SNR dB':>8}{'MiB':>8}{'smaller':>9}",
    ]
    for row in figures["schemes"]:
        snr = "none" if row["snr_db"] is None else f"{row['snr_db']:.1f}"
        lines.append(
            f"{row['scheme']:34}{row['mse']:11.3g}{row['largest']:11.3g}{snr:>8}"
            f"{row['bytes'] / 2**20:8.2f}{row['compression']:8.2f}x"
        )
    lines += [
        "",
        f"served, on {held_out['tokens']} body tokens of {held_out['cars']} held-out cars "
        f"(GPTQ calibrated on {known['tokens']} tokens of {known['cars']} others)",
        "",
        f"{'format':12}{'MiB':>9}{'perplexity':>12}{'mean KL':>11}{'top-1 %':>9}{'gap':>8}"
        f"{'clear %':>9}{'top-1 there':>13}",
    ]
    lines += [
        f"{row['format']:12}{row['bytes'] / 2**20:9.2f}{row['perplexity']:12.4f}"
        f"{max(row['mean_kl'], 0):11.3g}{row['top1_percent']:9.2f}{row['flip_gap']:8.3f}"
        f"{row['clear_percent']:9.1f}{row['clear_top1_percent']:13.2f}"
        for row in figures["formats"]
    ]
    lines += [
        "",
        "KL from fp32 in nats a token. Gap: how much likelier fp32 held its own first choice than",
        "the one made instead, where they differ. Clear: places where fp32's first choice leads by",
        "0.02 or more; elsewhere it is a near tie, as between the last digits of a time.",
    ]
    return "\n".join(lines) + "\n"
