"""`pitwall bench`: the techniques one by one, on one and the same race and one engine.

Every setting is run once to warm up and then `repeats` times, all settings in turn in each round,
so that a machine whose speed drifts favours none of them. Medians are quoted.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from engine.client import EngineClient
from engine.config import EngineError, Knobs, Request, Sampling
from engine.draft_counts import counted, together
from engine.messages import Ready, Refusal, Snapshot, Unusable
from engine.stats import EngineSnapshot, ModelInfo, RequestStats, StepStats
from pitwall_tui.cli.output import check_json_target, say, write_figures
from pitwall_tui.feed.grid import line_up
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.feed.text import Vocabulary
from pitwall_tui.race.briefing import draw_race
from pitwall_tui.race.circuits import circuit
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.simulator import simulate

POLL_SECONDS = 0.02
# Where the cost of having no cache is measured, and over how many tokens.
LONG_CONTEXT = 500
LONG_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table: `cars` of the race, under these knobs."""

    name: str
    cars: int
    knobs: Knobs
    long_context: bool = False


def _knobs(**changes: str | int) -> Knobs:
    """Without the quality meter, which works only where weights or KV are not fp32."""
    knobs = Knobs(quality="off")
    for name, value in changes.items():
        knobs = knobs.with_value(name, str(value))
    return knobs


SETTINGS = (
    Setting("no KV cache, 1 car at 500 tokens", 1, _knobs(kv_cache="off"), long_context=True),
    Setting("KV cache, 1 car at 500 tokens", 1, _knobs(), long_context=True),
    Setting("batching none", 20, _knobs(batching="none")),
    Setting("batching static", 20, _knobs(batching="static")),
    Setting("batching continuous", 20, _knobs()),
    Setting("paging contiguous", 20, _knobs(paging="contiguous")),
    Setting("prefix cache off", 20, _knobs(prefix_cache="off")),
    Setting("whole prompts (prefill_chunk 0)", 20, _knobs(prefill_chunk=0)),
    Setting("weights bf16, 1 car", 1, _knobs(weights="bf16"), long_context=True),
    Setting("weights int8, 1 car", 1, _knobs(weights="int8"), long_context=True),
    Setting("weights int4, 1 car", 1, _knobs(weights="int4"), long_context=True),
    Setting("weights bf16", 20, _knobs(weights="bf16")),
    Setting("weights int8", 20, _knobs(weights="int8")),
    Setting("weights int4", 20, _knobs(weights="int4")),
    Setting("weights int8, kv_dtype int8", 20, _knobs(weights="int8", kv_dtype="int8")),
    Setting("weights int8, quality meter", 20, Knobs(weights="int8")),
    Setting("torch kernels, 1 car", 1, _knobs(kernels="torch"), long_context=True),
    Setting("torch kernels", 20, _knobs(kernels="torch")),
)
# Only where there is a draft model; against "batching continuous" with all cars.
DRAFTED = (
    Setting("speculation off, 1 car", 1, _knobs()),
    Setting("speculation junior, 1 car", 1, _knobs(speculation="junior")),
    Setting("speculation ngram, 1 car", 1, _knobs(speculation="ngram")),
    Setting("speculation junior", 20, _knobs(speculation="junior")),
    Setting("speculation ngram", 20, _knobs(speculation="ngram")),
)
_DECODE = "decode_tokens_per_second"
# (title, numerator, denominator, figure)
RATIOS = (
    (
        "KV cache on / off, 1 car at 500 tokens",
        SETTINGS[1],
        SETTINGS[0],
        _DECODE,
    ),
    ("batching continuous / none", SETTINGS[4], SETTINGS[2], "tokens_per_second"),
    ("batching continuous / static", SETTINGS[4], SETTINGS[3], "tokens_per_second"),
    ("peak KV bytes, contiguous / paged", SETTINGS[5], SETTINGS[4], "kv_bytes_peak"),
    ("prefill tokens, prefix cache off / on", SETTINGS[6], SETTINGS[4], "prefill_tokens"),
    ("weights bf16 / fp32, 1 car", SETTINGS[8], SETTINGS[1], _DECODE),
    ("weights int8 / fp32, 1 car", SETTINGS[9], SETTINGS[1], _DECODE),
    ("weights int4 / int8, 1 car", SETTINGS[10], SETTINGS[9], _DECODE),
    ("weights int8 / fp32, 20 cars", SETTINGS[12], SETTINGS[4], "tokens_per_second"),
    ("weights int4 / fp32, 20 cars", SETTINGS[13], SETTINGS[4], "tokens_per_second"),
    ("peak KV bytes, kv_dtype fp32 / int8", SETTINGS[12], SETTINGS[14], "kv_bytes_peak"),
    ("native / torch kernels, 1 car", SETTINGS[1], SETTINGS[16], _DECODE),
    ("native / torch kernels, 20 cars", SETTINGS[4], SETTINGS[17], "tokens_per_second"),
    ("quality meter on / off, int8, 20 cars", SETTINGS[15], SETTINGS[12], "tokens_per_second"),
)

