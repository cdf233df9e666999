"""This engine as the benchmark drives it: one Engine a weight format, whole steps timed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.peers.process import WARM_STEPS, PeerError, Turn
from engine import Engine, EngineConfig, Knobs, Request, Sampling
from engine.bandwidth import read_bandwidth
from engine.kernels.native import NativeKernels
from engine.kvcache import KVCache
from engine.pages import pages_for
from engine.spec import read_spec

STAGES = ("plan", "forward", "sample", "commit")


class Ours:
    def __init__(self, model: str, threads: int) -> None:
        self._model = model
        self._threads = threads
        self._engines: dict[str, Engine] = {}
        self._prompts: list[list[int]] = []
        self._steps = 0
        self._turns = 0

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def bandwidth(self) -> float:
        torch.set_num_threads(self._threads)
        return read_bandwidth(torch.device("cpu"))

    def open(self, weights: str, prompts: Sequence[Sequence[int]], steps: int) -> str:
        """Load the model and run the prompts, whose pages stay in the prefix cache for the turns.

        The requests' prompts differ, so nothing is shared between them.
        """
        self._prompts = [list(prompt) for prompt in prompts]
        self._steps = steps
        config = EngineConfig(
            model=self._model,
            kv_memory_mib=self._kv_bytes() / 2**20,
            threads=self._threads,
        )
        knobs = Knobs(weights=weights, prefill_chunk=0, max_batch=len(prompts), quality="off")
        engine = self._engines[weights] = Engine.load(config, knobs)
        if engine.info.why_torch:
            raise PeerError(f"no native kernels: {engine.info.why_torch}")
        self.turn(weights)
        return ""

    def turn(self, weights: str) -> Turn:
        engine = self._engines[weights]
        self._turns += 1
        # One token comes with the prompt; one more is left over, so that no timed step ends one.
        sampling = Sampling(WARM_STEPS + self._steps + 2, temperature=0.0, ignore_eos=True)
        names = [f"{self._turns}-{number}" for number in range(len(self._prompts))]
        for name, prompt in zip(names, self._prompts, strict=True):
            engine.submit(Request(name, tuple(prompt), sampling))
        while any(engine.request(name).first_token is None for name in names):
            engine.step()
        for _ in range(WARM_STEPS):
            engine.step()
        with _kernel_clock() as inside:
            start = time.perf_counter()
            stats = [engine.step() for _ in range(self._steps)]
            seconds = time.perf_counter() - start
        if any(step.decode_rows != len(names) or step.prefill_tokens for step in stats):
            raise PeerError("not all requests were decoding in every timed step")
        if len(inside) != self._steps:
            raise PeerError("steps did not go through NativeKernels.forward")
        while engine.has_work:
            engine.step()
        tokens = tuple(engine.tokens(names[0])[:-1])
        for name in names:
            engine.discard(name)
        return Turn(
            seconds,
            self._steps,
            len(names),
            tokens,
            kernel_seconds=sum(inside),
            stages={
                stage: sum(getattr(step.ms, stage) for step in stats) / 1e3 for stage in STAGES
            },
            read_bytes=sum(step.weight_bytes + step.kv_bytes for step in stats),
        )

    def close(self) -> None:
        self._engines.clear()

    def _kv_bytes(self) -> int:
        """Room for the requests, and for what the turn before left in the prefix cache."""
        size = EngineConfig(self._model).page_size
        spec = read_spec(Path(self._model))
        new = pages_for(WARM_STEPS + self._steps + 2, size) + 1
        pages = len(self._prompts) * (pages_for(len(self._prompts[0]), size) + 2 * new)
        return pages * KVCache.page_bytes(spec, size, torch.float32, "fp32")


@contextmanager
def _kernel_clock() -> Iterator[list[float]]:
    """Seconds of each forward pass in the native kernels: C, and the ctypes call itself."""
    inside: list[float] = []
    plain = NativeKernels.forward

    def timed(kernels: NativeKernels, *args: Any) -> None:
        start = time.perf_counter()
        plain(kernels, *args)
        inside.append(time.perf_counter() - start)

    with patch.object(NativeKernels, "forward", timed):
        yield inside
