"""The timing tower: a head, then one row a car."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pitwall_tui.draw.cells import Row, Rows, Span, cut, fit, fit_box, fit_row
from pitwall_tui.draw.ghost import ghost_role
from pitwall_tui.race.results import clock_time
from pitwall_tui.race.view import CarView, GapView, RaceView, SectorColour, SectorView

MARKS: dict[SectorColour, str] = {"none": " ", "yellow": "·", "green": "▲", "purple": "●"}
TYRES = ("S", "M", "H", "I", "W")
_COLOURED: dict[SectorColour, str] = {
    "none": "text",
    "yellow": "text",
    "green": "sector.green",
    "purple": "sector.purple",
}


@dataclass(frozen=True, slots=True)
class _Sign:
    text: str
    role: str
    back: str = ""


_STATES: dict[str, _Sign] = {
    "grid": _Sign("GRID", "dim"),
    "formation": _Sign("FORM", "state.formation bold"),
    "track": _Sign("TRACK", "dim"),
    "parked": _Sign("PARK", "state.parked bold"),
    "pit": _Sign(" PIT ", "ink bold", "state.pit"),
    "out": _Sign("OUT", "state.out bold"),
    "finished": _Sign("▞FIN▞", "text bold"),
}


@dataclass(frozen=True, slots=True)
class _Row:
    """A car among the others: what its cells need to know."""

    car: CarView
    moved: int = 0
    fastest: bool = False
    followed: bool = False
    against: GapView | None = None  # the car that somebody follows
    ghost: float | None = None  # s against its ghost
    fresh: Collection[str] = ()  # what has just changed


_BACKS = {1: "move.up-back", -1: "move.down-back"}
Cell = Callable[[_Row], tuple[Span, ...]]


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    head: str
    cells: int
    cell: Cell
    right: bool = False

    def draw(self, row: _Row) -> Row:
        cell = fit_row(self.cell(row), self.cells)
        return inverted(cell) if self.name in row.fresh else cell


def inverted(row: Row) -> Row:
    """A row with the colours of text and ground in each other's places."""
    return tuple(
        span._replace(role=f"{span.back} bold", back="")
        if span.back
        else span._replace(role="ink bold", back=span.role.partition(" ")[0] or "text")
        for span in row
    )


def lap_time(seconds: float | None) -> str:
    """m:ss.cc, or nothing."""
    if seconds is None:
        return ""
    return clock_time(seconds)


def behind(seconds: float | None, cells: int) -> str:
    """Seconds behind, to the hundredth while that fits."""
    if seconds is None:
        return ""
    texts = [f"{seconds:+.{decimals}f}" for decimals in (2, 1, 0)]
    return next((text for text in texts if len(text) <= cells), texts[-1])


def _position(row: _Row) -> Row:
    arrow = {1: Span("▲", "move.up"), -1: Span("▼", "move.down")}.get(row.moved, Span(" "))
    return (Span(f"{row.car.position:2d}", "text bold"), arrow)


def tag(car: CarView, number: bool) -> Row:
    """Team colour, number and code of a car."""
    code = Span(car.code, "dim" if car.state == "out" else "text bold")
    bar = Span("▌", f"team.{car.team}")
    return (bar, Span(f"{car.number:2d} ", "dim"), code) if number else (bar, code)


def _gap(cells: int) -> Cell:
    def draw(row: _Row) -> Row:
        car = row.car
        if row.against is not None:
            return (_against(row.against, row.followed, cells),)
        if car.position == 1:
            text = f"LAP {car.lap}"
        elif car.laps_down:
            text = f"+{car.laps_down} L"
        else:
            text = behind(car.gap, cells)
        return (Span(fit(text, cells, "right"), "text" if car.position > 1 else "dim"),)

    return draw


def _against(gap: GapView, itself: bool, cells: int) -> Span:
    """A gap to the car that is followed."""
    text = f"{gap.laps:+d} L" if gap.laps else behind(gap.seconds, cells)
    return Span("-----" if itself else fit(text, cells, "right"), "text bold")


