"""The figures for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
# Title, cells, and the text of a row.
_Column = tuple[str, int, Callable[[Row], str]]

_MIB = 2**20
_NAME = 34
_SPEED: tuple[_Column, ...] = (
    ("cars", 5, lambda row: f"{row['cars']}"),
    ("tok/s", 9, lambda row: f"{row['tokens_per_second']:.1f}"),
    ("decode", 9, lambda row: _number(row.get("decode_tokens_per_second"))),
    ("TTFT ms", 9, lambda row: _number(row["ttft_ms"])),
    ("ITL p50", 9, lambda row: _number(row["itl_ms"]["p50"])),
    ("p90", 7, lambda row: _number(row["itl_ms"]["p90"])),
    ("p99", 7, lambda row: _number(row["itl_ms"]["p99"])),
    ("tok/round", 11, lambda row: _number(row.get("mean_acceptance_length"), 2)),
)
_RATIOS: tuple[_Column, ...] = (
    ("to first", 10, lambda row: f"{row['to_first']:.2f} x"),
    ("before", 10, lambda row: f"{row['to_before']:.2f} x"),
)
_MEMORY: tuple[_Column, ...] = (
    ("weights MiB", 12, lambda row: _mib(row["weights_bytes"])),
    ("KV MiB", 8, lambda row: _mib(row["kv_bytes_peak"])),
    ("mean", 8, lambda row: _mib(row["kv_bytes_mean"])),
    ("waste", 8, lambda row: f"{row['waste_percent']:.1f} %"),
    ("prefill", 9, lambda row: f"{row['prefill_tokens']}"),
    ("text: KL, top-1", 20, lambda row: _text(row["quality"])),
)


def table(figures: Mapping[str, Any]) -> str:
    """Of a document; with a line end."""
    head = (
        f"{figures['circuit']}, {figures['laps']} laps, {figures['model']} on {figures['device']}, "
        f"{figures['threads']} threads, medians of {figures['repeats']} runs"
    )
    rows, stacked = figures["settings"], figures["stacked"]
    ratios = [f"{title:44}{ratio:7.2f} x" for title, ratio in figures["ratios"].items()]
    title = f"Stacked: {stacked[0]['group']}; tok/s to those of the first row, of the row before"
    parts = (
        (head,),
        _lines("One by one; times in ms", rows, _SPEED),
        _lines("", rows, _MEMORY),
        ratios,
        (title,),
        _lines("", stacked, (*_SPEED[1:], *_RATIOS)),
        _lines("", stacked, _MEMORY),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _lines(title: str, rows: Sequence[Row], columns: Sequence[_Column]) -> list[str]:
    """Without columns in which nothing stands."""
    texts = [[text(row) for row in rows] for _, _, text in columns]
    kept = [each for each in zip(columns, texts, strict=True) if any(each[1])]
    lines = [f"{title:{_NAME}}" + "".join(f"{head:>{cells}}" for (head, cells, _), _ in kept)]
    for number, row in enumerate(rows):
        cells = "".join(f"{texts[number]:>{column[1]}}" for column, texts in kept)
        lines.append(f"{row['name']:{_NAME}}{cells}")
    return [line.rstrip() for line in lines]


def _number(value: float | None, places: int = 1) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size / _MIB:.1f}"


def _text(quality: Mapping[str, Any] | str | None) -> str:
    if quality is None:
        return "not measured"
    if isinstance(quality, str):
        return quality
    return f"KL {quality['mean_kl']:.5f}, {quality['top1_percent']:.1f} %"
