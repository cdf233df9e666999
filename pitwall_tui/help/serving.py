"""Help for memory, batching, bottleneck and debrief: what serving many at once is about."""

from pitwall_tui.draw.cells import Span
from pitwall_tui.help.page import Page
from pitwall_tui.help.race import PAGE_MAP

MEMORY = Page(
    title="MEMORY",
    about="Where the keys and values of all cars lie, page by page, and what they would take if"
    " they were kept otherwise.",
    panels=(
        ("BLOCK TABLES", "a row a car: its pages in order, shared ones first, the last filling"),
        ("PAGES of a car", "the chosen car's pages by their numbers in the pool"),
        ("HELD", "bytes over time: with tokens in them, held, and what would be held if each car"
         " had its longest possible text reserved"),
        ("POOL", "all pages that there are, those of the chosen car lit"),
        ("PREFIX INDEX", "what was found of equal beginnings, and the prefill that it saved"),
        ("CARS, COMPUTED", "how many cars would have room in each format of keys and values:"
         " computed from the bytes of a page, not run"),
    ),
    technique="Attention looks back at the keys and values of every earlier token. They do not"
    " change, so they are kept ({kv_cache}): a step runs one new token instead of the whole text,"
    " and attention's work grows with the text's length instead of with its square. They lie in"
    " pages of a few tokens ({paging}), anywhere in the pool; a car's block table says in which"
    " order. Full pages with the same tokens from the very beginning are one page for all"
    " ({prefix_cache}).",
    price="Pages cost a table to look them up by, and up to one page a car that is not full yet."
    " Reserved room (contiguous) is simpler and mostly empty, so fewer cars have room. When pages"
    " run out, the youngest car is preempted: its pages are taken, and it computes them anew."
    " int8 keys and values ({kv_dtype}) take about a quarter of the bytes, and change the text.",
    parallel="The cache is the pit wall's memory of the race: for lap 42 only that lap has to be"
    " worked out. Pages are given as the race goes on, where a reservation keeps room for the full"
    " distance even of a car that retires on lap 1. The briefing is read out once, to all.",
    signs=(
        (Span("S20▚", "page.shared"), "", "a page that 20 cars share"),
        (Span("█", "page.used"), "▍ in a table", "full page; the last one, filling"),
        (Span("░", "page.used"), "in a table", "held, and empty so far"),
        (Span("╍", "chart.mark"), "in HELD", "what a reservation would take: computed, or real"),
        (Span("waste", "dim"), "%", "slots of held pages in which there is no token"),
        *PAGE_MAP[2:],
    ),
)  # fmt: skip

BATCHING = Page(
    title="BATCHING",
    about="Who runs in which step, who waits, and what each way of putting cars together gave in"
    " this race.",
    panels=(
        ("SLOTS", "a row for each seat of the batch, or each car, over the race's time; over them"
         " where knobs were turned"),
        ("BY MODE", "what each mode did, of its own steps alone; one that was not run has no"
         " figures"),
        ("LATENCIES", "TTFT, TPOT, E2E and ITL: percentiles, and how they are spread. ITL is each"
         " gap between two tokens, TPOT their mean over a car"),
        ("QUEUE", "who waits, for how long and why"),
    ),
    technique="A step reads the weights once, however many cars it serves: together they are"
    " cheaper than one by one. A static batch keeps its seats until the last of its cars has ended."
    " A continuous one is put together anew for every step: who ends makes room at once."
    " prefill_chunk ({prefill_chunk}) cuts long prompts into pieces, so that a newcomer's prefill"
    " does not hold up those that decode.",
    price="A fuller step takes longer for everyone in it, and every car holds pages: max_batch"
    " ({max_batch}) is where latency and memory are traded for throughput. Small chunks keep steps"
    " short and make the newcomer's own first token later.",
    parallel="One car at a time: nineteen engineers wait. Static: all of a group are looked at, and"
    " nobody new until the slowest is done. Continuous: as soon as one car's question is answered,"
    " the next one has the seat.",
    signs=(
        (Span("━", "text"), "run", "decode: a token a step"),
        (Span("▒", "state.formation"), "form", "prefill"),
        (Span("╍", "state.parked"), "park", "admitted, and no row in these steps"),
        (Span("┈", "dim"), "wait", "in the queue"),
        (Span("P", "ink bold", "state.pit"), "", "preempted"),
        (Span("╱", "chart.mark"), "idle", "an empty seat while somebody waits"),
        (Span("·", "dim"), "free", "an empty seat that nobody wants"),
    ),
)  # fmt: skip