def _interval(cells: int) -> Cell:
    def draw(row: _Row) -> Row:
        car = row.car
        text = f"+{car.interval_laps} L" if car.interval_laps else behind(car.interval, cells)
        return (Span(fit(text, cells, "right"), "dim"),)

    return draw


def _ghost(row: _Row) -> Row:
    role = "dim" if row.ghost is None else ghost_role(row.ghost)
    return (Span(fit(behind(row.ghost, 6), 6, "right"), role),)


def _sector(index: int) -> Cell:
    def draw(row: _Row) -> Row:
        sector = row.car.sectors[index]
        return (Span(fit(sector.text, 5, "right"), _COLOURED[sector.colour]), _mark(sector))

    return draw


def _mark(sector: SectorView) -> Span:
    return Span(MARKS[sector.colour], f"sector.{sector.colour} bold")


def _mini(row: _Row) -> Row:
    marks = enumerate((_mark(sector) for sector in row.car.sectors), 1)
    return tuple(
        span
        for number, mark in marks
        for span in (inverted((mark,)) if f"s{number}" in row.fresh else (mark,))
    )


def _last(row: _Row) -> Row:
    text = fit(lap_time(row.car.last_lap), 7, "right")
    return (Span(text, _COLOURED[row.car.last_lap_colour]),)


def _best(row: _Row) -> Row:
    text = fit(lap_time(row.car.best_lap), 7, "right")
    return (Span(text, "sector.purple" if row.fastest else "dim"),)


def tyre(car: CarView) -> Row:
    """Compound letter in its colour, and the tyre's age in laps."""
    role = f"tyre.{car.tyre}" if car.tyre in TYRES else "dim"
    return (Span(fit(car.tyre, 1), f"{role} bold"), Span(f"{car.tyre_age:3d}", "dim"))


def _number(text: str, cells: int) -> Row:
    return (Span(fit(text, cells, "right"), "dim"),)


def _state(row: _Row) -> Row:
    sign = _STATES[row.car.state]
    return (Span(sign.text, sign.role, sign.back),)


_COLUMNS = (
    _Column("position", "POS", 3, _position),
    _Column("tag", " CAR", 4, lambda row: tag(row.car, number=False)),
    _Column("numbered", " CAR", 7, lambda row: tag(row.car, number=True)),
    _Column("lap", "LAP", 3, lambda row: _number(str(row.car.lap), 3), True),
    _Column("gap", "GAP", 6, _gap(6), True),
    _Column("interval", "INT", 6, _interval(6), True),
    _Column("ghost", "GHOST", 6, _ghost, True),
    _Column("mini", "SEC", 3, _mini),
    _Column("s1", "S1 ", 6, _sector(0), True),
    _Column("s2", "S2 ", 6, _sector(1), True),
    _Column("s3", "S3 ", 6, _sector(2), True),
    _Column("last", "LAST", 7, _last, True),
    _Column("best", "BEST", 7, _best, True),
    _Column("tyre", "TYRE", 4, lambda row: tyre(row.car)),
    _Column("stops", "STOPS", 5, lambda row: _number(str(row.car.stops), 5), True),
    _Column("rate", "TOK/S", 5, lambda row: _number(f"{row.car.tokens_per_second:.1f}", 5), True),
    _Column("pages", "PAGES", 5, lambda row: _number(str(row.car.pages), 5), True),
    _Column("state", "STATE", 5, _state),
)
# What a tower shows as it grows: names added to it, and names that they take the place of.
_GROWTH: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("tag",), ()),
    (("position",), ()),
    (("gap",), ()),
    (("state",), ()),
    (("tyre",), ()),
    (("last",), ()),
    (("interval",), ()),
    (("ghost",), ()),
    (("mini",), ()),
    (("pages",), ()),
    (("rate",), ()),
    (("lap",), ()),
    (("stops",), ()),
    (("s1", "s2", "s3"), ("mini",)),
    (("best",), ()),
    (("numbered",), ("tag",)),
)


