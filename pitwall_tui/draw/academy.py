"""The academy's words, curves and table: how two students learn, and what temperature does."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from statistics import fmean

from engine.academy import Marks
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
from pitwall_tui.draw.keys import Key, draw_keys
from pitwall_tui.draw.plot import SOLID, Dashes, Plot, Points
from pitwall_tui.race.academy import AcademyView, SweepRow

_AXIS = 6  # cells of the axis: a number and its tick
# Told apart without colour, and as they are shown in a legend.
LINE, DOTTED = ("━━", "chart.mark"), ("┅┅", "chart.area")
_DOTS: Dashes = (1, 2)
_COLUMNS = ("TOP-1", "1-TV", "MATCH", "NATS")
_COLUMN = 6
_EIGHTHS = ("", *"▏▎▍▌▋▊▉")
_MEANS = 8  # steps: one alone depends much on its row
_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_NOTE = (
    "All students are of one shape, begin with the same weights and read the same rows. They learn"
    " the label alone, or the teacher's distribution, softened by T. MATCH is what a race accepts:"
    " the same sample, with the same noise."
)
_MARKS = (
    "In percent: TOP-1 the likeliest token is the teacher's, 1-TV how far the distributions"
    " overlap, MATCH the same sample. NATS: cross-entropy a token."
)
_LOADING = "torch, the teacher and the rows that all read …"


def draw_lectern(view: AcademyView, cells: int, height: int) -> Rows:
    """Who learns from whom and the keys, over how far it is, over what becomes of the junior."""
    course = view.course
    left = [Span(" ACADEMY ", "title bold")]
    if course:
        shape = f"{course.layers} x {course.hidden}, {course.parameters / 1e6:.2f} M"
        left += [Span(f" {course.teacher} ", "text bold"), Span(f"teaches {shape}", "dim")]
    head = spread(left, draw_keys(_keys(view), cells - row_width(left)), cells, "title-back")
    return fit_box((head, _state(view, cells), _junior(view, cells)), cells, height)


def _keys(view: AcademyView) -> list[Key]:
    """Those that do something now."""
    keys: list[Key] = []
    if view.running:
        held = "go on" if view.asked else "hold"
        keys += [("h", held, "screen.hold"), ("x", "cancel", "screen.cancel")]
    else:
        keys.append(("enter", "start", "screen.start"))
    if view.junior:
        keys.append(("u", "race it", "app.race_junior"))
    return [*keys, ("esc", "close", "screen.dismiss")]


_WORDS = {
    "idle": ("NOT STARTED", "dim"),
    "loading": ("LOADING", "chart.mark bold"),
    "students": ("TEACHING", "state.formation bold"),
    "sweep": ("SWEEP", "state.formation bold"),
    "done": ("DONE", "state.formation bold"),
    "cancelled": ("CANCELLED", "chart.mark bold"),
    "refused": ("REFUSED", "state.out bold"),
    "lost": ("LOST", "state.out bold"),
}


def _state(view: AcademyView, cells: int) -> Row:
    """The stage in a word, then why, or how far it is."""
    word, role = _WORDS[view.stage]
    if view.paused:
        word, role = "PAUSED", "chart.mark bold"
    elif view.asked:
        word = "PAUSING after this step"
    row: list[Span] = [Span(f" {word} ", role)]
    room = cells - row_width(row) - 1
    if view.stage == "idle":
        row.append(Span(cut("enter begins a distillation beside the race", room), "dim"))
    elif view.stage == "loading":
        row.append(Span(cut(_LOADING, room), "dim"))
    elif view.reason:
        row.append(Span(cut(view.reason, room), "text"))
    elif view.stage == "done":
        text = f"two students and {len(view.rows)} temperatures"
        row.append(Span(cut(text, room), "dim"))
    elif view.budget:
        row += _progress(view, room)
    return tuple(row)


def _progress(view: AcademyView, cells: int) -> Row:
    """A bar, then figures in the order in which they are worth their room."""
    read = f"{_thousands(view.tokens)} of {_thousands(view.budget)} tokens "
    figures = [Span(read)]
    if view.running and not view.paused:
        figures.append(Span(f"{view.tokens_per_second:,.0f} tok/s ".replace(",", " "), "text bold"))
    if view.running:
        figures.append(Span(f"{_clock(view.seconds_left)} left ", "dim"))
    row: list[Span] = []
    for figure in figures:
        if row_width((*row, figure)) > cells:
            break
        row.append(figure)
    bar = min(40, cells - row_width(row) - 2)
    if bar < 6:
        return tuple(row)
    done = round(bar * view.tokens / view.budget)
    return (Span("█" * done, "chart.area"), Span("░" * (bar - done), "dim"), Span("  "), *row)


def _junior(view: AcademyView, cells: int) -> Row:
    if view.junior:
        named = (Span(" junior ", "dim"), Span("ready", "state.formation bold"))
        room = cells - row_width(named) - 2
        return (*named, Span(cut(f": {view.junior}", room), "dim"))
    ended = view.stage in ("cancelled", "refused", "lost")
    text = "none was saved" if ended else "saved once both students have read all"
    return (Span(cut(f" junior: {text}", cells), "dim"),)


def _thousands(tokens: int) -> str:
    return f"{tokens / 1000:.0f}k" if tokens >= 1000 else str(tokens)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _legend(view: AcademyView) -> tuple[Span, ...]:
    heat = f" T={view.course.temperature:g}" if view.course else ""
    return (
        Span(LINE[0], LINE[1]),
        Span(f" distilled{heat}  ", "dim"),
        Span(DOTTED[0], DOTTED[1]),
        Span(" hard labels", "dim"),
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` over a plot's height, by the distance of `measure`."""

    low: float
    high: float
    measure: Callable[[float], float] = float

    def height(self, value: float) -> float:
        """0 at the foot, 1 at the top; what lies outside is moved to the edge."""
        value = min(max(value, self.low), self.high)
        low, high = self.measure(self.low), self.measure(self.high)
        return (self.measure(value) - low) / (high - low)

    def heights(self, points: Points) -> Points:
        return [(x, self.height(y)) for x, y in points]


