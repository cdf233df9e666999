"""Throughput over time: an area of eighth blocks with an axis, and marks where a knob changed."""

from math import floor, isfinite, log10

from pitwall_tui.draw.cells import (
    Row,
    Rows,
    Span,
    clean,
    cut,
    fit,
    fit_box,
    heading,
    row_width,
    width,
)
from pitwall_tui.race.view import ChartView, QualityView, TrafficView

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_AXIS = 6  # cells of the axis: a number and its tick
_LEAST_LABEL = 8  # cells, of one that is cut


def ceiling(peak: float) -> float:
    """The least of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is not below `peak`."""
    if not isfinite(peak) or peak <= 0:
        return 10.0
    power = float(10 ** floor(log10(peak)))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return next((power * step for step in steps if power * step >= peak), power * 10)


def _finite(values: tuple[float, ...]) -> list[float]:
    return [value if isfinite(value) and value > 0 else 0.0 for value in values]


def columns(values: list[float], top: float, height: int) -> list[str]:
    """Each value as a column of `height` cells, the lowest cell first."""
    drawn = []
    for value in values:
        eighths = min(height * 8, round(value / top * height * 8))
        full, rest = divmod(eighths, 8)
        drawn.append(("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(height)[:height])
    return drawn


def spark(values: tuple[float, ...], cells: int) -> str:
    """The newest values as one line of blocks, lowest at 0."""
    shown = _finite(values)[-cells:] if cells > 0 else []
    return "".join(columns(shown, ceiling(max(shown, default=0.0)), 1)).rjust(max(0, cells))


def _label(value: float) -> str:
    text = f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return text if len(text) < _AXIS else f"{value / 1000:.0f}k"


def _axis(line: int, height: int, top: float) -> Span:
    """The axis beside `line` (0 the lowest): numbers at the foot, the middle and the top."""
    numbers = {0: 0.0, height - 1: top} | ({height // 2: top / 2} if height >= 5 else {})
    if line in numbers:
        return Span(f"{_label(numbers[line]):>{_AXIS - 1}}┤", "dim")
    return Span(" " * (_AXIS - 1) + "│", "dim")


def _labels(marks: list[tuple[int, str]], cells: int, lines: int) -> list[Row]:
    """The marks' labels under the plot, each at its mark in the first line that has room; one of
    which next to nothing would be left is left out."""
    rows: list[list[Span]] = [[] for _ in range(lines)]
    for index, (column, label) in enumerate(marks):
        start = min(column, max(0, cells - width(clean(label))))
        row = next((row for row in rows if not row or row_width(row) < start), None)
        if row is None:
            continue
        following = marks[index + lines][0] if index + lines < len(marks) else cells + 1
        room = following - start - 1
        if room < min(_LEAST_LABEL, width(clean(label))):
            continue
        row.append(Span(" " * (start - row_width(row))))
        row.append(Span(cut(label, room), "chart.mark"))
    return [tuple(row) for row in rows]


def _plot_row(line: int, drawn: list[str], marked: set[int], cells: int) -> list[Span]:
    glyphs = "".join(column[line] for column in drawn).ljust(cells)
    spans, start = [], 0
    for column in (*sorted(marked), cells):
        if column > start:
            spans.append(Span(glyphs[start:column], "chart.area"))
        if column < cells:
            spans.append(Span("│", "chart.mark", "chart.area" if glyphs[column] == "█" else ""))
        start = column + 1
    return spans


def _figures(chart: ChartView, traffic: tuple[TrafficView, ...]) -> tuple[Span, ...]:
    return (
        *[Span(f"{_rate(phase)}  ", "dim") for phase in traffic if phase.phase == "decode"],
        Span(f"peak {chart.peak:.0f}  ", "dim"),
        Span(f"mean {chart.mean:.0f} tok/s", "title bold"),
    )


def _traffic(traffic: TrafficView) -> Row:
    """What a phase reads: weights + KV a token, GB/s, share of the memory's speed."""
    mib = f"{traffic.weight_bytes / 2**20:.2f}+{traffic.kv_bytes / 2**20:.2f} MiB/tok"
    return (
        Span(f" {traffic.phase:<8}", "dim"),
        Span(f"{mib} "),
        Span(_rate(traffic), "text bold"),
    )


def _rate(traffic: TrafficView) -> str:
    share = "" if traffic.share_percent is None else f" {traffic.share_percent:.0f}%"
    return f"{traffic.gbs:.1f} GB/s{share}"


def _quality(quality: QualityView | None) -> tuple[Row, ...]:
    """What the served format loses against fp32, as far as it has been scored."""
    if quality is None:
        return ()
    head = Span(" quality ", "dim")
    if not quality.tokens:
        return ((head, Span(f"{quality.form}: not scored yet", "dim")),)
    clear = quality.clear_top1_percent
    top1 = f"{quality.top1_percent:.1f}" + ("" if clear is None else f"/{clear:.1f}")
    figures = Span(f"KL {quality.kl:.4f} top-1 {top1}% ", "text bold")
    return ((head, figures, Span(f"cost {quality.cost_percent:.1f}%", "dim")),)


def draw_chart(
    chart: ChartView,
    cells: int,
    height: int,
    traffic: tuple[TrafficView, ...] = (),
    quality: QualityView | None = None,
) -> Rows:
    """Output tokens/s over what the phases read from memory and what the format loses, a line each
    where there is room.

    One or two rows make a line of blocks.
    """
    below = 2 if height >= 10 else 1  # lines under the plot
    reads = [*map(_traffic, traffic), *_quality(quality)] if height >= 8 else []
    if not chart.values:
        said = Span(" nothing has run yet", "dim")
        return fit_box((heading("THROUGHPUT", (), cells), (said,)), cells, height)
    head = heading("THROUGHPUT", _figures(chart, () if reads else traffic), cells)
    lines, inside = height - 1 - below - len(reads), cells - _AXIS - 2
    if lines < 2 or inside < 4:
        line = (Span(" "), Span(spark(chart.values, cells - 2), "chart.area"))
        return fit_box((line,) if height == 1 else (head, line), cells, height)
    values = _finite(chart.values)
    first = max(0, len(values) - inside)
    shown = values[first:]
    marks = [(i - first, text) for i, text in chart.marks if first <= i < first + inside]
    top = ceiling(max(shown, default=0.0))
    drawn = columns(shown, top, lines)
    marked = {column for column, _ in marks}
    rows = [
        (Span(" "), _axis(line, lines, top), *_plot_row(line, drawn, marked, inside))
        for line in reversed(range(lines))
    ]
    left = Span(" " * (_AXIS + 1))
    foot = [(left, *labels) for labels in _labels(marks, inside, below)]
    if not marks:
        foot = [(left, Span(fit(f"{len(shown) * chart.bucket:.0f} s", inside, "right"), "dim"))]
    foot += [()] * (below - len(foot))
    return fit_box((head, *rows, *foot, *reads), cells, height)
