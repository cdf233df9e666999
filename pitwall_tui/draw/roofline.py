"""The roofline: what is reached, by operations a byte, under what this machine can do."""

from collections.abc import Callable, Sequence
from math import ceil, floor, log10

from pitwall_tui.draw.bottleneck import (
    LETTERS,
    NOTHING,
    ROLES,
    UNCOUNTED,
    UNMEASURED,
    figure,
    note,
)
from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, heading, row_width
from pitwall_tui.draw.plot import AXIS, SOLID, Plot
from pitwall_tui.race.bottleneck import BottleneckView, Work

_LEAST = (AXIS + 14, 7)  # a box that a plot fits into
_DASHED = (2, 4)
_STEPS = (1, 2, 5)


def draw_roofline(view: BottleneckView | None, cells: int, height: int) -> Rows:
    """Log-log: memory's slope and the flat peaks, as measured; steps of now by the letters of their
    kinds, of other settings of this race by small ones."""
    said = (Span("measured, ", "dim"), Span("GFLOP/s by FLOP/byte", "dim"))
    head = heading("ROOFLINE", said, cells)
    why = _missing(view)
    if view is None or why or cells < _LEAST[0] or height < _LEAST[1]:
        return fit_box((head, note(why, cells)), cells, height)
    now, past = _now(view), _past(view)
    capitals = tuple(
        span
        for letter, role, words, _ in now
        for span in (Span(f" {letter}", role), Span(f" {words}", "dim"))
    )
    legend, named = _legend(past, cells, (height - 8) // 2)
    lines = height - 3 - len(legend)
    rows = _plot(view, (*now, *past[:named]), cells, lines)
    return fit_box((head, *rows, capitals, *legend), cells, height)


def _missing(view: BottleneckView | None) -> str:
    """Why there is nothing to draw, "" where there is."""
    if view is None or not view.phases:
        return NOTHING
    if not view.counted:
        return UNCOUNTED
    return "" if view.read_gbs and view.peak(view.weights) else UNMEASURED


Point = tuple[str, str, str, Work]  # letter, role, words, what was done


def _now(view: BottleneckView) -> list[Point]:
    """Each kind as it was last, that of now first."""
    phases = sorted(view.phases, key=lambda phase: (phase.phase != view.now, phase.age))
    return [
        (LETTERS[phase.phase], ROLES[phase.phase], phase.phase, phase.work)
        for phase in phases
        if phase.work.flops
    ]


def _past(view: BottleneckView) -> list[Point]:
    """Other settings, the newest first."""
    taken = {phase.work.setting for phase in view.phases}
    return [
        (letter, "text", f"{work.setting.phase} {work.setting.label}", work)
        for letter, work in view.past
        if work.setting not in taken and work.flops
    ]


def _plot(view: BottleneckView, points: Sequence[Point], cells: int, lines: int) -> list[Row]:
    """The box with its axes, `lines` rows and one of ticks."""
    speed, peak = view.read_gbs, view.peak(view.weights)
    others = [other for other in (view.float_gflops, view.int8_gops) if other not in (0.0, peak)]
    works = [work for *_, work in points]
    ridge = peak / speed
    left = _below(min([ridge, *[work.intensity for work in works]]) / 1.5)
    right = _above(max([ridge * 3, *[work.intensity * 1.5 for work in works]]))
    top = _above(1.2 * max([peak, *others, *[work.gflops for work in works]]))
    foot = _below(min([speed * left, *[work.gflops / 1.2 for work in works]]))
    inside = cells - AXIS - 1
    wide, high = log10(right / left), log10(top / foot)
    plot = Plot(inside, lines, wide, high)

    def roof(limit: float) -> Callable[[float], float]:
        return lambda x: log10(min(limit, speed * left * 10**x) / foot)

    for other in others:
        plot.curve(roof(other), "dim", _DASHED)
    plot.curve(roof(peak), "chart.mark", SOLID)
    for letter, role, _, work in points:
        plot.mark(log10(work.intensity / left), log10(work.gflops / foot), letter, role)
    for name, limit in (("float", view.float_gflops), ("int8", view.int8_gops)):
        if limit:
            role = "chart.mark" if limit == peak else "dim"
            plot.mark(wide, log10(limit / foot), f"{name} {figure(limit)}", role)
    slope = f"{figure(speed)} GB/s"
    plot.mark(0.0, log10(speed * left / foot), slope, "chart.mark")
    return [*_beside(plot.rows(), foot, top), _under(left, right, inside)]


def _below(value: float) -> float:
    """The greatest of 1, 2, 5 times a power of ten that is not above."""
    power = 10.0 ** floor(log10(value))
    return max(step * power for step in _STEPS if step * power <= value * (1 + 1e-9))


def _above(value: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below."""
    power = 10.0 ** floor(log10(value))
    return min(step * power for step in (*_STEPS, 10) if step * power >= value * (1 - 1e-9))


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten within, with 2 and 5 times them where there are fewer than three."""
    powers = [10.0**n for n in range(floor(log10(low)), ceil(log10(high)) + 1)]
    steps = (1,) if sum(low <= power <= high for power in powers) > 2 else _STEPS
    marks = [step * power for power in powers for step in steps]
    return [mark for mark in marks if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)]


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _beside(drawn: list[Row], foot: float, top: float) -> list[Row]:
    """Rows with the axis of operations a second at their left."""
    named: dict[int, str] = {}
    for tick in _ticks(foot, top):
        line = round((1 - log10(tick / foot) / log10(top / foot)) * (len(drawn) - 1))
        if not {line - 1, line, line + 1} & named.keys():
            named[line] = _number(tick)
    return [
        (
            Span(f"{named[line]:>{AXIS - 1}}┤" if line in named else f"{'│':>{AXIS}}", "dim"),
            *row,
        )
        for line, row in enumerate(drawn)
    ]


def _under(left: float, right: float, inside: int) -> Row:
    """The axis of operations a byte."""
    text = [" "] * inside
    for tick in _ticks(left, right):
        word = _number(tick)
        place = round(log10(tick / left) / log10(right / left) * (inside - 1))
        start = min(max(0, place - len(word) // 2), inside - len(word))
        around = text[max(0, start - 1) : start + len(word) + 1]
        if all(glyph == " " for glyph in around):
            text[start : start + len(word)] = word
    return (Span(" " * AXIS), Span(fit("".join(text), inside), "dim"))


def _legend(points: Sequence[Point], cells: int, lines: int) -> tuple[list[Row], int]:
    """What the letters are, side by side in so many lines at most; how many points are named."""
    rows: list[list[Span]] = [[]] if lines > 0 and points else []
    named = 0
    for letter, role, words, work in points:
        part = (
            Span(f" {letter} ", role),
            Span(f"{words} ", "dim"),
            Span(f"{figure(work.gflops)} ", "text"),
        )
        if not rows:
            break
        if row_width((*rows[-1], *part)) > cells and rows[-1]:
            if len(rows) == lines:
                break
            rows.append([])
        rows[-1] += part
        named += 1
    return [tuple(row) for row in rows], named
