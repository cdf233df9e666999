"""Another model on another machine, by arithmetic alone: projections, and never measurements.

What is carried over from the race are the shares of a machine's peaks that this engine was measured
to reach; shapes, bytes and operations are exact.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from engine.config import WEIGHT_FORMATS
from engine.flops import pass_flops, seen
from engine.footprint import PUBLISHED, kv_bytes, llama_2_norms, served_bytes
from engine.spec import ModelSpec
from pitwall_tui.race.bottleneck import BottleneckView, Work

_GIB, _GB = 2**30, 10**9


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine: bytes of memory (0: not known), 10^9 bytes a second read from it, and 10^9
    operations a second without sparsity, by the format of weights in the order of WEIGHT_FORMATS.
    """

    name: str
    memory_bytes: int
    gbs: float
    gflops: tuple[float, float, float, float]


THIS = "this machine"
# As their makers publish them, dense. int4 weights are computed with at int8's speed, as here.
HARDWARE = (
    # NVIDIA Ada GPU architecture whitepaper, appendix A: bf16 with fp32 accumulation, int8 tensor.
    Hardware("RTX 4090", 24 * _GIB, 1008, (82_600, 165_200, 660_600, 660_600)),
    # NVIDIA A100 80GB SXM datasheet: fp32 without tensor cores.
    Hardware("A100 80GB", 80 * _GIB, 2039, (19_500, 312_000, 624_000, 624_000)),
    # NVIDIA H100 SXM5 datasheet and Hopper whitepaper: fp32 without tensor cores.
    Hardware("H100 SXM", 80 * _GIB, 3350, (66_900, 989_400, 1_978_900, 1_978_900)),
    # apple.com, Mac Studio and Mac Pro 2023: 76 GPU cores, 27.2 TFLOPS, 192 GB, 800 GB/s. Nothing
    # is published of a faster rate for fewer bits.
    Hardware("M2 Ultra", 192 * _GIB, 800, (27_200, 27_200, 27_200, 27_200)),
    # AMD EPYC 9654: 12 x DDR5-4800 = 460.8 GB/s, 12 x 64 GiB; 96 cores at 2.4 GHz by what Zen 4
    # does a cycle: 32 fp32, 64 bf16 (AVX512_BF16), 128 int8 (VNNI).
    Hardware("DDR5 server", 768 * _GIB, 460.8, (7_373, 14_746, 29_491, 29_491)),
)
MODELS: dict[str, ModelSpec] = PUBLISHED
KV_FORMATS = ("fp32", "fp16", "int8")
CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)

Dial = Literal["hardware", "model", "weights", "kv", "context", "batch"]
DIALS: dict[Dial, tuple[str | int, ...]] = {
    "hardware": (THIS, *(hardware.name for hardware in HARDWARE)),
    "model": tuple(MODELS),
    "weights": WEIGHT_FORMATS,
    "kv": KV_FORMATS,
    "context": CONTEXTS,
    "batch": BATCHES,
}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is supposed, each one of its DIALS; `dial` is the one that the keys turn."""

    dial: Dial = "hardware"
    hardware: str = THIS
    model: str = "7B"
    weights: str = "int8"
    kv: str = "fp16"
    context: int = 2048
    batch: int = 1

    def chosen(self, step: int) -> "WhatIf":
        """The keys at another dial, so many on, round the end."""
        dials = tuple(DIALS)
        return replace(self, dial=dials[(dials.index(self.dial) + step) % len(dials)])

    def turned(self, dial: Dial, step: int) -> "WhatIf":
        """A dial so many values on, round the end; the keys go with it."""
        values = DIALS[dial]
        place = values.index(getattr(self, dial)) + step
        return self.with_value(dial, values[place % len(values)])

    def with_value(self, dial: Dial, value: str | int) -> "WhatIf":
        """A dial at one of its values; the keys go with it."""
        return replace(self, **{"dial": dial, dial: value})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Share:
    """The largest share of a peak that steps of this race reached, and which; 1 of "" where none
    did: the peak itself."""

    share: float = 1.0
    by: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Shares of memory's speed and of arithmetic's peak."""

    memory: Share
    compute: Share


