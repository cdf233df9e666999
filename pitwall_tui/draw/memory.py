"""Block tables: every car's, one car's with the numbers of its pages, and where those lie."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import NamedTuple

from engine.stats import PAGE_CACHED, PAGE_FREE, PAGE_RESERVED, PAGE_SHARED, PAGE_USED
from pitwall_tui.commands import DEFAULTS, KNOB_KEY
from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, fit_row, heading, row_width
from pitwall_tui.draw.pages import commonest
from pitwall_tui.race.memory import MemoryView, TableView
from pitwall_tui.race.view import NOBODY, RaceView

SHARED, OWN, PART, EMPTY = "▚", "█", "▍", "░"
_FILLS = "▏▎▍▌▋▊▉"
_LEAD = 10  # cells before a row's blocks
_TAIL = 12  # after them, where there is room for it
_TAIL_FROM = 64
_WITHOUT = {"waiting": "waits, without pages", "finished": "has ended, its pages went back"}
# Of the pool's pages that are not lit.
_POOL = {
    PAGE_FREE: ("·", "page.free"),
    PAGE_CACHED: ("▒", "page.cached"),
    PAGE_USED: ("▪", "page.used"),
    PAGE_SHARED: (SHARED, "page.shared"),
    PAGE_RESERVED: (EMPTY, "page.used"),
}
_LIT = {PAGE_SHARED: "S", PAGE_RESERVED: "▓"}


class Block(NamedTuple):
    """A page of a block table: SHARED by `number` cars, OWN and full, PART with `number` of its
    slots filled, or EMPTY."""

    kind: str
    number: int = 0


def blocks(table: TableView, page_size: int) -> list[Block]:
    """A table's pages in order, by what they are."""
    found = []
    for place, holders in enumerate(table.holders):
        tokens = min(max(table.computed - place * page_size, 0), page_size)
        if holders > 1:
            found.append(Block(SHARED, holders))
        elif tokens == 0:
            found.append(Block(EMPTY))
        else:
            found.append(Block(OWN) if tokens == page_size else Block(PART, tokens))
    return found


def knob_hint(view: RaceView, name: str) -> Row:
    """A knob's key, name and value, to be clicked."""
    keys, action = KNOB_KEY[name], f"app.turn_knob('{name}', 1)"
    knob = next((knob for knob in view.knobs if knob.name == name), None)
    if knob is None:
        return ()
    role = "knob.usual" if knob.value == DEFAULTS[name] else "knob.changed bold"
    hint = [
        Span(f"  {keys.key} ", "knob.key bold", "", action),
        Span(f"{name} ", "dim", "", action),
    ]
    hint.append(Span(knob.value, role, "", action))
    if knob.pending is not None:
        hint.append(Span(f"→{knob.pending}", "knob.pending bold", "", action))
    return tuple(hint)


def nothing(view: RaceView) -> str:
    """Why there are no block tables to be seen; "" where there are some."""
    memory = view.details.memory
    if view.status.flag == "red":
        return "the engine is gone, and its pages"
    if memory is None or not memory.begun:
        return "nothing has run yet"
    return "" if memory.tables else "this recording holds no page tables"


def _teams(view: RaceView) -> dict[str, int]:
    return {car.code: car.team for car in view.cars}


def chosen_row(memory: MemoryView, followed: int | None) -> int:
    """The row of the car that is followed, by its number; the first where none of them is."""
    numbers = [table.number for table in memory.tables]
    return numbers.index(followed) if followed in numbers else 0


def _chosen(memory: MemoryView, followed: int | None) -> TableView:
    return memory.tables[chosen_row(memory, followed)]


# Every car's