def draw_losses(view: AcademyView, cells: int, height: int) -> Rows:
    """Cross-entropy of both students on the rows that they read, over tokens."""
    head = heading("LOSS", _legend(view), cells)
    if not view.lessons or not view.course:
        rows = [(Span(f" {line}", "dim"),) for line in wrap(_NOTE, max(2, cells - 2))]
        return fit_box((head, (), *rows), cells, height)
    distilled = _smooth([one.distilled_nats for one in view.lessons])
    hard = _smooth([one.hard_nats for one in view.lessons])
    loss = _smooth([one.distillation for one in view.lessons])
    scale = Scale(_below(min(*distilled, *hard)), _above(max(*distilled, *hard)), log)
    at = [one.tokens / view.course.tokens for one in view.lessons]
    words = (
        f"nats {distilled[-1]:.2f} / {hard[-1]:.2f}",
        f"distillation loss {loss[-1]:.2f}",
        f"log scale, means of {_MEANS} steps",
    )
    curves = list(zip(at, distilled, strict=True)), list(zip(at, hard, strict=True))
    return _plot(head, *curves, scale, words, view, cells, height)


def _smooth(values: list[float]) -> list[float]:
    """Means of the last steps, within what a logarithm takes."""
    return [
        min(max(fmean(values[max(0, end - _MEANS) : end]), 1e-3), 1e3)
        for end in range(1, len(values) + 1)
    ]


def draw_agreement(view: AcademyView, cells: int, height: int) -> Rows:
    """How often each student's sample is the teacher's, on held-out documents, over tokens."""
    head = heading("AGREEMENT", (Span("same sample as the teacher", "dim"),), cells)
    if not view.exams or not view.course:
        return fit_box((head,), cells, height)
    course = view.course
    at = [one.tokens / course.tokens for one in view.exams]
    distilled = [100 * one.distilled.coupled for one in view.exams]
    hard = [100 * one.hard.coupled for one in view.exams]
    top = max(*distilled, *hard)
    scale = Scale(0.0, next(step for step in (10, 20, 40, 60, 80, 100) if step >= top))
    words = (f"{distilled[-1]:.1f} / {hard[-1]:.1f} %",)
    curves = list(zip(at, distilled, strict=True)), list(zip(at, hard, strict=True))
    return _plot(head, *curves, scale, words, view, cells, height)


def _plot(
    head: Row,
    line: Points,
    dotted: Points,
    scale: Scale,
    words: tuple[str, ...],
    view: AcademyView,
    cells: int,
    height: int,
) -> Rows:
    """The curves beside their axis, over their newest values and how far the axis goes."""
    inside, lines = cells - _AXIS - 2, height - 2
    if inside < 4 or lines < 2 or not view.course:
        return fit_box((head,), cells, height)
    plot = Plot(inside, lines, 1.0, 1.0)
    plot.through(scale.heights(line), LINE[1], SOLID)
    plot.through(scale.heights(dotted), DOTTED[1], _DOTS)
    rows: list[Row] = []
    for number, drawn in enumerate(plot.rows()):
        label = {0: scale.high, lines - 1: scale.low}.get(number)
        text = "" if label is None else f"{label:g}"
        tick = "│" if label is None else "┤"
        rows.append((Span(f" {text:>{_AXIS - 1}}{tick}", "dim"), *drawn))
    end = f"{_thousands(view.course.tokens)} tokens"
    left: list[Span] = [Span(" " * (_AXIS + 1))]
    for word in words:
        if row_width(left) + len(word) + 2 + len(end) > cells - 1:
            break
        left.append(Span(f"{word}  "))
    foot = spread(left, (Span(end, "dim"), Span(" ")), cells)
    return fit_box((head, *rows, foot), cells, height)


