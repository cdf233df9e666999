"""What bounds the engine, in figures: the machine's roofs, and each kind of step under them."""

from collections.abc import Sequence

from pitwall_tui.draw.cells import (
    Row,
    Rows,
    Span,
    cut,
    fit,
    fit_box,
    heading,
    row_width,
    spread,
    wrap,
)
from pitwall_tui.race.bottleneck import STAGES, BottleneckView, Phase, PhaseView, Work

LETTERS: dict[Phase, str] = {
    "prefill": "P",
    "mixed": "M",
    "decode": "D",
    "verify": "V",
    "recompute": "R",
}
ROLES: dict[Phase, str] = {
    "prefill": "sector.purple bold",
    "mixed": "sector.yellow bold",
    "decode": "chart.area bold",
    "verify": "sector.green bold",
    "recompute": "move.down bold",
}
NOTHING = "no step has been made yet"
UNCOUNTED = "recorded without its arithmetic: only bytes are known"
UNMEASURED = "this machine's peaks were not measured"
# Those that yield where not all have room, the last first.
_YIELDING: tuple[Phase, ...] = ("decode", "prefill", "verify", "recompute", "mixed")
_WORDS = {
    "memory": "memory-bound",
    "compute": "compute-bound",
    "overhead": "overhead-bound",
    "cache": "cache-fed",
    "neither": "under both roofs",
    "": "not told",
}
_NOTE = (
    "W and KV: bytes of weights, of keys and values that are read for a token (t); FLOP/B:"
    " arithmetic for each of those bytes; MBU, MFU: shares of this machine's measured peaks of"
    " memory and of arithmetic; bound by what alone would take longest: reading, arithmetic, or"
    " what is outside the model's forward pass."
)
_NAME = 12
_COLUMNS = (
    ("W MiB/t", 8),
    ("KV MiB/t", 9),
    ("MFLOP/t", 8),
    ("FLOP/B", 7),
    ("GB/s", 6),
    ("MBU", 5),
    ("GFLOP/s", 8),
    ("MFU", 5),
    ("ms/step", 8),
    ("tok/s", 7),
)
# A stage's letter fills its part of the bar.
_STAGE = {
    "plan": ("p", "sector.yellow"),
    "draft": ("d", "sector.purple"),
    "forward": ("f", "chart.area"),
    "sample": ("s", "sector.green"),
    "commit": ("c", "state.out"),
    "score": ("q", "badge"),
}
_ORDER = ("plan", "draft", "forward", "sample", "commit", "score")
_LEAST_BAR = 8


def figure(value: float) -> str:
    """Three digits, or all of those before the point."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def draw_ceilings(view: BottleneckView | None, cells: int, height: int) -> Rows:
    """What bounds the engine now, over the roofs of this machine."""
    left: list[Span] = [Span(" BOTTLENECK ", "title bold")]
    now = next((p for p in view.phases if p.phase == view.now), None) if view else None
    if now is not None:
        word = _WORDS[now.work.bound]
        left += [Span(f" {now.phase} now: ", "dim"), Span(f"{word} ", "text bold")]
    head = spread(left, _keys(cells - row_width(left)), cells, "title-back")
    return fit_box((head, _roofs(view, cells)), cells, height)


def _keys(cells: int) -> Row:
    words = (("↑↓", "dial"), ("←→", "turn it"), ("esc", "close"))
    row: list[Span] = []
    for key, word in words:
        row += [Span(f"  {key} ", "knob.key bold"), Span(word, "dim")]
    if row_width(row) >= cells:
        row = [Span(f" {key}", "knob.key bold") for key, _ in words]
    return (*row, Span(" "))


def _roofs(view: BottleneckView | None, cells: int) -> Row:
    """This machine's peaks, as many as have room."""
    if view is None or not view.read_gbs:
        return (Span(f" {UNMEASURED}" if view and view.phases else "", "dim"),)
    figures: list[Row] = [
        (Span(" this machine reads ", "dim"), Span(f"{figure(view.read_gbs)} GB/s", "text bold"))
    ]
    for name, peak, unit in (
        ("float", view.float_gflops, "GFLOP/s"),
        ("int8", view.int8_gops, "GOP/s"),
    ):
        if peak:
            figures.append((Span(f"  {name} ", "dim"), Span(f"{figure(peak)} {unit}", "text bold")))
    peak = view.peak(view.weights)
    if peak:
        ridge = figure(peak / view.read_gbs)
        figures.append((Span(f"  ridge {view.weights} ", "dim"), Span(f"{ridge} FLOP/B")))
    else:
        figures.append((Span("  arithmetic not measured", "dim"),))
    figures.append((Span("  measured as the engine started", "dim"),))
    return _that_fit(figures, cells)


def _that_fit(parts: Sequence[Row], cells: int) -> Row:
    row: list[Span] = []
    for part in parts:
        if row_width((*row, *part)) > cells:
            break
        row += part
    return tuple(row)


