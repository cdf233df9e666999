"""From a plan to sampled tokens."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.decoder import Decoder
from engine.kvcache import KVCache
from engine.meter import Meter
from engine.plan import Row, StepPlan, StepResult
from engine.verify import RULES

# Rows run together up to this many tokens; more are run in turn, to bound memory.
MOST_TOKENS = 2048


class Runner:
    """Runs plans over a KV cache, by whichever decoder is given; a meter sees the logits."""

    def __init__(self, cache: KVCache, meter: Meter) -> None:
        self.cache = cache
        self._meter = meter

    @torch.inference_mode()
    def run(self, decoder: Decoder, plan: StepPlan, drafted: Tensor | None = None) -> StepResult:
        """`drafted` are the logits [drafts of all rows, vocab] that drafts were sampled from, where
        the rule of acceptance asks for them and they were sampled."""
        start = time.perf_counter()
        found = [decoder.run(self.cache, part, _last(part)) for part in _split(plan.rows)]
        logits = torch.cat(found) if len(found) > 1 else found[0]
        middle = time.perf_counter()
        rows = [row for row in plan.rows if row.sampling is not None]
        judged = iter(RULES[plan.knobs.acceptance](decoder, rows, logits, drafted))
        tokens = tuple(() if row.sampling is None else next(judged) for row in plan.rows)
        end = time.perf_counter()
        self._meter.note(plan, logits, tokens, end - start)
        return StepResult(tokens, (middle - start) * 1e3, (end - middle) * 1e3)


def passes(rows: Sequence[Row]) -> int:
    """How often a step with these rows goes through the weights."""
    return len(_split(rows))


def _last(rows: Sequence[Row]) -> list[int]:
    """Where the last token of each row that wants a sample and its drafts are, among the tokens of
    all rows."""
    wanted: list[int] = []
    end = 0
    for row in rows:
        end += len(row.tokens)
        if row.sampling is not None:
            wanted += range(end - 1 - row.drafts, end)
    return wanted


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
