"""The knob bar and the footer: every key with what it does, each of them to be clicked."""

from pitwall_tui.commands import COMMANDS, DEFAULTS, KNOB_KEY, Command
from pitwall_tui.draw.cells import Row, Rows, Span, fit_box, row_width
from pitwall_tui.race.view import KnobView

# (names, room around a chip, whole values), from the widest bar to the narrowest.
_LEVELS = (
    ("full", " ", True),
    ("full", "", True),
    ("short", " ", True),
    ("short", "", True),
    ("short", "", False),
    ("none", "", False),
)
_YIELDING = ("shot", "theme", "results", "academy", "workshop")  # left out of a footer first
_SHORT_VALUES = {"continuous": "cont", "contiguous": "contig", "native": "nat"}


def _chip(knob: KnobView, names: str, pad: str, whole: bool) -> Row:
    """A knob as key, name and value."""
    keys = KNOB_KEY.get(knob.name)
    key, short = (keys.key, keys.short) if keys else ("", knob.name)
    action = f"app.turn_knob('{knob.name}', 1)" if keys else ""
    name = {"full": knob.name, "short": short}.get(names, "")
    shorten = {} if whole else _SHORT_VALUES
    value = shorten.get(knob.value, knob.value)
    usual = knob.value == DEFAULTS.get(knob.name)
    spans = [Span(f"{pad}{key}", "knob.key bold", "chip", action)]
    tight = names == "short" and not whole
    label = ("" if tight else " ") + (f"{name} " if name else "")
    spans.append(Span(label, "dim", "chip", action))
    spans.append(Span(value, "knob.usual" if usual else "knob.changed bold", "chip", action))
    if knob.pending is not None:
        pending = shorten.get(knob.pending, knob.pending)
        spans.append(Span(f"→{pending}", "knob.pending bold", "chip", action))
    spans.append(Span(pad, "", "chip", action))
    return tuple(span for span in spans if span.text)


def draw_knobs(knobs: tuple[KnobView, ...], cells: int, height: int = 1) -> Rows:
    """Knobs in one row, with as long names as there is room for; more rows where given."""
    chips: list[Row] = []
    for level in _LEVELS:
        chips = [_chip(knob, *level) for knob in knobs]
        if sum(row_width(chip) + 1 for chip in chips) + 1 <= cells:
            break
    row = tuple(span for chip in chips for span in (Span(" "), *chip))
    return fit_box((row,), cells, height)


def _hint(command: Command, active: bool) -> Row:
    action = f"app.{command.action}"
    label = command.active if active and command.active else command.label
    return (
        Span(f" {command.shown}", "knob.key bold", "", action),
        Span(f" {label} ", "dim", "", action),
    )


def _hints(left_out: frozenset[str], active: frozenset[str]) -> Row:
    shown = [c for c in COMMANDS if c.label and c.id not in left_out]
    spans: list[Span] = []
    for command, following in zip(shown, (*shown[1:], None), strict=True):
        key, label = _hint(command, command.id in active)
        shared = following is not None and following.label == command.label
        spans += (key,) if shared else (key, label)  # two keys to one thing share its label
    return tuple(spans)


def draw_footer(active: frozenset[str], cells: int, height: int = 1) -> Rows:
    """The commands with their keys; `active` holds ids of those whose thing is switched on."""
    row: Row = ()
    for count in range(len(_YIELDING) + 1):
        row = _hints(frozenset(_YIELDING[:count]), active)
        if row_width(row) <= cells:
            break
    return fit_box((row,), cells, height)
