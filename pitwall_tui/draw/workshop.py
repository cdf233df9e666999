"""The workshop's words and tables: what is looked at, all layers in one scheme, bytes by format."""

from collections.abc import Sequence
from math import isfinite

from engine.config import WEIGHT_FORMATS
from engine.footprint import Footprint
from engine.studies import CALIBRATED, LayerRow, LayerStudy
from pitwall_tui.draw.cells import (
    Row,
    Rows,
    Span,
    cut,
    fit,
    fit_box,
    fit_row,
    heading,
    row_width,
    spread,
)
from pitwall_tui.draw.keys import draw_keys
from pitwall_tui.draw.spread import number
from pitwall_tui.race.workshop import WorkshopView

_NAME = 10  # cells of a layer's name in the table
_COLUMNS = (("SNR dB", 7), ("MSE", 9), ("MAX", 8))
_RATIO = 6
_SHAPE = 11
_LABEL = 12  # of a model and its unit
_KEYS = (("↑↓", "layer", ""), ("←→", "scheme", ""), ("esc", "close", "screen.dismiss"))


def draw_bench(view: WorkshopView, cells: int, height: int) -> Rows:
    """What is chosen and how to choose, over its figures, or why there are none."""
    shape = dict(view.layers).get(view.layer)
    left = [
        Span(" WORKSHOP ", "title bold"),
        Span(f" {view.layer} ", "text bold"),
        Span(f"{shape[0]}x{shape[1]}  " if shape else " ", "dim"),
        Span("‹ ", "knob.key bold", "", "screen.step_scheme(-1)"),
        Span(view.scheme, "text bold", "", "screen.step_scheme(1)"),
        Span(" ›", "knob.key bold", "", "screen.step_scheme(1)"),
    ]
    head = spread(left, draw_keys(_KEYS, cells - row_width(left)), cells, "title-back")
    return fit_box((head, _state(view, cells)), cells, height)


def _state(view: WorkshopView, cells: int) -> Row:
    if view.failure:
        return (Span(" "), Span(cut(view.failure, cells - 2), "state.out bold"))
    if view.current is None:
        return (Span(f" measuring {view.layer} …", "dim"),)
    row: list[Span] = []
    for figure in _figures(view.current):
        if row_width((*row, *figure)) > cells:
            break
        row += figure
    return tuple(row)


def _figures(study: LayerStudy) -> list[Row]:
    """Figures in the order in which they are worth their room."""
    figures = study.figures
    before, after = study.bytes_before / 2**20, study.bytes_after / 2**20
    pairs = (
        ("SNR", f"{decibels(figures.snr_db)} dB"),
        ("MSE", f"{figures.mse:.2e}"),
        ("max", number(figures.largest)),
        ("", f"{before:.2f}→{after:.2f} MiB"),
        ("", f"{figures.compression:.2f}x"),
        ("codes", f"{study.codes}/{study.levels}"),
    )
    row: list[Row] = [
        (Span(f" {name}" + " " * bool(name), "dim"), Span(f"{text} ")) for name, text in pairs
    ]
    if study.scheme == CALIBRATED:
        # They lie further from the weights than rounded ones, and are meant to.
        row.insert(3, (Span(" fitted to outputs, not weights ", "chart.mark"),))
    return row


def decibels(snr: float) -> str:
    return f"{snr:.1f}" if isfinite(snr) else "∞" if snr > 0 else "-∞"


