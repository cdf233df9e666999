"""The steps of the guided race: which knob is turned, why, and what is said of what that gave."""

from collections.abc import Callable
from dataclasses import dataclass

from pitwall_tui.race.view import PagesView, RaceView, TrafficView

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Moment:
    """What one setting of the knobs gave, in the race of that number.

    `decode` is what its decode steps read, None of none; `ttft_ms` the mean of a race that began
    and ran under it alone, None where none has; `tokens_per_second` is over whole steps.
    """

    race_number: int
    knobs: dict[str, str]
    tokens_per_second: float
    step_ms: float
    running: int
    waiting: int
    parked: int
    pages: PagesView
    decode: TrafficView | None
    prefix_hit_percent: float | None
    ttft_ms: float | None


# Lines of figures: what a step of the guide points at, from before and after it.
Told = Callable[[Moment | None, Moment, RaceView], list[str]]


@dataclass(frozen=True, slots=True)
class Step:
    """Turn `knob` to `value`, and see; then turn it `back`, where that is not None.

    `lead` says why, `told` what has changed. With `anew` it counts for cars that are admitted from
    there on: another race has to begin. In texts {name} is the key of a command or knob.
    """

    title: str
    knob: str
    value: str
    lead: str
    told: Told
    closing: str = ""
    back: str | None = None
    anew: bool = False


def _mib(nbytes: float) -> str:
    return f"{nbytes / _MIB:,.1f}" if nbytes < 100 * _MIB else f"{nbytes / _MIB:,.0f}"


def _per_second(tokens: float) -> str:
    return f"{tokens:,.1f}" if tokens < 10 else f"{tokens:,.0f}"


def _effect(change: str, race: RaceView) -> str:
    """What the radio tells of the newest turn to that alone, such as "weights int8"; "" where it
    does not."""
    for line in reversed(race.radio):
        if line.kind == "knob" and line.text.startswith(change):
            return line.text if line.text.startswith(f"{change} gave ") else ""
    return ""


def _rate(before: Moment | None, after: Moment, race: RaceView) -> list[str]:
    now = _per_second(after.tokens_per_second)
    if before is None:
        return [
            f"{now} tokens/s, {after.step_ms:,.1f} ms a step; what it was before was not measured"
            " in this race"
        ]
    step = f"; a step {before.step_ms:,.1f} to {after.step_ms:,.1f} ms"
    # All that differ, so that nothing is put down to one knob alone where more were turned.
    turned = [name for name, value in after.knobs.items() if before.knobs.get(name) != value]
    # One turn has one ratio: the radio's, where it tells of this one.
    if len(turned) == 1 and (effect := _effect(f"{turned[0]} {after.knobs[turned[0]]}", race)):
        return [effect + step]
    changed = ", ".join(f"{name} {before.knobs[name]} to {after.knobs[name]}" for name in turned)
    others = (
        f"; cars in a step {before.running} to {after.running}"
        if before.running != after.running
        else ""
    )
    return [
        f"{changed}: {_per_second(before.tokens_per_second)} to {now} tokens/s,"
        f" {after.tokens_per_second / before.tokens_per_second:.2f}x{step}{others}"
    ]


def _seats(before: Moment | None, after: Moment, race: RaceView) -> list[str]:
    held = f"{after.running} in a step, {after.parked} parked, {after.waiting} waiting"
    return [*_rate(before, after, race), f"cars: {held}"]


def _held(before: Moment | None, after: Moment, _: RaceView) -> list[str]:
    def held(moment: Moment) -> str:
        return _mib(moment.pages.used * moment.pages.page_bytes)

    was = empty = ""
    if before is not None and before.running == after.running:  # fewer cars hold less anyway
        was, empty = f"{held(before)} to ", f"{before.pages.waste_percent:.0f} to "
    return [
        f"held with {after.running} cars running: {was}{held(after)} MiB; empty of that: {empty}"
        f"{after.pages.waste_percent:.0f} %"
    ]


def _waited(before: Moment | None, after: Moment, _: RaceView) -> list[str]:
    """Of two races: nothing but what is of all cars of each."""
    if after.ttft_ms is None:
        return ["the first tokens of this race were not all waited for under these knobs"]
    was = f"{before.ttft_ms:,.0f} to " if before is not None and before.ttft_ms else ""
    hits = (
        f"; {after.prefix_hit_percent:.0f} % of the tokens looked for were found"
        if after.prefix_hit_percent is not None
        else ""
    )
    return [f"mean TTFT {was}{after.ttft_ms:,.0f} ms{hits}"]


