"""Frozen values that cross into the engine: configuration, knobs, requests, and its errors."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from operator import index
from typing import Any, Literal, SupportsIndex

Switch = Literal["on", "off"]
# How weights can be held, by the numbers that native/linear.h has for them.
WEIGHT_FORMATS = ("fp32", "bf16", "int8", "int4")
KV_FORMATS = ("fp32", "int8")


class EngineError(ValueError):
    """Bad input to the engine: one line that names the input and how to mend it."""


class ModelError(EngineError):
    """The model folder cannot be served."""


class RequestError(EngineError):
    """The request can never be served; nothing that runs is touched."""


class KnobError(EngineError):
    """No such knob, or no such value of it."""


@dataclass(frozen=True, slots=True)
class Knob:
    """What a knob may be set to: one of `values`, or where there is a `low`, whole numbers from
    there up, to `high` where there is one."""

    name: str
    default: str | int
    values: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    help: str = ""

    def parse(self, text: str) -> str | int:
        """The value that `text` names; raises KnobError."""
        if text in self.values:
            return text
        if self.low is None:
            raise KnobError(f"knob {self.name}: {text!r} is not one of {', '.join(self.values)}")
        try:
            number = int(text)
        except ValueError:
            others = "".join(f", nor {value}" for value in self.values)
            raise KnobError(f"knob {self.name}: {text!r} is not a whole number{others}") from None
        if number < self.low:
            raise KnobError(f"knob {self.name}: {number} is too small, from {self.low} up")
        if self.high is not None and number > self.high:
            raise KnobError(f"knob {self.name}: {number} is too large, up to {self.high}")
        return number


KNOBS: tuple[Knob, ...] = (
    Knob("kv_cache", "on", ("on", "off"), help="keep each token's keys and values"),
    Knob("paging", "paged", ("paged", "contiguous"), help="pages on demand, or all reserved"),
    Knob("prefix_cache", "on", ("on", "off"), help="share pages of equal beginnings"),
    Knob("batching", "continuous", ("none", "static", "continuous"), help="who runs together"),
    Knob("max_batch", 20, low=1, help="most requests running at once"),
    Knob("static_batch", 4, low=1, help="size of a static batch"),
    Knob("prefill_chunk", 256, low=0, help="prefill tokens a step, 0 for whole prompts"),
    Knob("weights", "fp32", WEIGHT_FORMATS, help="how weights are held"),
    Knob("kv_dtype", "fp32", KV_FORMATS, help="how keys and values are held"),
    Knob("speculation", "off", ("off", "junior", "ngram"), help="who drafts for the chief"),
    Knob("draft_length", 4, ("auto",), low=1, high=16, help="tokens drafted at a time"),
    Knob("acceptance", "equal", ("equal", "ratio"), help="when a draft is kept"),
    Knob("kernels", "native", ("native", "torch"), help="our own kernels, or torch's"),
    Knob("quality", "on", ("on", "off"), help="score a sample of the steps with fp32 too"),
)
_BY_NAME = {knob.name: knob for knob in KNOBS}


@dataclass(frozen=True, slots=True)
class Knobs:
    """The engine's switches, read once at the start of each step.

    `True` and `False` stand for "on" and "off". Raises KnobError for a value out of range.
    """

    kv_cache: str = "on"
    paging: str = "paged"
    prefix_cache: str = "on"
    batching: str = "continuous"
    max_batch: int = 20
    static_batch: int = 4
    prefill_chunk: int = 256
    weights: str = "fp32"
    kv_dtype: str = "fp32"
    kernels: str = "native"
    quality: str = "on"
    # In the order in which they came: recordings tell fields by their places.
    speculation: str = "off"
    draft_length: int | str = 4
    acceptance: str = "equal"

    def __post_init__(self) -> None:
        for knob in KNOBS:
            value = getattr(self, knob.name)
            if isinstance(value, bool):
                value = "on" if value else "off"
            object.__setattr__(self, knob.name, knob.parse(str(value)))

    def with_value(self, name: str, text: str) -> "Knobs":
        """A copy with one knob set from text; raises KnobError naming knob and value."""
        if name not in _BY_NAME:
            raise KnobError(f"no knob is called {name!r}; there are {', '.join(_BY_NAME)}")
        changed: dict[str, Any] = {name: _BY_NAME[name].parse(text)}
        return replace(self, **changed)

    @classmethod
    def parse(cls, text: str) -> "Knobs":
        """Knobs from "name=value,name=value"; those not named keep their defaults."""
        knobs = cls()
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = item.partition("=")
            if not equals:
                raise KnobError(f"knobs: {item!r} is not name=value")
            knobs = knobs.with_value(name.strip(), value.strip())
        return knobs

    def as_dict(self) -> dict[str, str | int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def changes(self, since: "Knobs") -> tuple[tuple[str, str | int], ...]:
        """(name, value) of the knobs whose value differs from `since`."""
        before = since.as_dict()
        return tuple((k, v) for k, v in self.as_dict().items() if v != before[k])


def _token_ids(role: str, tokens: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Plain ints, of whatever integer type they came; raises RequestError."""
    ids = tuple(tokens)
    for token in ids:
        if not isinstance(token, SupportsIndex):
            raise RequestError(f"{role} token {token!r} is not a whole number")
    return tuple(map(index, ids))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a request's tokens are picked.

    temperature 0 is greedy; top_k 0 and top_p 1 switch the filters off; a token in
    `stop_token_ids`, or the model's own end token unless `ignore_eos`, ends the request and
    stays part of its output.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    top_k: int = 0
    top_p: float = 1.0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop_token_ids", _token_ids("stop", self.stop_token_ids))

    def check(self, vocab_size: int) -> None:
        """Raises RequestError naming the first field that is out of range."""
        for name in ("max_tokens", "top_k", "seed"):
            if not isinstance(value := getattr(self, name), int):
                raise RequestError(f"{name} {value!r} is not a whole number")
        for name in ("temperature", "top_p"):
            if not isinstance(value := getattr(self, name), int | float):
                raise RequestError(f"{name} {value!r} is not a number")
        if self.max_tokens < 1:
            raise RequestError(f"max_tokens {self.max_tokens} is not 1 or more")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise RequestError(f"temperature {self.temperature} is not 0 or more")
        if self.top_k < 0:
            raise RequestError(f"top_k {self.top_k} is not 0 (off) or more")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top_p {self.top_p} is not above 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise RequestError(f"seed {self.seed} is not between 0 and 2^63 - 1")
        for token in self.stop_token_ids:
            if not 0 <= token < vocab_size:
                raise RequestError(f"stop token {token} is outside the vocabulary of {vocab_size}")