def calibration(view: BottleneckView, weights: str) -> Calibration:
    """By the steps with these weights, by any where there were none.

    What read faster than memory can had its bytes from caches: it says nothing of memory.
    """
    works = [work for _, work in view.past]
    return Calibration(
        _best([(work.mbu, work) for work in works], weights),
        _best([(work.mfu, work) for work in works], weights),
    )


def _best(found: list[tuple[float | None, Work]], weights: str) -> Share:
    known = [(share, work) for share, work in found if share is not None and 0 < share <= 1]
    own = [pair for pair in known if pair[1].setting.weights == weights]
    if not known:
        return Share()
    share, work = max(own or known, key=lambda pair: pair[0])
    return Share(share, f"{work.setting.phase} {work.setting.label}")


def hardware(view: BottleneckView, name: str) -> Hardware:
    """Of HARDWARE, or this machine as measured."""
    for found in HARDWARE:
        if found.name == name:
            return found
    floats, whole = view.float_gflops, view.int8_gops
    return Hardware(THIS, view.memory_bytes, view.read_gbs, (floats, floats, whole, whole))


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass through the model: the seconds that memory and arithmetic take for it, of which the
    longer counts, as if the other were wholly hidden behind it."""

    memory: float
    compute: float

    @property
    def seconds(self) -> float:
        return max(self.memory, self.compute)

    @property
    def bound(self) -> str:
        return "memory" if self.memory >= self.compute else "compute"


@dataclass(frozen=True, slots=True)
class Projection:
    """A model on a machine. Bytes are of weights, of one request's KV at its full context and of
    the machine's memory (0: not known); `prefill` is one request's whole prompt in one pass,
    `decode` one step of the batch, every request at its full context.
    """

    weights_bytes: int
    kv_bytes: int
    memory_bytes: int
    batch: int
    prefill: Pass
    decode: Pass

    @property
    def most_batch(self) -> int | None:
        """Requests that have room beside the weights; None where the memory is not known."""
        if not self.memory_bytes:
            return None
        return max(0, self.memory_bytes - self.weights_bytes) // self.kv_bytes

    @property
    def fits(self) -> bool | None:
        most = self.most_batch
        return None if most is None else most >= self.batch

    @property
    def tokens_per_second(self) -> float:
        """Of all requests together."""
        return self.batch / self.decode.seconds if self.decode.seconds else 0.0

    @property
    def ttft(self) -> float:
        """Seconds from an idle machine to the first token."""
        return self.prefill.seconds


def project(case: WhatIf, machine: Hardware, shares: Calibration) -> Projection:
    """The case's model on a machine that reaches these shares of its peaks, with nothing beside
    its passes."""
    spec = MODELS[case.model]
    weights = served_bytes(spec, case.weights, llama_2_norms(spec))
    read = weights - 4 * spec.vocab_size * spec.hidden  # of the embedding's table only some rows
    kv = kv_bytes(spec, case.kv) * case.context
    gbs = machine.gbs * shares.memory.share
    gflops = machine.gflops[WEIGHT_FORMATS.index(case.weights)] * shares.compute.share
    prompt, batch = case.context, case.batch

    def passed(nbytes: int, flops: int) -> Pass:
        return Pass(_seconds(nbytes, gbs), _seconds(flops, gflops))

    return Projection(
        weights_bytes=weights,
        kv_bytes=kv,
        memory_bytes=machine.memory_bytes,
        batch=batch,
        prefill=passed(read + kv, pass_flops(spec, prompt, 1, seen(0, prompt))),
        decode=passed(read + batch * kv, pass_flops(spec, batch, batch, batch * case.context)),
    )


def _seconds(amount: int, speed: float) -> float:
    """Of 10^9 a second; for ever where the speed was not measured."""
    return amount / speed / _GB if speed else inf
