"""A race in figures: the JSON document, and a short table of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.events import FeedEvent, RaceStarted
from pitwall_tui.race.state import RaceState


def summary(events: Iterable[FeedEvent]) -> dict[str, object]:
    """The figures of the last race that was run to its end, or of the last race where none was.

    Raises RaceError where no race was started.
    """
    state = RaceState()
    started = False
    complete: dict[str, object] | None = None
    for event in events:
        if isinstance(event, RaceStarted):
            if state.over:
                complete = state.summary()
            started = True
        state.apply(event)
    if not started:
        raise RaceError("no race was started")
    return complete if complete is not None and not state.over else state.summary()


def print_summary(race: Mapping[str, Any]) -> str:
    """The figures as text for people, with a line end."""
    kv, weights = race["kv"], race["weights"]
    head = (
        f"{race['circuit']}, {race['laps']} laps, {len(race['cars'])} cars, seed {race['seed']},"
        f" temperature {race['temperature']:g}"
    )
    rows = [
        ("model", f"{race['model']}, {weights['format']}, {_mib(weights['bytes'])}"),
        ("knobs", ", ".join(f"{name}={value}" for name, value in race["knobs"].items())),
        *(("", f"{name}={value} after {time:.1f} s") for time, name, value in race["knob_changes"]),
        *(("", f"{_pace(pace)} after {time:.1f} s") for time, pace in race["pace_changes"]),
        (
            "tokens",
            f"{race['prompt_tokens']:,} prompt, {race['output_tokens']:,} output"
            f" in {race['seconds']:.2f} s: {race['tokens_per_second']:.1f} tokens/s",
        ),
        ("TTFT", _latency(race["ttft_ms"])),
        ("TPOT", _latency(race["tpot_ms"])),
        ("E2E", _latency(race["e2e_ms"])),
        (
            "KV",
            f"{kv['pages_peak']} of {kv['pages_total']} pages at the peak,"
            f" {_mib(kv['bytes_peak'])} of {_mib(kv['bytes_total'])},"
            f" {kv['waste_peak_percent']:.1f} % of it empty, {kv['preemptions']} preemptions",
        ),
    ]
    lines = [head, *(f"  {label:<7}{value}" for label, value in rows), ""]
    lines.append(f"  {'car':<5}{'laps':>5}{'tokens':>8}{'TTFT ms':>10}{'E2E ms':>11}  end")
    lines += [
        f"  {car['id']:<5}{car['laps']:>5}{car['output_tokens']:>8}"
        f"{_ms(car['ttft_ms']):>10}{_ms(car['e2e_ms']):>11}  {car['finish_reason']}"
        for car in race["cars"]
    ]
    return "\n".join(lines) + "\n"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _latency(spread: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_ms(value)}" for name, value in spread.items()) + " ms"


def _pace(pace: float) -> str:
    return f"held at {pace:g} tokens/s" if pace else "not held"
