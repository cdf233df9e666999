"""The car that somebody follows: its latencies and what it holds, in a line or a few."""

from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, row_width
from pitwall_tui.race.view import CarView, FollowView


def milliseconds(value: float | None) -> str:
    """With as many decimals as it is worth; - where it is not known."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _parts(car: CarView, view: FollowView) -> list[Row]:
    """What is said, in this order."""

    def latency(name: str, value: float | None) -> Row:
        return (Span(f"{name} ", "dim"), Span(milliseconds(value), "text bold"), Span(" ms", "dim"))

    def count(number: int, of: str) -> Row:
        return (Span(f"{number}", "text"), Span(f" {of}", "dim"))

    return [
        latency("TTFT", view.ttft_ms),
        latency("TPOT", view.tpot_ms),
        latency("ITL", view.itl_ms),
        count(car.pages, "pages"),
        (Span("prefix hits ", "dim"), Span(f"{view.hit_tokens}", "text"), Span(" tok", "dim")),
        (Span("preempted ", "dim"), Span(f"{view.preemptions}", "text")),
        (
            Span(f"{view.prompt_tokens}", "text"),
            Span(" in, ", "dim"),
            *count(view.output_tokens, "out"),
        ),
    ]


def draw_follow(car: CarView | None, view: FollowView | None, cells: int, height: int) -> Rows:
    """A car's place and figures, as many as fit into the rows; nothing of none."""
    if car is None or view is None:
        return fit_box((), cells, height)
    head = (
        Span("▸", "text bold"),
        Span("▌", f"team.{car.team}"),
        Span(fit(car.code, 3), "text bold"),
        Span(f" P{car.position}", "title bold"),
    )
    rows: list[Row] = [head]
    for part in _parts(car, view):
        if row_width(rows[-1]) + 2 + row_width(part) > cells:
            rows.append((Span(" "), *part))
        else:
            rows[-1] = (*rows[-1], Span("  "), *part)
    return fit_box(rows, cells, height)
