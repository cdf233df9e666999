"""The debrief: what each setting of a race gave, in figures and as speed against memory."""

from collections.abc import Callable
from dataclasses import dataclass

from pitwall_tui.commands import KNOB_KEYS
from pitwall_tui.draw.cells import (
    Row,
    Rows,
    Span,
    fit,
    fit_box,
    heading,
    row_width,
    spread,
    width,
    wrap,
)
from pitwall_tui.draw.chart import ceiling
from pitwall_tui.draw.gantt import duration
from pitwall_tui.draw.keys import draw_keys
from pitwall_tui.draw.plot import AXIS, Plot, framed
from pitwall_tui.race.debrief import DebriefView, SettingView
from pitwall_tui.race.effects import Effect, times
from pitwall_tui.race.latency import LatencyView

NOTHING = "nothing has run yet"
MIB = 2**20
_KEYS = (
    ("↑↓", "settings", ""),
    ("tab", "other figures", "screen.figures"),
    ("x", "export", "app.export"),
    ("esc", "close", "screen.dismiss"),
)
# What is known of a setting's text; the sign is the third mark of the scatter.
EXACT, MEASURED, UNKNOWN = ("●", "exact"), ("◐", "lossy, KL measured"), ("○", "not measured")


def sign(setting: SettingView) -> tuple[str, str]:
    """What is known of its text, as a sign and in words."""
    return EXACT if setting.exact else MEASURED if setting.quality else UNKNOWN


# The table

_MARKS = 4  # cells of the arrow, the letter and the sign
_LEAST_NAME = 15


@dataclass(frozen=True, slots=True)
class SettingLook:
    """How the table is looked at: its first setting, None for the newest that have room, and
    whether figures of memory and quality come before those of speed."""

    first: int | None = None
    memory: bool = False


_NOTE = (
    "A row is a setting of the knobs, with what its own steps gave: TOK/S of all cars by step time,"
    " VS A over the first row in steps that read no prompt, ITL from a car's token to its next,"
    " TTFT to its first one, TEXT what is known of how far it is from fp32's: 'exact, after lossy'"
    " is of steps that lose nothing, in texts that are no longer fp32's."
)
Figure = Callable[[SettingView, SettingView], str]

# Title, cells, and the figure of a setting in a race that began with another.
COLUMNS: dict[str, tuple[int, Figure]] = {
    "TIME": (8, lambda s, _: f"{s.seconds:.1f} s"),
    "STEPS": (7, lambda s, _: f"{s.steps}"),
    "CARS": (6, lambda s, _: f"{s.cars:.1f}"),
    "TOKENS": (8, lambda s, _: f"{s.output_tokens}"),
    "TOK/S": (7, lambda s, _: f"{s.tokens_per_second:.0f}"),
    "VS A": (7, lambda s, first: _times(s.comparable_rate, first.comparable_rate)),
    "STEP": (9, lambda s, _: duration(s.step_ms)),
    "ITL p50": (9, lambda s, _: _ms(s.itl.p50)),
    "p90": (9, lambda s, _: _ms(s.itl.p90)),
    "p99": (9, lambda s, _: _ms(s.itl.p99)),
    "TTFT p50": (9, lambda s, _: _ms(s.ttft.p50)),
    "WEIGHTS": (11, lambda s, _: _mib(s.weights_bytes)),
    "KV PEAK": (10, lambda s, _: _mib(s.kv_peak)),
    "KV MEAN": (10, lambda s, _: _mib(s.kv_mean)),
    "WASTE": (7, lambda s, _: f"{s.waste_percent:.0f}%"),
    "PREFILL": (9, lambda s, _: f"{s.prefill_tokens}"),
    "PITS": (6, lambda s, _: f"{s.preemptions}"),
    "LOST": (7, lambda s, _: f"{s.lost_tokens}"),
    "T/ROUND": (8, lambda s, _: "-" if s.tokens_a_round is None else f"{s.tokens_a_round:.2f}"),
    "TEXT": (20, lambda s, _: f"  {text_of(s)}"),
}
# Taken on in this order while there is room.
_SPEED = (
    *("TOK/S", "VS A", "STEP", "ITL p50", "p99", "TTFT p50", "CARS", "TIME", "p90", "TEXT"),
    *("WEIGHTS", "KV PEAK", "WASTE", "STEPS", "PREFILL", "T/ROUND", "PITS", "KV MEAN", "LOST"),
)
_MEMORY = (
    *("TOK/S", "TEXT", "WEIGHTS", "KV PEAK", "WASTE", "PITS", "PREFILL", "LOST", "T/ROUND"),
    *("KV MEAN", "VS A", "STEP", "ITL p50", "p99", "TTFT p50", "CARS", "TIME", "p90"),
)


