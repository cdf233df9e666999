"""Documents that a model writes itself, through the engine: a teacher's, or a student's drafts."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from engine.config import EngineConfig, EngineError, Knobs, Request, Sampling
from engine.core import Engine
from engine.training.data import Encoded, Rows, Source, Stream, document_seed, pack
from engine.training.trainer import Reader, Say

_SAY_EVERY = 5.0  # seconds
_LONGER = 2  # a body may be this many times as long as the simulator's of the same prompt


@dataclass(frozen=True, slots=True)
class Writing:
    """What is written: bodies after the prompts of a stream's documents, about `body_tokens`."""

    stream: Stream
    body_tokens: int
    temperature: float

    def name(self, writer: str, seed: int) -> str:
        """Of a file of these rows: another for every writer (its weights' digest) and seed."""
        key = f"{writer} {seed} {self.stream} {self.body_tokens} {self.temperature}"
        return f"{self.stream.name.lower()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def rows(self, folder: Path, source: Source, device: str, say: Say) -> Rows:
        """Packed documents by the model in `folder`, in random order; the same every time."""
        asked = source.at_least(self.stream, self.body_tokens)
        documents = write_bodies(folder, asked, source, self.temperature, device, say)
        seed = document_seed(source.seed, self.stream, 0)
        return pack(documents, source.row_length, source.pad).shuffled(seed)


def write_bodies(
    folder: Path,
    asked: Sequence[Encoded],
    source: Source,
    temperature: float,
    device: str,
    say: Say,
) -> list[Encoded]:
    """The same documents with bodies by the model in `folder`."""
    gpu = device == "cuda"
    config = EngineConfig(
        model=str(folder),
        kv_memory_mib=8192 if gpu else 256,
        max_context=source.row_length,
        device=device,
    )
    knobs = Knobs(max_batch=512 if gpu else 32, prefill_chunk=4096 if gpu else 256, quality="off")
    engine = Engine.load(config, knobs)
    for number, (prompt, body) in enumerate(asked):
        most = min(_LONGER * len(body), source.row_length - len(prompt))
        if most > 0:
            sampling = Sampling(most, temperature, source.seed << 32 | number)
            engine.submit(Request(str(number), tuple(prompt), sampling))
    began = said = time.perf_counter()
    tokens, expected = 0, sum(len(body) for _, body in asked)
    while engine.has_work:
        tokens += engine.step().output_tokens
        now = time.perf_counter()
        if now - said >= _SAY_EVERY:
            said = now
            speed = tokens / (now - began)
            left = max(0, expected - tokens) / speed if speed else 0
            say(f"written {tokens:,} tokens  {speed:,.0f} tokens/s  left {left:5.0f} s")
    return [
        (prompt, engine.tokens(str(number)))
        for number, (prompt, _) in enumerate(asked)
        if len(prompt) < source.row_length
    ]


def repeating(rows: Rows, seed: int) -> Reader:
    """Reads `rows` again and again, each time in another order."""

    @contextmanager
    def reader(source: Source, workers: int, start: int) -> Iterator[Callable[[], Rows]]:
        index = start

        def read() -> Rows:
            nonlocal index
            index += 1
            return rows.shuffled(seed + index - 1)

        yield read

    return reader


def kept(folder: Path | None, name: str, make: Callable[[], Rows]) -> Rows:
    """What `make` makes, or what an earlier try has left in the checkpoint folder."""
    if folder is None:
        return make()
    path = folder / f"{name}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as saved:
                return Rows(saved["tokens"], saved["positions"], saved["trained"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise EngineError(f"cannot read {path}: {error}; remove it") from error
    rows = make()
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            np.savez(file, tokens=rows.tokens, positions=rows.positions, trained=rows.trained)
        os.replace(part, path)
    except OSError as error:
        raise EngineError(f"cannot write checkpoint {path}: {error}") from error
    return rows
