"""How much arithmetic a pass is: its matrix products, a multiply-add counted as two.

Norms, biases, rotation and softmax are left out, as is customary: they are a percent or two.
"""

from collections.abc import Sequence
from functools import cache
from math import prod

from engine.plan import Row
from engine.spec import ModelSpec


def pass_flops(spec: ModelSpec, tokens: int, wanted: int, seen: int) -> int:
    """Of `tokens` tokens, `wanted` of which have logits made of them; `seen` places are attended
    to, summed over all tokens."""
    layers, head = _weights(spec)
    # For each place seen a product with its key and one with its value.
    attention = 2 * spec.layers * spec.heads * spec.head_size * seen
    return 2 * (layers * tokens + head * wanted + attention)


def step_flops(spec: ModelSpec, rows: Sequence[Row]) -> int:
    """Of a step that runs these rows: each token attends to itself and all before it."""
    return pass_flops(
        spec,
        tokens=sum(len(row.tokens) for row in rows),
        wanted=sum(row.drafts + 1 for row in rows if row.sampling is not None),
        seen=sum(seen(row.start, row.end) for row in rows),
    )


def seen(start: int, end: int) -> int:
    """Places that the tokens from `start` up to `end` attend to."""
    return (end * (end + 1) - start * (start + 1)) // 2


@cache
def _weights(spec: ModelSpec) -> tuple[int, int]:
    """Numbers in the matrices of all layers, and in the head."""
    *layers, head = (prod(shape) for shape in spec.linears.values())
    return sum(layers), head