def text_of(setting: SettingView) -> str:
    """What is known of its text, with the figures: nats a token, the same likeliest token."""
    quality = setting.quality
    if setting.exact:
        return "exact"
    if setting.after_lossy:
        return "exact, after lossy"
    if quality is None:
        return "not measured"
    return f"KL {quality.mean_kl:.4f} {quality.top1_percent:.0f}%"


def shown(count: int, first: int | None, room: int) -> range:
    """Which of so many settings there is room for."""
    last = max(0, count - room)
    start = last if first is None else min(max(first, 0), last)
    return range(start, min(count, start + max(0, room)))


def draw_settings(view: DebriefView | None, look: SettingLook, cells: int, height: int) -> Rows:
    """A line for each setting; tokens/s are over the time that its steps took."""
    left = [Span(" DEBRIEF ", "title bold")]
    if view is None or not view.settings:
        head = spread(left, draw_keys(_KEYS, cells - row_width(left)), cells, "title-back")
        return fit_box((head, (Span(f" {NOTHING}", "dim"),)), cells, height)
    rest = view.others.steps
    which = shown(len(view.settings), look.first, height - 2 - bool(rest))
    if len(which) < len(view.settings):
        left.append(Span(f"{which.start + 1}-{which.stop} of {len(view.settings)} ", "dim"))
    head = spread(left, draw_keys(_KEYS, cells - row_width(left)), cells, "title-back")
    names = _chosen(look.memory, cells)
    name = max(0, cells - _MARKS - sum(COLUMNS[title][0] for title in names))
    titles = "".join(_cell(title, "  TEXT" if title == "TEXT" else title) for title in names)
    rows: list[Row] = [head, (Span(fit("    SETTING", _MARKS + name) + titles, "dim"),)]
    rows += [_setting(view, number, names, name) for number in which]
    if rest:
        said = f" {rest} steps under still more settings, {view.others.output_tokens} tokens"
        rows.append((Span(said, "dim"),))
    note = [(Span(f" {line}", "dim"),) for line in wrap(_NOTE, max(2, cells - 2))]
    if height >= len(rows) + len(note) + 1:
        rows += [*[()] * (height - len(rows) - len(note)), *note]
    return fit_box(rows, cells, height)


def _cell(title: str, text: str) -> str:
    """Text in its column."""
    return fit(text, COLUMNS[title][0], "left" if title == "TEXT" else "right")


