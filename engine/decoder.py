"""What runs tokens through a model: one protocol over weight formats and kinds of kernels."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from engine.kvcache import KVCache
from engine.plan import Row
from engine.sampling import SampleSpec


class Decoder(Protocol):
    """A model with its weights in one format, run by one kind of kernels.

    `nbytes` are those of the storages of its weights, the embedding's table included; `read_bytes`
    those that a pass reads: of that table only some rows.
    """

    nbytes: int
    read_bytes: int

    def run(self, cache: KVCache, rows: Sequence[Row], wanted: Sequence[int]) -> Tensor:
        """Run the rows' tokens, writing their keys and values into the rows' pages.

        Returns float [len(wanted), vocab]: the logits after those tokens, which are counted over
        all rows and ascend.
        """
        ...

    def sample(self, logits: Tensor, specs: Sequence[SampleSpec]) -> list[int]:
        """A token id for every row of `logits` [rows, vocab]: see engine/sampling.py."""
        ...
