"""The page pool: a bar of what pages are for, and every page coloured by the car that holds it."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby, zip_longest
from typing import TypeVar

from engine.stats import PAGE_CACHED, PAGE_FREE, PAGE_RESERVED, PAGE_SHARED, PAGE_USED
from pitwall_tui.draw.cells import Row, Rows, Span, fit_box, heading, row_width
from pitwall_tui.race.view import NOBODY, PagesView

T = TypeVar("T", bound=Hashable)
_WIDEST = 4  # cells for one page, where there is room
# A hatched page is one whose slots hold no token yet.
HATCH = "░"


def _mib(pages: int, page_bytes: int) -> str:
    return f"{pages * page_bytes / 2**20:.0f}"


def _shares(parts: list[int], cells: int) -> list[int]:
    """Whole cells for each part, in proportion, by largest remainder; `cells` in all."""
    total = sum(parts)
    if total <= 0:
        return [0] * len(parts)
    exact = [part * cells / total for part in parts]
    whole = [int(share) for share in exact]
    by_rest = sorted(range(len(parts)), key=lambda i: whole[i] - exact[i])
    for index in by_rest[: cells - sum(whole)]:
        whole[index] += 1
    return whole


def pages_bar(pages: PagesView, cells: int) -> Row:
    """Written, reserved, cached and free pages as parts of one bar."""
    written = max(0, pages.used - pages.reserved)
    parts = [written, pages.reserved, pages.cached, pages.free]
    signs = (("█", "page.used"), (HATCH, "page.used"), ("▒", "page.cached"), ("·", "page.free"))
    counts = _shares([max(0, part) for part in parts], cells)
    return tuple(
        Span(glyph * count, role)
        for (glyph, role), count in zip(signs, counts, strict=True)
        if count
    )


def counts_row(pages: PagesView, cells: int) -> Row:
    """The counts behind the bar, each with its glyph; tighter where there is less room."""

    def row(gap: str, *words: str) -> Row:
        signs = (("█", "page.used"), (HATCH, "page.used"), ("▒", "page.cached"), ("·", "page.free"))
        counts = (pages.used - pages.reserved, pages.reserved, pages.cached, pages.free)
        return tuple(
            part
            for (glyph, role), count, word in zip(signs, counts, words, strict=True)
            for part in (Span(f" {glyph}{gap}", role), Span(f"{count}{word}", "dim"))
        )

    rows = (
        row(" ", " written", " reserved", " cached", " free"),
        row("", " written", " res", " cached", " free"),
        row("", "", "", "", ""),
    )
    return next((row for row in rows if row_width(row) <= cells), rows[-1])


def _detail(pages: PagesView, each: int) -> tuple[Span, ...]:
    total = max(1, pages.total)
    used, all_mib = _mib(pages.used, pages.page_bytes), _mib(pages.total, pages.page_bytes)
    several = (Span(f"1 block = {each} pages  ", "dim"),) if each > 1 else ()
    return (
        *several,
        Span(f"waste {pages.waste_percent:.1f}%  ", "dim"),
        Span(f"{used}/{all_mib} MiB  ", "dim"),
        Span(f"{100 * pages.used / total:.0f}%", "title bold"),
    )


def lit(pages: PagesView, row: int) -> PagesView:
    """Only the pages of the car in this row of RaceView.cars in their colours; all others dim."""
    kinds, teams = bytearray(pages.kinds), bytearray(pages.teams)
    for page, (kind, car) in enumerate(zip(pages.kinds, pages.cars, strict=False)):
        if car != row:
            held = kind in (PAGE_USED, PAGE_SHARED, PAGE_RESERVED)
            kinds[page], teams[page] = PAGE_CACHED if held else PAGE_FREE, NOBODY
    return replace(pages, kinds=bytes(kinds), teams=bytes(teams))


def _colour(kind: int, team: int) -> str:
    if kind == PAGE_SHARED:
        return "page.shared"
    if kind == PAGE_CACHED:
        return "page.cached"
    if kind == PAGE_FREE:
        return "page.free"
    if team == NOBODY:
        return "page.used"
    return f"reserve.{team}" if kind == PAGE_RESERVED else f"team.{team}"


def commonest(items: Sequence[T]) -> T:
    """The first of those that are there most often."""
    return max(dict.fromkeys(items), key=items.count)


def _grouped(pages: PagesView, each: int) -> tuple[bytes, bytes]:
    """(kinds, teams) of the blocks of `each` pages: each has the commonest of its pages."""
    both = list(zip(pages.kinds, pages.teams, strict=False))
    if each == 1 or not both:
        return pages.kinds[: len(both)], pages.teams[: len(both)]
    blocks = [commonest(both[start : start + each]) for start in range(0, len(both), each)]
    kinds, teams = zip(*blocks, strict=True)
    return bytes(kinds), bytes(teams)


def _cell(top: tuple[int, int], bottom: tuple[int, int] | None) -> tuple[str, str, str]:
    """Glyph, text role and ground role of two blocks above each other."""
    if bottom is None:
        return "▀", _colour(*top), ""
    if top != bottom:
        return "▀", _colour(*top), _colour(*bottom)
    if top[0] == PAGE_RESERVED and top[1] != NOBODY:
        return HATCH, f"team.{top[1]}", ""
    return "█", _colour(*top), ""


def block_size(total: int, cells: int, height: int) -> tuple[int, int]:
    """(cells of a block, pages of a block) so that all pages fit, two blocks above each other."""
    for wide in range(_WIDEST, 0, -1):
        if total <= (cells // wide) * height * 2:
            return wide, 1
    return 1, -(-total // max(1, cells * height * 2))


def page_rows(pages: PagesView, cells: int, height: int) -> Rows:
    """Every page as half a cell or more, in order, row after row of half cells."""
    if cells < 1 or height < 1:
        return ()
    wide, each = block_size(len(pages.kinds), cells, height)
    kinds, teams = _grouped(pages, each)
    per_row = max(1, cells // wide)
    starts = range(0, per_row * height * 2, per_row)
    halves = [(kinds[at : at + per_row], teams[at : at + per_row]) for at in starts]
    return tuple(_page_row(*pair, wide) for pair in zip(halves[::2], halves[1::2], strict=True))


@lru_cache(1024)  # from one frame to the next hardly a row is another
def _page_row(upper: tuple[bytes, bytes], lower: tuple[bytes, bytes], wide: int) -> Row:
    """Two rows of blocks above each other, of which the lower may be shorter."""
    spans = []
    tops, bottoms = zip(*upper, strict=True), zip(*lower, strict=True)
    for pair, run in groupby(zip_longest(tops, bottoms)):
        glyph, role, back = _cell(*pair)
        spans.append(Span(glyph * wide * len(list(run)), role, back))
    return tuple(spans)


def page_at(pages: PagesView, cells: int, height: int, x: int, y: int) -> tuple[int, ...]:
    """The pages that `draw_pages` shows in a cell, the upper ones first; none beside the map."""
    lines, inside = height - 3, max(0, cells - 2)
    if lines < 1 or inside < 1 or not (1 <= x <= inside and 3 <= y < height):
        return ()
    wide, each = block_size(len(pages.kinds), inside, lines)
    per_row = max(1, inside // wide)
    column, upper = (x - 1) // wide, 2 * (y - 3)
    if column >= per_row:
        return ()
    starts = [((upper + half) * per_row + column) * each for half in (0, 1)]
    shown = [page for start in starts for page in range(start, start + each)]
    return tuple(page for page in shown if page < len(pages.kinds))


def draw_pages(pages: PagesView, cells: int, height: int, row: int | None = None) -> Rows:
    """The page map: a head, bar and counts, then the pages; the bar alone where it is low.

    With `row`, of RaceView.cars, the pages of that car are lit.
    """
    if not pages.total:
        said = Span(" no pages have been laid out yet", "dim")
        return fit_box((heading("KV PAGES", (), cells), (said,)), cells, height)
    lines, inside = height - 3, max(0, cells - 2)
    bar = (Span(" "), *pages_bar(pages, inside))
    if lines < 1:
        return fit_box((heading("KV PAGES", _detail(pages, 1), cells), bar), cells, height)
    _, each = block_size(len(pages.kinds), max(1, inside), lines)
    rows = page_rows(pages if row is None else lit(pages, row), inside, lines)
    return fit_box(
        (
            heading("KV PAGES", _detail(pages, each), cells),
            bar,
            counts_row(pages, cells),
            *((Span(" "), *row) for row in rows),
        ),
        cells,
        height,
    )
