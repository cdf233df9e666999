"""The classification after the chequered flag: places, times, and each car's latencies."""

from dataclasses import dataclass

from pitwall_tui.draw.cells import Align, Row, Rows, Span, fit, fit_box, heading, row_width
from pitwall_tui.draw.tower import lap_time
from pitwall_tui.race.view import RaceView, ResultRow


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    cells: int
    align: Align = "right"


_COLUMNS = {
    "position": _Column("POS", 3),
    "car": _Column(" CAR", 7, "left"),
    "laps": _Column("LAPS", 4),
    "time": _Column("TIME", 9),
    "best": _Column("BEST", 7),
    "tokens": _Column("TOKENS", 6),
    "ttft": _Column("TTFT ms", 8),
    "tpot": _Column("TPOT ms", 8),
    "e2e": _Column("E2E s", 7),
    "pits": _Column("PIT", 3),
    "reason": _Column("END", 16, "left"),
}
# Taken on in this order while there is room.
_ORDER = "position car time ttft tpot e2e tokens laps best pits reason"
_WIDEST_GAP = 4
_LEAST_BAR, _WIDEST_BAR = 24, 80
# What a total means, by how its name begins.
_MEANS = (
    ("output tokens", "what all cars have written"),
    ("seconds", "of engine time"),
    ("tokens/s", "of all cars together"),
    ("TTFT", "from a car's place on the grid to its first token"),
    ("TPOT", "from one token of a car to its next, of cars that have finished"),
    ("E2E", "from the grid to the flag"),
    ("KV pages", "the most that were held at once"),
    ("empty slots", "of those pages: room that was held for tokens yet to come"),
    ("preemptions", "pages taken from a car, which recomputes them later"),
    ("prefix cache", "prompt tokens that another car had computed before"),
)


@dataclass(frozen=True, slots=True)
class _Table:
    """What is the same for all rows: columns, the gap between them, the winner, the bests, the
    cells of a bar of each car's time (0: none) and the longest of those times, in ms."""

    names: tuple[str, ...]
    gap: str
    winner: ResultRow
    least: dict[str, float]
    bar: int
    longest: float

    def head(self) -> Row:
        columns = [_COLUMNS[name] for name in self.names]
        texts = [fit(column.head, column.cells, column.align) for column in columns]
        signs = "  ░ to the first token █ to the last" if self.bar else ""
        return (Span(" " + self.gap.join(texts) + signs, "dim"),)

    def row(self, row: ResultRow) -> Row:
        spans = [Span(" ")]
        for name in self.names:
            spans += [*self._cell(name, row), Span(self.gap)]
        return (*spans, *self._bar(row))

    def _bar(self, row: ResultRow) -> Row:
        """A car's time by what it went to, all cars on one scale."""
        if not self.bar or row.ttft_ms is None or row.e2e_ms is None or not self.longest:
            return ()
        length = round(self.bar * row.e2e_ms / self.longest)
        first = min(length, round(self.bar * row.ttft_ms / self.longest))
        return (Span("░" * first, "text"), Span("█" * (length - first), f"team.{row.team}"))

    def _cell(self, name: str, row: ResultRow) -> Row:
        column, plain = _COLUMNS[name], "dim" if row.race_time is None else "text"
        if name == "car":
            code = Span(fit(row.code, 3), f"{plain} bold")
            return (Span("▌", f"team.{row.team}"), Span(f"{row.number:2d} ", "dim"), code)
        best = name in self.least and _measured(row)[name] == self.least[name]
        text = fit(_texts(row, self.winner)[name], column.cells, column.align)
        return (Span(text, "sector.purple bold" if best else plain),)


