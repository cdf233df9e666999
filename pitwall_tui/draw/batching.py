"""The batching screen around its timeline: knobs, modes as measured, latencies, the queue."""

from collections import Counter

from pitwall_tui.commands import KNOB_KEY
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
    wrap,
)
from pitwall_tui.draw.chart import columns
from pitwall_tui.draw.gantt import WORDS, duration
from pitwall_tui.race.batching import BatchingView, ModeView, Queued, Typical
from pitwall_tui.race.latency import LatencyView, middle
from pitwall_tui.race.view import KnobView, RaceView

_NOTHING = "nothing has run yet"
_SIZES = (("max_batch", "max"), ("static_batch", "group"), ("prefill_chunk", "chunk"))
_KEYS = (
    ("v", "cars/slots"),
    ("z x", "zoom"),
    ("←→", "time"),
    ("↑↓", "car"),
    ("tab", "figures"),
    ("home", "all"),
    ("esc", "close"),
)


def draw_batch(view: RaceView, cells: int, height: int) -> Rows:
    """The knobs that decide who runs, and what comes of them at this moment."""
    left = (Span(" BATCHING ", "title bold"),)
    head = spread(left, _keys(cells - row_width(left)), cells, "title-back")
    return fit_box((head, _knobs(view, cells), _moment(view.details.batching)), cells, height)


def _keys(cells: int) -> Row:
    """The keys that are this screen's own; with their words, where there is room for all."""
    row: list[Span] = []
    for key, word in _KEYS:
        row += [Span(f"  {key} ", "knob.key bold"), Span(word, "dim")]
    if row_width(row) >= cells:
        row = []
        for key, word in _KEYS[:-2]:
            row += [Span(f" {key}", "knob.key bold"), Span(f" {word}", "dim")]
    return (*row, Span(" "))


def _knobs(view: RaceView, cells: int) -> Row:
    knobs = {knob.name: knob for knob in view.knobs}
    if "batching" not in knobs:
        return (Span(f" {_NOTHING}", "dim"),)
    long = _chips(knobs, short=False)
    return long if row_width(long) <= cells else _chips(knobs, short=True)


def _chips(knobs: dict[str, KnobView], short: bool) -> Row:
    row = list(_modes_chip(knobs["batching"], short))
    for name, brief in _SIZES:
        if knob := knobs.get(name):
            row += _size_chip(knob, brief if short else name)
    return tuple(row)


def _modes_chip(knob: KnobView, short: bool) -> Row:
    """Every mode to be clicked, a full dot at the one that serves, an arrow at one asked for."""
    turn = "app.turn_knob('batching', 1)"
    row = [Span(f" {KNOB_KEY['batching'].key} ", "knob.key bold", "", turn)]
    if not short:
        row.append(Span("batching ", "dim", "", turn))
    for mode in KNOB_KEY["batching"].steps:
        sign, role = ("●", "text bold") if mode == knob.value else ("○", "dim")
        if mode == knob.pending:
            sign, role = "→", "knob.pending bold"
        row.append(Span(f"{sign} {mode} ", role, "", f"app.set_knob('batching', '{mode}')"))
    return tuple(row)


def _size_chip(knob: KnobView, name: str) -> Row:
    less, more = (f"app.turn_knob('{knob.name}', {step})" for step in (-1, 1))
    row = [
        Span(f" {KNOB_KEY[knob.name].key} ", "knob.key bold", "", more),
        Span(f"{name} ", "dim", "", more),
        Span("‹", "knob.key bold", "", less),
        Span(f" {knob.value} ", "text bold", "", more),
    ]
    if knob.pending is not None:
        row.append(Span(f"→{knob.pending} ", "knob.pending bold", "", more))
    return (*row, Span("› ", "knob.key bold", "", more))


def _moment(view: BatchingView | None) -> Row:
    """How many cars do what, and why others wait."""
    if view is None:
        return (Span(f" {_NOTHING}", "dim"),)
    counts = Counter(car.kind for car in view.cars)
    row = [Span(f" {view.limit} slot{'s' * (view.limit != 1)}:", "dim")]
    for kind, word in WORDS.items():
        if counts[kind]:
            row.append(Span(f"  {counts[kind]} {word}", "text bold" if kind else "dim"))
    if view.why:
        row.append(Span(f"   {view.why}", "chart.mark"))
    return tuple(row)


# Modes