@dataclass(frozen=True, slots=True)
class Request:
    """One generation request.

    `output` holds tokens that an earlier engine already generated for it: they count as output
    and the request goes on after them, to the very tokens it would have had.
    """

    id: str
    prompt: tuple[int, ...]
    sampling: Sampling = Sampling()
    output: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", _token_ids("prompt", self.prompt))
        object.__setattr__(self, "output", _token_ids("output", self.output))

    @property
    def max_length(self) -> int:
        """Most tokens it can ever hold, prompt included."""
        return len(self.prompt) + self.sampling.max_tokens


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What is fixed from load to close.

    `draft` is the folder of a draft model, for speculation=junior; its share of every page is set
    aside from the start. `threads` 0 leaves torch's own choice. `dtype` is that of arithmetic and
    KV cache; float64 exists for exact tests.
    """

    model: str
    draft: str | None = None
    kv_memory_mib: float = 256
    page_size: int = 16
    max_context: int = 4096
    device: str = "cpu"
    dtype: Literal["float32", "float64"] = "float32"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.page_size < 1:
            raise EngineError(f"page_size {self.page_size} is not 1 or more")
        if self.max_context < 2:
            raise EngineError(f"max_context {self.max_context} is not 2 or more")
        if not (math.isfinite(self.kv_memory_mib) and self.kv_memory_mib > 0):
            raise EngineError(f"kv_memory_mib {self.kv_memory_mib} is not above 0")
        if self.dtype not in ("float32", "float64"):
            raise EngineError(f"dtype {self.dtype!r} is not one of float32, float64")
        if self.threads < 0:
            raise EngineError(f"threads {self.threads} is not 0 (automatic) or more")
