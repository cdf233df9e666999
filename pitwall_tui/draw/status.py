"""The line of the moment: flag, race, what is to be said, and the engine's figures."""

from dataclasses import dataclass

from pitwall_tui.draw.cells import Row, Rows, Span, cut, fit_box, row_width, spread
from pitwall_tui.draw.ghost import ghost_delta, ghost_role
from pitwall_tui.race.ghost import GhostView
from pitwall_tui.race.playback import file_size
from pitwall_tui.race.view import Flag, RaceView, StatusView

FLAGS: dict[Flag, tuple[str, str]] = {
    "lights": (" LIGHTS ", "flag.lights"),
    "green": (" GREEN ", "flag.green"),
    "yellow": (" YELLOW ", "flag.yellow"),
    "safety": (" SAFETY CAR ", "flag.safety"),
    "red": (" RED FLAG ", "flag.red"),
    "chequered": ("▞▞ CHEQUERED ▞▞", "flag.chequered"),
}
_MESSAGE = 24  # cells that figures leave to a message


@dataclass(frozen=True, slots=True)
class Notice:
    """What the wall itself has to say, beside the race; `recorded` are the bytes of the file that
    is being recorded to, None where none is."""

    frozen: bool = False
    replay: bool = False
    recorded: int | None = None


def _badges(status: StatusView, notice: Notice) -> list[Span]:
    badges = []
    if notice.replay:
        badges.append(Span(" REPLAY ", "ink bold", "badge"))
    if notice.recorded is not None:
        badges.append(Span(f" ● REC {file_size(notice.recorded)} ", "ink bold", "accent"))
    if status.paused:
        badges.append(Span(" PAUSED ", "ink bold", "badge"))
    if notice.frozen:
        badges.append(Span(" FROZEN ", "ink bold", "badge"))
    return badges


def _figures(status: StatusView, ghost: GhostView | None) -> list[Row]:
    """Figures in the order in which they are worth their room."""
    prefix = status.prefix_hit_percent
    figures: list[Row] = [
        (Span(f"{status.tokens_per_second:.0f}", "text bold"), Span(" tok/s", "dim")),
    ]
    if ghost is not None:
        name = "ghost projection" if ghost.projection else "ghost"
        delta = Span(f"{ghost_delta(ghost.delta)} s", f"{ghost_role(ghost.delta)} bold")
        figures.append((Span(f"{name} ", "dim"), delta))
    if status.pace > 0:
        figures.append((Span(f"pace {status.pace:g}/s", "accent bold"),))
    figures += [
        (Span("run ", "dim"), Span(str(status.running))),
        (Span("wait ", "dim"), Span(str(status.waiting))),
        (Span(f"{status.step_ms:.1f}"), Span(" ms/step", "dim")),
    ]
    if status.parked:
        figures.append((Span("parked ", "dim"), Span(str(status.parked))))
    if status.preemptions:
        figures.append((Span("preempted ", "dim"), Span(str(status.preemptions), "state.pit")))
    if prefix is not None:
        figures.append((Span("prefix ", "dim"), Span(f"{prefix:.0f}%")))
    figures.append((Span(status.source, "dim"),))
    return figures


def draw_status(view: RaceView, notice: Notice, cells: int, height: int = 1) -> Rows:
    """One row: flag, badges, race and lap, message; figures at the right while they fit."""
    status = view.status
    name, role = FLAGS[status.flag]
    race = view.circuit.upper() if cells < 120 else view.title
    left = [Span(name, "ink bold", role), *_badges(status, notice)]
    if view.laps:
        lap = f"LAP {view.leader_lap}/{view.laps} "
        left += [Span(f" {race} ", "title bold"), Span(lap, "text")]
    message = status.reason
    room = cells - row_width(left) - (min(_MESSAGE, len(message)) + 2 if message else 0)
    right: list[Span] = []
    figures = _figures(status, view.ghost) if view.cars else [(Span(status.source, "dim"),)]
    for figure in figures:
        part = (Span("  "), *figure)
        if row_width((*right, *part)) + 1 > room:
            break
        right += part
    right.append(Span(" "))
    if message:
        free = cells - row_width(left) - row_width(right)
        left.append(Span(cut(f" {message}", free), "text bold"))
    return fit_box((spread(left, right, cells, "title-back"),), cells, height)
