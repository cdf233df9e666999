"""Attention of new tokens over paged keys and values: the torch reference."""

import math

import torch
from torch import Tensor

# Contexts are read in tiles of about this many slots. A tile has the same shape whatever the
# batch, and tiles are summed in order, so that a row's result depends on its own context alone.
TILE_SLOTS = 128
# BLAS computes a row alike in any matrix whose row count is a multiple of four.
ROW_MULTIPLE = 4
# Queries of one request that are scored at once, to bound the memory of the scores.
QUERY_TILE = 256


def tile_pages(page_size: int) -> int:
    """Pages to a tile."""
    return max(1, TILE_SLOTS // page_size)


def padded_groups(groups: int) -> int:
    """Query heads to a KV head, rounded up to what keeps rows independent."""
    return -(-groups // ROW_MULTIPLE) * ROW_MULTIPLE


def attend_pages(q: Tensor, context: Tensor, starts: Tensor) -> Tensor:
    """Causal attention of `new` tokens in each of `rows` requests.

    q       float [rows, new, kv_heads, groups, head], groups a multiple of ROW_MULTIPLE
    context float [2 * kv_heads, rows * pages, page_size, head]: keys of all heads, then values, of
            each request's pages in order; as many for each, a multiple of tile_pages
    starts  int64 [rows]: position of each request's first new token
    returns float like q
    """
    rows, new = q.shape[:2]
    size = context.shape[2]
    out = torch.empty_like(q)
    for first in range(0, new, QUERY_TILE):
        last = min(first + QUERY_TILE, new)
        out[:, first:last] = _attend(
            q[:, first:last],
            context.view(context.shape[0], rows, -1, q.shape[-1]),
            starts + first,
            tile_pages(size) * size,
        )
    return out


def _attend(q: Tensor, context: Tensor, starts: Tensor, tile: int) -> Tensor:
    rows, new, heads, groups, size = q.shape
    slots = context.shape[2]
    keys = context[:heads].reshape(heads * rows, slots, size)
    values = context[heads:].reshape(heads * rows * (slots // tile), tile, size)
    query = q.permute(2, 0, 1, 3, 4).reshape(heads * rows, new * groups, size)
    scores = torch.bmm(query, keys.transpose(1, 2)).mul_(1 / math.sqrt(size))
    last = starts[:, None] + torch.arange(new, device=q.device)
    hidden = torch.arange(slots, device=q.device) > last[:, :, None]
    scores.view(heads, rows, new, groups, slots).masked_fill_(
        hidden[None, :, :, None, :], float("-inf")
    )
    weights = torch.softmax(scores, -1)
    tiles = weights.view(heads * rows, new * groups, -1, tile).transpose(1, 2)
    parts = torch.bmm(tiles.reshape(-1, new * groups, tile), values)
    parts = parts.view(heads * rows, -1, new * groups, size)
    total = parts[:, 0]
    for part in range(1, parts.shape[1]):
        total = total + parts[:, part]
    return total.view(heads, rows, new, groups, size).permute(1, 2, 0, 3, 4)
