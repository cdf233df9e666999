"""The footer: the row of pages, then every other key with what it does, each to be clicked."""

from collections.abc import Iterable, Sequence

from pitwall_tui.commands import COMMANDS, Command
from pitwall_tui.draw.cells import Row, Rows, Span, fit_box, row_width
from pitwall_tui.draw.keys import Key

# Left out of a footer first: keys of which the help tells, and that a race does not need.
_YIELDING: tuple[tuple[str, ...], ...] = (
    ("copy",),
    ("shot",),
    ("theme",),
    ("far_back", "far_on"),
    ("last", "next"),
    ("tenths",),
    ("step_back", "step_on"),
    ("record",),
    ("results",),
    ("slower", "faster"),
    ("again",),
)
_PAGES = ("full", "short", "keys")  # how pages are named, from the widest row to the narrowest
_SHORT = {
    "memory": "mem",
    "batching": "batch",
    "workshop": "work",
    "strategy": "strat",
    "academy": "acad",
    "bottleneck": "bottle",
}


def pages(commands: Iterable[Command]) -> tuple[Command, ...]:
    """The commands that open pages, in the order of their function keys."""
    found = [command for command in commands if command.function_key]
    return tuple(sorted(found, key=lambda command: command.function_key))


def _tab(command: Command, page: str, names: str) -> Row:
    """A page's key and name; the one on screen in brackets, on a ground of its own."""
    action, here = f"app.{command.action}", command.id == page
    name = command.label
    if not here:
        name = {"full": name, "short": _SHORT.get(name, name), "keys": ""}[names]
    text = f"{command.shown} {name}".rstrip()
    if here:
        return (Span(f"[{text}]", "ink bold", "badge", action),)
    key, space, rest = text.partition(" ")
    return (Span(f" {key}", "knob.key bold", "", action), Span(space + rest, "dim", "", action))


def _tabs(commands: Sequence[Command], page: str, names: str) -> Row:
    tabs = (span for tab in pages(commands) for span in _tab(tab, page, names))
    return (*(span for span in tabs if span.text), Span(" "))


def _hint(command: Command, active: bool) -> Row:
    action = f"app.{command.action}"
    label = command.active if active and command.active else command.label
    return (
        Span(f" {command.shown}", "knob.key bold", "", action),
        Span(f" {label} ", "dim", "", action),
    )


def _hints(commands: Iterable[Command], left_out: frozenset[str], active: frozenset[str]) -> Row:
    shown = [
        c for c in commands if c.label and c.shown and not c.function_key and c.id not in left_out
    ]
    spans: list[Span] = []
    for command, following in zip(shown, (*shown[1:], None), strict=True):
        key, label = _hint(command, command.id in active)
        shared = following is not None and following.label == command.label
        spans += (key,) if shared else (key, label)  # two keys to one thing share its label
    return tuple(spans)


def _own(keys: Iterable[Key]) -> Row:
    """The keys of the page on screen."""
    return tuple(
        span
        for key, word, action in keys
        for span in (
            Span(f" {key}", "knob.key bold", "", action),
            Span(f" {word} ", "dim", "", action),
        )
    )


def draw_footer(
    active: frozenset[str],
    cells: int,
    height: int = 1,
    commands: Sequence[Command] = COMMANDS,
    page: str = "race",
    own: Sequence[Key] = (),
) -> Rows:
    """The pages, `page` on screen, its own keys, and the commands with theirs.

    `active` holds ids of commands whose thing is switched on. Names of pages become shorter and
    keys are left out until all has room.
    """
    outs = [frozenset[str]().union(*_YIELDING[:count]) for count in range(len(_YIELDING) + 1)]
    starts = [(*_tabs(commands, page, names), *_own(own)) for names in _PAGES]
    rows = ((start, out) for start in starts for out in outs)
    start, left_out = next(
        (
            (start, out)
            for start, out in rows
            if row_width((*start, *_hints(commands, out, active))) <= cells
        ),
        (starts[-1], outs[-1]),
    )
    for ids in reversed(_YIELDING):  # what was left out for nothing, as a longer one had to go too
        if row_width((*start, *_hints(commands, left_out - {*ids}, active))) <= cells:
            left_out -= {*ids}
    return fit_box(((*start, *_hints(commands, left_out, active)),), cells, height)
