"""Help for the race, its classification, and recordings of it."""

from pitwall_tui.draw.cells import Span
from pitwall_tui.help.page import Page, Sign

FLAGS: tuple[Sign, ...] = (
    (Span(" GREEN ", "ink bold", "flag.green"), "", "the engine serves"),
    (Span(" YELLOW ", "ink bold", "flag.yellow"), "", "KV pages over 85 %"),
    (Span(" SAFETY ", "ink bold", "flag.safety"), "", "admission is held back; why, it says"),
    (Span(" RED ", "ink bold", "flag.red"), "", "the engine was lost, and comes back"),
)  # fmt: skip
_STATES: tuple[Sign, ...] = (
    (Span("car", "text bold"), "", "one generation request"),
    (Span("GRID", "dim"), "", "queued, not yet admitted"),
    (Span("FORM", "state.formation bold"), "", "formation lap: prefill of its briefing"),
    (Span("TRACK", "dim"), "● on the map", "decoding; its place is how far its lap line is"),
    (Span("PARK", "state.parked bold"), "◌ on the map", "admitted, but no row in this step"),
    (Span(" PIT ", "ink bold", "state.pit"), "○ on the map",
     "preempted: its pages were taken, it will recompute"),
    (Span("OUT", "state.out bold"), "× on the map", "its text ended the race early"),
    (Span("▞FIN▞", "text bold"), "", "its last lap line is complete"),
)  # fmt: skip
_TIMES: tuple[Sign, ...] = (
    (Span("GAP INT", "text bold"), "", "engine time behind the leader, the car ahead, at a mark"),
    (Span("●", "sector.purple bold"), "purple", "best sector or lap of all, in generated times"),
    (Span("▲", "sector.green bold"), "green", "the car's own best"),
    (Span("·", "sector.yellow bold"), "yellow", "slower than its best"),
    (Span("S", "tyre.S bold"), "M H I W", "soft, medium, hard, intermediate, wet; age in laps"),
)
PAGE_MAP: tuple[Sign, ...] = (
    (Span("█", "page.used"), "in a team's colour", "KV page with tokens of that team's car"),
    (Span("░", "page.used"), "hatched", "reserved, and still empty"),
    (Span("█", "page.shared"), "bright", "one page that several cars share"),
    (Span("▒", "page.cached"), "grey", "a beginning kept for the next that has the same"),
)
_FIGURES: tuple[Sign, ...] = (
    (Span("MiB/tok", "text"), "GB/s  %",
     "weights + KV read for a token; share of the memory's measured speed, above 100 from caches"),
    (Span("quality", "text"), "KL  top-1",
     "what the weights served lose against fp32, scored on a sample: nats a token; how often the"
     " likeliest token is the same, of all places / of those that are no near tie"),
)  # fmt: skip
DRAFTS: tuple[Sign, ...] = (
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
)  # fmt: skip

RACE = Page(
    title="THE RACE",
    about="Every car is one request to the engine, and every lap a line of text that the model"
    " writes for it. Order and gaps are the engine's: who is served first is ahead. Lap times,"
    " tyres and stops are in the text, which each car writes without a look at the others.",
    panels=(
        ("TOWER", "the cars in the order in which they are served, with what they wrote last"),
        ("TRACK", "where each car is: how much of its present line is written. While the engine"
         " loads, five start lights are the five phases of loading, with their times"),
        ("KV PAGES", "every page of the cache in the colour of the team that holds it"),
        ("THROUGHPUT", "output tokens a second of all cars, with marks where knobs were turned;"
         " what steps read from memory, and what fewer bits lose"),
        ("SPECULATION", "once somebody has drafted: whether drafts are accepted, and pay"),
        ("RADIO", "race control, knobs and what they did to tokens/s, the cars' own messages; first"
         " the leader's text as it comes, where somebody drafts; pgup, pgdn and the wheel go back"),
    ),
    technique="Serving has two phases. Prefill runs a whole prompt at once: many tokens share one"
    " reading of the weights, so it is arithmetic that takes the time. Decode makes one token for"
    " each car and step, and every step reads all the weights anew: with few cars it is the"
    " memory's speed that counts. The formation lap is prefill; the laps are decode.",
    price="Throughput against latency. More cars in a step make more tokens/s in all, as they share"
    " one reading of the weights; but each step takes longer for everyone in it. TTFT is the wait"
    " for a car's first token, TPOT the time of each one after it.",
    parallel="Before a stint the pit wall loads all that has happened in one go; then every call"
    " takes the whole strategy model for one more piece of news. What limits it is how fast data"
    " comes through the link, not how fast the computers think.",
    signs=(*_STATES, *_TIMES, *FLAGS, *_FIGURES, *DRAFTS, *PAGE_MAP),
)  # fmt: skip

RESULTS = Page(
    title="CLASSIFICATION",
    about="The race as it ended, or as it stands. Each row is one request with what it had to wait"
    " for, each wait in engine time: a paused engine costs nobody anything.",
    panels=(
        ("TIME", "from lights out to the end of the last line; behind the winner with a plus"),
        ("TTFT", "time to first token: from submission, so queue and prefill are in it"),
        ("TPOT", "time per output token after the first: (E2E - TTFT) / (tokens - 1)"),
        ("E2E", "end to end: submission to last token"),
        ("PIT", "how often its pages were taken and it had to recompute"),
        ("totals", "p50 and p99: what half of the cars, and 99 of 100, stay below. Latencies are of"
         " cars whose text came to its own end; TTFT is of all that have written"),
    ),
    technique="A service is judged by how long people wait, each of them: the sum of tokens/s says"
    " nothing about the last in the queue. That is why every latency stands by itself, and why the"
    " worst one in a hundred is shown beside the middle one.",
    price="Every knob moves these columns against each other. One car at a time"
    " ({batching}: none) gives the least TPOT and the largest TTFT for whoever starts last; all at"
    " once gives a short TTFT to everyone and a longer TPOT.",
    parallel="The classification tells who won, the sector times tell why. A team that looks at its"
    " fastest lap alone does not see the car that stood in traffic.",
    signs=((Span("12.3", "sector.purple bold"), "purple, bold", "the least of its column"),),
)  # fmt: skip

REPLAY = Page(
    title="A RECORDING",
    about="This race has been run before: every figure is what that engine measured on that"
    " machine, and every screen is folded from the same events as in the live race.",
    panels=(
        ("player", "where there is one, the line at the foot: state, time, speed, and along the bar"
         " what happened when; a click goes there"),
    ),
    technique="A recording holds each step of the engine as it left it: tokens, times, pages and"
    " knobs, not pictures. So it can be looked at in any size and colour, and be gone to and fro"
    " in.",
    price="Nothing can be changed: there is no engine behind it. Knobs, workshop and academy are"
    " for a live race, and a recording of an older pitwall may lack what a newer screen asks for;"
    " the screen then says so.",
    parallel="The debrief on Monday, with the race's data and without the race.",
    signs=(
        (Span("╋", "title bold"), "on the bar", "a race begins"),
        (Span("◆", "radio.knob bold"), "on the bar", "a knob was turned"),
        (Span("△", "flag.yellow"), "▲ ■ on the bar", "yellow flag, safety car, red flag"),
        (Span("○", "state.pit"), "on the bar", "a car was preempted"),
        (Span("▞", "text bold"), "on the bar", "chequered flag"),
    ),
)  # fmt: skip
