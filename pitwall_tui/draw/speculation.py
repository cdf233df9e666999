"""What drafting does, in a few lines; and one car's text by who wrote it."""

from engine.draft_counts import DraftCounts
from pitwall_tui.draw.cells import (
    Row,
    Rows,
    Span,
    clean,
    cut,
    fit,
    fit_box,
    heading,
    row_width,
    width,
    wrap,
)
from pitwall_tui.draw.chart import columns
from pitwall_tui.race.effects import times
from pitwall_tui.race.view import Author, Kind, SpeculationView, WritingView

_ROLES: dict[Author, str] = {
    "chief": "text bold",
    "accepted": "draft.accepted underline",
    "overruled": "draft.overruled strike",
}


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


def who(kind: Kind, cells: int = 12) -> str:
    """Who drafts, and the rule where it is not the usual one; the name yields."""
    rule = "" if kind.rule == "equal" else f" {kind.rule}"
    return cut(kind.who, cells - len(rule)) + rule


def setting(view: SpeculationView) -> str:
    """Who drafts, and how far."""
    length = f"{view.kind.length} auto" if view.auto else str(view.kind.length)
    rule = "" if view.kind.rule == "equal" else f" {view.kind.rule}"
    return f"{cut(view.kind.who, 12)} k {length}{rule}"


def size(view: SpeculationView) -> str:
    """Of the draft model's weights, once they are built."""
    nbytes = view.draft.weights_bytes if view.draft else 0
    return f"{nbytes / 2**20:.1f} MiB" if nbytes else ""


def _bars(counts: DraftCounts, cells: int) -> Row:
    """Acceptance by position: a bar for each, with its number where all have room."""
    shares = counts.per_position
    bars = columns([*shares], 1.0, 1)
    named: list[Span] = []
    for bar, share in zip(bars, shares, strict=True):
        named += [Span(f" {bar}", "chart.area"), Span(f"{100 * share:.0f}", "text")]
    if row_width(named) + 1 <= cells:
        return (*named, Span("%", "dim"))
    ends = f" {percent(shares[0])}..{percent(shares[-1])}"
    return (Span(" " + "".join(bars), "chart.area"), Span(ends, "text"))


def _accepted(view: SpeculationView, cells: int) -> Row:
    counts = view.recent
    if counts.mean_length is None:
        return (Span(" no drafts yet", "dim"),)
    length = (Span(f" {counts.mean_length:.2f}", "text bold"), Span(" tok/round", "dim"))
    return (*_bars(counts, cells - row_width(length)), *length)


def _milliseconds(view: SpeculationView, cells: int) -> Row:
    if view.draft_ms is None or view.verify_ms is None:
        return (Span(" not timed yet", "dim"),)
    draft, verify = f"{view.draft_ms:.1f}", f"{view.verify_ms:.1f}"
    saved = f"saved {view.since.saved:,}".replace(",", " ")
    if cells < 40:
        return (Span(f" {draft}+{verify}"), Span(f" ms a step  {saved}", "dim"))
    row: Row = (Span(" draft ", "dim"), Span(draft), Span(" verify ", "dim"), Span(verify))
    return (*row, Span(f" ms  {saved}{' tokens' * (cells >= 46)}", "dim"))


def _speedups(view: SpeculationView, cells: int) -> Row:
    measured = view.now.speedup if view.now else None
    row: Row = (
        Span(f" {times(measured)}", "text bold"),
        Span(" measured ", "dim"),
        Span(times(view.projection), "text"),
    )
    words = "projection by formula" if cells >= 46 else "projection"
    return (*row, Span(f" {words}", "chart.mark"))


def draw_speculation(view: SpeculationView | None, cells: int, height: int) -> Rows:
    """Acceptance by draft position, times, the speed-up measured and by theory, and in words
    whether it pays; the words have what room is left."""
    if view is None:
        return fit_box((heading("SPECULATION", (Span("off", "dim"),), cells),), cells, height)
    state = Span(setting(view) if view.on else "off", "title bold" if view.on else "dim")
    held = Span(f"{size(view)}  " if view.on and size(view) else "", "dim")
    rows: list[Row] = [
        heading("SPECULATION", (held, state), cells),
        _accepted(view, cells),
        _milliseconds(view, cells),
        _speedups(view, cells),
    ]
    room = max(1, height - len(rows))
    said = wrap(view.word, cells - 2)
    if len(said) > room:
        said = [*said[: room - 1], cut(" ".join(said[room - 1 :]), cells - 2)]
    rows += [(Span(f" {line}", "chart.mark"),) for line in said]
    return fit_box(rows, cells, height)


LEGEND: Row = (
    Span("drafted", _ROLES["accepted"]),
    Span(" "),
    Span("[overruled]", _ROLES["overruled"]),
    Span(" "),
    Span("chief", _ROLES["chief"]),
)


def draw_writing(view: WritingView, cells: int) -> Row:
    """The end of a car's text in one row: drafts that the chief accepted are underlined, those
    that it overruled stand in brackets before what it wrote instead, which is bold."""
    lap = f"L{view.lap} " if cells >= 40 else ""
    head = (
        Span(" "),
        Span("▌ ", f"team.{view.team}"),
        Span(fit(view.car, 3), "text bold"),
        Span(f" {lap}▏", "dim"),
    )
    left = cells - row_width(head) - 1
    spans: list[Span] = []
    for author, piece in reversed(view.pieces):
        text = clean(piece.replace("\n", "↵"))
        text = f"[{text}]" if author == "overruled" else text
        if width(text) > left:
            break
        if text:
            spans.append(Span(text, _ROLES[author]))
            left -= width(text)
    return (*head, *reversed(spans))