BOTTLENECK = Page(
    title="BOTTLENECK",
    about="What takes the time of each kind of step here, held against what this machine can do"
    " at best; and what arithmetic makes of other machines and models.",
    panels=(
        ("PHASES", "each kind of step: bytes and operations a token, what is reached, and a bar of"
         " where its time goes"),
        ("ROOFLINE", "operations a second by operations a byte: under the slope memory is the"
         " limit, under the flat line arithmetic"),
        ("WHAT IF", "dials for machine, model, formats, context and batch; all of it is a"
         " projection, none of it was run"),
    ),
    technique="A step must read its bytes and do its operations; the longer of both is the least"
    " that it can take. Operations a byte decide which: for one car decode does half an"
    " operation for each byte of fp32 weights, so memory counts; prefill and many cars do many, so"
    " arithmetic counts. Fewer"
    " bits help the first, faster kernels ({kernels}) the second.",
    price="What helps one phase may not help the other: int4 weights ({weights}) halve what int8"
    " ones have decode read, and do nothing for prefill's arithmetic. And the smaller the"
    " model, the more of a step is spent on neither, but on planning and sampling around it.",
    parallel="A faster computer on the pit wall is of no use while the radio link is what everybody"
    " waits for; with all cars' data in one packet, it is the computer again.",
    signs=(
        (Span("W KV", "text"), "MiB/t", "weights, keys and values read, a token"),
        (Span("FLOP/B", "text"), "", "operations for each byte read; the ridge is where both roofs"
         " meet"),
        (Span("MBU MFU", "text"), "%", "shares of this machine's reading speed and arithmetic peak,"
         " as measured when the engine started, that a forward reaches"),
        (Span("P M D V R", "text bold"), "", "prefill, prefill and decode in one step, decode,"
         " verification of drafts, recomputing after a preemption"),
        (Span("bound", "text bold"), "memory compute", "what alone would take most of a step;"
         " overhead: planning, drafting, sampling, commits; cache-fed: faster than memory gives"),
        (Span("projection", "chart.mark"), "", "published shapes and peaks at the best MBU and MFU"
         " of this race; the shorter of memory and arithmetic is hidden, a prompt is one pass, each"
         " request at its full context, no time outside the forward"),
    ),
)  # fmt: skip

DEBRIEF = Page(
    title="DEBRIEF",
    about="What did each technique give in this race? Every setting of the knobs that was run, with"
    " speed, memory, latency and quality side by side; nothing that was not run.",
    panels=(
        ("SETTINGS", "all steps under equal knobs, by letters in order of appearance"),
        ("TOGGLES", "each turn of a knob, tokens/s before and after it, and cars in a step"),
        ("SPEED", "against memory: each setting's letter, and how true its text is"),
        ("LATENCIES", "percentiles of the whole race"),
    ),
    technique="Techniques are judged by three things together: how fast, in how much memory, how"
    " true. They add up, too: kept keys and values, pages, a full batch, fewer bits and a junior"
    " all act on different parts of a step.",
    price="Settings of one race were not all run on the same part of it: later laps have longer"
    " contexts, and cars drop out. For a fair comparison run the same race again with one knob"
    " turned, or `pitwall bench`, which takes turns and medians.",
    parallel="An upgrade is weighed by lap time, weight and reliability at once, and teams run many"
    " small ones on top of each other; but the stopwatch, not the brochure, says what each gave.",
    signs=(
        (Span("exact", "text bold"), "", "the text is the fp32 model's own by construction"),
        (Span("KL", "text"), "nats", "measured distance from fp32 where it is not"),
    ),
)  # fmt: skip