def draw_layers(view: WorkshopView, cells: int, height: int) -> Rows:
    """All layers in the chosen scheme, those around the chosen one where not all have room."""
    found = [row for row in view.rows if row is not None]
    worst = min(
        (row for row in found if row.figures),
        key=lambda row: row.figures.snr_db if row.figures else 0.0,
        default=None,
    )
    detail = Span(f"{len(found)} of {len(view.rows)}", "title")
    if worst and len(found) == len(view.rows):
        detail = Span(f"worst {_short(worst.layer)}", "sector.yellow")
    head = heading("LAYERS", (detail,), cells)
    names = [name for name, _ in view.layers]
    lines = max(0, height - 2)
    chosen = names.index(view.layer) if view.layer in names else 0
    first = max(0, min(chosen - lines // 2, len(names) - lines))
    shaped = cells >= _wide(_COLUMNS) + _SHAPE
    titles = [Span(fit(title, wide, "right"), "dim") for title, wide in (*_COLUMNS, ("", _RATIO))]
    shape = (Span(fit("OUT x IN", _SHAPE, "right"), "dim"),) if shaped else ()
    rows: list[Row] = [head, (Span(fit("  LAYER", _NAME + 2), "dim"), *titles, *shape)]
    for (name, (out, inputs)), row in list(zip(view.layers, view.rows, strict=True))[
        first : first + lines
    ]:
        spans = _line(name, row, row is not None and row is worst)
        if shaped:
            spans = (*spans, Span(fit(f"{out}x{inputs}", _SHAPE, "right"), "dim"))
        rows.append(_clickable(spans, name, name == view.layer, cells))
    return fit_box(rows, cells, height)


def _wide(columns: Sequence[tuple[str, int]]) -> int:
    return 2 + _NAME + sum(wide for _, wide in columns) + _RATIO + 1


def _short(name: str) -> str:
    return name.removeprefix("layers.")


def _line(name: str, row: LayerRow | None, worst: bool) -> Row:
    label = Span(fit(_short(name), _NAME), "text")
    if row is None:
        return (label, Span(fit("…", _COLUMNS[0][1], "right"), "dim"))
    if row.figures is None:
        return (label, Span(f" {row.reason.removeprefix(name).lstrip(': ')}", "state.out"))
    figures = row.figures
    texts = (decibels(figures.snr_db), f"{figures.mse:.2e}", number(figures.largest))
    role = "sector.yellow bold" if worst else "text"
    spans = [
        Span(fit(text, wide, "right"), role if title == "SNR dB" else "text")
        for text, (title, wide) in zip(texts, _COLUMNS, strict=True)
    ]
    return (label, *spans, Span(fit(f"{figures.compression:.2f}x", _RATIO, "right"), "dim"))


def _clickable(spans: Row, name: str, chosen: bool, cells: int) -> Row:
    mark = Span("▸ " if chosen else "  ", "knob.key bold")
    back = "title-back" if chosen else ""
    row = fit_row((mark, *spans), cells, back)
    return tuple(span._replace(action=f"screen.choose_layer('{name}')") for span in row)


def draw_footprints(view: WorkshopView, cells: int, height: int) -> Rows:
    """Bytes of all weights by format: the model's own, then others as they would be."""
    wide = max(0, (cells - 2 - _LABEL) // len(WEIGHT_FORMATS))
    head = heading("MEMORY", (Span("all weights, as served", "dim"),), cells)
    titles = "".join(fit(name, wide, "right") for name in WEIGHT_FORMATS)
    rows: list[Row] = [head, (Span(" " * (_LABEL + 1)), Span(titles, "dim"))]
    own = [footprint for footprint in view.footprints if not footprint.projection]
    others = [footprint for footprint in view.footprints if footprint.projection]
    rows += [_sizes(footprint, wide) for footprint in own]
    if others:
        rows.append((Span(" projection, by Llama 2's shapes:", "chart.mark"),))
    rows += [_sizes(footprint, wide) for footprint in others]
    return fit_box(rows, cells, height)


def _sizes(footprint: Footprint, wide: int) -> Row:
    unit, size = ("GiB", 2**30) if max(footprint.nbytes) >= 2**30 else ("MiB", 2**20)
    label = f"{cut(footprint.name, _LABEL - 4)} {unit}"
    texts = "".join(fit(f"{count / size:.1f}", wide, "right") for count in footprint.nbytes)
    role = "dim" if footprint.projection else "text"
    return (Span(" "), Span(fit(label, _LABEL), role), Span(texts, role))
