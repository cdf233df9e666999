"""What was measured, as a JSON document and as a debrief."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pitwall_tui.cli.bench.measure import Results, Row
from pitwall_tui.export import setting_document
from pitwall_tui.race.debrief import LETTERS, DebriefView, Fact, Others, SettingView

SCHEMA = 1

# Of a setting's document in a debrief.
_SHARED = (
    *("knobs", "output_tokens", "itl_ms", "weights_bytes", "kv_bytes_peak", "kv_bytes_mean"),
    *("waste_percent", "prefill_tokens", "preemptions"),
)

Figures = dict[str, Any]


def document(results: Results) -> Figures:
    """Everything; `knobs` are those that steps used.

    A row lacks decode tokens/s where cars come and go, and the length of a round where nobody
    drafted.
    """
    rows = {row.setting.name: _row(row) for row in results.rows}
    return {
        "schema": SCHEMA,
        **dict(_facts(results)),
        "settings": list(rows.values()),
        "ratios": {
            ratio.title: rows[ratio.above][ratio.figure] / rows[ratio.below][ratio.figure]
            for ratio in results.plan.ratios
        },
        "stacked": _stack([_row(row) for row in results.stacked]),
    }


def debrief(results: Results) -> DebriefView:
    """The table as a race's would be; tokens/s are over the time that steps took."""
    every = (*results.rows, *results.stacked)
    figures = document(results)
    stacked = figures["stacked"]
    ratios = [
        *figures["ratios"].items(),
        *((f"stacked: {row['name']} / the row before", row["to_before"]) for row in stacked[1:]),
        *(
            (f"stacked: {row['name']} / {stacked[0]['name']}", row["to_first"])
            for row in stacked[1:]
        ),
    ]
    return DebriefView(
        facts=_facts(results),
        settings=tuple(_named(*each) for each in zip(LETTERS, every, strict=False)),
        others=Others(),
        effects=(),
        latencies=(),
        ratios=tuple(ratios),
    )


def _facts(results: Results) -> tuple[tuple[str, Fact], ...]:
    race, model = results.race, results.model
    return (
        ("circuit", race.circuit),
        ("laps", race.race(1).laps),
        ("seed", race.seed),
        ("temperature", race.temperature),
        ("model", model.name),
        ("device", model.device),
        ("threads", model.threads),
        ("repeats", results.repeats),
    )


def _named(letter: str, row: Row) -> SettingView:
    return replace(
        row.run.view, letter=letter, name=row.setting.name, group=row.setting.group, now=False
    )


def _row(row: Row) -> Figures:
    """Quality is None where it was not measured."""
    run, view = row.run, row.run.view
    found: Figures = setting_document(view)
    decode, rounds = run.decode_tokens_per_second, view.tokens_a_round
    return {
        "name": row.setting.name,
        "group": row.setting.group,
        "cars": row.setting.cars,
        "seconds": run.seconds,
        "tokens_per_second": run.tokens_per_second,
        **({} if decode is None else {"decode_tokens_per_second": decode}),
        **({} if rounds is None else {"mean_acceptance_length": rounds}),
        "ttft_ms": view.ttft_mean,
        "ttft_percentiles_ms": found["ttft_ms"],
        **{key: found[key] for key in _SHARED},
        "quality": "exact" if view.exact else found["quality"] if view.quality else None,
    }


def _stack(rows: Sequence[Figures]) -> list[Figures]:
    """With tokens/s over those of the first row, and of the one before."""
    rates = [row["tokens_per_second"] for row in rows]
    before = [*rates[:1], *rates]
    return [
        {**row, "to_first": rate / rates[0], "to_before": rate / last}
        for row, rate, last in zip(rows, rates, before, strict=False)
    ]
