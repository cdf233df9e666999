"""A debrief as a file: JSON and CSV for programs, Markdown and a picture for people."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

from engine.stats import QualitySample
from pitwall_tui.draw.cells import clean
from pitwall_tui.draw.debrief import COLUMNS, sign
from pitwall_tui.picture import column_heads, picture
from pitwall_tui.race.debrief import DebriefView, SettingView
from pitwall_tui.race.effects import Effect
from pitwall_tui.race.latency import LatencyView

_SCHEMA = 1

Document = dict[str, object]


def json_text(view: DebriefView) -> str:
    """All of it; times are in the units that their names end in, what is not known is null."""
    document = {
        "schema": _SCHEMA,
        **dict(view.facts),
        "settings": [setting_document(setting) for setting in view.settings],
        "others": {
            "steps": view.others.steps,
            "step_seconds": view.others.seconds,
            "output_tokens": view.others.output_tokens,
        },
        "effects": [_effect(effect) for effect in view.effects],
        "latencies": {f"{found.name.lower()}_ms": _latency(found) for found in view.latencies},
        **({"ratios": dict(view.ratios)} if view.ratios else {}),
    }
    return json.dumps(document, indent=2) + "\n"


def csv_text(view: DebriefView) -> str:
    """A line for each setting, with the figures of the JSON document."""
    text = io.StringIO()
    rows = [dict(_flat(setting_document(setting))) for setting in view.settings]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown_text(view: DebriefView) -> str:
    """Tables of the settings, of knobs that were turned, and of the race's latencies."""
    parts = [f"# {title(view)}\n"]
    group = ("run",) if view.grouped else ()
    heads = ("", "setting", *group, *column_heads(view))
    parts.append(_table(heads, [_cells(setting, view) for setting in view.settings]))
    parts.append("Tokens/s are over the time that the setting's steps took; TTFT and ITL in ms.\n")
    if view.grouped:
        parts.append("Rates are set against those of the first row that ran the same.\n")
    else:
        parts.append("Rates are set against the first row's over steps that read no prompt.\n")
    if view.ratios:
        rows = [[name, f"{ratio:.2f} x"] for name, ratio in view.ratios]
        parts.append(_table(("ratio", ""), rows))
    if view.effects:
        heads = ("turned", "tok/s before", "after", "ratio", "cars before", "after")
        parts.append(_table(heads, [_turned(effect) for effect in view.effects]))
    if view.latencies:
        heads = ("ms", "n", "p50", "p90", "p99")
        parts.append(_table(heads, [_percentiles(found) for found in view.latencies]))
    return "\n".join(parts)


WRITERS: Mapping[str, Callable[[DebriefView], str]] = {
    "json": json_text,
    "csv": csv_text,
    "md": markdown_text,
    "svg": lambda view: picture(view, title(view)),
}


def title(view: DebriefView) -> str:
    """What was run, in a line."""
    facts = ", ".join(f"{name} {value}" for name, value in view.facts)
    return clean(f"pitwall debrief: {facts}")


def write_all(view: DebriefView, folder: Path) -> str:
    """In every format, under a name that none of them has yet, which is returned.

    Raises OSError; what was written before stays.
    """
    facts = dict(view.facts)
    circuit = "".join(c for c in str(facts["circuit"]) if c.isalnum() or c in "-_")
    name = f"pitwall-{circuit or 'start'}-race{facts['race']}"
    stems = chain((name,), (f"{name}-{number}" for number in count(2)))
    stem = next(s for s in stems if not any((folder / f"{s}.{end}").exists() for end in WRITERS))
    for end, text in WRITERS.items():
        with (folder / f"{stem}.{end}").open("x", encoding="utf-8") as file:
            file.write(text(view))
    return stem


# Figures


def setting_document(setting: SettingView) -> Document:
    """A setting's figures by name. Tokens/s are over the seconds that its steps took, those of
    decoding over steps that read no prompt."""
    quality = setting.quality
    return {
        "letter": setting.letter,
        "name": setting.name,
        **({"group": setting.group} if setting.group else {}),
        "exact": setting.exact,
        "step_seconds": setting.seconds,
        "steps": setting.steps,
        "mean_cars": setting.cars,
        "output_tokens": setting.output_tokens,
        "tokens_per_step_second": setting.tokens_per_second,
        "decode_tokens_per_step_second": setting.decode_tokens_per_second,
        "step_ms": setting.step_ms,
        "itl_ms": _latency(setting.itl),
        "ttft_ms": {"mean": setting.ttft_mean, **_latency(setting.ttft)},
        "weights_bytes": setting.weights_bytes or None,
        "kv_bytes_peak": setting.kv_peak,
        "kv_bytes_mean": setting.kv_mean,
        "waste_percent": setting.waste_percent,
        "prefill_tokens": setting.prefill_tokens,
        "preemptions": setting.preemptions,
        "lost_tokens": setting.lost_tokens,
        "mean_acceptance_length": setting.tokens_a_round,
        "quality": _quality(quality or QualitySample(0, 0.0, 0, 0, 0)),
        "knobs": setting.knobs.as_dict(),
    }


def _latency(found: LatencyView) -> Document:
    return {"count": found.count, "p50": found.p50, "p90": found.p90, "p99": found.p99}


def _quality(sample: QualitySample) -> Document:
    return {
        "tokens": sample.tokens,
        "mean_kl": sample.mean_kl if sample.tokens else None,
        "top1_percent": sample.top1_percent if sample.tokens else None,
        "clear_tokens": sample.clear,
        "clear_top1_percent": sample.clear_top1_percent,
    }


def _effect(effect: Effect) -> Document:
    return {
        "label": effect.label,
        "time": effect.time,
        "seconds": effect.seconds,
        "tokens_per_second_before": effect.before,
        "tokens_per_second_after": effect.after,
        "ratio": effect.ratio,
        "cars_before": effect.cars_before,
        "cars_after": effect.cars_after,
    }


def _flat(document: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Names within names joined by "_"."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}_")
        else:
            yield f"{before}{name}", value


# Tables


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return clean(text).strip().replace("\\", "\\\\").replace("|", "\\|")


def _cells(setting: SettingView, view: DebriefView) -> list[str]:
    glyph, _ = sign(setting)
    first = view.first(setting)
    figures = [figure(setting, first) for _, figure in COLUMNS.values()]
    group = (setting.group,) if setting.group else ()
    return [f"{setting.letter} {glyph}", setting.name, *group, *figures]


def _turned(effect: Effect) -> list[str]:
    rates = (effect.before, effect.after)
    cars = (effect.cars_before, effect.cars_after)
    return [
        effect.label,
        *(f"{rate:.0f}" for rate in rates),
        f"{effect.ratio:.2f} x",
        *(f"{mean:.1f}" for mean in cars),
    ]


def _percentiles(found: LatencyView) -> list[str]:
    values = (found.p50, found.p90, found.p99)
    texts = ("-" if value is None else f"{value:.1f}" for value in values)
    return [found.name, str(found.count), *texts]