DRAFTED_RATIOS = (
    ("speculation junior / off, 1 car", DRAFTED[1], DRAFTED[0], _DECODE),
    ("speculation ngram / off, 1 car", DRAFTED[2], DRAFTED[0], _DECODE),
    ("speculation junior / off, 20 cars", DRAFTED[3], SETTINGS[4], "tokens_per_second"),
    ("speculation ngram / off, 20 cars", DRAFTED[4], SETTINGS[4], "tokens_per_second"),
)


def run(args: argparse.Namespace) -> int:
    if args.repeats < 1:
        raise RaceError(f"repeats {args.repeats}: give 1 or more")
    check_json_target(args.json)
    settings = RaceSettings(laps=args.laps)
    if args.model is not None:
        settings = replace(settings, model=args.model)
    client = EngineClient(settings.engine_config(), settings.knobs)
    try:
        figures = measure(client, settings, args.repeats)
    finally:
        client.close()
    write_figures(figures, table(figures), args.json)
    return 0


def measure(client: EngineClient, settings: RaceSettings, repeats: int) -> dict[str, Any]:
    """Run every setting `repeats` times; medians of each figure, and their ratios."""
    info = _ready(client)
    race, lone = _requests(settings, info)
    drafted = settings.draft_folder is not None
    every = SETTINGS + (DRAFTED if drafted else ())
    ratios = RATIOS + (DRAFTED_RATIOS if drafted else ())
    runs: dict[str, list[dict[str, float]]] = {setting.name: [] for setting in every}
    for number in range(repeats + 1):
        for setting in every:
            say(f"round {number} of {repeats}: {setting.name}")
            requests = lone if setting.long_context else race[: setting.cars]
            found = _run(client, requests, setting.knobs, info)
            while found is None:  # its weights were still being built
                found = _run(client, requests, setting.knobs, info)
            if number:  # the first round warms up
                runs[setting.name].append(found)
    medians = {
        name: {key: median(each[key] for each in found) for key in found[0]}
        for name, found in runs.items()
    }
    return {
        "schema": 1,
        "circuit": settings.circuit,
        "laps": settings.laps,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "model": info.name,
        "device": info.device,
        "threads": info.threads,
        "repeats": repeats,
        "settings": [
            {
                "name": setting.name,
                "cars": setting.cars,
                "knobs": setting.knobs.as_dict(),
                **medians[setting.name],
            }
            for setting in every
        ],
        "ratios": {
            title: medians[above.name][key] / medians[below.name][key]
            for title, above, below, key in ratios
        },
    }


def table(figures: Mapping[str, Any]) -> str:
    """The figures for people."""
    head = f"{'':36}{'cars':>5}{'tok/s':>9}{'decode':>9}{'TTFT ms':>9}{'KV MiB':>8}{'prefill':>9}"
    if any("mean_acceptance_length" in row for row in figures["settings"]):
        head += f"{'tok/round':>11}"
    lines = [
        f"{figures['circuit']}, {figures['laps']} laps, {figures['model']} on {figures['device']}, "
        f"{figures['threads']} threads, medians of {figures['repeats']} runs",
        "",
        head,
    ]
    lines += [
        f"{row['name']:36}{row['cars']:5}{row['tokens_per_second']:9.1f}"
        f"{_decode(row):>9}{row['ttft_ms']:9.1f}"
        f"{row['kv_bytes_peak'] / 2**20:8.1f}{row['prefill_tokens']:9.0f}{_round(row)}"
        for row in figures["settings"]
    ]
    lines.append("")
    lines += [f"{title:44}{ratio:7.2f} x" for title, ratio in figures["ratios"].items()]
    return "\n".join(lines) + "\n"