def _chosen(cells: int) -> tuple[tuple[str, ...], int]:
    """The columns that fit, and the cells between two of them."""
    shown: list[str] = []
    for name in _ORDER.split():
        if sum(_COLUMNS[n].cells + 1 for n in (*shown, name)) > cells:
            break
        shown.append(name)
    spare = cells - sum(_COLUMNS[n].cells + 1 for n in shown)
    gap = min(_WIDEST_GAP, 1 + max(0, spare) // max(1, len(shown)))
    return tuple(name for name in _COLUMNS if name in shown), gap


def _race_time(row: ResultRow, winner: ResultRow) -> str:
    if row.race_time is None:
        return "OUT" if row.reason else ""  # or still on track
    if row is winner or winner.race_time is None:
        return f"{row.race_time:.2f} s"
    return f"{row.race_time - winner.race_time:+.2f}"


def _texts(row: ResultRow, winner: ResultRow) -> dict[str, str]:
    return {
        "position": str(row.position),
        "laps": str(row.laps),
        "time": _race_time(row, winner),
        "best": lap_time(row.best_lap),
        "tokens": str(row.output_tokens),
        "ttft": "" if row.ttft_ms is None else f"{row.ttft_ms:.1f}",
        "tpot": "" if row.tpot_ms is None else f"{row.tpot_ms:.2f}",
        "e2e": "" if row.e2e_ms is None else f"{row.e2e_ms / 1000:.2f}",
        "pits": str(row.preemptions),
        "reason": row.reason,
    }


def _measured(row: ResultRow) -> dict[str, float | None]:
    """The figures of which the least is marked."""
    return {"best": row.best_lap, "ttft": row.ttft_ms, "tpot": row.tpot_ms, "e2e": row.e2e_ms}


def _least(rows: tuple[ResultRow, ...]) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for row in rows:
        for name, value in _measured(row).items():
            if value is not None:
                known.setdefault(name, []).append(value)
    return {name: min(values) for name, values in known.items()}


def _totals(totals: tuple[tuple[str, str], ...], cells: int, rows: int) -> list[Row]:
    """The totals over at most `rows` rows, each in one of its own with what it means where there is
    room; what does not fit is left out."""
    if totals and rows > len(totals) and cells >= _WIDEST_BAR:
        return [heading("THE WHOLE RACE", (), cells), *map(_total, totals)]
    lines: list[Row] = [()]
    for name, value in totals:
        part = (Span(f" {name} ", "dim"), Span(f"{value} ", "text bold"))
        if lines[-1] and row_width((*lines[-1], *part)) > cells:
            lines.append(())
        lines[-1] = (*lines[-1], *part)
    return lines[:rows]


def _total(total: tuple[str, str]) -> Row:
    name, value = total
    meaning = next((words for start, words in _MEANS if name.startswith(start)), "")
    return (
        Span(f" {fit(name, 20)}", "dim"),
        Span(fit(value, 22, "right"), "text bold"),
        Span(f"  {meaning}", "dim"),
    )


def _next(countdown: float | None, replay: bool) -> Row:
    keys = [
        Span("r", "knob.key bold", "", "app.results"),
        Span(" wall  ", "dim", "", "app.results"),
    ]
    if not replay:
        keys[:0] = [
            Span("n", "knob.key bold", "", "app.next_race"),
            Span(" next race  ", "dim", "", "app.next_race"),
        ]
    if countdown is None:
        return tuple(keys)
    return (*keys, Span(f"next race in {max(0.0, countdown):.0f} s", "title bold"))


def draw_results(
    view: RaceView, countdown: float | None, cells: int, height: int, replay: bool = False
) -> Rows:
    """The classification, the race's totals, and seconds until the next race (None: none)."""
    title = f"CLASSIFICATION  {view.title}" if cells >= 100 else "CLASSIFICATION"
    body: list[Row] = [heading(title, _next(countdown, replay), cells)]
    if view.results:
        names, gap = _chosen(cells)
        wide = 1 + sum(_COLUMNS[name].cells + gap for name in names)
        bar = min(_WIDEST_BAR, cells - wide - 1)
        table = _Table(
            names,
            " " * gap,
            view.results[0],
            _least(view.results),
            bar if bar >= _LEAST_BAR else 0,
            max((row.e2e_ms or 0.0 for row in view.results), default=0.0),
        )
        apart = height >= 4 + 2 * len(view.results) + len(view.totals)
        rows = [(table.row(row), *[()] * apart) for row in view.results]
        body += [table.head(), *[line for lines in rows for line in lines]]
    room = height - len(body)
    if room >= 3:
        body.append(())
    body = body[: max(1, height - 1)]
    return fit_box((*body, *_totals(view.totals, cells, max(1, room - 1))), cells, height)
