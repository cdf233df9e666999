"""How good are the races that a model writes? Samples whole races and judges every line.

    python -m benchmarks.chief_quality [--model DIR] [--races 100] [--cars 20] [--device cuda]

Races are drawn like those of training, from seeds of their own; lap times are held against
simulated races of the same briefings.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from pitwall_tui.feed.settings import LINE_TOKENS
from pitwall_tui.feed.text import Vocabulary
from pitwall_tui.paths import asset
from pitwall_tui.race.briefing import MIN_LAPS, draw_race
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.quality import LapTimes, judge
from pitwall_tui.race.simulator import simulate

SEED = 2**40  # beyond every seed that training, tokenizer and held-out documents use
MOST_FAULTS_SHOWN = 12


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default=str(asset("models/chief")))
    parser.add_argument("--races", type=int, default=100)
    parser.add_argument("--cars", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--kv-memory-mib", type=float, default=512)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    config = EngineConfig(model=args.model, kv_memory_mib=args.kv_memory_mib, device=args.device)
    engine = Engine.load(config, Knobs(max_batch=args.batch, prefill_chunk=2048))
    figures = assess(engine, Vocabulary.load(args.model), args.races, args.cars, args.temperature)
    text = json.dumps(figures, indent=2)
    if args.json:
        Path(args.json).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 0


def assess(
    engine: Engine, vocabulary: Vocabulary, races: int, cars: int, temperature: float
) -> dict[str, Any]:
    """Sample `cars` cars of each of `races` races, and judge them."""
    random = Random(SEED)
    prompts: dict[str, str] = {}
    simulated, sampled = LapTimes(), LapTimes()
    for number in range(races):
        circuit = random.choice(list(CIRCUITS.values()))
        laps = random.randint(MIN_LAPS, circuit.laps)
        briefing, entrants = draw_race(circuit, laps, SEED + number)
        bodies = simulate(briefing, entrants, SEED + number)
        for entrant, body in list(zip(entrants, bodies, strict=True))[:cars]:
            prompt = briefing.text() + entrant.text()
            prompts[f"{number}-{entrant.code}"] = prompt
            simulated.add(prompt, body)
            ids = vocabulary.encode(prompt)
            most = min(laps * LINE_TOKENS, engine.info.max_context - len(ids))
            seed = number * 100 + entrant.number
            engine.submit(
                Request(f"{number}-{entrant.code}", ids, Sampling(most, temperature, seed))
            )
    start = time.perf_counter()
    tokens = 0
    while engine.has_work:
        tokens += engine.step().output_tokens
    seconds = time.perf_counter() - start
    lines = parsed = legal = ended = compounds = retired = unsafe = 0
    faults: Counter[str] = Counter()
    examples: list[str] = []
    for id, prompt in prompts.items():
        body = vocabulary.decode(engine.tokens(id))
        verdict = judge(prompt, body)
        lines += verdict.lines
        parsed += verdict.parsed
        legal += verdict.legal
        ended += verdict.ended
        compounds += verdict.two_compounds
        retired += " OUT " in body
        unsafe += sum("safety car mark" in fault for fault in verdict.faults)
        faults.update(fault.partition(": ")[2] or fault for fault in verdict.faults)
        examples += verdict.faults[:1]
        sampled.add(prompt, body)
    rows = simulated.compare(sampled, min_samples=100)
    return {
        "races": races,
        "cars": len(prompts),
        "temperature": temperature,
        "device": engine.info.device,
        "output_tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "lines": lines,
        "lines_parsed_percent": 100 * parsed / lines,
        # Lap, tyre age and compound; whether SC stands on the briefing's laps is counted apart.
        "lines_legal_but_for_safety_mark_percent": 100 * (legal + unsafe) / lines,
        "safety_car_mark_right_percent": 100 * (lines - unsafe) / lines,
        "races_ended_percent": 100 * ended / len(prompts),
        "two_compounds_percent": 100 * compounds / len(prompts),
        "retired_percent": 100 * retired / len(prompts),
        "lap_time_largest_difference_s": max((abs(row.diff) for row in rows), default=None),
        "lap_times": [
            {"compound": r.compound, "age_from": r.age, "laps": r.n, "difference_s": r.diff}
            for r in rows
        ],
        "faults": dict(faults.most_common(MOST_FAULTS_SHOWN)),
        "fault_examples": examples[:MOST_FAULTS_SHOWN],
    }


if __name__ == "__main__":
    sys.exit(main())
