"""The draft model: its weights, and keys and values in pages that it shares with the target.

A page holds the same tokens for both models, so tables, prefix hits and preemption are one and
the same for both, and a page's bytes are those of both.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Protocol

from engine.config import EngineConfig, EngineError, Knobs, ModelError
from engine.decoder import Decoder
from engine.formats import Formats
from engine.kernels.build import NativeUnavailableError
from engine.kernels.native import check_widths
from engine.kvcache import KVCache
from engine.pages import pages_for
from engine.spec import ModelSpec, read_spec
from engine.stats import DraftInfo


class Draft(Protocol):
    """A draft model, or none. Its weights are built when they are first prepared or asked for."""

    @property
    def cache(self) -> KVCache: ...

    def decoder(self, knobs: Knobs) -> Decoder: ...

    def ready(self, knobs: Knobs) -> bool:
        """Whether `decoder` would find it built."""
        ...

    def prepare(self, knobs: Knobs) -> None:
        """Build it; may run beside steps. Raises ModelError."""
        ...

    def page_bytes(self, kv_dtype: str) -> int:
        """Its share of a page."""
        ...

    def make_cache(self, pages: int, kv_dtype: str) -> KVCache | None:
        """An empty one."""
        ...

    def use(self, cache: KVCache | None) -> None:
        """Go on with this cache."""
        ...

    def info(self, knobs: Knobs) -> DraftInfo | None: ...


class NoDraft:
    """No draft model was given: nobody may ask for it."""

    @property
    def cache(self) -> KVCache:
        raise ModelError("there is no draft model")

    def decoder(self, knobs: Knobs) -> Decoder:
        raise ModelError("there is no draft model")

    def ready(self, knobs: Knobs) -> bool:
        return True

    def prepare(self, knobs: Knobs) -> None:
        return

    def page_bytes(self, kv_dtype: str) -> int:
        return 0

    def make_cache(self, pages: int, kv_dtype: str) -> None:
        return None

    def use(self, cache: KVCache | None) -> None:
        return

    def info(self, knobs: Knobs) -> None:
        return None


class DraftModel:
    """A model that drafts for another.

    Its weights are int8 on native kernels, which is where it is fastest, and fp32 on torch's: what
    it says is only proposed.
    """

    def __init__(self, config: EngineConfig, folder: str, target: Formats) -> None:
        """Looks at the folder, and reads no weights yet. Raises ModelError."""
        self._name = Path(folder).name
        self._config = replace(config, model=folder, draft=None, max_context=target.max_context)
        with _naming(folder):
            self._spec = read_spec(Path(folder))
        check_draft(Path(folder), self._spec, Path(config.model), target)
        self._dtype, self._device = target.dtype, target.device
        try:
            check_widths(self._spec, self._dtype)
            self._mover = target.native
        except NativeUnavailableError:
            self._mover = None
        self._lock = Lock()
        self._formats: Formats | None = None
        self._cache: KVCache | None = None

    @property
    def cache(self) -> KVCache:
        assert self._cache is not None
        return self._cache

    def decoder(self, knobs: Knobs) -> Decoder:
        formats = self._have(knobs)
        return formats.get(_form(formats.effective(knobs)))

    def ready(self, knobs: Knobs) -> bool:
        formats = self._formats
        return formats is not None and formats.ready(_form(formats.effective(knobs)))

    def prepare(self, knobs: Knobs) -> None:
        formats = self._have(knobs)
        formats.prepare(_form(formats.effective(knobs)))

    def _have(self, knobs: Knobs) -> Formats:
        """Read once, whichever threads ask for it."""
        with self._lock:
            if self._formats is None:
                with _naming(self._config.model):
                    self._formats = Formats(self._config, _form(knobs))
            return self._formats

    def page_bytes(self, kv_dtype: str) -> int:
        return KVCache.page_bytes(self._spec, self._config.page_size, self._dtype, kv_dtype)

    def make_cache(self, pages: int, kv_dtype: str) -> KVCache | None:
        size = self._config.page_size
        return KVCache(self._spec, pages, size, self._dtype, self._device, kv_dtype, self._mover)

    def use(self, cache: KVCache | None) -> None:
        self._cache = cache

    def info(self, knobs: Knobs) -> DraftInfo | None:
        formats = self._formats
        if formats is None or not self.ready(knobs):
            return DraftInfo(self._name, 0, self._spec.layers, "", 0)
        form = _form(formats.effective(knobs))
        nbytes = formats.get(form).nbytes
        return DraftInfo(self._name, formats.parameters, self._spec.layers, form.weights, nbytes)


@contextmanager
def _naming(folder: str) -> Iterator[None]:
    """Of two models, say which one an error is of."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"draft model {folder!r}: {error}") from None


def _form(knobs: Knobs) -> Knobs:
    """Of the target's knobs, what the draft model is built by."""
    weights = "int8" if knobs.kernels == "native" else "fp32"
    return Knobs(weights=weights, kernels=knobs.kernels)


def check_draft(folder: Path, spec: ModelSpec, target_folder: Path, target: Formats) -> None:
    """Raises ModelError where the model cannot draft for the target."""
    name = f"draft model {str(folder)!r}"
    if spec.vocab_size != target.spec.vocab_size:
        raise ModelError(
            f"{name} has a vocabulary of {spec.vocab_size}, the target one of "
            f"{target.spec.vocab_size}: give one that was made with the target's tokenizer"
        )
    if spec.max_context < target.max_context:
        raise ModelError(
            f"{name} has a context of {spec.max_context}, shorter than the target's of "
            f"{target.max_context}: give another, or lower max_context"
        )
    if not (target_folder / _TOKENIZER).exists():
        return  # nothing to compare
    if not (folder / _TOKENIZER).exists():
        raise ModelError(f"{name} has no {_TOKENIZER}: give one with the target's tokenizer")
    if _vocabulary(folder) != _vocabulary(target_folder):
        raise ModelError(
            f"{name} has another vocabulary than the target: give one that was made with the "
            "target's tokenizer"
        )


def check_room(
    draft: Draft, target: Formats, config: EngineConfig, kv_dtype: str, lengths: Iterable[int]
) -> None:
    """Whether requests that grow to these lengths can go on when pages are shared with this draft
    model, and both caches can be had beside the present ones.

    Raises EngineError where not, MemoryError, or torch's RuntimeError for that.
    """

    def pages(kv_dtype: str) -> int:
        own = KVCache.page_bytes(target.spec, config.page_size, target.dtype, kv_dtype)
        return int(config.kv_memory_mib * 2**20) // (own + draft.page_bytes(kv_dtype))

    need = pages_for(max(lengths, default=1), config.page_size)
    if need > pages("fp32"):  # it may be switched to
        raise EngineError(
            f"with its share of every page there are {pages('fp32')} of them, and a request may "
            f"need {need}: raise kv_memory_mib"
        )
    total = pages(kv_dtype)
    # Tried and let go: nothing is touched before both could be had.
    size, dtype, device = config.page_size, target.dtype, target.device
    _ = (
        KVCache(target.spec, total, size, dtype, device, kv_dtype),
        draft.make_cache(total, kv_dtype),
    )


_TOKENIZER = "tokenizer.json"


def _vocabulary(folder: Path) -> tuple[object, ...]:
    """Which token each id is, as tokenizer.json has it."""
    try:
        found = json.loads((folder / _TOKENIZER).read_text(encoding="utf-8"))
        return found["model"]["vocab"], found.get("added_tokens")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{str(folder / _TOKENIZER)!r} cannot be read: {error}") from None
