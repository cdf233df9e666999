"""Help: what a screen teaches, then the keys and knobs of the whole wall."""

from collections.abc import Sequence

from engine.config import KNOBS
from pitwall_tui.commands import KEYS, PALETTE_KEY, Keys
from pitwall_tui.draw.cells import Row, Span, fit, fit_row, heading, wrap
from pitwall_tui.draw.spoken import spoken
from pitwall_tui.help import PAGES
from pitwall_tui.help.page import Page, Sign

# A key as the wall writes it, and what it does.
OwnKey = tuple[str, str]
_KEY = 12
_PANEL = 21
_WHERE = 19


def _pair(key: Span, text: str, cells: int, wide: int = _KEY) -> list[Row]:
    lines = wrap(text, max(2, cells - wide - 2))
    before = Span(" " * max(1, wide - 2 - len(key.text)))
    first = (Span("  "), key, before, Span(lines[0], "text"))
    return [first, *[(Span(" " * wide), Span(line, "text")) for line in lines[1:]]]


def _sign(sign: Sign, cells: int) -> list[Row]:
    drawn, where, meaning = sign
    before = max(1, 10 - len(drawn.text))
    named = (Span("  "), drawn, Span(" " * before), Span(fit(where, _WHERE), "dim"))
    lines = wrap(meaning, max(2, cells - 13 - _WHERE))
    return [(*named, Span(lines[0], "text")), *[(Span(" " * 31), Span(m)) for m in lines[1:]]]


def _text(text: str, cells: int) -> list[Row]:
    return [(Span("  "), Span(line, "text")) for line in wrap(text, max(2, cells - 4))]


def _lesson(page: Page, keys: Keys, cells: int) -> list[Row]:
    rows: list[Row] = [heading(page.title, (Span("esc closes", "dim"),), cells)]
    rows += _text(spoken(page.about, keys), cells)
    rows += [(), heading("PANELS", (), cells)]
    for name, text in page.panels:
        rows += _pair(Span(fit(name, _PANEL - 3), "text bold"), spoken(text, keys), cells, _PANEL)
    told = (("HOW IT WORKS", page.technique), ("WHAT IT COSTS", page.price))
    for title, text in (*told, ("ON A PIT WALL", page.parallel)):
        rows += [(), heading(title, (), cells), *_text(spoken(text, keys), cells)]
    rows += [(), heading("SIGNS", (Span("each is something in the engine", "dim"),), cells)]
    for sign in page.signs:
        rows += _sign(sign, cells)
    return rows


def help_rows(
    cells: int,
    keys: Keys = KEYS,
    pages: Sequence[str] = ("RaceScreen",),
    own: Sequence[OwnKey] = (),
) -> tuple[Row, ...]:
    """What the named pages teach, keys that are a screen's `own`, and all others, at a width; as
    many rows as it takes. A page that nobody has written is left out."""
    rows: list[Row] = []
    for name in pages:
        if name in PAGES:
            rows += [*_lesson(PAGES[name], keys, cells), ()]
    if own:
        rows.append(heading("KEYS HERE", (), cells))
        for key, text in own:
            rows += _pair(Span(key, "knob.key bold"), text, cells)
        rows.append(())
    rows.append(heading("KEYS", (Span("esc closes", "dim"),), cells))
    for command in keys.commands:
        rows += _pair(Span(command.shown, "knob.key bold"), command.help, cells)
    rows += _pair(Span(PALETTE_KEY, "knob.key bold"), "every command by name", cells)
    rows += [(), heading("KNOBS", (Span("used from the engine's next step on", "dim"),), cells)]
    for knob in KNOBS:
        bound = keys.knobs[knob.name]
        shown = f"{bound.sign}  {bound.shown}".rstrip()
        text = f"{knob.name}: {knob.help} ({', '.join(bound.steps)})"
        rows += _pair(Span(shown, "knob.key bold"), text, cells)
    return tuple(fit_row(row, cells) for row in rows)
