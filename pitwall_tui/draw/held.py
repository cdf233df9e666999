"""What pages cost: bytes over time against a reservation, the prefix index, what would fit."""

from collections.abc import Sequence

from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, heading, row_width, wrap
from pitwall_tui.draw.chart import ceiling
from pitwall_tui.draw.memory import knob_hint
from pitwall_tui.race.memory import FormatView, HeldView, IndexView, MemoryView
from pitwall_tui.race.view import RaceView

_MIB = 2**20
_EIGHTHS = "▁▂▃▄▅▆▇"
_AXIS = 6  # cells of the axis: a number and its tick
RESERVED = "╍"
_UNTOLD = "not in this recording"


def _mib(size: float) -> str:
    return f"{size / _MIB:.1f}" if size < 1000 * _MIB else f"{size / _MIB:.0f}"


def _count(count: int) -> str:
    return f"{count:,}".replace(",", " ")


# Over time


def draw_held(view: RaceView, cells: int, height: int) -> Rows:
    """Bytes with tokens in them as an area, what is held beyond them hatched, and a line for what
    would be held if each car had its maximum reserved."""
    memory = view.details.memory
    if memory is None or not memory.past:
        return fit_box((heading("HELD", (), cells),), cells, height)
    waste = (
        Span(f"of {_mib(memory.total * memory.page_bytes)} MiB  ", "dim"),
        Span("waste ", "dim"),
        Span(f"now {memory.now.waste_percent:.1f}% ", "text bold"),
        Span(_mean(view, memory), "text"),
    )
    head = heading("HELD", waste, cells)
    below = [*_legend(view, memory, cells), *(_worst(memory, cells) if height >= 12 else ())]
    lines, inside = height - 2 - len(below), cells - _AXIS - 2
    if lines < 2 or inside < 4:
        return fit_box((head, *below), cells, height)
    return fit_box((head, *_plot(memory, inside, lines), *below), cells, height)


def _mean(view: RaceView, memory: MemoryView) -> str:
    """Of the paging that there is now."""
    paging = {knob.value for knob in view.knobs if knob.name == "paging"}
    return next((f"mean {mean:.1f}%" for name, mean in memory.wastes if name in paging), "")


def _legend(view: RaceView, memory: MemoryView, cells: int) -> list[Row]:
    now = memory.now
    signs: list[tuple[Span, ...]] = [
        (Span(" █ ", "chart.area"), Span("tokens ", "dim"), Span(_mib(now.tokens), "text bold")),
        (
            Span(" ░ ", "chart.area"),
            Span("held ", "dim"),
            Span(f"{_mib(now.held)} MiB ", "text bold"),
        ),
    ]
    line: Row = (Span(f" {RESERVED} ", "chart.mark"), *_reserved(view, memory, cells))
    both = tuple(part for sign in signs for part in sign)
    return [(*both, *line)] if row_width((*both, *line)) <= cells else [both, line]


def _reserved(view: RaceView, memory: MemoryView, cells: int) -> Row:
    reserved = memory.now.reserved
    if reserved is None:
        return (Span(f"if reserved: {_UNTOLD}", "dim"),)
    knobs = {knob.name: knob.value for knob in view.knobs}
    real = knobs.get("paging") == "contiguous" and knobs.get("kv_cache") == "on"
    size = Span(f"{_mib(reserved)} MiB ", "text bold")
    if real and reserved <= memory.now.held:
        return (Span("reserved ", "dim"), size, Span("real", "dim"))
    if reserved > memory.total * memory.page_bytes:
        over = "computed, more than the pool" if cells >= 52 else "> pool"
        return (Span("if reserved ", "dim"), size, Span(over, "chart.mark"))
    return (Span("if reserved ", "dim"), size, Span("computed", "dim"))


