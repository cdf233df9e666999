"""The KV cache's tensors, and the torch kernels' way into them."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.kernels.attention import attend_pages, padded_groups, tile_pages
from engine.linear import quantize_rows
from engine.memory import zeros
from engine.plan import Row
from engine.spec import ModelSpec


class PageMover(Protocol):
    """What moves pages faster than torch, in one pass over them."""

    def take(self, into: "KVCache", other: "KVCache", pages: Sequence[int]) -> None:
        """As `into.take(other, pages)` in torch, to the bit; there is a page at least."""
        ...


class KVCache:
    """Keys and values of all layers in pages, in the model's own dtype or as int8.

    `data` is [layers, 2 * kv_heads, pages, page_size, head]: a layer's keys of all heads, then its
    values. As int8 every token has a scale for each head, in `scale` [layers, 2 * kv_heads, pages,
    page_size], float32; else that is None. With a `mover`, pages of other caches are taken by it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        pages: int,
        page_size: int,
        dtype: torch.dtype,
        device: torch.device,
        kv_dtype: str = "fp32",
        mover: PageMover | None = None,
    ) -> None:
        shape = (spec.layers, 2 * spec.kv_heads, pages, page_size, spec.head_size)
        self.scale: Tensor | None = None
        if kv_dtype == "int8":
            self.data = _zeros(shape, torch.int8, device)
            self.scale = _zeros(shape[:-1], torch.float32, device)
        else:
            self.data = _zeros(shape, dtype, device)
        self._dtype = dtype
        self._mover = mover

    @staticmethod
    def page_bytes(spec: ModelSpec, page_size: int, dtype: torch.dtype, kv_dtype: str) -> int:
        """Bytes of a page over all layers, scales included."""
        width = dtype.itemsize
        vector = spec.head_size + 4 if kv_dtype == "int8" else spec.head_size * width
        return spec.layers * 2 * spec.kv_heads * page_size * vector

    def write(self, layer: int, slots: Tensor, kv: Tensor) -> None:
        """kv [2 * kv_heads, tokens, head] into slots int64 [tokens], counted over all pages."""
        data = self.data[layer]
        flat = data.view(data.shape[0], -1, data.shape[-1])
        if self.scale is None:
            flat.index_copy_(1, slots, kv)
            return
        codes, scales = quantize_rows(kv)
        flat.index_copy_(1, slots, codes)
        scale = self.scale[layer]
        scale.view(scale.shape[0], -1).index_copy_(1, slots, scales[..., 0].to(torch.float32))

    def read(self, layer: int, pages: Tensor) -> Tensor:
        """Floats [2 * kv_heads, len(pages), page_size, head]."""
        found = self.data[layer].index_select(1, pages)
        if self.scale is None:
            return found
        scales = self.scale[layer].index_select(1, pages)[..., None]
        return found.to(self._dtype) * scales.to(self._dtype)

    def take(self, other: "KVCache", pages: list[int]) -> None:
        """Fill pages 0, 1, ... with these pages of another cache, in this one's format."""
        if not pages:
            return
        if self._mover is not None:
            self._mover.take(self, other, pages)
            return
        index = torch.tensor(pages, device=self.data.device)
        for layer in range(len(self.data)):
            kv = other.read(layer, index).flatten(1, 2)
            self.write(layer, torch.arange(kv.shape[1], device=self.data.device), kv)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return zeros(shape, dtype)
    return torch.zeros(shape, dtype=dtype, device=device)


class PagedAttention:
    """One step's way into the pages: where its rows write and what each of them reads."""

    def __init__(self, cache: KVCache, rows: Sequence[Row], groups: int) -> None:
        self._cache = cache
        self._groups = groups
        device = cache.data.device
        size = cache.data.shape[3]
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
        self._cache.write(layer, self._slots, torch.cat((k, v), 1).transpose(0, 1))
        heads = k.shape[1]
        q = q.unflatten(1, (heads, self._groups))
        padding = padded_groups(self._groups) - self._groups
        if padding:
            q = torch.nn.functional.pad(q, (0, 0, 0, padding))
        out = torch.empty_like(q)
        for index, new, tables, starts in self._batches:
            batch = q[index].unflatten(0, (-1, new))
            context = self._cache.read(layer, tables.reshape(-1))
            out[index] = attend_pages(batch, context, starts).flatten(0, 1)
        return out[:, :, : self._groups].flatten(1, 2)


def _pad_tables(rows: Sequence[Row], page_size: int) -> list[list[int]]:
    """Page tables up to each row's last token, padded with page 0 to one number of tiles."""
    used = [-(-row.end // page_size) for row in rows]
    tile = tile_pages(page_size)
    width = -(-max(used) // tile) * tile
    return [
        [*row.pages[:count], *[0] * (width - count)] for row, count in zip(rows, used, strict=True)
    ]
