"""A race's bottleneck for pictures: steps of a known model on a known machine, folded as ever."""

from dataclasses import replace

from engine.config import Knobs, Sampling
from engine.flops import step_flops
from engine.footprint import LLAMA_2, kv_bytes
from engine.plan import Row
from engine.stats import StepStats, StepTimes, Verdict
from pitwall_tui.race.bottleneck import Bottleneck, BottleneckView
from pitwall_tui.race.details import Details
from pitwall_tui.race.view import RaceView
from tests.scripted import MODEL
from tests.tui import views

# The shipped chief's shape, and two cores that are about what README.md was measured on.
CHIEF = replace(
    LLAMA_2["7B"], vocab_size=1280, hidden=512, ffn=1408, layers=8, heads=8, kv_heads=2,
    head_size=64,
)  # fmt: skip
MACHINE = replace(
    MODEL, read_gbs=32.5, float_gflops=215.0, int8_gops=780.0, memory_bytes=24 * 2**30
)
BYTES = {"fp32": 92_800_000, "bf16": 46_400_000, "int8": 23_400_000, "int4": 12_400_000}


def made(
    rows: int = 0,
    prompt: int = 0,
    drafts: int = 0,
    *,
    forward: float,
    weights: str = "fp32",
    context: int = 400,
) -> StepStats:
    """A step of `rows` requests that decode at a context, beside a prompt's chunk; `forward` ms."""
    run = (1,) * (1 + drafts)
    batch = [Row(str(i), context, run, (), Sampling(), 0, drafts) for i in range(rows)]
    batch += [Row("p", 0, (1,) * prompt, (), Sampling())] * bool(prompt)
    used = Knobs(weights=weights, speculation="junior" if drafts else "off")
    return StepStats(
        step=1,
        time=0.0,
        knobs=used,
        tokens=tuple((row.id, (1,)) for row in batch),
        prefill_tokens=prompt,
        decode_rows=rows,
        running=len(batch),
        weight_bytes=BYTES[weights],
        kv_bytes=sum(row.end for row in batch) * kv_bytes(CHIEF, "fp32"),
        flops=step_flops(CHIEF, batch),
        ms=StepTimes(0.12, forward, 0.3, 0.15, 0.05 * (weights != "fp32"), 0.4 * bool(drafts)),
        verdicts=tuple(Verdict(str(i), (1,) * drafts, 3) for i in range(rows)) if drafts else (),
    )


def race() -> Bottleneck:
    """Prompts first, then decoding in two formats, at the end with drafts."""
    tracker = Bottleneck()
    time = 0.0
    for count, step in (
        (2, made(prompt=256, forward=78.0)),
        (6, made(rows=8, prompt=180, forward=64.0)),
        (60, made(rows=20, forward=6.4)),
        (60, made(rows=20, weights="int8", forward=3.1)),
        (40, made(rows=20, weights="int4", forward=3.4)),
        (60, made(rows=1, forward=3.3)),
        (400, made(rows=1, drafts=4, forward=4.1)),
    ):
        for _ in range(count):
            time += step.ms.total / 1e3
            tracker.add(step, time)
    return tracker


def view() -> BottleneckView:
    tracker = race()
    return tracker.view(MACHINE, tracker._time)


def bound(**changes: object) -> RaceView:
    """A race with its bottleneck looked at."""
    return views.racing(details=Details(bottleneck=view()), **changes)
