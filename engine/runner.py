"""From a plan to sampled tokens: the only place where tensors change."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.kernels.attention import attend_pages, padded_groups, tile_pages
from engine.model import Model
from engine.plan import Row, StepPlan, StepResult
from engine.sampling import SampleSpec, sample

# Rows run together up to this many tokens; more are run in turn, to bound memory.
MOST_TOKENS = 2048


class KVCache:
    """Keys and values of all layers, in pages: [layers, 2 * kv_heads, pages, page_size, head]."""

    def __init__(self, model: Model, pages: int, page_size: int) -> None:
        spec = model.spec
        self.page_size = page_size
        self.data = torch.zeros(
            (spec.layers, 2 * spec.kv_heads, pages, page_size, spec.head_size),
            dtype=model.dtype,
            device=model.device,
        )

    @staticmethod
    def page_bytes(model: Model, page_size: int) -> int:
        spec = model.spec
        per_token = spec.layers * 2 * spec.kv_heads * spec.head_size
        return per_token * page_size * torch.empty(0, dtype=model.dtype).element_size()


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


class Runner:
    """Runs plans on a model and its KV cache."""

    def __init__(self, model: Model, cache: KVCache) -> None:
        self.model = model
        self.cache = cache

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepResult:
        start = time.perf_counter()
        hidden = [self._last_hidden(rows) for rows in _split(plan.rows)]
        specs = [SampleSpec(row.sampling, row.end) for row in plan.rows if row.sampling is not None]
        logits = self.model.logits(torch.cat(hidden)) if specs else None
        middle = time.perf_counter()
        tokens = iter(sample(logits, specs) if logits is not None else [])
        sampled = tuple(None if row.sampling is None else next(tokens) for row in plan.rows)
        end = time.perf_counter()
        return StepResult(sampled, (middle - start) * 1e3, (end - middle) * 1e3)

    def _last_hidden(self, rows: Sequence[Row]) -> Tensor:
        """Hidden states of the last token of each row that wants a sample."""
        hidden = self.forward(rows)
        wanted, end = [], 0
        for row in rows:
            end += len(row.tokens)
            if row.sampling is not None:
                wanted.append(end - 1)
        return hidden[torch.tensor(wanted, dtype=torch.int64, device=hidden.device)]

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> Tensor:
        """Run the rows' tokens, writing their keys and values; hidden states of all of them."""
        device = self.cache.data.device
        tokens = torch.tensor([t for row in rows for t in row.tokens], device=device)
        positions = torch.tensor(
            [p for row in rows for p in range(row.start, row.end)], device=device
        )
        attention = PagedAttention(self.cache, rows, self.model.spec.groups)
        return self.model.forward(tokens, positions, attention)


def _split(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in order, in parts of at most MOST_TOKENS tokens or of one row."""
    parts: list[list[Row]] = []
    count = MOST_TOKENS
    for row in rows:
        if count + len(row.tokens) > MOST_TOKENS:
            parts.append([])
            count = 0
        parts[-1].append(row)
        count += len(row.tokens)
    return parts
