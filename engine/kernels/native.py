"""The native kernels from Python: weights packed as they read them, and a decoder on top.

One call runs a whole step: at a millisecond a token, calls from Python for every layer would take
longer than what they call.
"""

import ctypes
from collections.abc import Sequence
from ctypes import (
    POINTER,
    Array,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_void_p,
)
from functools import cache
from itertools import accumulate
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from engine.config import WEIGHT_FORMATS
from engine.decoder import draft_in_turn
from engine.kernels.build import NativeUnavailableError, load_library
from engine.kvcache import KVCache
from engine.linear import int4_weight
from engine.memory import Arena
from engine.plan import Row
from engine.quantize import quantize
from engine.sampling import SampleSpec, sample
from engine.scheme import GROUP, INT8
from engine.spec import ModelSpec
from engine.tensors import DecoderTensors, Matrix

LANES = 16


class _Linear(Structure):
    _fields_ = (
        ("format", c_int32),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("weight", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
    )


class _Layer(Structure):
    _fields_ = (
        ("qkv", _Linear),
        ("out", _Linear),
        ("gate_up", _Linear),
        ("down", _Linear),
        ("attention_norm", c_void_p),
        ("ffn_norm", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
    )


class _Decoder(Structure):
    _fields_ = (
        ("layers", c_int32),
        ("hidden", c_int32),
        ("ffn", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("head", c_int32),
        ("eight", c_int32),
        ("eps", c_float),
        ("layer", POINTER(_Layer)),
        ("embedding", c_void_p),
        ("norm", c_void_p),
        ("output", _Linear),
        ("cosine", c_void_p),
        ("sine", c_void_p),
    )


class _Cache(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("scale", c_void_p),
        ("pages", c_int64),
        ("page_size", c_int32),
        ("head", c_int32),
        ("kv_heads", c_int32),
        ("int8", c_int32),
    )


class _Batch(Structure):
    _fields_ = (
        ("tokens", c_int32),
        ("wanted", c_int32),
        ("ids", c_void_p),
        ("positions", c_void_p),
        ("tables", c_void_p),
        ("table", c_void_p),
        ("want", c_void_p),
    )


class _Pick(Structure):
    _fields_ = (("seed", c_int64), ("position", c_int64), ("temperature", c_double))


class NativeKernels:
    """The built kernels and the threads that they run on."""

    def __init__(self, threads: int, target: str = "native") -> None:
        """Raises NativeUnavailableError where they cannot be built or loaded."""
        library = load_library(target)
        library.pw_isa.restype = c_char_p
        library.pw_sizes.argtypes = (c_int,)
        library.pw_open.argtypes = (c_int,)
        library.pw_open.restype = c_void_p
        library.pw_close.argtypes = (c_void_p,)
        library.pw_linear.argtypes = (
            *(c_void_p, POINTER(_Linear), c_void_p, c_int, c_int),
            c_void_p,
        )
        library.pw_forward.argtypes = (
            *(c_void_p, POINTER(_Decoder), POINTER(_Cache), POINTER(_Batch)),
            c_void_p,
        )
        library.pw_sample.argtypes = (
            *(c_void_p, c_void_p, c_int, c_int, c_int, POINTER(_Pick)),
            c_void_p,
        )
        library.pw_draft.argtypes = (
            *(c_void_p, POINTER(_Decoder), POINTER(_Cache), POINTER(_Batch)),
            *(c_int, POINTER(_Pick), c_void_p, c_int, c_void_p),
        )
        pages = (POINTER(_Cache), POINTER(_Cache), c_int, c_void_p, c_int)
        library.pw_take.argtypes = (c_void_p, *pages)
        ours = (_Linear, _Layer, _Decoder, _Cache, _Batch, _Pick)
        for which, structure in enumerate(ours):
            if library.pw_sizes(which) != ctypes.sizeof(structure):
                raise NativeUnavailableError(f"{structure.__name__} is laid out differently in C")
        self._library = library
        self.isa: str = library.pw_isa().decode()
        self._lock = Lock()  # one set of threads works on one thing at a time
        self._pool = library.pw_open(threads)
        if not self._pool:
            raise NativeUnavailableError("there is no memory for their threads")

    def __del__(self) -> None:
        if getattr(self, "_pool", None):
            self._library.pw_close(self._pool)

    def linear(self, packed: "PackedMatrix", x: Tensor) -> Tensor:
        """float32 [rows, in] -> [rows, out]."""
        # Whole vectors of sixteen, as a decoder's widths are; zeros are nothing in a sum.
        x = torch.nn.functional.pad(x, (0, -x.shape[1] % LANES)).contiguous()
        y = torch.empty((len(x), packed.struct.outputs), dtype=torch.float32)
        with self._lock:
            self._library.pw_linear(
                self._pool, packed.struct, x.data_ptr(), x.shape[1], len(x), y.data_ptr()
            )
        return y[:, : packed.outputs]

    def forward(self, decoder: _Decoder, cache: _Cache, batch: _Batch, logits: Tensor) -> None:
        """Raises MemoryError where there is none for a step's rows."""
        with self._lock:
            short = self._library.pw_forward(self._pool, decoder, cache, batch, logits.data_ptr())
        if short:
            raise MemoryError(f"no memory to run {batch.tokens} tokens at once")

    def sample(self, logits: Tensor, specs: Sequence[SampleSpec]) -> list[int]:
        """As engine.sampling.sample, of float32 logits [rows, vocab] and specs without filters."""
        picks = _picks(specs)
        tokens = (c_int32 * len(specs))()
        rows, vocab = logits.shape
        with self._lock:
            short = self._library.pw_sample(
                self._pool, logits.data_ptr(), logits.stride(0), rows, vocab, picks, tokens
            )
        if short:
            raise MemoryError(f"no memory to sample {rows} tokens")
        return list(tokens)

    def draft(
        self,
        decoder: _Decoder,
        cache: _Cache,
        batch: _Batch,
        vocab: int,
        specs: Sequence[SampleSpec],
        room: Sequence[int],
    ) -> list[list[int]]:
        """As Decoder.draft: `specs` and `room` are of the batch's wanted tokens."""
        most = max(room)
        rooms = (c_int32 * len(room))(*room)
        drafts = (c_int32 * (len(room) * most))()
        with self._lock:
            short = self._library.pw_draft(
                *(self._pool, decoder, cache, batch, vocab, _picks(specs), rooms, most, drafts)
            )
        if short:
            raise MemoryError(f"no memory to draft for {len(room)} requests")
        return [drafts[i * most : i * most + count] for i, count in enumerate(room)]

    def take(self, into: KVCache, other: KVCache, pages: Sequence[int]) -> None:
        """As KVCache.take, to the bit, of caches of float32 or int8 on a CPU."""
        numbers = np.array(pages, dtype=np.int32)
        rows = other.data.shape[0] * other.data.shape[1]
        with self._lock:
            self._library.pw_take(
                self._pool, _cache(into), _cache(other), rows, numbers.ctypes.data, len(pages)
            )


@cache
def kernels(threads: int) -> NativeKernels:
    """The process's own, one set of threads for all decoders. Raises NativeUnavailableError."""
    return NativeKernels(threads)


class PackedMatrix:
    """A linear layer's weights in panels of sixteen outputs: see native/linear.h."""

    def __init__(self, matrix: Matrix, weights: str, arena: Arena) -> None:
        """Held in the arena."""
        weight = matrix.weight
        self.outputs = weight.shape[0]
        self._scale: Tensor | None = None
        match weights:
            case "int8":
                quantized = quantize(weight, INT8)
                self._scale = _padded(quantized.scales)
                self._weight = _int8_panels(quantized.values())
                inputs = self._weight.shape[1] * 4
            case "int4":
                coarse = int4_weight(matrix)
                self._weight = _int4_panels(coarse.values(), coarse.scales)
                inputs = self._weight.shape[1] * GROUP
            case "bf16":
                self._weight = _panels(weight.to(torch.bfloat16))
                inputs = weight.shape[1]
            case _:
                self._weight = _panels(weight)
                inputs = weight.shape[1]
        self._weight = arena.keep(self._weight)
        self._bias = None if matrix.bias is None else _padded(matrix.bias)
        self.struct = _Linear(
            WEIGHT_FORMATS.index(weights),
            inputs,
            len(self._weight) * LANES,
            self._weight.data_ptr(),
            None if self._scale is None else self._scale.data_ptr(),
            None if self._bias is None else self._bias.data_ptr(),
        )

    @property
    def nbytes(self) -> int:
        held = (self._weight, self._scale, self._bias)
        return sum(tensor.nbytes for tensor in held if tensor is not None)


class NativeDecoder:
    """A model on the native kernels, its weights in any of WEIGHT_FORMATS.

    Raises NativeUnavailableError where a width is not one that the kernels take.
    """

    def __init__(self, tensors: DecoderTensors, weights: str, native: NativeKernels) -> None:
        spec = tensors.spec
        check_widths(spec, tensors.dtype)
        self._native = native
        self._vocab = spec.vocab_size
        self._kept: list[Tensor] = []  # what the structs point at
        self._embedding = tensors.embedding.contiguous()
        self._packed: list[PackedMatrix] = []
        self._arena = Arena()
        layers = (_Layer * spec.layers)()
        for struct, layer in zip(layers, tensors.layers, strict=True):
            struct.qkv, struct.out, struct.gate_up, struct.down = (
                self._pack(matrix, weights) for matrix in layer.matrices
            )
            struct.attention_norm = self._keep(layer.norms.attention)
            struct.ffn_norm = self._keep(layer.norms.ffn)
            struct.q_norm = self._keep(layer.norms.q)
            struct.k_norm = self._keep(layer.norms.k)
        self._layers = layers
        self._tables = [tensors.cos.to(torch.float32), tensors.sin.to(torch.float32)]
        self._struct = _Decoder(
            spec.layers,
            spec.hidden,
            spec.ffn,
            spec.heads,
            spec.kv_heads,
            spec.head_size,
            int(weights in ("int8", "int4")),
            spec.norm_eps,
            layers,
            self._embedding.data_ptr(),
            self._keep(tensors.norm),
            self._pack(tensors.head, weights),
            self._tables[0].data_ptr(),
            self._tables[1].data_ptr(),
        )
        norms = sum(tensor.untyped_storage().nbytes() for tensor in self._kept)
        self.read_bytes = norms + sum(packed.nbytes for packed in self._packed)
        self.nbytes = self.read_bytes + self._embedding.untyped_storage().nbytes()

    def run(self, cache: KVCache, rows: Sequence[Row], wanted: Sequence[int]) -> Tensor:
        batch, _kept = _batch(rows, wanted)
        logits = torch.empty((len(wanted), self._struct.output.outputs), dtype=torch.float32)
        self._native.forward(self._struct, _cache(cache), batch, logits)
        return logits[:, : self._vocab]

    def sample(self, logits: Tensor, specs: Sequence[SampleSpec]) -> list[int]:
        if all(spec.plain for spec in specs):
            return self._native.sample(logits, specs)
        return sample(logits, specs)

    def draft(self, cache: KVCache, rows: Sequence[Row]) -> list[list[int]]:
        specs = [SampleSpec(row.sampling, row.end) for row in rows if row.sampling is not None]
        ends = accumulate(len(row.tokens) for row in rows)
        wanted = [end - 1 for end, row in zip(ends, rows, strict=True) if row.sampling is not None]
        if not specs or not all(spec.plain for spec in specs):
            return draft_in_turn(self, cache, rows)[0]
        batch, _kept = _batch(rows, wanted)
        room = [row.room for row in rows if row.sampling is not None]
        return self._native.draft(self._struct, _cache(cache), batch, self._vocab, specs, room)

    def _pack(self, matrix: Matrix, weights: str) -> _Linear:
        self._packed.append(PackedMatrix(matrix, weights, self._arena))
        return self._packed[-1].struct

    def _keep(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()


def _picks(specs: Sequence[SampleSpec]) -> Array[_Pick]:
    return (_Pick * len(specs))(
        *[_Pick(spec.sampling.seed, spec.position, spec.sampling.temperature) for spec in specs]
    )


def _batch(rows: Sequence[Row], wanted: Sequence[int]) -> tuple[_Batch, object]:
    """The rows' tokens as C reads them, and what holds their numbers meanwhile."""
    tokens: list[int] = []
    positions: list[int] = []
    tables: list[int] = []
    starts: list[int] = []
    for row in rows:
        tokens += row.tokens
        positions += range(row.start, row.end)
        starts += [len(tables)] * len(row.tokens)
        tables += row.pages
    sizes = (len(tokens), len(tokens), len(tables), len(tokens), len(wanted))
    # One array for all of them: a conversion costs more than its numbers.
    numbers = np.array([*tokens, *positions, *tables, *starts, *wanted], dtype=np.int32)
    ids, at, table, first, want, _ = (
        numbers.ctypes.data + 4 * offset for offset in accumulate(sizes, initial=0)
    )
    return _Batch(len(tokens), len(wanted), ids, at, table, first, want), numbers


def _cache(cache: KVCache) -> _Cache:
    """Points into the cache, which has to outlive it."""
    data, scale = cache.data, cache.scale
    return _Cache(
        data.data_ptr(),
        None if scale is None else scale.data_ptr(),
        *data.shape[2:],
        data.shape[1] // 2,
        int(scale is not None),
    )


def check_widths(spec: ModelSpec, dtype: torch.dtype) -> None:
    """Raises NativeUnavailableError for a model that the kernels cannot take."""
    if dtype != torch.float32:
        raise NativeUnavailableError(f"native kernels are for float32, not {dtype}")
    for name, width, step in (
        ("hidden size", spec.hidden, LANES),
        ("feed-forward size", spec.ffn, LANES),
        ("head size", spec.head_size, 2 * LANES),
    ):
        if width % step:
            raise NativeUnavailableError(f"{name} {width} is not a multiple of {step}")


def _padded(values: Tensor) -> Tensor:
    """Zeros up to a whole panel."""
    return torch.nn.functional.pad(values, (0, -len(values) % LANES)).contiguous()


def _split_outputs(weight: Tensor, fill: int = 0) -> Tensor:
    """[out, in] -> [panels, 16, in]."""
    outputs = torch.nn.functional.pad(weight, (0, 0, 0, -len(weight) % LANES), value=fill)
    return torch.unflatten(outputs, 0, (-1, LANES))


def _panels(weight: Tensor) -> Tensor:
    """Floats [panels, in, 16]."""
    return _split_outputs(weight).transpose(1, 2).contiguous()


def _int8_panels(codes: Tensor) -> Tensor:
    """uint8 [panels, in / 4, 16, 4], 128 more than the codes."""
    codes = torch.nn.functional.pad(codes, (0, -codes.shape[1] % 4))
    raised = (codes.to(torch.int16) + 128).to(torch.uint8)
    quads = torch.unflatten(_split_outputs(raised, 128), 2, (-1, 4))
    return quads.transpose(1, 2).contiguous()


def _int4_panels(codes: Tensor, scales: Tensor) -> Tensor:
    """uint8 [panels, groups, 1088]: 1024 bytes of codes, 8 more than they are, 64 of scales."""
    codes = torch.nn.functional.pad(codes, (0, -codes.shape[1] % GROUP))
    raised = (codes + 8).to(torch.uint8)
    # [panels, 16, groups, half, quad, 4] -> [panels, groups, half, quad, 16, 4]
    split = torch.unflatten(_split_outputs(raised, 8), 2, (-1, 2, GROUP // 8, 4))
    split = split.permute(0, 2, 3, 4, 1, 5)
    packed = (split[:, :, 0] | split[:, :, 1] << 4).flatten(2)
    tail = _split_outputs(scales).transpose(1, 2).contiguous().view(torch.uint8)
    return torch.cat((packed, tail), 2).contiguous()
