"""Text in cells: what is measured is what a terminal shows."""

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from pitwall_tui.draw.cells import (
    Span,
    clean,
    cut,
    fit,
    fit_row,
    plain,
    row_width,
    spread,
    width,
    wrap,
)

ANY_TEXT = st.text(st.characters(), max_size=40)


@given(ANY_TEXT)
@example("a\x1b[31mb\x00\r\n\t")
@example("👩‍👩‍👧 👍🏽 🇩🇪 é e\u0301 ﷽ ⚑\ufe0f 中文")
def test_clean_text_is_as_wide_as_the_terminal_library_finds_it(text: str) -> None:
    cleaned = clean(text)
    assert width(cleaned) == cell_len(cleaned)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in cleaned)
    assert clean(cleaned) == cleaned


def test_every_character_is_measured_as_the_terminal_library_does() -> None:
    wrong = [
        hex(code)
        for code in range(0x20000)
        if width(clean(chr(code))) != cell_len(clean(chr(code)))
    ]
    assert wrong == []


@given(ANY_TEXT, st.integers(0, 50), st.sampled_from(["left", "right", "centre"]))
def test_fitted_text_has_the_cells_asked_for(text: str, cells: int, align: str) -> None:
    assert width(fit(text, cells, align)) == cells  # type: ignore[arg-type]
    assert width(cut(text, cells)) <= cells


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT)), st.integers(0, 60))
def test_a_row_has_the_cells_asked_for(parts: list[tuple[str, str]], cells: int) -> None:
    left = [Span(text) for text, _ in parts]
    right = [Span(text) for _, text in parts]
    assert row_width(fit_row(left, cells)) == cells
    assert row_width(spread(left, right, cells)) == cells


@given(ANY_TEXT, st.integers(1, 30))
def test_wrapped_lines_fit_and_lose_no_words(text: str, cells: int) -> None:
    lines = wrap(text, cells)
    assert all(width(line) <= cells for line in lines)
    if cells >= 2:
        assert "".join("".join(lines).split()) == "".join(clean(text).split())


def test_markup_is_text() -> None:
    assert plain([fit_row((Span("[red]no[/]"),), 12)]) == "[red]no[/]  "


def test_what_is_cut_says_so() -> None:
    assert cut("understeer", 6) == "under…"
    assert cut("中文字", 4) == "中…"
    assert cut("now", 0) == ""
