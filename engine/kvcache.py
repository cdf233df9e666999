"""The KV cache's tensors, and the torch kernels' way into them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.kernels.attention import attend_pages, padded_groups, tile_pages
from engine.plan import Row
from engine.spec import ModelSpec


class KVCache:
    """Keys and values of all layers, in pages: [layers, 2 * kv_heads, pages, page_size, head]."""

    def __init__(
        self, spec: ModelSpec, pages: int, page_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.page_size = page_size
        self.data = torch.zeros(
            (spec.layers, 2 * spec.kv_heads, pages, page_size, spec.head_size),
            dtype=dtype,
            device=device,
        )

    @staticmethod
    def page_bytes(spec: ModelSpec, page_size: int, dtype: torch.dtype) -> int:
        per_token = spec.layers * 2 * spec.kv_heads * spec.head_size
        return per_token * page_size * torch.empty(0, dtype=dtype).element_size()


class PagedAttention:
    """One step's way into the pages: where its rows write and what each of them reads."""

    def __init__(self, cache: KVCache, rows: Sequence[Row], groups: int) -> None:
        self._cache = cache
        self._groups = groups
        device = cache.data.device
        size = cache.page_size
        slots = [
            row.pages[position // size] * size + position % size
            for row in rows
            for position in range(row.start, row.end)
        ]
        self._slots = torch.tensor(slots, device=device)
        # Rows of like length are attended together, all decodes in a call or two: contexts are
        # padded to the longest of them, so one twice as long goes apart.
        self._batches: list[tuple[Tensor, int, Tensor, Tensor]] = []
        offsets: dict[tuple[int, int], list[tuple[Row, int]]] = {}
        first = 0
        for row in rows:
            tiles = -(-row.end // (tile_pages(size) * size))
            offsets.setdefault((len(row.tokens), tiles.bit_length()), []).append((row, first))
            first += len(row.tokens)
        for (new, _), members in offsets.items():
            index = [at + i for _, at in members for i in range(new)]
            tables = _pad_tables([row for row, _ in members], size)
            starts = [row.start for row, _ in members]
            self._batches.append(
                (
                    torch.tensor(index, device=device),
                    new,
                    torch.tensor(tables, device=device),
                    torch.tensor(starts, device=device),
                )
            )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        data = self._cache.data[layer]
        kv = torch.cat((k, v), 1).transpose(0, 1)
        data.view(data.shape[0], -1, data.shape[-1]).index_copy_(1, self._slots, kv)
        heads = k.shape[1]
        q = q.unflatten(1, (heads, self._groups))
        padding = padded_groups(self._groups) - self._groups
        if padding:
            q = torch.nn.functional.pad(q, (0, 0, 0, padding))
        out = torch.empty_like(q)
        for index, new, tables, starts in self._batches:
            batch = q[index].unflatten(0, (-1, new))
            out[index] = attend_pages(batch, data, tables, starts).flatten(0, 1)
        return out[:, :, : self._groups].flatten(1, 2)


def _pad_tables(rows: Sequence[Row], page_size: int) -> list[list[int]]:
    """Page tables up to each row's last token, padded with page 0 to one number of tiles."""
    used = [-(-row.end // page_size) for row in rows]
    tile = tile_pages(page_size)
    width = -(-max(used) // tile) * tile
    return [
        [*row.pages[:count], *[0] * (width - count)] for row, count in zip(rows, used, strict=True)
    ]
