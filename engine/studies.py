"""What the workshop tells of a model's weights: frozen plain values, all of them measured."""

from dataclasses import dataclass

from engine.footprint import Footprint
from engine.scheme import GROUP, SCHEMES, ErrorFigures

# The codes that were fitted to real inputs and lie beside the model, where they do.
CALIBRATED = f"int4 gptq, per group {GROUP}"
FIRST_LAYER, FIRST_SCHEME = "layers.0.qkv", SCHEMES[0].name
BINS = 240
SIDE = 96


@dataclass(frozen=True, slots=True)
class Inventory:
    """What can be studied: linear layers as (name, (out, in)) in the order that they run in, names
    of schemes, and the bytes of the model and of others by format."""

    model: str
    layers: tuple[tuple[str, tuple[int, int]], ...]
    schemes: tuple[str, ...]
    footprints: tuple[Footprint, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie in each of BINS equal parts of [-reach, reach]."""

    reach: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerStudy:
    """All weights of one layer before and after a scheme.

    Bytes are those of storages, float32 before. `codes` counts the different codes in use of the
    `levels` that there are, `outputs` the different weights that they stand for. `before` and
    `after` have one reach, `off` counts the errors (after - before). `pairs` holds
    (column, row, count) of the weights that lie in a cell of a SIDE by SIDE grid over both reaches:
    columns by their value before, rows by the one after, both from the least up.
    """

    layer: str
    scheme: str
    shape: tuple[int, int]
    figures: ErrorFigures
    bytes_before: int
    bytes_after: int
    codes: int
    levels: int
    outputs: int
    before: Histogram
    after: Histogram
    off: Histogram
    pairs: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer's line in the table of a scheme; `figures` None where it cannot be quantized, and
    `reason` says why."""

    layer: str
    scheme: str
    figures: ErrorFigures | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StudyFailed:
    """There is no study of this layer in this scheme, for this reason, in one line."""

    layer: str
    scheme: str
    reason: str


StudyNews = Inventory | LayerStudy | LayerRow | StudyFailed
