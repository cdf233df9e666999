"""Endless packed rows of generated documents, from worker processes, the same for any number.

Data comes in chunks: chunk i of a stream is a pure function of (seed, stream, i), whoever makes
it. Documents are packed whole into rows; a row's rest is padding.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.config import EngineError
from engine.training.settings import Documents
from engine.training.tokenizer import encode

Encoded = tuple[list[int], list[int]]  # token ids of prompt and body


class Stream(IntEnum):
    """Disjoint ranges of document seeds: nothing is measured on what was trained on."""

    TRAIN = 0
    TOKENIZER = 1
    NGRAM = 2
    NGRAM_TUNING = 3
    HELD_OUT = 4
    WRITTEN = 5  # prompts that a teacher writes on from
    DRAFTS = 6  # and a student


def document_seed(seed: int, stream: Stream, index: int) -> int:
    """Seed of chunk `index`; 2^16 apart, so that no generator counting up from one meets another.

    It stays below 2^63 for seeds below 2^16.
    """
    return ((stream << 16 | seed) << 26 | index) << 16


@dataclass(frozen=True, slots=True)
class Rows:
    """Packed documents, each array [rows, row length].

    `positions` restart at 0 with every document (padding is one more document), `trained` marks
    the body tokens: the ones that the loss counts.
    """

    tokens: NDArray[np.uint16]
    positions: NDArray[np.uint16]
    trained: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: slice) -> Self:
        return type(self)(self.tokens[part], self.positions[part], self.trained[part])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        return cls(
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.positions for part in parts]),
            np.concatenate([part.trained for part in parts]),
        )

    def shuffled(self, seed: int) -> Self:
        order = np.random.default_rng(seed).permutation(len(self))
        return type(self)(self.tokens[order], self.positions[order], self.trained[order])


def pack(documents: Sequence[Encoded], length: int, pad: int) -> Rows:
    """First fit, longest first: whole documents into rows of `length` tokens, padded with `pad`.

    A document longer than a row is cut.
    """
    by_size = sorted(documents, key=lambda document: -len(document[0]) - len(document[1]))
    rows: list[list[Encoded]] = []
    free = np.zeros(len(documents), dtype=np.int64)
    for prompt, body in by_size:
        size = min(len(prompt) + len(body), length)
        row = int(np.argmax(free[: len(rows)] >= size)) if rows else 0
        if row == len(rows) or free[row] < size:
            row = len(rows)
            rows.append([])
            free[row] = length
        rows[row].append((prompt, body))
        free[row] -= size
    tokens = np.full((len(rows), length), pad, dtype=np.uint16)
    positions = np.zeros((len(rows), length), dtype=np.uint16)
    trained = np.zeros((len(rows), length), dtype=np.bool_)
    for index, row_documents in enumerate(rows):
        start = 0
        for prompt, body in row_documents:
            ids = (prompt + body)[:length]
            end = start + len(ids)
            tokens[index, start:end] = ids
            positions[index, start:end] = np.arange(len(ids))
            trained[index, start + len(prompt) : end] = True
            start = end
        positions[index, start:] = np.arange(length - start)
    return Rows(tokens, positions, trained)


@dataclass(frozen=True, slots=True)
class Source:
    """What a chunk is made of; small and picklable, sent along with each request for one."""

    documents: Documents
    tokenizer: str  # the tokenizer.json's text
    seed: int
    races: int
    row_length: int
    pad: int

    def encoded(self, stream: Stream, index: int) -> list[Encoded]:
        """All documents of one chunk, in their generated order."""
        tokenizer = Tokenizer.from_str(self.tokenizer)
        seed = document_seed(self.seed, stream, index)
        pairs = self.documents(seed, self.races)
        return [encode(tokenizer, prompt, body) for prompt, body in pairs]

    def at_least(self, stream: Stream, body_tokens: int, every: int = 1) -> list[Encoded]:
        """Every `every`-th document of a stream, until there are this many body tokens."""
        taken: list[Encoded] = []
        count = index = 0
        while count < body_tokens:
            chunk = self.encoded(stream, index)[::every]
            if not chunk:
                raise EngineError("the document generator returned nothing")
            taken += chunk
            count += sum(len(body) for _, body in chunk)
            index += 1
        return taken


def training_chunk(source: Source, index: int) -> Rows:
    """Chunk `index` of the training stream, its rows in random order."""
    # One process per core already: the tokenizer's own threads would only get in the way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    packed = pack(source.encoded(Stream.TRAIN, index), source.row_length, source.pad)
    return packed.shuffled(document_seed(source.seed, Stream.TRAIN, index))


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next batch starts: chunk, and row in it."""

    chunk: int = 0
    row: int = 0


@contextmanager
def chunk_reader(source: Source, workers: int, start: int) -> Iterator[Callable[[], Rows]]:
    """A function that returns chunks start, start + 1, ... made ahead by `workers` processes."""
    index = start
    if workers == 0:

        def make() -> Rows:
            nonlocal index
            index += 1
            return training_chunk(source, index - 1)

        yield make
        return

    executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    pending: deque[Future[Rows]] = deque()

    def read() -> Rows:
        nonlocal index
        while len(pending) < 2 * workers:
            pending.append(executor.submit(training_chunk, source, index))
            index += 1
        try:
            return pending.popleft().result()
        except BrokenProcessPool as error:
            raise EngineError("a data worker was killed: use fewer workers") from error

    try:
        yield read
    finally:
        executor.shutdown(cancel_futures=True)


def batches(
    read: Callable[[], Rows], start: Position, rows: int
) -> Iterator[tuple[Rows, Position]]:
    """Batches of `rows` rows, each with the position that the next one starts at."""
    chunk = start.chunk
    left = read()[start.row :]
    offset = start.row
    while True:
        parts: list[Rows] = []
        missing = rows
        while missing:
            if not len(left):
                left, chunk, offset = read(), chunk + 1, 0
            part = left[:missing]
            parts.append(part)
            left = left[len(part) :]
            offset += len(part)
            missing -= len(part)
        yield Rows.join(parts), Position(chunk, offset)
