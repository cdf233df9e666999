"""Help for workshop, strategy and academy: what can be done to the model itself."""

from pitwall_tui.draw.cells import Span
from pitwall_tui.help.page import Page
from pitwall_tui.help.race import DRAFTS

WORKSHOP = Page(
    title="WORKSHOP",
    about="What fewer bits do to the weights of the model that races, read anew from its folder"
    " beside the race. Looking changes nothing: the weights served are the knob's ({weights}).",
    panels=(
        ("LAYERS", "every linear layer in the chosen scheme; the worst one is marked"),
        ("MEMORY", "bytes of all weights by format as the engine holds them; of 7B, 13B and 70B a"
         " projection by Llama 2's published shapes"),
        ("WEIGHTS", "how many weights have which value, before and after"),
        ("ERROR", "after minus before"),
        ("BEFORE → AFTER", "one against the other: the steps of a staircase are the codes"),
    ),
    technique="A code is a small whole number, and a scale says what it is worth:"
    " code = round(x / scale + zero-point), x' = (code - zero-point) scale. absmax has no"
    " zero-point: zero lies in the middle. One scale may serve the whole tensor, each channel, or a"
    " group of 128 neighbours: the fewer share one, the less a single large weight spoils."
    " Calibrated int4 codes are fitted to what a layer puts out, so they lie further from the"
    " weights than rounded ones and serve better.",
    price="int8 a channel is a quarter of fp32's bytes, and hardly to be told from it; int4 in"
    " groups is an eighth and a little for its scales, and near ties begin to fall the other way."
    " Less to read makes decode faster; arithmetic and prefill gain less. What is lost the race"
    " measures while it serves ({quality}).",
    parallel="Telemetry is sent in as few bits as decisions need: a tyre temperature to the degree,"
    " a throttle to the percent. A scale for each part of the lap keeps the fine detail of the"
    " straights from drowning in the spikes of the braking zones.",
    signs=(
        (Span("SNR dB", "text"), "", "signal over error in decibels: 6 dB are about one bit"),
        (Span("MSE MAX", "text"), "", "mean squared error; the largest single one"),
        (Span("3.9x", "text"), "", "fp32 bytes over bytes now, scales and zero-points counted"),
        (Span("codes", "text"), "15/16", "how many of the codes that there are, are used"),
    ),
)  # fmt: skip

STRATEGY = Page(
    title="STRATEGY",
    about="What drafting brings: curves are theory, points are what was measured in this race, and"
    " the slider supposes an acceptance that nobody measured.",
    panels=(
        ("acceptance", "as measured, or as you suppose it; `home` goes back to what was measured"),
        ("BY DRAFT LENGTH", "projected speed-up by k, with points for what was run"),
        ("BY ACCEPTANCE", "the same for three lengths, by how often a draft is right"),
        ("MEASURED", "steps with drafts by number of cars and length, against steps without at as"
         " many cars and in the same format"),
    ),
    technique="A small model, the junior ({speculation}), drafts k tokens; the chief scores all of"
    " them in one pass. Drafts stand up to the first that is wrong, and the chief's own token comes"
    " after them: k right ones bring k + 1 tokens. With acceptance=equal ({acceptance}) a draft"
    " is right if it is the very token that the chief would have said with the same noise, so the"
    " text is the same with any junior or none. acceptance=ratio is the papers' test"
    " min(1, p/q): other tokens, but as likely ones.",
    price="Wrong drafts are work for nothing, and verifying more rows is free only while memory,"
    " not arithmetic, takes the time. So one car gains most, twenty cars little or nothing, and"
    " fewer bits move that border down. draft_length=auto ({draft_length}) drafts where it pays by"
    " what it has measured.",
    parallel="The junior sketches the next laps: out, out, box, mediums. The chief looks over all"
    " of them at once, keeps them up to the first that is wrong, and says that one himself. The"
    " calls are the chief's in any case; a good junior only makes them sooner.",
    signs=(
        (Span("a", "text bold"), "acceptance", "share of the drafts judged that were accepted"),
        (Span("k", "text bold"), "draft length", "most drafts a round"),
        (Span("c", "text bold"), "cost", "a pass of the junior, in passes of the chief; measured"),
        (Span("●8", "text bold"), "in plots", "a point that was measured, with 8 cars"),
        *DRAFTS[2:4],
    ),
)  # fmt: skip

ACADEMY = Page(
    title="ACADEMY",
    about="Two students learn from the chief on this machine, beside the race and in a process of"
    " their own: one from the chief's whole distributions, one from the words alone.",
    panels=(
        ("LOSS", "what each student minimizes, and nats of the label, as they fall"),
        ("AGREEMENT", "how often a student's sample is the teacher's own, on races neither has"
         " read"),
        ("HELD OUT", "the newest marks of both"),
        ("TEMPERATURE SWEEP", "one more student for each T of 1, 2, 4, 8 and 16"),
    ),
    technique="The label says which token came; the teacher says how likely each token was. The"
    " second is more to learn from. The loss is alpha T^2 KL(teacher || student) + (1 - alpha)"
    " cross-entropy of the label; both distributions are softened by T first, and T^2 keeps the"
    " gradient's size. Students are alike in shape, first weights and rows: what differs is the"
    " lesson.",
    price="Every row has to be asked of the teacher, which takes most of the time; the race is"
    " slower meanwhile. A high T teaches the whole ranking to a student that may be too small for"
    " it, while for drafting the first choice and its odds are what counts: look at MATCH, not at"
    " the loss.",
    parallel="The full flow simulation takes hours; the model on the pit wall has learnt from"
    " thousands of its answers. At a low temperature it learns which setup is best, at a higher one"
    " how close the others come.",
    signs=(
        (Span("TOP-1", "text"), "", "how often the likeliest token is the teacher's"),
        (Span("1-TV", "text"), "", "overlap of both distributions: what the ratio rule accepts"),
        (Span("MATCH", "text"), "", "the same sample with the same noise: what a race accepts"),
        (Span("NATS", "text"), "", "cross-entropy of the label"),
        (Span("━━", "chart.mark"), "┅┅", "distilled; from labels alone"),
    ),
)  # fmt: skip
