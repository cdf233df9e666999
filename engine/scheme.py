"""The schemes of quantization and what they cost, as plain values.

A scheme says how many bits a code has, which values share a scale, and whether zero is in the
middle (absmax) or anywhere (zero-point).
"""

from dataclasses import dataclass
from typing import Literal

from engine.config import EngineError

Granularity = Literal["tensor", "channel", "group"]
GROUP = 128


class QuantizationError(EngineError):
    """The tensor or the scheme cannot be quantized by; says why."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How values become codes: `bits` 8 or 4; a scale for the whole tensor, for each row (output
    channel) or for each `group` of neighbours in a row; symmetric about zero, or with a zero-point.

    Raises QuantizationError for bits or a group that do not exist.
    """

    bits: int = 8
    granularity: Granularity = "channel"
    symmetric: bool = True
    group: int = GROUP

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise QuantizationError(f"{self.bits} bits: give 4 or 8")
        if self.granularity not in ("tensor", "channel", "group"):
            raise QuantizationError(f"granularity {self.granularity!r}: tensor, channel or group")
        if self.group < 1:
            raise QuantizationError(f"group {self.group}: give 1 value or more")

    @property
    def name(self) -> str:
        kind = "absmax" if self.symmetric else "zero-point"
        size = f" {self.group}" if self.granularity == "group" else ""
        return f"int{self.bits} {kind}, per {self.granularity}{size}"

    @property
    def levels(self) -> tuple[int, int]:
        """The least and the largest code; symmetric ones leave the lowest out at 8 bits."""
        half = 2 ** (self.bits - 1)
        return (1 - half, half - 1) if self.symmetric else (-half, half - 1)

    def nbytes(self, rows: int, columns: int) -> int:
        """Bytes of a matrix's codes, float32 scales and int8 zero-points, rows in whole bytes."""
        groups = rows * -(-columns // self.group)
        shared = {"tensor": 1, "channel": rows, "group": groups}[self.granularity]
        return rows * -(-columns * self.bits // 8) + shared * (4 if self.symmetric else 5)


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """What quantizing did to a tensor; SNR in dB is infinite where nothing was lost."""

    mse: float
    largest: float
    snr_db: float
    compression: float  # bytes of the tensor over bytes held now


_GRANULARITIES: tuple[Granularity, ...] = ("tensor", "channel", "group")
SCHEMES = tuple(
    Scheme(bits, granularity, symmetric)
    for bits in (8, 4)
    for granularity in _GRANULARITIES
    for symmetric in (True, False)
)
# Those that the engine serves in.
INT8 = Scheme(8, "channel")
INT4 = Scheme(4, "group")
