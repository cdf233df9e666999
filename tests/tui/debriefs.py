"""A debrief as a race might leave it: some settings exact, some measured, one of them never."""

from dataclasses import replace

from engine.config import Knobs
from engine.stats import QualitySample
from pitwall_tui.race.debrief import DebriefView, Others, SettingView
from pitwall_tui.race.details import Details
from pitwall_tui.race.effects import Effect
from pitwall_tui.race.latency import LatencyView, latencies
from pitwall_tui.race.view import RaceView
from tests.tui import views

MIB = 2**20


def spread(name: str, *values: float) -> LatencyView:
    return latencies(name, "race", values)


FIRST = SettingView(
    letter="A", name="batching none", knobs=Knobs(batching="none"), now=False, seconds=6.02,
    steps=2190, cars=1.0, output_tokens=2190, tokens_per_second=363.8, step_ms=2.75,
    itl=spread("ITL", 2.4, 2.6, 2.7, 2.8, 9.1), ttft=spread("TTFT", 41.0, 903.4, 3877.0),
    ttft_mean=1607.1, weights_bytes=round(88.5 * MIB), kv_peak=2 * MIB, kv_mean=1.6 * MIB,
    waste_percent=4.1, prefill_tokens=940, preemptions=0, lost_tokens=0, tokens_a_round=None,
    exact=True, quality=None,
)  # fmt: skip


def setting(letter: str, name: str, rate: float, **changes: object) -> SettingView:
    """Twenty cars, whose rate decides most."""
    knobs = Knobs()
    for part in name.split(", "):
        knobs = knobs.with_value(*part.split(" "))  # type: ignore[arg-type]
    ms = 20_000 / rate
    found = replace(
        FIRST, letter=letter, name=name, knobs=knobs, seconds=3.1, steps=round(3100 / ms),
        cars=19.4, output_tokens=round(3.1 * rate), tokens_per_second=rate, step_ms=ms,
        itl=spread("ITL", ms, 1.1 * ms, 1.6 * ms, 2.9 * ms), ttft=spread("TTFT"), ttft_mean=None,
        kv_peak=round(25.6 * MIB), kv_mean=20.25 * MIB, waste_percent=8.4, prefill_tokens=0,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


SETTINGS = (
    FIRST,
    setting("B", "batching continuous", 2308.0, preemptions=3, lost_tokens=412),
    setting("C", "batching continuous, paging contiguous", 2389.0, kv_peak=round(48.1 * MIB)),
    setting(
        "D", "batching continuous, weights int8", 6289.0, weights_bytes=round(22.3 * MIB),
        exact=False, quality=QualitySample(640, 0.2624, 605, 571, 570),
    ),
    setting(
        "E", "batching continuous, weights int8, kv_dtype int8", 5747.0,
        weights_bytes=round(22.3 * MIB), kv_peak=round(6.8 * MIB), exact=False,
        quality=QualitySample(96, 0.1, 90, 80, 79),
    ),
    setting(
        "F", "batching continuous, weights int4, speculation junior", 4810.0, tokens_a_round=5.41,
        weights_bytes=round(13.1 * MIB), exact=False, now=True,
    ),
)  # fmt: skip
EFFECTS = (
    Effect("batching continuous", 6.1, 2.0, 361.2, 2291.0, 1.0, 19.6),
    Effect("paging contiguous", 9.2, 2.0, 2310.0, 2381.0, 19.8, 19.8),
    Effect("paging paged, weights int8", 12.3, 1.4, 2377.0, 6120.0, 19.8, 19.7),
    Effect("kv_dtype int8", 15.4, 2.0, 6301.0, 5750.0, 19.7, 19.5),
    Effect(
        "weights int4, kv_dtype fp32, speculation junior", 18.5, 2.0, 5741.0, 4802.0, 19.5, 18.4
    ),
)
LATENCIES = (
    spread("TTFT", 41.0, 903.4, 3877.0),
    spread("TPOT", 8.1, 9.4, 9.9),
    spread("E2E"),
    spread("ITL", 2.4, 8.1, 8.4, 30.1),
)
FACTS = (
    ("race", 1), ("circuit", "monza"), ("laps", 53), ("cars", 20), ("seed", 7),
    ("temperature", 0.8), ("model", "chief"), ("device", "cpu"), ("threads", 2),
)  # fmt: skip
VIEW = DebriefView(FACTS, SETTINGS, Others(), EFFECTS, LATENCIES)
NONE = DebriefView(FACTS[:6], (), Others(), (), ())


def many(count: int = 52) -> DebriefView:
    """More settings than any terminal has lines for, and some that have no letter."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[:count]
    made = tuple(
        setting(letter, f"max_batch {n + 1}", 400.0 + 40 * n, now=n + 1 == count)
        for n, letter in enumerate(letters)
    )
    return replace(VIEW, settings=made, others=Others(17, 0.3, 210), effects=EFFECTS * 20)


def race(view: DebriefView = VIEW) -> RaceView:
    """A race with this debrief."""
    return replace(views.racing(), details=Details(debrief=view))
