"""transformers' own `generate`, in fp32."""

import time
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.process import WARM_STEPS, PeerError, Turn


class Transformers:
    def __init__(self, model: str, threads: int) -> None:
        torch.set_num_threads(threads)
        library = import_module("transformers")
        library.utils.logging.disable_progress_bar()
        self._library = library
        self._version = str(library.__version__)
        self._model: Any = library.AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.float32, local_files_only=True
        ).eval()
        # The model's own one would sample, and end requests: what it sets comes back otherwise.
        self._model.generation_config = library.GenerationConfig(
            do_sample=False, use_cache=True, pad_token_id=0
        )
        self._cache: Any = None
        self._prompts = torch.empty(0)
        self._steps = 0

    def versions(self) -> dict[str, str]:
        return {"transformers": self._version}

    def open(self, weights: str, prompts: Sequence[Sequence[int]], steps: int) -> str:
        """Run the prompts into a cache; turns go on from it."""
        self._prompts = torch.tensor([list(prompt) for prompt in prompts])
        self._steps = steps
        self._cache = self._library.DynamicCache(config=self._model.config)
        self._generate(1)
        return f"attention {self._model.config._attn_implementation}"

    def turn(self, weights: str) -> Turn:
        # All but the last token of the prompts is kept: generate wants one to go on from.
        self._cache.crop(self._prompts.shape[1] - 1 - self._cache.get_seq_length())
        clock = self._generate(1 + WARM_STEPS + self._steps)
        if len(clock.times) != 1 + WARM_STEPS + self._steps:
            raise PeerError(f"generate gave {len(clock.times)} tokens")
        seconds = clock.times[-1] - clock.times[-1 - self._steps]
        return Turn(seconds, self._steps, len(self._prompts), tuple(clock.tokens))

    def close(self) -> None:
        self._cache = None

    @torch.inference_mode()
    def _generate(self, tokens: int) -> "_Clock":
        clock = _Clock()
        with warnings.catch_warnings():
            # Of a later name for past_key_values, which earlier versions do not know.
            warnings.simplefilter("ignore", FutureWarning)
            self._model.generate(
                self._prompts,
                attention_mask=torch.ones_like(self._prompts),
                past_key_values=self._cache,
                max_new_tokens=tokens,
                streamer=clock,
            )
        return clock


class _Clock:
    """A streamer: when each token came, and those of the first request."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.tokens: list[int] = []
        self._begun = False

    def put(self, value: Tensor) -> None:
        if self._begun:  # the prompts come first
            self.times.append(time.perf_counter())
            self.tokens.append(int(value[0]))
        self._begun = True

    def end(self) -> None:
        pass
