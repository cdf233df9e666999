"""The strategy screen: what drafts would bring by theory, over what they brought in this race."""

from collections.abc import Callable, Sequence

from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, heading, row_width, spread
from pitwall_tui.draw.chart import ceiling
from pitwall_tui.draw.keys import draw_keys
from pitwall_tui.draw.plot import AXIS, SOLID, Dashes, Plot, framed
from pitwall_tui.draw.speculation import percent, setting, who
from pitwall_tui.race.effects import times
from pitwall_tui.race.speculation import projected
from pitwall_tui.race.view import MeasuredView, SpeculationView

LONGEST = 16
LENGTHS: tuple[tuple[int, str, Dashes], ...] = (
    (3, "sector.purple", (1, 3)),
    (5, "chart.mark", (4, 3)),
    (8, "chart.area", SOLID),
)
_NEVER = "speculation has not been on in this race"
_FALLBACK = 0.7  # acceptance that is drawn before any was measured, or supposed
_COLUMNS = (("CARS", 5), ("K", 4), ("ROUNDS", 8), ("ACC", 5), ("TOK/S", 8), ("PLAIN", 8))
_WHO = 12
_KEYS = (
    ("←→", "suppose", ""),
    ("home", "as measured", "screen.suppose(None)"),
    ("esc", "close", "screen.dismiss"),
)


def acceptance(view: SpeculationView | None, supposed: int | None) -> float:
    """What is supposed, or else what was measured."""
    measured = view.recent.acceptance if view else None
    return supposed / 100 if supposed is not None else _FALLBACK if measured is None else measured


def _cost(view: SpeculationView | None) -> float:
    return (view.cost if view else None) or 0.0


def draw_suppose(
    view: SpeculationView | None, supposed: int | None, cells: int, height: int
) -> Rows:
    """What is drafted with, the slider of acceptance, and what theory makes of it."""
    left = [Span(" STRATEGY ", "title bold"), *_given(view)]
    head = spread(left, draw_keys(_KEYS, cells - row_width(left)), cells, "title-back")
    outcome = _outcome(view, supposed)
    if row_width((*outcome, *_assumed(view))) <= cells:
        outcome = (*outcome, *_assumed(view))
    return fit_box((head, _slider(view, supposed, cells), outcome), cells, height)


def _given(view: SpeculationView | None) -> Row:
    who = (Span(f" {setting(view)} ", "text bold"),) if view else ()
    if view is None or view.cost is None:
        return (*who, Span(" c not measured, drawn as 0 ", "chart.mark"))
    return (*who, Span(f" c {view.cost:.3f} measured ", "dim"))


def _slider(view: SpeculationView | None, supposed: int | None, cells: int) -> Row:
    """Each cell of it chooses its acceptance."""
    share = acceptance(view, supposed)
    known = view is not None and view.recent.acceptance is not None
    said = "hypothesis" if supposed is not None or not known else "measured"
    room = max(2, min(51, cells - 32))
    at = round(share * (room - 1))
    track = [
        Span(
            "●" if place == at else "─",
            "knob.key bold" if place == at else "dim",
            "",
            f"screen.suppose({round(100 * place / (room - 1))})",
        )
        for place in range(room)
    ]
    role = "chart.mark" if said == "hypothesis" else "text bold"
    return (Span(" acceptance ", "dim"), *track, Span(f" {percent(share)} {said}", role))


def _outcome(view: SpeculationView | None, supposed: int | None) -> Row:
    """What was measured, then what theory expects, where all that it needs is known."""
    measured = view.now.speedup if view and view.now else None
    row = [Span(" measured ", "dim"), Span(times(measured), "text bold")]
    missing = []
    if supposed is None and (view is None or view.recent.acceptance is None):
        missing.append("acceptance")
    if view is None or view.cost is None:
        missing.append("c")
    if view is None or missing:
        why = f"  no projection: {' and '.join(missing)} not measured"
        return (*row, Span(why, "chart.mark"))
    share, cost, length = acceptance(view, supposed), _cost(view), view.kind.length
    best = max(range(LONGEST + 1), key=lambda k: (round(projected(share, k, cost), 4), -k))
    return (
        *row,
        # Theory takes a check of k + 1 tokens to cost what a step costs.
        Span("  projection at 1 step a check:", "chart.mark"),
        Span(f" best k {best}: {times(projected(share, best, cost))}"),
        Span(f"  k {length}: {times(projected(share, length, cost))}"),
    )


def _assumed(view: SpeculationView | None) -> Row:
    """Why theory and measurement differ most."""
    if view is None or view.now is None or view.now.verify_cost is None:
        return ()
    return (Span(f"   measured: {view.now.verify_cost:.1f} steps a check", "dim"),)


def _points(view: SpeculationView | None) -> list[tuple[MeasuredView, float]]:
    """What was measured with who drafts now, and its speed-up; what has most rounds first."""
    if view is None:
        return []
    found = [
        (row, row.speedup)
        for row in view.measured
        if row.speedup is not None and row.kind[:3] == view.kind[:3]
    ]
    return sorted(found, key=lambda pair: -pair[0].rounds)


def _empty(cells: int, height: int, head: Row) -> Rows | None:
    return fit_box((head,), cells, height) if cells < AXIS + 8 or height < 5 else None


