"""A race in figures: the JSON document, its debrief, and a short table of it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pitwall_tui.race.debrief import DebriefView
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.events import FeedEnded, FeedEvent, RaceStarted
from pitwall_tui.race.state import RaceState


class Summary(NamedTuple):
    """A race's figures, in words what else its events say of them, and its debrief."""

    figures: dict[str, object]
    notes: tuple[str, ...]
    debrief: DebriefView


def debrief(state: RaceState) -> DebriefView:
    """What each setting of the race so far gave."""
    view = state.view(0.0, ("debrief",)).details.debrief
    assert view is not None
    return view


def summary(events: Iterable[FeedEvent]) -> Summary:
    """Of the last race that was run to its end, or of the last race where none was.

    Raises RaceError where no race was started.
    """
    state = RaceState()
    races, told = 0, 0
    complete: tuple[dict[str, object], DebriefView] | None = None
    notes: list[str] = []
    for event in events:
        if isinstance(event, RaceStarted):
            if state.over:
                complete, told = (state.summary(), debrief(state)), races
            races += 1
        if isinstance(event, FeedEnded):
            notes.append(event.reason)
        state.apply(event)
    if not races:
        raise RaceError("no race was started")
    if state.over or complete is None:
        complete, told = (state.summary(), debrief(state)), races
    if races > 1:
        notes.append(f"race {told} of {races}")
    if told == races and not state.over:
        notes.append("the race stops before its flag")
    figures, view = complete
    return Summary(figures, tuple(notes), view)


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
        *(
            [("engine", f"lost {race['engine_lost']}x, its absence is not in the seconds")]
            if race["engine_lost"]
            else []
        ),
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
    if speculation := race["speculation"]:
        rows.append(("drafts", _drafts(speculation)))
    if quality := race["quality"]:
        rows += [("quality", _quality(form)) for form in quality["formats"]]
        cost = f"{quality['cost_percent']:.1f} % of the engine's time"
        rows.append(("", f"against fp32, which scored them beside the race in {cost}"))
    lines = [head, *(f"  {label:<8}{value}" for label, value in rows), ""]
    lines.append(f"  {'car':<5}{'laps':>5}{'tokens':>8}{'TTFT ms':>10}{'E2E ms':>11}  end")
    lines += [
        f"  {car['id']:<5}{car['laps']:>5}{car['output_tokens']:>8}"
        f"{_ms(car['ttft_ms']):>10}{_ms(car['e2e_ms']):>11}  {car['finish_reason']}"
        for car in race["cars"]
    ]
    return "\n".join(lines) + "\n"


def _drafts(counts: Mapping[str, Any]) -> str:
    if not counts["drafts"]:
        return "none"
    shares = "/".join(f"{100 * share:.0f}" for share in counts["accepted_per_position"])
    return (
        f"{counts['accepted_tokens']:,} of {counts['draft_tokens']:,} accepted, {shares} % by"
        f" place; {counts['mean_acceptance_length']:.2f} tokens a round"
    )


def _quality(form: Mapping[str, Any]) -> str:
    clear = form["clear_top1_percent"]
    return (
        f"{form['weights']}, kv {form['kv_dtype']}: KL {form['mean_kl']:.5f}, top-1"
        f" {form['top1_percent']:.1f} % of {form['tokens']} places"
        + ("" if clear is None else f", {clear:.1f} % of those that are no near tie")
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _latency(spread: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_ms(value)}" for name, value in spread.items()) + " ms"


def _pace(pace: float) -> str:
    return f"held at {pace:g} tokens/s" if pace else "not held"
