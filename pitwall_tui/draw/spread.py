"""Where a layer's weights lie before and after quantization: histograms, errors, pairs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import log1p

from engine.studies import SIDE, Histogram, LayerStudy
from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, heading
from pitwall_tui.draw.chart import columns
from pitwall_tui.draw.plot import Dots
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


def _role(view: WorkshopView, role: str) -> str:
    """What an earlier choice left is faint until the new one is there."""
    return role if view.current else "dim"


@dataclass(frozen=True, slots=True)
class _Plot:
    """A histogram, the role of its columns, and labels from long to short."""

    histogram: Histogram
    role: str
    labels: tuple[str, ...] = ()


def draw_weights(view: WorkshopView, cells: int, height: int) -> Rows:
    """Two histograms on one axis, counts on a logarithmic scale: weights before, and after."""
    head, study = heading("WEIGHTS", (Span("how many, log scale", "dim"),), cells), view.study
    if study is None:
        return fit_box((head,), cells, height)
    before = f"before: {_count(sum(study.before.counts))} weights"
    after = f"after: {_count(study.outputs)} values"
    plots = (
        _Plot(study.before, "chart.area", (before, "before")),
        _Plot(study.after, "chart.mark", (after, "after")),
    )
    return _histograms(view, head, plots, log1p, cells, height)


def draw_off(view: WorkshopView, cells: int, height: int) -> Rows:
    """The histogram of the errors, from none to the commonest."""
    head, study = heading("ERROR", (Span("after - before, how many", "dim"),), cells), view.study
    if study is None:
        return fit_box((head,), cells, height)
    return _histograms(view, head, (_Plot(study.off, "sector.purple"),), float, cells, height)


def _histograms(
    view: WorkshopView,
    head: Row,
    plots: Sequence[_Plot],
    scale: Callable[[float], float],
    cells: int,
    height: int,
) -> Rows:
    """Plots one above the other on the first one's axis, each up to its own largest count."""
    inside, lines = cells - 2, height - 2
    if inside < 1 or lines < len(plots):
        return fit_box((head,), cells, height)
    rows: list[Row] = []
    for below, plot in zip(reversed(range(len(plots))), plots, strict=True):
        counts = [scale(count) for count in resampled(plot.histogram.counts, inside)]
        most = max(counts)
        heights = [count / most for count in counts]
        # Upper ones get the lines that cannot be shared.
        share = (lines + below) // len(plots)
        rows += _plot(heights, share, _role(view, plot.role), plot.labels)
    return fit_box((head, *rows, _axis(plots[0].histogram.reach, cells)), cells, height)


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
    dots = Dots(cells, height)
    places = [
        (_dots(column, 2 * cells), _dots(SIDE - 1 - row, 4 * height), count)
        for column, row, count in study.pairs
    ]
    counts: Counter[tuple[int, int]] = Counter()
    for xs, ys, count in places:
        counts[ys[0] // 4, xs[0] // 2] += count
    few = _FEW * sum(study.before.counts)
    for xs, ys, _ in places:
        for x, y in product(xs, ys):
            dots.put(x, y, role if counts[y // 4, x // 2] >= few else "dim")
    return dots.rows({})


def _dots(place: int, dots: int) -> range:
    """The dots that a place of the grid takes: one at least, and no gap to the next."""
    first = place * dots // SIDE
    return range(first, max(first + 1, (place + 1) * dots // SIDE))


def _count(count: int) -> str:
    return f"{count:,}".replace(",", " ")
