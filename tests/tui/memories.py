"""Moments of a memory: twenty cars' block tables in a pool, and what they came from."""

from dataclasses import replace
from math import exp

from engine.stats import PAGE_CACHED, PAGE_FREE, PAGE_RESERVED, PAGE_SHARED, PAGE_USED
from pitwall_tui.race.details import Details
from pitwall_tui.race.memory import FormatView, HeldView, IndexView, MemoryView, TableView
from pitwall_tui.race.view import RaceView
from tests.tui import views

SIZE = 16
BYTES = 144 * 1024
TOTAL = 1820
BRIEFING = 5
MIB = 2**20


def tables(reserved: int = 0) -> tuple[TableView, ...]:
    """Cars of all lengths, whose pages they took in turn; each has `reserved` pages beyond."""
    lengths = [300 - 11 * place for place in range(20)]
    taken, found = BRIEFING, [list(range(BRIEFING)) for _ in lengths]
    for number in range(BRIEFING, 19 + reserved):
        for place, length in enumerate(lengths):
            if number < -(-length // SIZE) + reserved:
                found[place].append(taken)
                taken += 1
    made = [
        TableView(
            code=views.CODES[place],
            number=views.NUMBERS[place],
            state="decode",
            pages=tuple(pages),
            holders=(18,) * BRIEFING + (1,) * (len(pages) - BRIEFING),
            length=lengths[place] + 1,
            most=1783,
            computed=lengths[place],
        )
        for place, pages in enumerate(found)
    ]
    made[4] = replace(made[4], drafted=250)
    made[18] = TableView(views.CODES[18], views.NUMBERS[18], "waiting", length=118, most=1783)
    made[19] = TableView(views.CODES[19], views.NUMBERS[19], "finished", length=1040, most=1783)
    return tuple(made)


def past() -> tuple[HeldView, ...]:
    """Held on demand at first, then all of it, then on demand again."""
    found = []
    for second in range(90):
        tokens = 40 * MIB * (1 - exp(-second / 40))
        held = 240.0 * MIB if 30 <= second < 50 else 1.06 * tokens
        found.append(HeldView(held, tokens, 240.0 * MIB + tokens))
    return tuple(found)


MEMORY = MemoryView(
    begun=True,
    page_size=SIZE,
    page_bytes=BYTES,
    total=TOTAL,
    tables=tables(),
    now=HeldView(31.8 * MIB, 29.8 * MIB, 301.6 * MIB),
    bucket=1.0,
    past=past(),
    marks=((30, "paging contiguous"), (50, "paging paged")),
    wastes=(("paged", 5.9), ("contiguous", 91.4)),
    worst=HeldView(241.5 * MIB, 4.1 * MIB, 241.5 * MIB),
    free_run=95,
    unheld=1596,
    index=IndexView(2060, 1520, 30, BRIEFING, 85, tuple(views.CODES[:18]), 204, 12),
    formats=(
        FormatView("fp32", True, 128 * 1024, 16 * 1024, 1820, 16, 17, 129),
        FormatView("int8", False, 34 * 1024, 4352, 6857, 61, 64, 489),
    ),
    longest=301,
    most=1783,
    briefing=BRIEFING,
)


def remembering(memory: MemoryView = MEMORY, **changes: object) -> RaceView:
    """The race of `views`, with this memory."""
    kinds, cars = bytearray([PAGE_FREE] * TOTAL), bytearray([255] * TOTAL)
    for row, table in enumerate(memory.tables):
        for number, (page, holders) in enumerate(zip(table.pages, table.holders, strict=True)):
            written = number * SIZE < table.computed
            kinds[page] = PAGE_USED if written else PAGE_RESERVED
            kinds[page] = PAGE_SHARED if holders > 1 else kinds[page]
            cars[page] = row
    kinds[-30:] = bytes([PAGE_CACHED] * 30)
    pages = replace(views.pages(), kinds=bytes(kinds), teams=bytes(cars), cars=bytes(cars))
    return views.racing(
        details=Details(memory=memory), pages=replace(pages, total=TOTAL), **changes
    )


def contiguous() -> RaceView:
    """All that a car may come to is reserved."""
    knobs = tuple(replace(k, value="contiguous") if k.name == "paging" else k for k in views.KNOBS)
    held = HeldView(241.5 * MIB, 7.8 * MIB, 241.5 * MIB)
    return remembering(replace(MEMORY, tables=tables(70), now=held), knobs=knobs)


def untold() -> RaceView:
    """Of a recording of before tables were told."""
    held = replace(MEMORY.now, reserved=None)
    index = replace(MEMORY.index, published=None, evicted=None, shared=0, spared=0, sharers=())
    return remembering(
        replace(
            MEMORY, tables=(), now=held, formats=(), index=index, most=0,
            past=tuple(replace(found, reserved=None) for found in MEMORY.past),
        )
    )  # fmt: skip


def unbegun() -> RaceView:
    """Nobody has run yet."""
    nothing = HeldView(0.0, 0.0, None)
    index = IndexView(0, 0, 0, 0, 0, (), None, None)
    blank = replace(
        MEMORY, begun=False, tables=(), now=nothing, past=(), marks=(), wastes=(), worst=nothing,
        index=index, formats=(), total=0, free_run=0, unheld=0,
    )  # fmt: skip
    return replace(views.loading(), details=Details(memory=blank))