def _above(value: float) -> float:
    """The least step of 1, 1.5, 2, 3, 5, 7 times a power of ten that is not below `value`."""
    power = _power(value)
    return next(p * s for p in (power, 10 * power) for s in _STEPS if p * s >= value)


def _below(value: float) -> float:
    """The greatest that is below it."""
    power = _power(value)
    return max(p * s for p in (power / 10, power) for s in _STEPS if p * s < value)


def _power(value: float) -> float:
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    return power


def draw_marks(view: AcademyView, cells: int, height: int) -> Rows:
    """Both students' newest marks on held-out documents."""
    tokens = f"{view.course.held_out_tokens} tokens" if view.course else ""
    detail = (Span("percent, nats  ", "dim"), Span(tokens, "dim"))
    last = view.exams[-1] if view.exams else None
    rows: list[Row] = [
        heading("HELD OUT", detail, cells),
        _titles(cells),
        _line(LINE, "distilled", cells, last.distilled if last else None),
        _line(DOTTED, "hard", cells, last.hard if last else None),
    ]
    return fit_box(rows, cells, height)


def draw_sweep(view: AcademyView, cells: int, height: int) -> Rows:
    """The sweep's marks, a row a temperature, with bars of acceptance where there is room."""
    tried = sum(row.marks is not None for row in view.rows)
    told = f"{tried} of {len(view.rows)}" if view.rows else "after the students"
    rows: list[Row] = [heading("TEMPERATURE SWEEP", (Span(told, "dim"),), cells), _titles(cells)]
    best = max((row.marks.coupled for row in view.rows if row.marks), default=0.0)
    barred = height >= len(rows) + 3 * len(view.rows)
    for row in view.rows:
        rows += [_sweep_line(row, cells, best), *((_bar(row, cells), ()) if barred else ())]
    for text in (_NOTE, _MARKS) if view.lessons else ():
        note = wrap(text, max(2, cells - 2))
        if len(rows) + len(note) < height:
            rows += [(), *((Span(f" {line}", "dim"),) for line in note)]
    return fit_box(rows, cells, height)


def _bar(row: SweepRow, cells: int) -> Row:
    """How many samples were the teacher's, of all."""
    if row.marks is None:
        return ()
    room = max(0, cells - _name(cells) - 3)
    full, rest = divmod(round(8 * room * row.marks.coupled), 8)
    bar = "█" * full + _EIGHTHS[rest]
    return (Span(" " * (_name(cells) + 2)), Span(bar, "chart.area"))


def _name(cells: int) -> int:
    """Cells that the columns leave to names."""
    return max(6, cells - 2 - _COLUMN * len(_COLUMNS))


def _titles(cells: int) -> Row:
    titles = "".join(fit(title, _COLUMN, "right") for title in _COLUMNS)
    return (Span(" " * (_name(cells) + 1)), Span(titles, "dim"))


def _line(sign: tuple[str, str], label: str, cells: int, marks: Marks | None) -> Row:
    told = Span(fit(f" {label}", _name(cells) - 2))
    if marks is None:
        return (Span(" "), Span(*sign), told, Span(fit("…", _COLUMN, "right"), "dim"))
    return (Span(" "), Span(*sign), told, *_figures(marks, False))


def _sweep_line(row: SweepRow, cells: int, best: float) -> Row:
    label = Span(
        fit(f" T={row.temperature:g}", _name(cells) + 1), "text bold" if row.share else "dim"
    )
    if row.marks is not None:
        return (label, *_figures(row.marks, row.marks.coupled == best))
    if not row.share:
        return (label, Span(fit("·", _COLUMN, "right"), "dim"))
    bar = cells - _name(cells) - 9
    done = round(bar * row.share)
    return (
        label,
        Span(" "),
        Span("█" * done, "chart.area"),
        Span("░" * (bar - done), "dim"),
        Span(f" {100 * row.share:3.0f}%", "dim"),
    )


def _figures(marks: Marks, best: bool) -> Row:
    """Percents and nats; the best acceptance is marked by a sign too."""
    texts = (
        f"{100 * marks.top1:.1f}",
        f"{100 * marks.overlap:.1f}",
        f"{'▸' if best else ''}{100 * marks.coupled:.1f}",
        f"{marks.nats:.3f}",
    )
    return tuple(
        Span(fit(text, _COLUMN, "right"), "state.formation bold" if text[0] == "▸" else "")
        for text in texts
    )
