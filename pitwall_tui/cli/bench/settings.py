"""What is measured: settings one by one, techniques stacked, and what is set against what."""

from dataclasses import dataclass
from typing import Literal

from engine.config import Knobs

# Where the cost of having no cache is measured, and over how many tokens.
LONG_CONTEXT = 500
LONG_TOKENS = 16
# Of each car in the stacked rows: with all off a whole race would take many minutes.
FIRST_TOKENS = 32

Course = Literal["race", "long context", "first tokens"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table: `cars` of the race on that course, under these knobs."""

    name: str
    cars: int
    knobs: Knobs
    course: Course = "race"

    @property
    def group(self) -> str:
        """What was run, in words: rows of other groups are not to be compared."""
        cars = f"{self.cars} cars" if self.cars > 1 else "1 car"
        match self.course:
            case "race":
                return f"{cars}, whole race"
            case "long context":
                return f"{cars} at {LONG_CONTEXT} tokens, {LONG_TOKENS} more"
            case "first tokens":
                return f"{cars}, their first {FIRST_TOKENS} tokens"


@dataclass(frozen=True, slots=True)
class Ratio:
    """The `figure` of the row that is named `above` over that of `below`."""

    title: str
    above: str
    below: str
    figure: str = "tokens_per_second"


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of `settings` are unique; each of `stacked` has all that those before it have."""

    settings: tuple[Setting, ...]
    ratios: tuple[Ratio, ...]
    stacked: tuple[Setting, ...]


def knobs(before: Knobs | None = None, **changes: str | int) -> Knobs:
    """Without the quality meter, which works only where weights or KV are not fp32."""
    found = before or Knobs(quality="off")
    for name, value in changes.items():
        found = found.with_value(name, str(value))
    return found


_LONG: Course = "long context"
_NO_CACHE, _CACHE = "no KV cache, 1 car at 500 tokens", "KV cache, 1 car at 500 tokens"
_SETTINGS = (
    Setting(_NO_CACHE, 1, knobs(kv_cache="off"), _LONG),
    Setting(_CACHE, 1, knobs(), _LONG),
    Setting("batching none", 20, knobs(batching="none")),
    Setting("batching static", 20, knobs(batching="static")),
    Setting("batching continuous", 20, knobs()),
    Setting("paging contiguous", 20, knobs(paging="contiguous")),
    Setting("prefix cache off", 20, knobs(prefix_cache="off")),
    Setting("whole prompts (prefill_chunk 0)", 20, knobs(prefill_chunk=0)),
    Setting("weights bf16, 1 car", 1, knobs(weights="bf16"), _LONG),
    Setting("weights int8, 1 car", 1, knobs(weights="int8"), _LONG),
    Setting("weights int4, 1 car", 1, knobs(weights="int4"), _LONG),
    Setting("weights bf16", 20, knobs(weights="bf16")),
    Setting("weights int8", 20, knobs(weights="int8")),
    Setting("weights int4", 20, knobs(weights="int4")),
    Setting("weights int8, kv_dtype int8", 20, knobs(weights="int8", kv_dtype="int8")),
    Setting("weights int8, quality meter", 20, knobs(weights="int8", quality="on")),
    Setting("torch kernels, 1 car", 1, knobs(kernels="torch"), _LONG),
    Setting("torch kernels", 20, knobs(kernels="torch")),
)
# Only where there is a draft model; against "batching continuous" with all cars.
_DRAFTED = (
    Setting("speculation off, 1 car", 1, knobs()),
    Setting("speculation junior, 1 car", 1, knobs(speculation="junior")),
    Setting("speculation ngram, 1 car", 1, knobs(speculation="ngram")),
    Setting("speculation junior", 20, knobs(speculation="junior")),
    Setting("speculation ngram", 20, knobs(speculation="ngram")),
)
_DECODE = "decode_tokens_per_second"
_RATIOS = (
    Ratio("KV cache on / off, 1 car at 500 tokens", _CACHE, _NO_CACHE, _DECODE),
    Ratio("batching continuous / none", "batching continuous", "batching none"),
    Ratio("batching continuous / static", "batching continuous", "batching static"),
    Ratio(
        "peak KV bytes, contiguous / paged",
        "paging contiguous",
        "batching continuous",
        "kv_bytes_peak",
    ),
    Ratio(
        "prefill tokens, prefix cache off / on",
        "prefix cache off",
        "batching continuous",
        "prefill_tokens",
    ),
    Ratio("weights bf16 / fp32, 1 car", "weights bf16, 1 car", _CACHE, _DECODE),
    Ratio("weights int8 / fp32, 1 car", "weights int8, 1 car", _CACHE, _DECODE),
    Ratio("weights int4 / int8, 1 car", "weights int4, 1 car", "weights int8, 1 car", _DECODE),
    Ratio("weights int8 / fp32, 20 cars", "weights int8", "batching continuous"),
    Ratio("weights int4 / fp32, 20 cars", "weights int4", "batching continuous"),
    Ratio(
        "peak KV bytes, kv_dtype fp32 / int8",
        "weights int8",
        "weights int8, kv_dtype int8",
        "kv_bytes_peak",
    ),
    Ratio("native / torch kernels, 1 car", _CACHE, "torch kernels, 1 car", _DECODE),
    Ratio("native / torch kernels, 20 cars", "batching continuous", "torch kernels"),
    Ratio("quality meter on / off, int8, 20 cars", "weights int8, quality meter", "weights int8"),
)
_DRAFTED_RATIOS = (
    Ratio(
        "speculation junior / off, 1 car",
        "speculation junior, 1 car",
        "speculation off, 1 car",
        _DECODE,
    ),
    Ratio(
        "speculation ngram / off, 1 car",
        "speculation ngram, 1 car",
        "speculation off, 1 car",
        _DECODE,
    ),
    Ratio("speculation junior / off, 20 cars", "speculation junior", "batching continuous"),
    Ratio("speculation ngram / off, 20 cars", "speculation ngram", "batching continuous"),
)


def _stacked(*steps: tuple[str, dict[str, str | int]]) -> tuple[Setting, ...]:
    rows: list[Setting] = []
    for name, changes in steps:
        before = rows[-1].knobs if rows else None
        rows.append(Setting(name, 20, knobs(before, **changes), "first tokens"))
    return tuple(rows)


_OFF: dict[str, str | int] = {
    "kv_cache": "off",
    "batching": "none",
    "paging": "contiguous",
    "prefix_cache": "off",
}
_STACKED = _stacked(
    ("all off", _OFF),
    ("+ KV cache", {"kv_cache": "on"}),
    ("+ continuous batching", {"batching": "continuous"}),
    ("+ paging and prefix cache", {"paging": "paged", "prefix_cache": "on"}),
    ("+ int8 weights", {"weights": "int8"}),
    ("+ int8 KV", {"kv_dtype": "int8"}),
    ("+ junior, as many drafts as pay", {"speculation": "junior", "draft_length": "auto"}),
)


def usual(drafted: bool) -> Plan:
    """What `pitwall bench` measures, where there is a draft model or is none."""
    if drafted:
        return Plan((*_SETTINGS, *_DRAFTED), (*_RATIOS, *_DRAFTED_RATIOS), _STACKED)
    return Plan(_SETTINGS, _RATIOS, _STACKED[:-1])
