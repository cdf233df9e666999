"""The knob bar: every knob with its key, each of them to be clicked."""

from pitwall_tui.commands import DEFAULTS, KEYS, Keys
from pitwall_tui.draw.cells import Row, Rows, Span, fit_box, row_width
from pitwall_tui.race.view import KnobView

_SHORT = {"continuous": "cont", "contiguous": "contig", "native": "nat"}
_SWITCHES = {"on": "●", "off": "○"}  # stand right behind a name or key
_DOTTED = _SHORT | _SWITCHES
_TIGHT = _DOTTED | {
    "contiguous": "ctg",
    "static": "stat",
    "fp32": "f32",
    "bf16": "b16",
    "int8": "i8",
    "int4": "i4",
    "junior": "jun",
    "ngram": "ng",
    "equal": "eq",
    "ratio": "rat",
    "torch": "tor",
}
# (names, room around a chip, shorter values), from the widest bar to the narrowest: the last has
# room for any values in 80 cells.
_LEVELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("full", " ", {}),
    ("full", "", {}),
    ("short", " ", {}),
    ("short", "", {}),
    ("short", "", _SHORT),
    ("short", "", _DOTTED),
    ("short", "", _TIGHT),
    ("none", "", _DOTTED),
    ("none", "", _TIGHT),
)


def _chip(knob: KnobView, keys: Keys, names: str, pad: str, shorter: dict[str, str]) -> Row:
    """A knob as key, name and value."""
    bound = keys.knobs.get(knob.name)
    key, short = (bound.sign, bound.short) if bound else ("", knob.name)
    action = f"app.turn_knob('{knob.name}', 1)" if bound else ""
    name = {"full": knob.name, "short": short}.get(names, "")
    value = shorter.get(knob.value, knob.value)
    usual = knob.value == DEFAULTS.get(knob.name)
    glued = value in _SWITCHES.values()
    tight = names == "short" and bool(shorter) and not key.isalpha()  # a word would read on
    label = ("" if tight or (glued and not name) else " ") + name + " " * bool(name and not glued)
    spans = [
        Span(f"{pad}{key}", "knob.key bold", "chip", action),
        Span(label, "dim", "chip", action),
        Span(value, "knob.usual" if usual else "knob.changed bold", "chip", action),
    ]
    if knob.pending is not None:
        pending = shorter.get(knob.pending, knob.pending)
        spans.append(Span(f"→{pending}", "knob.pending bold", "chip", action))
    spans.append(Span(pad, "", "chip", action))
    return tuple(span for span in spans if span.text)


def draw_knobs(knobs: tuple[KnobView, ...], cells: int, height: int = 1, keys: Keys = KEYS) -> Rows:
    """Knobs in one row, with as long names as there is room for; more rows where given."""
    chips: list[Row] = []
    for level in _LEVELS:
        chips = [_chip(knob, keys, *level) for knob in knobs]
        if sum(row_width(chip) + 1 for chip in chips) + 1 <= cells:
            break
    row = tuple(span for chip in chips for span in (Span(" "), *chip))
    return fit_box((row,), cells, height)