def draw_tables(view: RaceView, followed: int | None, cells: int, height: int) -> Rows:
    """A row a car in the order of the grid: its pages in order, several to a cell where there are
    more of them than cells."""
    memory, knob, why = view.details.memory, knob_hint(view, "paging"), nothing(view)
    if memory is None or why:
        head = heading("BLOCK TABLES", knob, cells)
        return fit_box((head, (Span(f" {why}", "dim"),)), cells, height)
    tail = _TAIL if cells >= _TAIL_FROM else 0
    room = max(1, cells - _LEAD - tail - 1)
    each = max(1, -(-max(len(table.pages) for table in memory.tables) // room))
    scale = _scale(each) if cells >= 52 else f"{each} a cell"
    chosen = chosen_row(memory, followed)
    rows = [
        _table_row(memory, row, view, row == chosen, (room, each, tail))
        for row in range(len(memory.tables))
    ]
    lines = height - 1
    first = min(max(0, chosen - lines + 1), max(0, len(rows) - lines))
    shown = [
        heading("BLOCK TABLES", (Span(scale, "dim"), *knob), cells),
        *rows[first : first + lines],
    ]
    if len(rows) < lines:
        shown.append(_legend(cells, tail))
    return fit_box(shown, cells, height)


def _scale(each: int) -> str:
    return f"1 cell = {each} pages" if each > 1 else "1 cell = 1 page"


def _legend(cells: int, tail: int) -> Row:
    words = [
        (f"S20{SHARED}", "page.shared", "shared, by 20", "shared"),
        (OWN, "page.used", "own", "own"),
        (PART, "page.used", "last one, filling", "last"),
        (EMPTY, "page.used", "held, empty", "empty"),
    ]
    if tail:
        words.append(("n/m", "dim", "tokens, of at most", "tokens"))
    for short in (2, 3):
        row = [
            part
            for sign in words
            for part in (Span(f" {sign[0]} ", sign[1]), Span(f"{sign[short]} ", "dim"))
        ]
        if row_width(row) <= cells:
            break
    return tuple(row)


def _table_row(
    memory: MemoryView, row: int, view: RaceView, chosen: bool, sizes: tuple[int, int, int]
) -> Row:
    table, (room, each, tail) = memory.tables[row], sizes
    team = _teams(view).get(table.code, NOBODY)
    drawn: list[Span] = [
        Span("▸" if chosen else " ", "knob.key bold"),
        Span("▌", f"team.{team}"),
        Span(fit(table.code, 3), "title bold" if chosen else "text"),
        Span(f"{len(table.pages) or '':>4} ", "dim"),
    ]
    if table.pages:
        grouped = _grouped(blocks(table, memory.page_size), each)
        body = [
            _run(block, len(list(run)), memory.page_size, team) for block, run in groupby(grouped)
        ]
    else:
        body = [Span(_WITHOUT.get(table.state, "keeps nothing between steps"), "dim")]
    drawn += fit_row(body, room)
    if tail:
        drawn.append(Span(fit(f"{table.computed}/{table.most}", tail, "right"), "dim"))
    action = f"app.follow({table.number})"
    return tuple(span._replace(action=action) for span in drawn)


def _grouped(found: list[Block], each: int) -> list[Block]:
    """A block for `each` pages: the page that is being filled, or the commonest of them."""
    if each == 1:
        return found
    parts = [found[start : start + each] for start in range(0, len(found), each)]
    return [
        next((block for block in part if block.kind == PART), commonest(part)) for part in parts
    ]


def _run(block: Block, count: int, page_size: int, team: int) -> Span:
    """So many like blocks side by side; shared ones begin with the number of cars."""
    if block.kind == SHARED:
        label = f"S{block.number}"
        label = label if len(label) < count else "S"
        return Span(label + SHARED * (count - len(label)), "page.shared")
    if block.kind == PART:
        fill = _FILLS[max(1, block.number * 8 // page_size) - 1]
        return Span(fill * count, f"team.{team}")
    return Span(block.kind * count, f"team.{team}")


# One car's


def draw_chosen(view: RaceView, followed: int | None, cells: int, height: int) -> Rows:
    """The chosen car's block table: which tokens lie in which page, where there is room for it, or
    else the numbers of its pages, with the middle left out where those are too many."""
    memory, why = view.details.memory, nothing(view)
    if memory is None or why:
        return fit_box((heading("ITS PAGES", (), cells),), cells, height)
    table, size = _chosen(memory, followed), memory.page_size
    detail = [Span(f"{table.computed} tokens in {len(table.pages)} pages", "dim")]
    if table.drafted:
        detail.insert(0, Span(f"junior has {table.drafted}  ", "dim"))
    head = heading(f"{table.code} PAGES", detail, cells)
    team = _teams(view).get(table.code, NOBODY)
    tabled = _mapped(table, size, f"team.{team}", cells)
    if 0 < len(tabled) < height:
        return fit_box((head, *tabled), cells, height)
    entries = [
        Span(
            _entry(table.pages, run, size),
            "page.shared" if run[0][1].kind == SHARED else f"team.{team}",
        )
        for run in _runs_of(table.pages, blocks(table, size))
    ] or [Span("holds no pages now", "dim")]
    return fit_box((head, *_listed(entries, cells, height - 1)), cells, height)


_MAPPED = 32  # cells of one page in the table


def _mapped(table: TableView, page_size: int, role: str, cells: int) -> list[Row]:
    """The table page by page, downwards in as many columns as have room."""
    entries = [
        _place(place, page, block, page_size, role)
        for place, (page, block) in enumerate(
            zip(table.pages, blocks(table, page_size), strict=False)
        )
    ]
    columns = max(1, (cells - 1) // _MAPPED)
    lines = -(-len(entries) // columns)
    title = Span(fit(" tokens      page", _MAPPED), "dim")
    if not entries:
        return []
    body = [tuple(chain.from_iterable(entries[line::lines])) for line in range(lines)]
    return [(title,) * len(entries[::lines]), *body]


def _place(place: int, page: int, block: Block, page_size: int, role: str) -> Row:
    """The tokens of a place in the table, its page, and what the page is like."""
    first = place * page_size
    words = {
        SHARED: f"shared by {block.number}",
        OWN: "",
        EMPTY: "empty",
        PART: f"{block.number}/{page_size} filled",
    }[block.kind]
    return (
        Span(fit(f" {first}-{first + page_size - 1}", 11), "dim"),
        Span(fit(f"→{page:5d}", 7), "page.shared" if block.kind == SHARED else role),
        Span(fit(f" {words}", _MAPPED - 18), "dim"),
    )


Run = list[tuple[int, Block]]  # places in the table, and what is there


def _runs_of(pages: Sequence[int], found: list[Block]) -> list[Run]:
    """Blocks that are alike and lie in a row in the pool too."""
    runs: list[Run] = []
    for place, block in enumerate(found):
        before = runs[-1][-1] if runs else None
        if before and before[1] == block and pages[before[0]] + 1 == pages[place]:
            runs[-1].append((place, block))
        else:
            runs.append([(place, block)])
    return runs


def _entry(pages: Sequence[int], run: Run, page_size: int) -> str:
    first, last, block = pages[run[0][0]], pages[run[-1][0]], run[0][1]
    numbers = str(first) if first == last else f"{first}-{last}"
    after = {
        SHARED: f" S{block.number}",
        OWN: "",
        EMPTY: EMPTY,
        PART: f" {block.number}/{page_size}",
    }
    return numbers + after[block.kind]


def _listed(entries: list[Span], cells: int, lines: int) -> list[Row]:
    """Entries in lines; of those that do not fit, the first and the newest ones."""
    rows = _lines(entries, cells)
    if len(rows) <= lines or lines < 1:
        return rows
    newest: list[Span] = []
    for entry in reversed(entries):
        if row_width(newest) + row_width((entry,)) + 4 > cells:
            break
        newest[:0] = [entry, Span("  ")]
    return [*rows[: lines - 1], (Span(" … ", "dim"), *newest)]


def _lines(entries: list[Span], cells: int) -> list[Row]:
    rows: list[list[Span]] = [[Span(" ")]]
    for entry in entries:
        if len(rows[-1]) > 1 and row_width(rows[-1]) + row_width((entry,)) > cells:
            rows.append([Span(" ")])
        rows[-1] += [entry, Span("  ")]
    return [tuple(row) for row in rows]


# The pool


def draw_pool(view: RaceView, followed: int | None, cells: int, height: int) -> Rows:
    """Every page of the pool, those of the chosen car lit; a click on one follows who holds it."""
    memory, kinds = view.details.memory, view.pages.kinds
    lines, inside = height - 1, cells - 2
    if memory is None or not kinds or lines < 1 or inside < 1:
        return fit_box((heading("POOL", (), cells),), cells, height)
    below = lines >= 5 and bool(memory.tables)
    each = -(-len(kinds) // (inside * (lines - below)))
    pages = _pool_pages(view, memory, followed)
    drawn = [_pool_cell(pages[start : start + each]) for start in range(0, len(pages), each)]
    rows: list[Row] = [
        (Span(" "), *_joined(drawn[start : start + inside]))
        for start in range(0, len(drawn), inside)
    ]
    run = f"longest free run {memory.free_run} of {memory.unheld}  "
    head = heading("POOL", (Span(run, "dim"), Span(_scale(each), "dim")), cells)
    if below:
        rows += [()] * (lines - 1 - len(rows))
        rows.append(_pool_legend(view, memory, followed, cells))
    return fit_box((head, *rows), cells, height)


# Lit, kind, team, number of the first car that holds it.
Page = tuple[bool, int, int, int | None]


def _pool_pages(view: RaceView, memory: MemoryView, followed: int | None) -> list[Page]:
    teams = _teams(view)
    owners: dict[int, int] = {}
    for table in memory.tables:
        for page in table.pages:
            owners.setdefault(page, table.number)
    lit = set(_chosen(memory, followed).pages) if memory.tables else set()
    team = teams.get(_chosen(memory, followed).code, NOBODY) if memory.tables else NOBODY
    return [
        (page in lit, kind, team, owners.get(page)) for page, kind in enumerate(view.pages.kinds)
    ]


def _pool_cell(pages: list[Page]) -> Span:
    """One sign for some pages: a lit one before all, or else the commonest."""
    alike = [page for page in pages if page[0]] or pages
    return _pool_sign(*commonest(alike))


@lru_cache(4096)
def _pool_sign(is_lit: bool, kind: int, team: int, owner: int | None) -> Span:
    action = f"app.follow({owner})" if owner is not None else ""
    if is_lit:
        return Span(_LIT.get(kind, OWN), f"team.{team} bold", "", action)
    glyph, role = _POOL.get(kind, _POOL[PAGE_FREE])
    return Span(glyph, role, "", action)


def _joined(spans: list[Span]) -> list[Span]:
    """Neighbours of one style as one span."""
    return [
        Span("".join(span.text for span in run), *style)
        for style, run in groupby(spans, key=lambda span: span[1:])
    ]


def _pool_legend(view: RaceView, memory: MemoryView, followed: int | None, cells: int) -> Row:
    """What the signs mean, as many of them as have room."""
    table = _chosen(memory, followed)
    team = _teams(view).get(table.code, NOBODY)
    row: Row = (Span(f" {OWN}S ", f"team.{team} bold"), Span(f"{table.code}'s ", "dim"))
    for kind, word in (
        (PAGE_SHARED, "shared"),
        (PAGE_USED, "others'"),
        (PAGE_CACHED, "cached"),
        (PAGE_RESERVED, "empty"),
        (PAGE_FREE, "free"),
    ):
        glyph, role = _POOL[kind]
        longer = (*row, Span(f" {glyph} ", role), Span(word, "dim"))
        if row_width(longer) > cells:
            break
        row = longer
    return row
