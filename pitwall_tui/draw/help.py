"""The help page: keys, knobs, and what each sign of the race is in the engine."""

from collections.abc import Iterable

from engine.config import KNOBS
from pitwall_tui.commands import COMMANDS, KNOB_KEY, Command
from pitwall_tui.draw.cells import Row, Span, fit, fit_row, heading, wrap

SIGNS: tuple[tuple[Span, str, str], ...] = (
    (Span("car", "text bold"), "", "one generation request"),
    (Span("GRID", "dim"), "", "queued, not yet admitted"),
    (Span("FORM", "state.formation bold"), "", "formation lap: prefill of its briefing"),
    (Span("TRACK", "dim"), "● on the map", "decoding; its place is how far its lap line is"),
    (Span("PARK", "state.parked bold"), "◌ on the map", "admitted, but no row in this step"),
    (Span(" PIT ", "ink bold", "state.pit"), "○ on the map",
     "preempted: its pages were taken, it will recompute"),
    (Span("OUT", "state.out bold"), "× on the map", "its text ended the race early"),
    (Span("▞FIN▞", "text bold"), "", "its last lap line is complete"),
    (Span("GAP INT", "text bold"), "", "engine time behind the leader, the car ahead, at a mark"),
    (Span("●", "sector.purple bold"), "purple", "best sector or lap of all, in generated times"),
    (Span("▲", "sector.green bold"), "green", "the car's own best"),
    (Span("·", "sector.yellow bold"), "yellow", "slower than its best"),
    (Span("S", "tyre.S bold"), "M H I W", "soft, medium, hard, intermediate, wet; age in laps"),
    (Span(" GREEN ", "ink bold", "flag.green"), "", "the engine serves"),
    (Span(" YELLOW ", "ink bold", "flag.yellow"), "", "KV pages over 85 %"),
    (Span(" SAFETY ", "ink bold", "flag.safety"), "", "admission is held back; why, it says"),
    (Span(" RED ", "ink bold", "flag.red"), "", "the engine was lost, and comes back"),
    (Span("MiB/tok", "text"), "GB/s  %",
     "weights + KV read for a token; share of the memory's measured speed, above 100 from caches"),
    (Span("quality", "text"), "KL  top-1",
     "what the weights served lose against fp32, scored on a sample: nats a token; how often the"
     " likeliest token is the same, of all places / of those that are no near tie"),
    (Span("▆78 ▄52", "text"), "tok/round",
     "drafts accepted at each place, of all rounds; tokens of a round, the chief's own among them"),
    (Span("1.7+8.3 ms", "text"), "saved",
     "to draft + to verify, in a step; tokens that needed no step of their own"),
    (Span("1.43x", "text bold"), "measured",
     "tokens/s of steps with drafts, of those without with as many cars"),
    (Span("2.31x", "text"), "projection",
     "(1 - a^(k+1)) / ((1 - a)(k c + 1)): k drafts, a share a of those judged accepted, a pass of"
     " the junior c of a verification; theory, not measured"),
    (Span("M09", "draft.accepted underline"), "underlined", "drafted, and accepted by the chief"),
    (Span("[1]", "draft.overruled strike"), "in brackets",
     "drafted, and overruled; bold: what the chief wrote itself"),
    (Span("█", "page.used"), "in a team's colour", "KV page with tokens of that team's car"),
    (Span("░", "page.used"), "hatched", "reserved, and still empty"),
    (Span("█", "page.shared"), "bright", "one page that several cars share"),
    (Span("▒", "page.cached"), "grey", "a beginning kept for the next that has the same"),
)  # fmt: skip
_KEY = 12


def _pair(key: Span, text: str, cells: int) -> list[Row]:
    lines = wrap(text, max(2, cells - _KEY - 2))
    first = (Span("  "), key, Span(" " * max(1, _KEY - 2 - len(key.text))), Span(lines[0], "text"))
    return [first, *[(Span(" " * _KEY), Span(line, "text")) for line in lines[1:]]]


def _sign(sign: Span, where: str, meaning: str, cells: int) -> list[Row]:
    before = max(0, 10 - len(sign.text))
    named = (Span("  "), sign, Span(" " * before), Span(fit(where, 19), "dim"))
    lines = wrap(meaning, max(2, cells - 32))
    return [(*named, Span(lines[0], "text")), *[(Span(" " * 31), Span(m)) for m in lines[1:]]]


def help_rows(cells: int, commands: Iterable[Command] = COMMANDS) -> tuple[Row, ...]:
    """The whole page at a width, for a wall with these commands; as many rows as it takes."""
    rows: list[Row] = [heading("KEYS", (Span("esc closes", "dim"),), cells)]
    for command in commands:
        rows += _pair(Span(command.shown, "knob.key bold"), command.help, cells)
    rows += _pair(Span("ctrl+p", "knob.key bold"), "every command by name", cells)
    rows += [(), heading("KNOBS", (Span("used from the engine's next step on", "dim"),), cells)]
    for knob in KNOBS:
        keys = KNOB_KEY[knob.name]
        shown = f"{keys.key}  {keys.shown}".rstrip()
        text = f"{knob.name}: {knob.help} ({', '.join(keys.steps)})"
        rows += _pair(Span(shown, "knob.key bold"), text, cells)
    rows += [(), heading("SIGNS", (Span("each is something in the engine", "dim"),), cells)]
    for sign, where, meaning in SIGNS:
        rows += _sign(sign, where, meaning, cells)
    return tuple(fit_row(row, cells) for row in rows)