def draw_by_length(
    view: SpeculationView | None, supposed: int | None, cells: int, height: int
) -> Rows:
    """Speed-up by draft length, for the acceptance measured and the one supposed."""
    head = heading("BY DRAFT LENGTH", (Span("curves: projection", "chart.mark"),), cells)
    if (empty := _empty(cells, height, head)) is not None:
        return empty
    cost, points = _cost(view), _points(view)
    measured = view.recent.acceptance if view else None
    curves: list[tuple[float, str, Dashes, str]] = []
    if measured is not None:
        curves.append((measured, "chart.area", SOLID, "measured"))
    if supposed is not None or measured is None:
        curves.append((acceptance(view, supposed), "chart.mark", (3, 3), "supposed"))
    highest = [projected(share, k, cost) for share, *_ in curves for k in range(LONGEST + 1)] + [
        speedup for _, speedup in points
    ]
    top = ceiling(max(2.0, *highest))
    plot = Plot(cells - AXIS - 1, height - 3, LONGEST, top)
    plot.curve(lambda _: 1.0, "dim", (1, 3))
    for share, role, dashes, _ in curves:
        plot.curve(_over_length(share, cost), role, dashes)
    for row, speedup in points:
        plot.mark(row.kind.length, speedup, f"●{row.kind.cars}", "text bold")
    legend: list[Span] = []
    for share, role, dashes, name in curves:
        sign = "━" if dashes == SOLID else "╍"
        legend += [Span(f" {sign} ", role), Span(f"{percent(share)} {name}", "dim")]
    legend += _point_legend(points)
    rows = framed(plot, top, [str(k) for k in range(0, LONGEST + 1, 4)], cells - 1)
    return fit_box((head, *rows, tuple(legend)), cells, height)


def _over_length(share: float, cost: float) -> Callable[[float], float]:
    return lambda k: projected(share, k, cost)


def _point_legend(points: Sequence[object], name: str = "n") -> list[Span]:
    """Points are marked with the number of cars that they were measured with."""
    return [Span(f"  ●{name}", "text bold"), Span(" cars", "dim")] if points else []


def draw_by_acceptance(
    view: SpeculationView | None, supposed: int | None, cells: int, height: int
) -> Rows:
    """Speed-up by acceptance, for three draft lengths; upright, the acceptance looked at."""
    head = heading("BY ACCEPTANCE", (Span("curves: projection", "chart.mark"),), cells)
    if (empty := _empty(cells, height, head)) is not None:
        return empty
    cost, points = _cost(view), _points(view)
    highest = [projected(1.0, k, cost) for k, *_ in LENGTHS] + [speedup for _, speedup in points]
    top = ceiling(max(2.0, *highest))
    plot = Plot(cells - AXIS - 1, height - 3, 1.0, top)
    plot.curve(lambda _: 1.0, "dim", (1, 3))
    plot.upright(acceptance(view, supposed), "dim")
    for k, role, dashes in LENGTHS:
        plot.curve(_over_acceptance(k, cost), role, dashes)
        plot.mark(1.0, projected(1.0, k, cost), f"k{k}", role)
    for row, speedup in points:
        plot.mark(
            row.acceptance or 0.0, speedup, f"●{row.kind.length}/{row.kind.cars}", "text bold"
        )
    rows = framed(plot, top, ("0", "25", "50", "75", "100 %"), cells - 1)
    legend = [Span(f" k {k} {'┈╍━'[index]} ", role) for index, (k, role, _) in enumerate(LENGTHS)]
    legend += _point_legend(points, "k/n")
    return fit_box((head, *rows, tuple(legend)), cells, height)


def _over_acceptance(k: int, cost: float) -> Callable[[float], float]:
    return lambda share: projected(share, k, cost)


def draw_measured(view: SpeculationView | None, cells: int, height: int) -> Rows:
    """What was measured of each number of cars and draft length; those with most rounds where not
    all have room."""
    head = heading("MEASURED IN THIS RACE", (Span("decode-only steps", "dim"),), cells)
    if view is None or not view.measured:
        word = _NEVER if view is None else "too few steps with drafts so far"
        return fit_box((head, (Span(f" {word}", "dim"),)), cells, height)
    lines = max(0, height - 2)
    most = sorted(view.measured, key=lambda row: (row != view.now, -row.rounds))[:lines]
    titles = [Span(fit(title, wide, "right"), "dim") for title, wide in _COLUMNS]
    rows: list[Row] = [
        head,
        (Span(fit("  WHO", _WHO + 2), "dim"), *titles, Span("  SPEED-UP", "dim")),
    ]
    rows += [_measured(row, row == view.now) for row in view.measured if row in most]
    return fit_box(rows, cells, height)


def _measured(row: MeasuredView, now: bool) -> Row:
    plain = row.plain_tokens_per_second
    texts = (
        str(row.kind.cars),
        str(row.kind.length),
        str(row.rounds),
        percent(row.acceptance),
        f"{row.tokens_per_second:.0f}",
        "-" if plain is None else f"{plain:.0f}",
    )
    figures = [
        Span(fit(text, wide, "right")) for text, (_, wide) in zip(texts, _COLUMNS, strict=True)
    ]
    speedup = (
        Span("  no plain step measured", "dim")
        if row.speedup is None
        else Span(f"  {times(row.speedup)}", "text bold")
    )
    mark = Span("▸ " if now else "  ", "knob.key bold")
    return (mark, Span(fit(who(row.kind, _WHO), _WHO)), *figures, speedup)