def _worst(memory: MemoryView, cells: int) -> list[Row]:
    """What was empty at most, and what would be with a reservation."""
    worst = memory.worst
    words = f"most empty {_mib(worst.held - worst.tokens)} MiB, {worst.waste_percent:.1f}%"
    if len(memory.wastes) > 1:
        words += "; mean " + ", ".join(f"{name} {mean:.1f}%" for name, mean in memory.wastes)
    now = memory.now
    if now.reserved:
        words += f"; if reserved {100 * (1 - now.tokens / now.reserved):.1f}% would be empty now"
    return [(Span(f" {line}", "dim"),) for line in wrap(words, max(2, cells - 2))]


def _plot(memory: MemoryView, cells: int, lines: int) -> list[Row]:
    shown = squeezed(memory.past, cells)
    marks = {index * len(shown) // len(memory.past): label for index, label in memory.marks}
    top = ceiling(max(max(h.held, h.reserved or 0.0) for h in shown) / _MIB) * _MIB
    columns = [_column(held, top, lines) for held in shown]
    rows: list[Row] = []
    for line in reversed(range(lines)):
        number = {0: "0", lines - 1: f"{top / _MIB:g}"}.get(line)
        axis = f"{number:>{_AXIS - 1}}┤" if number is not None else f"{'│':>{_AXIS}}"
        cells_of = [
            Span("│", "chart.mark")
            if column in marks and glyphs[line].text != RESERVED
            else glyphs[line]
            for column, glyphs in enumerate(columns)
        ]
        rows.append((Span(" "), Span(axis, "dim"), *cells_of))
    return [*rows, (Span(" " * (_AXIS + 1)), Span(_foot(memory, marks, len(shown), cells), "dim"))]


def squeezed(past: Sequence[HeldView], cells: int) -> list[HeldView]:
    """The whole past in as many columns as there are at most, as means."""
    count = min(len(past), cells)
    found = []
    for column in range(count):
        part = past[column * len(past) // count : (column + 1) * len(past) // count]
        reserved = [held.reserved for held in part if held.reserved is not None]
        found.append(
            HeldView(
                sum(held.held for held in part) / len(part),
                sum(held.tokens for held in part) / len(part),
                sum(reserved) / len(reserved) if reserved else None,
            )
        )
    return found


def _column(held: HeldView, top: float, lines: int) -> list[Span]:
    """Cells of one moment, the lowest first."""
    eighths = min(8 * lines, round(held.tokens / top * 8 * lines))
    full, rest = divmod(eighths, 8)
    hatched = min(lines, round(held.held / top * lines))
    glyphs = [Span("█", "chart.area")] * full
    if rest:
        glyphs.append(Span(_EIGHTHS[rest - 1], "chart.area"))
    glyphs += [Span("░", "chart.area")] * (hatched - len(glyphs))
    glyphs += [Span(" ")] * (lines - len(glyphs))
    if held.reserved is not None:
        at = min(lines - 1, int(held.reserved / top * lines))
        if glyphs[at].text != "█":
            glyphs[at] = Span(RESERVED, "chart.mark")
    return glyphs


def _foot(memory: MemoryView, marks: dict[int, str], columns: int, cells: int) -> str:
    """How long it has been, and the knobs where they changed, as far as there is room."""
    text = list(f"{len(memory.past) * memory.bucket:.0f} s".rjust(columns)[-cells:].ljust(cells))
    for column, label in sorted(marks.items()):
        start = min(column, cells - len(label))
        if start >= 0 and not "".join(text[max(0, start - 1) : start + len(label) + 1]).strip():
            text[start : start + len(label)] = label
    return "".join(text)


# The prefix index


def draw_index(view: RaceView, cells: int, height: int) -> Rows:
    """Who shares the briefing, what was found and what that saved."""
    memory = view.details.memory
    head = heading("PREFIX INDEX", knob_hint(view, "prefix_cache"), cells)
    if memory is None or not memory.begun:
        return fit_box((head,), cells, height)
    index = memory.index
    share = f"{100 * index.hits / index.queries:.1f}%" if index.queries else "-"
    rows: list[Row] = [
        (
            Span(" found ", "dim"),
            Span(share, "text bold"),
            Span(f" of {_count(index.queries)} tokens", "dim"),
        ),
        (Span(f" {_count(index.hits)}", "text bold"), Span(" tokens of prefill not run", "dim")),
        _published(index),
        *_sharing(memory, cells),
    ]
    if height <= 3:  # the first two say the same in other words
        del rows[1]
    return fit_box((head, *rows), cells, height)


def _published(index: IndexView) -> Row:
    if index.published is None:
        return (Span(f" published: {_UNTOLD}", "dim"),)
    figures = ((index.published, "published"), (index.cached, "cached"), (index.evicted, "evicted"))
    return tuple(
        part
        for count, word in figures
        for part in (Span(f" {_count(count or 0)}", "text bold"), Span(f" {word}", "dim"))
    )


def _sharing(memory: MemoryView, cells: int) -> list[Row]:
    index = memory.index
    if not memory.tables:
        return []
    if not index.sharers:
        return [(Span(" nobody shares a page now", "dim"),)]
    spared = _mib(index.spared * memory.page_bytes)
    said = f"{index.shared} pages shared by {len(index.sharers)} cars: {spared} MiB not held twice"
    lines = [*wrap(said, max(2, cells - 2)), *wrap(" ".join(index.sharers), max(2, cells - 2))]
    return [(Span(f" {line}", "dim"),) for line in lines]


# Formats


def draw_formats(view: RaceView, cells: int, height: int) -> Rows:
    """Bytes by kv_dtype, and how many cars would fit: computed from those bytes."""
    memory = view.details.memory
    head = heading("CARS, COMPUTED", knob_hint(view, "kv_dtype"), cells)
    if memory is None or not memory.begun:
        return fit_box((head,), cells, height)
    if not memory.formats:
        return fit_box((head, (Span(f" bytes: {_UNTOLD}", "dim"),)), cells, height)
    wide = cells >= 52
    rows: list[Row] = [head]
    if height >= 4:
        rows.append((Span(_titles(wide), "dim"),))
    rows += [_format(form, memory.page_size, wide) for form in memory.formats]
    return fit_box((*rows, *_footnotes(memory, cells)), cells, height)


def _titles(wide: bool) -> str:
    return (
        "  kv     a page a token reserved paged so far"
        if wide
        else "  kv   a page  res'd paged so far"
    )


def _format(form: FormatView, page_size: int, wide: bool) -> Row:
    whole = form.page_bytes + form.draft_bytes
    page, token = f"{whole / 1024:.1f}K", f"{whole / page_size / 1024:.2f}K"
    mark = Span("▸ " if form.served else "  ", "knob.key bold")
    fits = (form.reserved, form.paged, form.so_far)
    if wide:
        figures = [fit(str(n), w, "right") for n, w in zip(fits, (9, 6, 7), strict=True)]
        size = f"{form.kv_dtype:<5}{page:>8} {token:>7}"
    else:
        figures = [fit(str(n), w, "right") for n, w in zip(fits, (7, 6, 7), strict=True)]
        size = f"{form.kv_dtype:<5}{page:>6}"
    return (mark, Span(size, "text bold" if form.served else "text"), *(Span(f) for f in figures))


def _footnotes(memory: MemoryView, cells: int) -> list[Row]:
    """What the columns mean."""
    said = [
        f"cars of at most {_count(memory.most)} tokens, each reserved / paged with"
        f" {memory.briefing} shared pages / as long as the longest so far, {_count(memory.longest)}"
    ]
    shares = [form for form in memory.formats if form.draft_bytes]
    if shares:
        form = next((form for form in shares if form.served), shares[0])
        share = 100 * form.draft_bytes / (form.page_bytes + form.draft_bytes)
        said.append(f"the junior has {share:.1f}% of every page, {form.draft_bytes / 1024:.1f}K")
    said.append(
        "outside of pages nothing is lost: a table may name any page, so no run of free ones has to"
        " be found, reserved or not"
    )
    return [(Span(f" {line}", "dim"),) for text in said for line in wrap(text, max(2, cells - 2))]