def _chosen(memory: bool, cells: int) -> list[str]:
    """The columns that there is room for."""
    room = cells - _MARKS - max(_LEAST_NAME, cells // 6)
    chosen: list[str] = []
    for title in _MEMORY if memory else _SPEED:
        room -= COLUMNS[title][0]
        if room < 0:
            break
        chosen.append(title)
    return [title for title in COLUMNS if title in chosen]


def _setting(view: DebriefView, number: int, names: list[str], name: int) -> Row:
    setting = view.settings[number]
    role = "text bold" if setting.now else "text"
    glyph, _ = sign(setting)
    spans = [
        Span("▸" if setting.now else " ", "knob.key bold"),
        Span(f"{setting.letter}{glyph} ", "chart.mark bold"),
        Span(fit(_brief(setting.name, name - 1), name), role),
    ]
    for title in names:
        _, figure = COLUMNS[title]
        role = "text bold" if title in ("TOK/S", "VS A") else "text"
        spans.append(Span(_cell(title, figure(setting, view.settings[0])), role))
    return tuple(spans)


def _brief(text: str, cells: int) -> str:
    """Knobs and their values, the knobs by their short names where there is no room."""
    if width(text) <= cells:
        return text
    parts = [part.partition(" ") for part in text.split(", ")]
    short = {keys.name: keys.short for keys in KNOB_KEYS}
    return ", ".join(f"{short.get(name, name)} {value}".strip() for name, _, value in parts)


def _times(rate: float | None, first: float | None) -> str:
    return times(rate / first) if first and rate is not None else "-"


def _ms(value: float | None) -> str:
    return "-" if value is None else duration(value)


def _mib(size: float) -> str:
    return f"{size / MIB:.1f} MiB" if size else "-"


# The scatter


def draw_scatter(view: DebriefView | None, cells: int, height: int) -> Rows:
    """Tokens/s over bytes of weights and KV; letters stand for settings, signs for their text."""
    head = heading("SPEED OVER MEMORY", (Span("tok/s over MiB, weights + KV peak", "dim"),), cells)
    points = [
        (setting, setting.memory / MIB)
        for setting in (view.settings if view else ())
        if setting.memory is not None
    ]
    if not points:
        return fit_box((head, (Span(f" {NOTHING}", "dim"),)), cells, height)
    if cells < AXIS + 8 or height < 5:
        return fit_box((head,), cells, height)
    top = ceiling(max(setting.tokens_per_second for setting, _ in points))
    right = ceiling(max(memory for _, memory in points))
    plot = Plot(cells - AXIS - 1, height - 3, right, top)
    for setting, memory in points:
        plot.drop(memory, setting.tokens_per_second, "dim")
    under = []
    for setting, memory in sorted(points, key=lambda point: (not point[0].now, -point[0].seconds)):
        glyph, _ = sign(setting)
        role = "text bold" if setting.now else "chart.mark bold"
        if not plot.mark(memory, setting.tokens_per_second, setting.letter + glyph, role):
            under.append(setting.letter)
    ticks = ("0", f"{right / 2:g}", f"{right:g} MiB")
    rows = framed(plot, top, ticks, cells - 1, unit="")
    return fit_box((head, *rows, _legend(sorted(under), cells)), cells, height)


def _legend(under: list[str], cells: int) -> Row:
    """What signs mean, in fewer words where there is no room; who lies under others."""
    hidden = (Span(f"  {' '.join(under)} under others", "chart.mark"),) if under else ()
    for words in ((EXACT[1], MEASURED[1], UNKNOWN[1]), ("exact", "KL known", "unknown")):
        row: list[Span] = []
        for (glyph, _), word in zip((EXACT, MEASURED, UNKNOWN), words, strict=True):
            row += [Span(f" {glyph} ", "chart.mark bold"), Span(word, "dim")]
        if row_width((*row, *hidden)) <= cells:
            break
    return (*hidden, *row) if row_width((*row, *hidden)) > cells else (*row, *hidden)


# Knobs that were turned


def draw_effects(view: DebriefView | None, cells: int, height: int) -> Rows:
    """Each turn of knobs, the newest first: tokens/s in the seconds before it, and after."""
    head = heading("BEFORE → AFTER", (Span("tok/s around each turn of knobs", "dim"),), cells)
    effects = view.effects if view else ()
    if not effects:
        said = NOTHING if view is None or not view.settings else "no turn of knobs measured yet"
        return fit_box((head, (Span(f" {said}", "dim"),)), cells, height)
    room = max(1, height - 1)
    rows = [_effect(effect, cells) for effect in reversed(effects)]
    if len(rows) > room:
        rows[room - 1 :] = [(Span(f" {len(rows) - room + 1} more before", "dim"),)]
    return fit_box((head, *rows), cells, height)


def _effect(effect: Effect, cells: int) -> Row:
    rates = f"{effect.before:.0f}→{effect.after:.0f}"
    figures = [Span(fit(rates, 11, "right")), Span(f"{effect.ratio:6.2f}x ", "text bold")]
    cars = f"{effect.cars_before:.0f}→{effect.cars_after:.0f} cars"
    if cells >= 60:
        figures.insert(0, Span(fit(cars, 13, "right"), "dim"))
    elif round(effect.cars_before) != round(effect.cars_after):
        # Rates with other cars are not to be compared without a look at them.
        figures.insert(0, Span(f" {cars}", "chart.mark"))
    room = max(0, cells - row_width(figures) - 1)
    return (Span(f" {fit(_brief(effect.label, room), room)}", "text"), *figures)


# Latencies


def draw_percentiles(view: DebriefView | None, cells: int, height: int) -> Rows:
    """Percentiles of all of the race's latencies."""
    head = heading("LATENCIES", (Span("TPOT, E2E: of cars that ended", "dim"),), cells)
    if view is None or not view.settings:
        return fit_box((head, (Span(f" {NOTHING}", "dim"),)), cells, height)
    titles = "".join(fit(title, 9, "right") for title in ("p50", "p90", "p99"))
    rows: list[Row] = [head, (Span(fit("", 5) + fit("n", 7, "right") + titles, "dim"),)]
    rows += [_latency(found) for found in view.latencies]
    return fit_box(rows, cells, height)


def _latency(found: LatencyView) -> Row:
    name = Span(fit(f" {found.name}", 5), "text bold")
    if not found.count:
        return (name, Span("  none yet", "dim"))
    texts = [fit(_ms(value), 9, "right") for value in (found.p50, found.p90, found.p99)]
    count = Span(fit(f"{found.count}", 7, "right"), "dim")
    return (name, count, *[Span(text, "text bold") for text in texts])
