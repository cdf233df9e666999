"""What runs tokens through a model: one protocol over weight formats and kinds of kernels."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.kvcache import KVCache
from engine.plan import Row
from engine.sampling import SampleSpec, Stream


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

    def draft(self, cache: KVCache, rows: Sequence[Row]) -> list[list[int]]:
        """Run the rows, and go on from those with `sampling` for as many tokens as each has `room`,
        every one sampled from what this model makes of those before it.

        The last one's keys and values are not written.
        """
        ...


def draft_in_turn(
    decoder: Decoder, cache: KVCache, rows: Sequence[Row], stream: Stream = Stream.TOKEN
) -> tuple[list[list[int]], Tensor | None]:
    """What `Decoder.draft` gives, by any decoder, and the logits [all drafts, vocab] behind it,
    row by row.
    """
    drafts: list[list[int]] = []
    logits: list[list[Tensor]] = []
    wanted, last = [], -1
    for row in rows:
        last += len(row.tokens)
        if row.sampling is not None:
            wanted.append(last)
            drafts.append([])
            logits.append([])
    own = [row for row in rows if row.sampling is not None]
    found = decoder.run(cache, rows, wanted)
    active = list(range(len(own)))
    while active:
        specs = [
            SampleSpec(sampling, own[i].end + len(drafts[i]), stream)
            for i in active
            if (sampling := own[i].sampling) is not None
        ]
        for place, (i, token) in enumerate(zip(active, decoder.sample(found, specs), strict=True)):
            drafts[i].append(token)
            logits[i].append(found[place])
        active = [i for i in active if len(drafts[i]) < own[i].room]
        if active:
            following = []
            for i in active:
                place = own[i].end + len(drafts[i]) - 1
                following.append(Row(own[i].id, place, (drafts[i][-1],), own[i].pages, None))
            found = decoder.run(cache, following, range(len(following)))
    every = [row for of_one in logits for row in of_one]
    return drafts, torch.stack(every) if every else None
