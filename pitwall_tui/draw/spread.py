"""Where a layer's weights lie before and after quantization: histograms, errors, pairs."""

from collections.abc import Sequence
from itertools import groupby
from math import log1p

from engine.studies import SIDE, Histogram, LayerStudy
from pitwall_tui.draw.cells import DOTS, Row, Rows, Span, fit, fit_box, heading
from pitwall_tui.draw.chart import columns
from pitwall_tui.race.workshop import WorkshopView

_FEW = 1 / 500  # of all weights: a cell of pairs with fewer is drawn faint


def resampled(counts: tuple[int, ...], parts: int) -> list[float]:
    """Counts in equal parts of the same range, as if each held the same number of bins."""
    each = len(counts) / parts
    sums = []
    for part in range(parts):
        first = part * len(counts) // parts
        bins = counts[first : max(first + 1, (part + 1) * len(counts) // parts)]
        sums.append(sum(bins) / len(bins) * each)
    return sums


def number(value: float) -> str:
    """Three digits of it, in seven cells at most."""
    text = f"{value:#.3g}".rstrip(".")
    return text if len(text) <= 7 and "e" not in text else f"{value:.1e}"


def _plot(heights: list[float], lines: int, role: str, labels: Sequence[str] = ()) -> list[Row]:
    """Columns that are 1 high at most, under the first label that the corner has room for."""
    drawn = columns(heights, 1.0, lines)
    texts = ["".join(column[line] for column in drawn) for line in reversed(range(lines))]
    rows: list[Row] = [(Span(" "), Span(text, role)) for text in texts]
    for label in labels:
        corner, rest = texts[0][: len(label)], texts[0][len(label) :]
        if rest and not corner.strip():
            rows[0] = (Span(" "), Span(label, "dim"), Span(rest, role))
            break
    return rows


def _axis(reach: float, cells: int, name: str = "0") -> Row:
    """The range under a plot, its middle named."""
    end = number(reach)
    middle = fit(name, cells - 4 - 2 * len(end), "centre")
    return (Span(f" -{end}{middle}+{end}", "dim"),)


def _logarithmic(histogram: Histogram, cells: int) -> list[float]:
    counts = resampled(histogram.counts, cells)
    return [log1p(count) / log1p(max(counts)) for count in counts]


def _role(view: WorkshopView, role: str) -> str:
    """What an earlier choice left is faint until the new one is there."""
    return role if view.current else "dim"


def draw_weights(view: WorkshopView, cells: int, height: int) -> Rows:
    """Two histograms on one axis, counts on a logarithmic scale: weights before, and after."""
    head = heading("WEIGHTS", (Span("how many, log scale", "dim"),), cells)
    study, inside, lines = view.study, cells - 2, height - 2
    if study is None or inside < 1 or lines < 2:
        return fit_box((head,), cells, height)
    upper = (lines + 1) // 2
    rows = _plot(
        _logarithmic(study.before, inside),
        upper,
        _role(view, "chart.area"),
        (f"before: {_count(sum(study.before.counts))} weights", "before"),
    )
    rows += _plot(
        _logarithmic(study.after, inside),
        lines - upper,
        _role(view, "chart.mark"),
        (f"after: {_count(study.outputs)} values", "after"),
    )
    return fit_box((head, *rows, _axis(study.before.reach, cells)), cells, height)


def draw_off(view: WorkshopView, cells: int, height: int) -> Rows:
    """The histogram of the errors, from none to the commonest."""
    head = heading("ERROR", (Span("after - before, how many", "dim"),), cells)
    study, inside, lines = view.study, cells - 2, height - 2
    if study is None or inside < 1 or lines < 1:
        return fit_box((head,), cells, height)
    counts = resampled(study.off.counts, inside)
    heights = [count / max(counts) for count in counts]
    rows = _plot(heights, lines, _role(view, "sector.purple"))
    return fit_box((head, *rows, _axis(study.off.reach, cells)), cells, height)


def draw_pairs(view: WorkshopView, cells: int, height: int) -> Rows:
    """Weights by their value before (to the right) and after (upwards); faint where few are."""
    head = heading("BEFORE → AFTER", (Span("faint: few", "dim"),), cells)
    study, inside, lines = view.study, cells - 2, height - 2
    if study is None or inside < 1 or lines < 1:
        return fit_box((head,), cells, height)
    rows = pair_rows(study, inside, lines, _role(view, "chart.mark"))
    axis = _axis(study.before.reach, cells, "before")
    return fit_box((head, *((Span(" "), *row) for row in rows), axis), cells, height)


def pair_rows(study: LayerStudy, cells: int, height: int, role: str) -> list[Row]:
    """The grid of pairs as dots, as many as fit."""
    masks = [[0] * cells for _ in range(height)]
    counts = [[0] * cells for _ in range(height)]
    for column, row, count in study.pairs:
        xs = _dots(column, 2 * cells)
        ys = _dots(SIDE - 1 - row, 4 * height)
        for y in ys:
            for x in xs:
                masks[y // 4][x // 2] |= DOTS[y % 4][x % 2]
        counts[ys[0] // 4][xs[0] // 2] += count
    few = _FEW * sum(study.before.counts)
    rows = []
    for line, held in zip(masks, counts, strict=True):
        glyphs = [
            (chr(0x2800 + mask) if mask else " ", role if count >= few else "dim")
            for mask, count in zip(line, held, strict=True)
        ]
        rows.append(
            tuple(
                Span("".join(glyph for glyph, _ in run), found)
                for found, run in groupby(glyphs, key=lambda pair: pair[1])
            )
        )
    return rows


def _dots(place: int, dots: int) -> range:
    """The dots that a place of the grid takes: one at least, and no gap to the next."""
    first = place * dots // SIDE
    return range(first, max(first + 1, (place + 1) * dots // SIDE))


def _count(count: int) -> str:
    return f"{count:,}".replace(",", " ")
