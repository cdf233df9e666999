"""llama.cpp through llama-cpp-python's low-level API, as a user's own loop would drive it."""

import ctypes
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.process import WARM_STEPS, PeerError, Turn

UBATCH = 512  # prompt tokens at once: its default
# Tries of a way to attend, and their steps. The quickest try counts, others may be disturbed.
TRIALS = 6
TRIAL_STEPS = 12
MOST_UNIFIED = 4096  # tokens of all prompts
_HELD: list[Any] = []  # what C calls
# (flash attention, one KV buffer for all sequences)
Layout = tuple[bool, bool]


@cache
def quiet_library() -> Any:
    """llama_cpp, its log thrown away but for errors."""
    library = import_module("llama_cpp")

    def log(level: int, text: bytes, _: Any) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            sys.stderr.write(text.decode(errors="replace"))

    _HELD.append(library.llama_log_callback(log))
    library.llama_log_set(_HELD[-1], ctypes.c_void_p(0))
    return library


class Llama:
    """`files` are GGUF files by format; each is loaded once, and has one context at a time."""

    def __init__(self, files: dict[str, str], threads: int, kv: str) -> None:
        self._kv = kv
        self._library = quiet_library()
        self._library.llama_backend_init()
        self._threads = threads
        self._models = {name: self._load(file) for name, file in files.items()}
        self._contexts: dict[str, _Context] = {}
        self._layout: Layout | None = None

    def versions(self) -> dict[str, str]:
        return {
            "llama_cpp": str(self._library.__version__),
            "llama.cpp": self._library.llama_print_system_info().decode().strip(),
        }

    def open(self, weights: str, prompts: Sequence[Sequence[int]], steps: int) -> str:
        """Run the prompts. The first call of several tries the ways to attend, and the others
        take over the fastest: it does not hang on the weights. Returns it in words."""
        if self._layout is None:
            self._layout, context = self._fastest(weights, prompts, steps)
        else:
            context = self._context(weights, prompts, steps, self._layout)
        self._contexts[weights] = context
        flash, unified = self._layout
        words = "flash attention" if flash else "no flash attention"
        return f"{words}, {'one KV buffer' if unified else 'a KV buffer a sequence'}"

    def turn(self, weights: str) -> Turn:
        context = self._contexts[weights]
        return context.decode(context.steps)

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()
        self._layout = None

    def _load(self, file: str) -> Any:
        model = self._library.llama_model_load_from_file(
            file.encode(), self._library.llama_model_default_params()
        )
        if not model:
            raise PeerError(f"llama.cpp cannot load {file}")
        return model

    def _context(
        self, weights: str, prompts: Sequence[Sequence[int]], steps: int, layout: Layout
    ) -> "_Context":
        return _Context(
            self._library, self._models[weights], self._threads, self._kv, prompts, steps, layout
        )

    def _fastest(
        self, weights: str, prompts: Sequence[Sequence[int]], steps: int
    ) -> tuple[Layout, "_Context"]:
        """The best of them, and its context. They take turns here as well."""
        contexts = {
            layout: self._context(weights, prompts, steps, layout)
            for layout in _layouts(len(prompts), len(prompts[0]))
        }
        took = dict.fromkeys(contexts, float("inf"))
        for _ in range(TRIALS):
            for layout, context in contexts.items():
                took[layout] = min(took[layout], context.decode(TRIAL_STEPS).seconds)
        best = min(took, key=took.__getitem__)
        for layout, context in contexts.items():
            if layout != best:
                context.close()
        return best, contexts[best]


def _layouts(requests: int, context: int) -> list[Layout]:
    """Those worth a try. In one buffer each sequence looks through the others' cells as well: with
    few cells that may be quicker than a buffer for each, with many it cannot be."""
    one = [True] if requests == 1 or requests * context <= MOST_UNIFIED else []
    own = [False] if requests > 1 else []
    return [(flash, unified) for unified in one + own for flash in (True, False)]


class _Context:
    """A context in which the prompts have been run; each `decode` starts again behind them."""

    def __init__(
        self,
        library: Any,
        model: Any,
        threads: int,
        kv: str,
        prompts: Sequence[Sequence[int]],
        steps: int,
        layout: Layout,
    ) -> None:
        self._library = library
        self._count = len(prompts)
        self._length = len(prompts[0])
        self.steps = steps
        self._vocab = int(library.llama_vocab_n_tokens(library.llama_model_get_vocab(model)))
        params = library.llama_context_default_params()
        params.n_ctx = self._count * (self._length + WARM_STEPS + max(steps, TRIAL_STEPS) + 1)
        # It rounds up a sequence's share by itself.
        params.n_seq_max = self._count
        params.n_batch = params.n_ubatch = UBATCH
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type, params.kv_unified = int(layout[0]), layout[1]
        if kv == "f32":
            params.type_k = params.type_v = 0  # GGML_TYPE_F32
        self._context = library.llama_init_from_model(model, params)
        if not self._context:
            raise PeerError("llama.cpp has no context for this")
        self._memory = library.llama_get_memory(self._context)
        self._batch = library.llama_batch_init(UBATCH, 0, 1)
        batch = self._batch
        self._tokens = np.ctypeslib.as_array(batch.token, (UBATCH,))
        self._positions = np.ctypeslib.as_array(batch.pos, (UBATCH,))
        self._wanted = np.ctypeslib.as_array(batch.logits, (UBATCH,))
        np.ctypeslib.as_array(batch.n_seq_id, (UBATCH,))[:] = 1
        self._first = np.array(
            [self._prefill(number, prompt) for number, prompt in enumerate(prompts)]
        )

    def close(self) -> None:
        self._library.llama_batch_free(self._batch)
        self._library.llama_free(self._context)

    def decode(self, steps: int) -> Turn:
        """One token a request and step, the likeliest one; timed with all that this takes."""
        library, context, batch, count = self._library, self._context, self._batch, self._count
        for number in range(count):
            library.llama_memory_seq_rm(self._memory, number, self._length, -1)
            batch.seq_id[number][0] = number
        batch.n_tokens = count
        self._wanted[:count] = 1
        tokens, positions = self._tokens[:count], self._positions[:count]
        positions[:] = self._length
        tokens[:] = self._first
        found = [int(tokens[0])]
        start = inside = 0.0
        for step in range(-WARM_STEPS, steps):
            if step == 0:
                inside, start = 0.0, time.perf_counter()
            called = time.perf_counter()
            self._run()
            logits = library.llama_get_logits(context)
            inside += time.perf_counter() - called
            tokens[:] = np.ctypeslib.as_array(logits, (count, self._vocab)).argmax(axis=1)
            positions += 1
            found.append(int(tokens[0]))
        seconds = time.perf_counter() - start
        return Turn(seconds, steps, count, tuple(found), kernel_seconds=inside)

    def _prefill(self, number: int, prompt: Sequence[int]) -> int:
        """The first token after a prompt."""
        batch = self._batch
        for start in range(0, len(prompt), UBATCH):
            part = prompt[start : start + UBATCH]
            batch.n_tokens = len(part)
            self._tokens[: len(part)] = part
            self._positions[: len(part)] = range(start, start + len(part))
            self._wanted[: len(part)] = 0
            self._wanted[len(part) - 1] = 1
            for index in range(len(part)):
                batch.seq_id[index][0] = number
            self._run()
        logits: NDArray[np.float32] = np.ctypeslib.as_array(
            self._library.llama_get_logits(self._context), (1, self._vocab)
        )
        return int(logits.argmax())

    def _run(self) -> None:
        if self._library.llama_decode(self._context, self._batch):
            raise PeerError("llama_decode failed")