def draw_phases(view: BottleneckView | None, cells: int, height: int) -> Rows:
    """Each kind of step: its figures for a token, then what bounds it and where its time goes."""
    legend = " ".join(f"{_STAGE[stage][0]} {stage}" for stage in _ORDER)
    legend = legend.replace("q score", "q quality")
    head = heading("PHASES", (Span(legend, "dim"),), cells)
    if view is None or not view.phases:
        return fit_box((head, (Span(f" {NOTHING}", "dim"),)), cells, height)
    room = max(1, (height - 2) // 2)
    kept = sorted(view.phases, key=lambda p: (p.phase != view.now, _YIELDING.index(p.phase)))
    titles = [Span(fit(title, wide, "right"), "dim") for title, wide in _shown(cells)]
    rows: list[Row] = [head, (Span(fit("  KIND", _NAME), "dim"), *titles)]
    for phase in view.phases:
        if phase in kept[:room]:
            rows += [_figures(phase, view, cells), _verdict(phase, view, cells)]
    small = wrap(_NOTE, max(2, cells - 2))
    if len(rows) + len(small) < height:
        rows += [(), *[note(line, cells) for line in small]]
    return fit_box(rows, cells, height)


def _shown(cells: int) -> list[tuple[str, int]]:
    """The columns that have room, the first first."""
    found, left = [], cells - _NAME
    for title, wide in _COLUMNS:
        left -= wide
        if left < 0:
            break
        found.append((title, wide))
    return found


def _figures(phase: PhaseView, view: BottleneckView, cells: int) -> Row:
    work = phase.work
    tokens = max(work.tokens, 1)
    texts = {
        "W MiB/t": figure(work.weight_bytes / tokens / 2**20),
        "KV MiB/t": figure(work.kv_bytes / tokens / 2**20),
        "MFLOP/t": figure(work.flops / tokens / 1e6) if work.flops else "-",
        "FLOP/B": figure(work.intensity) if work.flops else "-",
        "GB/s": figure(work.gbs),
        "MBU": _share(work.mbu),
        "GFLOP/s": figure(work.gflops) if work.flops else "-",
        "MFU": _share(work.mfu),
        "ms/step": figure(work.step_ms),
        "tok/s": f"{work.tokens_per_second:.0f}",
    }
    role = "text bold" if phase.phase == view.now else "text"
    return (
        Span(f" {LETTERS[phase.phase]} ", ROLES[phase.phase]),
        Span(fit(phase.phase, _NAME - 3), role),
        *[Span(fit(texts[title], wide, "right"), role) for title, wide in _shown(cells)],
    )


def _verdict(phase: PhaseView, view: BottleneckView, cells: int) -> Row:
    """What bounds it, by which figures, and a bar of its stages in what is left."""
    word = f"   {_WORDS[phase.work.bound]}"
    room = cells - len(word) - _LEAST_BAR - 1
    reason = next((text for text in _reasons(phase, view) if len(text) + 1 <= room), "")
    row = [Span(word, "text bold"), Span(f" {reason} ", "dim")]
    left = cells - row_width(row) - 1
    bar = _bar(phase.work, left) if left >= _LEAST_BAR else ()
    return (*row, *bar)


def _reasons(phase: PhaseView, view: BottleneckView) -> list[str]:
    """The same in fewer and fewer words."""
    work = phase.work
    memory, compute = _share(work.memory_floor), _share(work.compute_floor)
    outside = _share(work.outside)
    old = f", {phase.age:.0f} s ago" if phase.age else ""
    where = f"{work.setting.label}{old}: "
    if not work.bound:
        why = UNMEASURED if view.counted else UNCOUNTED
        return [f"{where}{why}", why, f"{work.setting.label}{old}"]
    long = (
        f"{where}reading alone would take {memory} of a step, arithmetic {compute};"
        f" {outside} is outside the forward"
    )
    short = f"read {memory} compute {compute} outside {outside}"
    if work.bound == "neither":
        long = f"{where}kernels, calls or cores lost to others; {short}"
    if work.bound == "cache":
        long = f"{where}{_share(work.mbu)} of memory's speed, so from caches; {short}"
    return [long, f"{where}{short}", f"{short}{old}", short, f"r {memory} c {compute} o {outside}"]


def _bar(work: Work, cells: int) -> Row:
    """The stages of a step in the order in which they come, each as long as its share."""
    spent = dict(zip(STAGES, work.ms, strict=True))
    counts = portions([spent[stage] for stage in _ORDER], cells)
    return tuple(
        Span(_STAGE[stage][0] * count, "ink", _STAGE[stage][1])
        for stage, count in zip(_ORDER, counts, strict=True)
        if count
    )


def portions(values: Sequence[float], cells: int) -> list[int]:
    """Whole cells in proportion to values, all of them given away: the largest rests first."""
    total = sum(values)
    if total <= 0:
        return [0] * len(values)
    exact = [value / total * cells for value in values]
    counts = [int(share) for share in exact]
    rests = sorted(range(len(values)), key=lambda i: counts[i] - exact[i])
    for index in rests[: cells - sum(counts)]:
        counts[index] += 1
    return counts


def note(text: str, cells: int) -> Row:
    """A line of small print."""
    return (Span(" "), Span(cut(text, cells - 2), "dim"))