# Title, cells; the first to be left out where there is little room last in _YIELDING.
_COLUMNS: tuple[tuple[str, int], ...] = (
    ("SLOTS", 7),
    ("TIME", 9),
    ("STEPS", 7),
    ("ROWS", 6),
    ("IDLE", 6),
    ("FREE", 6),
    ("TOK/S", 7),
    ("STEP", 9),
    ("TTFT", 13),
    ("TPOT", 13),
    ("E2E", 13),
)
_YIELDING = ("STEPS", "E2E", "FREE", "SLOTS", "TIME", "TPOT", "STEP", "ROWS", "TTFT", "IDLE")
_NAME = 12


def draw_modes(view: BatchingView | None, cells: int, height: int) -> Rows:
    """What each mode of batching did in this race; of one that was not run, only that."""
    said = "tok/s, step: of step time · latencies: p50 (cars wholly in it)"
    detail = [Span(said, "dim")]
    if view is not None and view.paced:
        detail.append(Span("  paced: time and latencies too", "chart.mark"))
    head = heading("BY MODE", detail, cells)
    if view is None:
        return fit_box((head, (Span(f" {_NOTHING}", "dim"),)), cells, height)
    shown = list(_COLUMNS)
    for title in _YIELDING:
        if _NAME + sum(wide for _, wide in shown) <= cells:
            break
        shown = [column for column in shown if column[0] != title]
    titles = [Span(fit(title, wide, "right"), "dim") for title, wide in shown]
    rows: list[Row] = [head, (Span(" " * _NAME), *titles)]
    rows += [_mode(mode, shown) for mode in view.modes]
    if any(typical.count for typical in view.mixed):
        rows.append(_mixed(view.mixed, shown))
    return fit_box(rows, cells, height)


def _mode(mode: ModeView, shown: list[tuple[str, int]]) -> Row:
    mark = Span("▸" if mode.now else " ", "knob.key bold")
    action = f"app.set_knob('batching', '{mode.name}')"
    name = Span(fit(mode.name, _NAME - 1), "text bold" if mode.now else "text", "", action)
    if not mode.steps:
        return (mark, name, Span(" not run in this race", "dim", "", action))
    sizes = str(mode.sizes[0])
    if len(mode.sizes) > 1:
        sizes = f"{mode.sizes[0]}-{mode.sizes[-1]}"
    texts = {
        "SLOTS": sizes,
        "TIME": f"{mode.seconds:.1f} s",
        "STEPS": str(mode.steps),
        "ROWS": f"{mode.rows:.1f}",
        "IDLE": f"{100 * mode.idle:.0f}%",
        "FREE": f"{100 * mode.spare:.0f}%",
        "TOK/S": f"{mode.tokens_per_second:.0f}",
        "STEP": duration(mode.step_ms),
        "TTFT": _typical(mode.ttft),
        "TPOT": _typical(mode.tpot),
        "E2E": _typical(mode.e2e),
    }
    strong = ("IDLE", "TOK/S")
    figures = [
        Span(fit(texts[title], wide, "right"), "text bold" if title in strong else "text")
        for title, wide in shown
    ]
    return (mark, name, *figures)


def _mixed(found: tuple[Typical, Typical, Typical], shown: list[tuple[str, int]]) -> Row:
    """Latencies of cars that were served in more than one mode."""
    texts = dict(zip(("TTFT", "TPOT", "E2E"), map(_typical, found), strict=True))
    before = sum(wide for title, wide in shown if title not in texts)
    said = Span(fit(" cars served in more than one", before), "dim")
    figures = [Span(fit(texts[title], wide, "right")) for title, wide in shown if title in texts]
    return (Span(fit(" mixed", _NAME)), said, *figures)


def _typical(found: Typical) -> str:
    return "-" if found.p50 is None else f"{duration(found.p50)} ({found.count})"


# Latencies

_FIGURES = 9  # cells of a percentile
_BEFORE = 5 + 10 + 8 + 3 * _FIGURES
_EDGE = 10
_TALL = 3  # rows of a spread, where all have so many


def draw_latencies(view: BatchingView | None, cells: int, height: int) -> Rows:
    """Percentiles of every latency, and how they are spread on a logarithmic scale."""
    said = ("TPOT, E2E: of cars that ended  ", "ITL: from one step with tokens to the next")
    head = heading("LATENCIES", [Span(text, "dim") for text in said], cells)
    if view is None:
        return fit_box((head, (Span(f" {_NOTHING}", "dim"),)), cells, height)
    titles = [Span(fit(title, _FIGURES, "right"), "dim") for title in ("p50", "p90", "p99")]
    top = (Span(fit("", 15)), Span(fit("n", 8, "right"), "dim"), *titles)
    rows: list[Row] = [head, top]
    tall = _TALL if height >= len(rows) + _TALL * len(view.latencies) else 1
    rows += [row for found in view.latencies for row in _latency(found, cells, tall)]
    return fit_box(rows, cells, height)


