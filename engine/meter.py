"""What fewer bits cost, measured while they serve: fp32 scores a sample of the steps again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.config import Knobs
from engine.divergence import divergence
from engine.formats import Formats
from engine.kvcache import KVCache
from engine.pages import pages_for
from engine.plan import Row, StepPlan
from engine.stats import QualitySample

# Tokens of one request that are scored together: a pass through fp32 weights costs them all
# little more than one.
WINDOW = 32
# The most of the engine's time that the meter may take in the long run, and what it waits at first
# or after a failure, in seconds of steps.
SHARE = 0.05
FIRST_REST = 0.5


class Meter:
    """Watches one request for WINDOW steps, then another: round the running ones.

    The fp32 model is run over the watched tokens alone. Keys and values before them are taken as
    they were served: to compute them anew would cost a whole prefill, and moves the chief's KL by
    less than a tenth for int8 and int4 weights. What kv_dtype=int8 costs by itself is therefore
    seen only in part.
    """

    def __init__(self, formats: Formats, make_cache: Callable[[int], KVCache]) -> None:
        """`make_cache` gives an empty fp32 cache of so many pages."""
        self._formats = formats
        self._make_cache = make_cache
        self._rest = FIRST_REST  # seconds of steps that go by unwatched
        self._turn = -1
        self._begin()

    def forget(self, id: str) -> None:
        """The request has ended; another may come by its name."""
        if id == self._id:
            self._begin()

    def _begin(self) -> None:
        self._id = ""
        self._form = Knobs()
        self._start = 0
        self._tokens: list[int] = []
        self._logits: list[Tensor] = []
        self._pages: Sequence[int] = ()

    def note(
        self,
        plan: StepPlan,
        logits: Tensor,
        tokens: Sequence[tuple[int, ...]],
        seconds: float,
    ) -> None:
        """A step took so long, and gave logits [places that are sampled, vocab], from which came
        the `tokens` of each row."""
        self._rest -= seconds
        sampled = [
            (row, found) for row, found in zip(plan.rows, tokens, strict=True) if row.sampling
        ]
        if self._rest > 0 or not sampled or not self._watches(plan.knobs):
            return
        form = _form(plan.knobs)
        place = next((i for i, (row, _) in enumerate(sampled) if row.id == self._id), None)
        if (
            place is None
            or form != self._form
            or sampled[place][0].length - 1 != self._start + len(self._tokens)
        ):
            self._begin()
            self._turn += 1
            place = self._turn % len(sampled)
            row = sampled[place][0]
            self._id, self._form, self._start = row.id, form, row.length - 1
        row, found = sampled[place]
        first = sum(row.drafts + 1 for row, _ in sampled[:place])
        # What was served: the last token before, and the drafts that were kept.
        served = row.tokens[len(row.tokens) - row.drafts - 1 :][: len(found)]
        room = WINDOW - len(self._tokens)
        self._tokens += served[:room]
        # A copy: rows of a step's logits would keep the whole.
        self._logits += logits[first : first + len(served)][:room].clone()
        self._pages = row.pages

    def _watches(self, knobs: Knobs) -> bool:
        """Whether there is something to measure, and something to measure it by."""
        lossy = (knobs.weights, knobs.kv_dtype) != ("fp32", "fp32")
        return knobs.quality == "on" and lossy and self._formats.ready(reference(knobs))

    @torch.inference_mode()
    def score(self, cache: KVCache) -> QualitySample | None:
        """What the watched tokens come to, once there are enough; `cache` is what they were
        served from, and still holds them."""
        if len(self._tokens) < WINDOW:
            return None
        begun = time.perf_counter()
        try:
            sample = self._score(cache)
        except (MemoryError, RuntimeError):  # the race does not end for a measurement
            sample = None
        self._begin()
        self._rest = FIRST_REST if sample is None else (time.perf_counter() - begun) / SHARE
        return sample

    def _score(self, cache: KVCache) -> QualitySample:
        own = self._make_cache(len(self._pages))
        own.take(cache, list(self._pages[: pages_for(self._start, cache.data.shape[3])]))
        pages = tuple(range(len(self._pages)))
        row = Row(self._id, self._start, tuple(self._tokens), pages, None)
        exact = self._formats.get(reference(self._form))
        expected = exact.run(own, [row], range(WINDOW)).double().log_softmax(-1)
        found = divergence(expected, torch.stack(self._logits).double().log_softmax(-1))
        return QualitySample(
            tokens=WINDOW,
            kl=float(found.kl.sum()),
            top1=int(found.top1.sum()),
            clear=int(found.clear.sum()),
            clear_top1=int(found.clear_top1.sum()),
        )


def reference(knobs: Knobs) -> Knobs:
    """Knobs of the decoder that served ones are measured by."""
    return replace(_form(knobs), weights="fp32")


def _form(knobs: Knobs) -> Knobs:
    """What makes logits what they are, of these knobs."""
    return Knobs(weights=knobs.weights, kv_dtype=knobs.kv_dtype, kernels=knobs.kernels)
