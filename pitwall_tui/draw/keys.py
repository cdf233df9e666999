"""The keys of a page, at the right of its head."""

from collections.abc import Sequence

from pitwall_tui.draw.cells import Row, Span, row_width

# The key, what it does in a word, and the action of a click on it, "" for none.
Key = tuple[str, str, str]


def draw_keys(keys: Sequence[Key], cells: int) -> Row:
    """Keys with their words, without them where there is no room."""
    row: list[Span] = []
    for key, word, action in keys:
        row += [Span(f"  {key} ", "knob.key bold", "", action), Span(word, "dim", "", action)]
    if row_width(row) >= cells:
        row = [Span(f" {key}", "knob.key bold", "", action) for key, _, action in keys]
    return (*row, Span(" "))