def _read(before: Moment | None, after: Moment, race: RaceView) -> list[str]:
    lines = _rate(before, after, race)
    if after.decode is not None:
        was = (
            f"{_mib(before.decode.weight_bytes)} to "
            if before is not None and before.decode is not None
            else ""
        )
        lines.append(f"weights read for a token: {was}{_mib(after.decode.weight_bytes)} MiB")
    return [*lines, *_lost(race)]


def _lost(race: RaceView) -> list[str]:
    quality = race.quality
    if quality is None:
        return []
    if not quality.tokens:
        return ["against fp32: not scored yet"]
    return [
        f"against fp32: KL {quality.kl:.4f} nats a token; same likeliest token"
        f" {quality.top1_percent:.1f} % of {quality.tokens:,}"
    ]


def _smaller(before: Moment | None, after: Moment, race: RaceView) -> list[str]:
    page = f"{after.pages.page_bytes / 1024:,.0f} KiB"
    was = "" if before is None else f"{before.pages.page_bytes / 1024:,.0f} to "
    return [*_rate(before, after, race), f"a page: {was}{page}", *_lost(race)]


def _drafted(before: Moment | None, after: Moment, race: RaceView) -> list[str]:
    lines = _rate(before, after, race)
    drafts = race.speculation
    if drafts is not None and drafts.recent.mean_length is not None:
        share = drafts.recent.acceptance
        accepted = "" if share is None else f"{100 * share:.0f} % of the drafts judged accepted, "
        lines.append(f"{accepted}{drafts.recent.mean_length:.2f} tokens a round")
        lines.append(drafts.word)
    return lines


STEPS: tuple[Step, ...] = (
    Step(
        "KV CACHE", "kv_cache", "off",
        "Every token leaves keys and values behind, at which all later ones look. They are kept,"
        " so a step runs one new token a car. Without them it runs each car's whole text again.",
        _rate, "The text is the same to the last digit: only the work for it has changed.", "on",
    ),
    Step(
        "ONE AT A TIME", "batching", "none",
        "All cars of a step share one reading of the weights. Let one car run alone, and the"
        " others stand.",
        _seats,
    ),
    Step(
        "A STATIC BATCH", "batching", "static",
        "A fixed group shares the reading. Its seats stay taken until the last of it has ended.",
        _seats,
    ),
    Step(
        "CONTINUOUS BATCHING", "batching", "continuous",
        "The batch is put together anew for every step: whoever is there, runs.",
        _seats, "More tokens/s in all, and each step takes longer for everyone in it.",
    ),
    Step(
        "PAGES", "paging", "contiguous",
        "A car gets pages as its text grows. Now let the longest text that it might write be"
        " reserved for each, as if memory had to lie in one piece.",
        _held, "What is reserved and empty is room that no other car can have.", "paged",
    ),
    Step(
        "SHARED BEGINNINGS", "prefix_cache", "off",
        "All cars begin with the same briefing. Its pages are computed once and shared. Without"
        " that, each car computes its own, when it is admitted: in the next race.",
        _waited, "Prefill that is not shared is what the first token waits for.", "on", anew=True,
    ),
    Step(
        "WEIGHTS IN 8 BITS", "weights", "int8",
        "A step reads all weights. In a quarter of the bits there is a quarter to read, and the"
        " model is another: the text changes from there on.",
        _read,
    ),
    Step(
        "WEIGHTS IN 4 BITS", "weights", "int4",
        "Half of that again, in groups of 128 with a scale each. Speed and what is lost:",
        _read, "Fewer bits help most where memory is the limit: with few cars in a step.", "fp32",
    ),
    Step(
        "KEYS AND VALUES IN 8 BITS", "kv_dtype", "int8",
        "Keys and values can be held in fewer bits too: more cars, or longer texts, have room.",
        _smaller, "Short texts gain room and hardly speed; the text changes here too.", "fp32",
    ),
    Step(
        "THE JUNIOR", "speculation", "junior",
        "A small model drafts some tokens, the chief scores them all in one pass and keeps those"
        " that it would have said itself: the same text in fewer steps.",
        _drafted, "It pays most with few cars in a step: try it with {batching} at none.", "off",
    ),
    Step(
        "KERNELS", "kernels", "torch",
        "The same arithmetic by torch's kernels instead of our own in C.",
        _rate, "The bytes to read are the same: what differs is how near to that limit it is.",
        "native",
    ),
)  # fmt: skip