def _decode(row: Mapping[str, Any]) -> str:
    rate = row.get("decode_tokens_per_second")
    return "" if rate is None else f"{rate:.1f}"


def _round(row: Mapping[str, Any]) -> str:
    length = row.get("mean_acceptance_length")
    return "" if length is None else f"{length:11.2f}"


def _requests(
    settings: RaceSettings, info: ModelInfo
) -> tuple[tuple[Request, ...], tuple[Request, ...]]:
    """The race's cars, and one car that has already driven some 500 tokens of its race."""
    vocabulary = Vocabulary.load(settings.model)
    _, cars = line_up(settings.race(1), settings, vocabulary, info.max_context)
    full = circuit(settings.circuit)
    briefing, entrants = draw_race(full, full.laps, settings.seed)
    driven = simulate(briefing, entrants, settings.seed)[0]
    text = briefing.text() + entrants[0].text() + driven
    sampling = Sampling(LONG_TOKENS, settings.temperature, settings.seed, ignore_eos=True)
    return cars, (Request("lone", vocabulary.encode(text)[:LONG_CONTEXT], sampling),)


def _run(
    client: EngineClient, requests: tuple[Request, ...], knobs: Knobs, info: ModelInfo
) -> dict[str, float] | None:
    """The figures of one run, None where it did not run with these knobs alone."""
    client.reset()
    client.set_knobs(knobs)
    client.submit(requests)
    steps: list[StepStats] = []
    last: EngineSnapshot | None = None
    for snapshot in _snapshots(client):
        if {request.id for request in snapshot.requests} != {request.id for request in requests}:
            continue  # an answer that was on its way when the engine was reset
        steps += snapshot.steps
        last = snapshot
        if all(request.finish_reason is not None for request in snapshot.requests):
            break
    assert last is not None
    wanted = replace(knobs, kernels="torch") if info.why_torch else knobs
    if any(step.knobs != wanted for step in steps):
        return None
    start = min(request.submitted for request in last.requests)
    seconds = max(request.finished or start for request in last.requests) - start
    output = sum(request.output_tokens for request in last.requests)
    first = [
        request.first_token - request.submitted for request in last.requests if request.first_token
    ]
    return {
        "seconds": seconds,
        "output_tokens": output,
        "tokens_per_second": output / seconds,
        **_decoding(last.requests),
        **_drafting(steps),
        "ttft_ms": 1e3 * sum(first) / len(first),
        "kv_bytes_peak": max(step.pages.used * step.pages.page_bytes for step in steps),
        "prefill_tokens": sum(step.prefill_tokens for step in steps),
        "preemptions": sum(request.preemptions for request in last.requests),
    }


def _decoding(requests: tuple[RequestStats, ...]) -> dict[str, float]:
    """Tokens/s after the first one; of a car that is alone, for others come and go meanwhile."""
    if len(requests) > 1:
        return {}
    (lone,) = requests
    seconds = (lone.finished or 0.0) - (lone.first_token or 0.0)
    return {"decode_tokens_per_second": (lone.output_tokens - 1) / max(seconds, 1e-9)}


def _drafting(steps: list[StepStats]) -> dict[str, float]:
    """Tokens of a verdict on drafts; nothing where there was none."""
    length = together(map(counted, steps)).mean_length
    return {} if length is None else {"mean_acceptance_length": length}


def _ready(client: EngineClient) -> ModelInfo:
    while True:
        for answer in client.pull(timeout=1.0):
            if isinstance(answer, Ready):
                return answer.info
            if isinstance(answer, Unusable):
                raise EngineError(answer.reason)


def _snapshots(client: EngineClient) -> Iterator[EngineSnapshot]:
    while True:
        for answer in client.pull():
            if isinstance(answer, Refusal):
                raise EngineError(answer.reason)
            if isinstance(answer, Snapshot):
                yield answer.snapshot
        time.sleep(POLL_SECONDS)