def columns(cells: int, ghost: bool = False) -> tuple[str, ...]:
    """Names of the columns that a tower of this width shows, in order; with `ghost` against one."""
    return tuple(column.name for column in _chosen(cells, ghost))


def _chosen(cells: int, ghost: bool) -> tuple[_Column, ...]:
    shown: set[str] = set()
    for added, replaced in _GROWTH:
        if added == ("ghost",) and not ghost:
            continue
        grown = shown - set(replaced) | set(added)
        if sum(column.cells + 1 for column in _COLUMNS if column.name in grown) > cells:
            break
        shown = grown
    return tuple(column for column in _COLUMNS if column.name in shown)


def _lead(row: _Row) -> Span:
    return Span("▸", "text bold") if row.followed else Span(" ")


def _retired(row: _Row, chosen: tuple[_Column, ...]) -> Row:
    """Place and tag, why it is out, and its state at its usual place."""
    start = [c for c in chosen if c.name in ("position", "tag", "numbered")]
    end = [c for c in chosen if c.name == "state"]
    middle = sum(c.cells + 1 for c in chosen) - sum(c.cells + 1 for c in (*start, *end)) - 1
    spans = [_lead(row)]
    for column in start:
        spans += [*column.draw(row), Span(" ")]
    spans += [Span(fit(row.car.note, max(0, middle)), "dim"), Span(" ")]
    for column in end:
        spans += column.draw(row)
    return tuple(spans)


def _car(row: _Row, chosen: tuple[_Column, ...]) -> Row:
    if row.car.state == "out":
        return _retired(row, chosen)
    spans = [_lead(row)]
    for column in chosen:
        spans += [*column.draw(row), Span(" ")]
    return tuple(spans)


def draw_tower(
    view: RaceView,
    cells: int,
    height: int,
    moves: Mapping[int, int] | None = None,
    followed: int | None = None,
    fresh: Mapping[int, Collection[str]] | None = None,
) -> Rows:
    """The tower: a row of heads, then one for each car.

    `moves` holds car numbers that gained (1) or lost (-1) a place just now, `fresh` names of the
    columns in which a car has something new. Gaps are those to the car number `followed`, where
    there is one.
    """
    moves, fresh = moves or {}, fresh or {}
    ghosts = view.ghost.cars if view.ghost else {}
    chosen = _chosen(cells, bool(ghosts))
    code = next((car.code for car in view.cars if car.number == followed), None)
    heads = {} if code is None else {"gap": f"TO {cut(code, 3)}"}
    head = " " + " ".join(
        fit(heads.get(column.name, column.head), column.cells, "right" if column.right else "left")
        for column in chosen
    )
    rows: list[Row] = [fit_row((Span(head, "title"),), cells, "title-back")]
    if not view.cars:
        rows.append((Span(" the grid forms once the engine is up", "dim"),))
    fastest = min((car.best_lap for car in view.cars if car.best_lap is not None), default=None)
    against = view.followed.get(followed) if followed is not None else None
    for index, car in enumerate(view.cars):
        row = _Row(
            car,
            moves.get(car.number, 0),
            fastest is not None and car.best_lap == fastest,
            car.number == followed,
            against.gaps[index] if against else None,
            ghosts.get(car.code),
            fresh.get(car.number, ()),
        )
        back = "follow-back" if row.followed else _BACKS.get(row.moved, "")
        cell_row = _car(row, chosen)
        rows.append(fit_row(cell_row, cells, back) if back else cell_row)
    return fit_box(rows, cells, height)


def car_at(view: RaceView, y: int) -> int | None:
    """The number of the car in a row of the tower; None in the head, and under the last car."""
    return view.cars[y - 1].number if 1 <= y <= len(view.cars) else None