def _latency(found: LatencyView, cells: int, tall: int) -> list[Row]:
    """Its figures in the last of `tall` rows, which its spread fills."""
    spans = [Span(fit(f" {found.name}", 5), "text bold"), Span(fit(f" {found.scope}", 10), "dim")]
    if not found.count:
        said = "none yet" if found.name in ("TTFT", "ITL") else "no car has ended yet"
        return [*[()] * (tall - 1), (*spans, Span(f"  {said}", "dim"))]
    spans.append(Span(fit(f"{found.count:,}", 8, "right"), "dim"))
    for value in (found.p50, found.p90, found.p99):
        text = "-" if value is None else duration(value)
        spans.append(Span(fit(text, _FIGURES, "right"), "text bold"))
    *upper, foot = _histogram(found, cells - _BEFORE, tall)
    return [*[(Span(" " * _BEFORE), *row) for row in upper], (*spans, *foot)]


def _histogram(found: LatencyView, cells: int, tall: int) -> list[Row]:
    """From the least to the largest, a cell for each range of equal ratio."""
    room = min(cells - 2 - 2 * _EDGE, 40)
    if room < 4:
        return [()] * tall
    low, high = found.buckets[0][0], found.buckets[-1][0]
    bars = [0.0] * min(room, high - low + 1)
    for number, many in found.buckets:
        bars[(number - low) * len(bars) // (high - low + 1)] += many
    top = max(bars)
    # What there is at all is seen.
    least = top / (8 * tall)
    drawn = columns([max(bar, least) if bar else 0.0 for bar in bars], top, tall)
    lines = ["".join(column[line] for column in drawn) for line in reversed(range(tall))]
    upper: list[Row] = [(Span(" " * (_EDGE + 1)), Span(line, "chart.area")) for line in lines[:-1]]
    foot = (
        Span(fit(duration(middle(low)), _EDGE, "right"), "dim"),
        Span(f" {lines[-1]} ", "chart.area"),
        Span(duration(middle(high)), "dim"),
    )
    return [*upper, foot]


# The queue

_QUEUED = 16  # cells of a car in it


def draw_queue(view: BatchingView | None, cells: int, height: int) -> Rows:
    """Who waits, for how long and why, and what waiting has cost all of them."""
    count = len(view.queue) if view else 0
    head = heading("QUEUE", (Span(f"{count} wait", "title bold"),), cells)
    if view is None:
        return fit_box((head, (Span(f" {_NOTHING}", "dim"),)), cells, height)
    rows: list[Row] = [head, *_cost(view, cells)]
    if not view.queue:
        rows.append((Span(" nobody waits", "dim"),))
        return fit_box(rows, cells, height)
    rows += [(Span(f" {line}", "chart.mark"),) for line in wrap(view.why, cells - 2)[:2]]
    across = max(1, cells // _QUEUED)
    lines = max(0, height - len(rows))
    most = lines * across
    entries = [_queued(found, view) for found in view.queue[:most]]
    if len(view.queue) > most > 0:
        more = Span(fit(f" +{len(view.queue) - most + 1} more", _QUEUED), "dim")
        entries[-1] = (more,)
    for line in range(0, len(entries), across):
        rows.append(tuple(span for entry in entries[line : line + across] for span in entry))
    return fit_box(rows, cells, height)


def _cost(view: BatchingView, cells: int) -> list[Row]:
    """Time that cars spent waiting so far, and the one that did for longest."""
    waited = [
        (sum(seconds for kind, seconds in car.seconds if kind in ("waiting", "pit")), car.code)
        for car in view.cars
    ]
    if not waited:
        return []
    longest, code = max(waited)
    mean = sum(seconds for seconds, _ in waited) / len(waited)
    text = f" waited: mean {mean:.1f} s, most {cut(code, 3)} {longest:.1f} s"
    return [(Span(cut(text, cells), "text"),)]


def _queued(found: Queued, view: BatchingView) -> Row:
    action = f"screen.pick({found.car})"
    row = [
        Span(f" {fit(view.cars[found.car].code, 3)}", "text bold", "", action),
        Span(fit(f"{found.seconds:.1f} s", 8, "right"), "text", "", action),
    ]
    if found.again:
        row.append(Span(" PIT", "state.pit bold", "", action))
    return fit_row(row, _QUEUED)
