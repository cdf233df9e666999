"""The native kernels held to torch's, and to themselves: a row's result is its own, to the bit.

Sums of whole numbers are exact in any order, so int8 and int4 equal torch to the bit; floats are
held to a bound on their rounding. Where kernels cannot be built the engine goes on without them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from threading import Event, Thread

import pytest
import torch
from torch import Tensor

from engine.config import EngineConfig, EngineError, Knobs, Request, Sampling
from engine.core import Engine
from engine.formats import Formats
from engine.kernels import build, native
from engine.kernels.build import NativeUnavailableError, load_library
from engine.kernels.native import FORMATS, NativeDecoder, NativeKernels, PackedMatrix
from engine.linear import Int4Linear, Int8Linear
from engine.memory import Arena
from engine.sampling import SampleSpec, sample
from engine.scheme import GROUP
from engine.tensors import Matrix
from tests.engine.cuts import all_logits, hold_cuts_alike, make_cache, read_toy
from tests.engine.toy import QKV, WIDE, Naive

CC = shutil.which(os.environ.get("CC") or "cc")
pytestmark = [
    pytest.mark.skipif(CC is None, reason="there is no C compiler"),
    # As many as the engine's kernels get: more only wait for each other here.
    pytest.mark.usefixtures("one_thread"),
]
TARGETS = ("native", "x86-64-v3")
WHOLE = {"int8": Int8Linear, "int4": Int4Linear}  # what torch sums in whole numbers
# (inputs, outputs): whole panels, strips and groups, and none of them.
SIZES = ((16, 16), (128, 64), (384, 208), (100, 77), (130, 33), (7, 5), (65, 1), (257, 129))

# Widths that are multiples of 16 and of nothing more; 96 are a strip of channels and two vectors.
SMALL = replace(WIDE, vocab=77, hidden=48, ffn=80, heads=4, kv_heads=2)
TOYS = {
    "tied": SMALL,
    "untied": replace(SMALL, tied=False, heads=6),
    "qwen2": replace(SMALL, architecture="Qwen2ForCausalLM", biases=QKV, hidden=144),
    "qwen3": replace(
        SMALL, architecture="Qwen3ForCausalLM", qk_norms=True, heads=10, tied=False, layers=1
    ),
    "one kv head": replace(SMALL, heads=3, kv_heads=1, head_size=96),
    "equal heads": replace(SMALL, heads=2, kv_heads=2, head_size=64, ffn=272),
}


@cache
def kernels_for(target: str, threads: int = 1) -> NativeKernels:
    return NativeKernels(threads, target)


def random_matrix(inputs: int, outputs: int, biased: bool = True) -> Matrix:
    """Channels of very unlike sizes, one of them nothing."""
    generator = torch.Generator().manual_seed(inputs * outputs)
    weight = torch.randn((outputs, inputs), generator=generator)
    weight *= 10.0 ** torch.randint(-2, 3, (outputs, 1), generator=generator)
    weight[outputs // 2] = 0 if outputs > 1 else weight[0]
    return Matrix(weight, torch.randn(outputs, generator=generator) if biased else None)


def random_rows(count: int, inputs: int, seed: int = 0) -> Tensor:
    """Rows of very unlike sizes, one of them nothing."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((count, inputs), generator=generator)
    rows *= 10.0 ** torch.randint(-3, 4, (count, 1), generator=generator)
    rows[count // 2] = 0
    return rows


def as_read(x: Tensor, weights: str) -> Tensor:
    """Rows are quantized sixteen values at a time: zeros up to there."""
    return torch.nn.functional.pad(x, (0, -x.shape[1] % 16)) if weights in WHOLE else x


# Linear layers


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", list(WHOLE))
def test_whole_number_linears_are_torchs_to_the_bit(
    weights: str, target: str, biased: bool
) -> None:
    for inputs, outputs in SIZES:
        matrix, x = random_matrix(inputs, outputs, biased), random_rows(13, inputs)
        packed = PackedMatrix(matrix, weights, Arena())
        found = kernels_for(target).linear(packed, as_read(x, weights))
        assert found.shape == (13, outputs)
        assert torch.equal(found, WHOLE[weights](matrix)(x)), (inputs, outputs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", list(WHOLE))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_codes_do_not_saturate(sign: int, weights: str, target: str) -> None:
    """Neighbours that are all 127 overflow 16 bits in a kernel that is not careful."""
    weight = torch.ones((32, 256))
    weight[1::2] = -1
    weight[2, ::2] = -1
    x = torch.full((5, 256), float(sign))
    x[3, ::2] *= -1
    matrix = Matrix(weight)
    found = kernels_for(target).linear(PackedMatrix(matrix, weights, Arena()), x)
    assert torch.equal(found, WHOLE[weights](matrix)(x))
    torch.testing.assert_close(found, x @ weight.T)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", list(WHOLE))
def test_rows_get_the_very_codes_that_torch_gives(weights: str, target: str) -> None:
    """Halfway between two codes, and so many values that some are within a rounding of that."""
    halves = torch.arange(-127, 127) + 0.5
    x = torch.cat((halves, torch.tensor([127.0, 0.0])))[None]
    generator = torch.Generator().manual_seed(0)
    x = torch.cat((x, x / 8, torch.randn((4000, 256), generator=generator)))
    matrix = random_matrix(256, 16)
    found = kernels_for(target).linear(PackedMatrix(matrix, weights, Arena()), x)
    assert torch.equal(found, WHOLE[weights](matrix)(x))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", ["fp32", "bf16"])
def test_float_linears_are_as_near_as_their_rounding(weights: str, target: str) -> None:
    """A sum of n fused products in order is off by at most n roundings of the sizes it adds up."""
    for inputs, outputs in SIZES:
        matrix, x = random_matrix(inputs, outputs), random_rows(13, inputs)
        assert matrix.bias is not None
        held = matrix.weight if weights == "fp32" else matrix.weight.bfloat16()
        exact = x.double() @ held.double().T + matrix.bias.double()
        sizes = x.double().abs() @ held.double().abs().T + matrix.bias.double().abs()
        found = kernels_for(target).linear(PackedMatrix(matrix, weights, Arena()), x)
        assert bool(((found - exact).abs() <= (inputs + 1) * 2.0**-24 * sizes).all())


def hold_rows_alike(linear: Callable[[Tensor], Tensor], inputs: int, weights: str) -> None:
    """Rows alone, in every number up to 64, and beside others in another order."""
    rows = as_read(random_rows(64, inputs), weights)
    whole = linear(rows)
    for row in range(64):
        assert torch.equal(linear(rows[row : row + 1])[0], whole[row])
    for count in range(1, 65):
        assert torch.equal(linear(rows[:count]), whole[:count]), count
        assert torch.equal(linear(rows[-count:]), whole[-count:]), count
        some = torch.randperm(64, generator=torch.Generator().manual_seed(count))[:count]
        assert torch.equal(linear(rows[some]), whole[some]), count
    beside = as_read(random_rows(64, inputs, 1), weights)
    for row in range(0, 64, 7):
        beside[row] = rows[row]
        assert torch.equal(linear(beside)[row], whole[row])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", FORMATS)
def test_a_row_is_the_same_in_any_number_of_rows(weights: str, target: str) -> None:
    kernels = kernels_for(target)
    for inputs, outputs in SIZES:
        packed = PackedMatrix(random_matrix(inputs, outputs), weights, Arena())

        def linear(x: Tensor, packed: PackedMatrix = packed) -> Tensor:
            return kernels.linear(packed, x)

        hold_rows_alike(linear, inputs, weights)


@pytest.mark.parametrize("weights", FORMATS)
def test_threads_and_targets_change_no_bit(weights: str) -> None:
    for inputs, outputs in SIZES:
        packed = PackedMatrix(random_matrix(inputs, outputs), weights, Arena())
        x = as_read(random_rows(37, inputs), weights)
        expected = kernels_for("native").linear(packed, x)
        for target in TARGETS:
            for threads in (1, 2, 3):
                assert torch.equal(kernels_for(target, threads).linear(packed, x), expected)


@pytest.mark.parametrize("weights", FORMATS)
def test_packed_bytes_are_those_of_whole_panels(weights: str) -> None:
    for inputs, outputs in SIZES:
        channels = -(-outputs // 16) * 16
        size = {
            "fp32": 4 * inputs,
            "bf16": 2 * inputs,
            "int8": -(-inputs // 4) * 4 + 4,
            "int4": -(-inputs // GROUP) * (GROUP // 2 + 4),
        }[weights]
        for biased in (False, True):
            packed = PackedMatrix(random_matrix(inputs, outputs, biased), weights, Arena())
            assert packed.nbytes == channels * (size + 4 * biased)


# Decoders


@pytest.mark.parametrize("page_size", [1, 5, 16])
@pytest.mark.parametrize("name", list(TOYS))
def test_logits_are_torchs(tmp_path: Path, name: str, page_size: int) -> None:
    """All tokens' logits in every format, through the formats that an engine keeps.

    These logits spread by 1 to 13, and sharp attention makes more of a last bit: an absolute
    difference of 5e-4. In fp32 they are as near to exact arithmetic as torch's, too. In int8 and
    int4 a last bit can move an activation to the next code: held to a small part of what these
    formats themselves cost.
    """
    toy, random = TOYS[name], Random(0)
    engine = toy.load(toy.save(tmp_path), 150, page_size, dtype="float32")
    assert engine.knobs.kernels == "native"
    assert engine.info.why_torch == ""
    tokens = [random.randrange(toy.vocab) for _ in range(130)]
    found = {
        (weights, kind): all_logits(
            engine._formats.get(Knobs(weights=weights, kernels=kind)),
            engine._make_cache(-(-130 // page_size)),
            tokens,
        )
        for weights in FORMATS
        for kind in ("native", "torch")
    }
    for weights in ("fp32", "bf16"):
        torch.testing.assert_close(
            found[weights, "native"], found[weights, "torch"], rtol=1e-4, atol=5e-4
        )
    exact = Naive(toy).logits(tokens)
    ours, theirs = ((found["fp32", kind] - exact).norm() for kind in ("native", "torch"))
    assert ours < 1.5 * theirs
    plain = found["fp32", "torch"]
    for weights in ("int8", "int4"):
        apart = found[weights, "native"] - found[weights, "torch"]
        cost = found[weights, "torch"] - plain
        assert apart.norm() < 0.2 * cost.norm(), weights
        assert 0 < cost.norm() < plain.norm()
    torch.testing.assert_close(engine.logits(tokens), found["fp32", "native"], rtol=0, atol=0)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("name", list(TOYS))
def test_a_decoder_gives_the_same_bits_on_all_targets_and_threads(
    tmp_path: Path, name: str, weights: str
) -> None:
    tensors, random = read_toy(TOYS[name], tmp_path), Random(0)
    tokens = [random.randrange(TOYS[name].vocab) for _ in range(70)]
    found = [
        all_logits(
            NativeDecoder(tensors, weights, kernels_for(target, threads)),
            make_cache(tensors, 14, 5),
            tokens,
        )
        for target in TARGETS
        for threads in (1, 2, 3)
    ]
    assert all(torch.equal(logits, found[0]) for logits in found)


@pytest.mark.parametrize("page_size", [1, 5, 16])
@pytest.mark.parametrize("weights", FORMATS)
def test_any_cut_of_any_batch(tmp_path: Path, weights: str, page_size: int) -> None:
    for name in ("qwen2", "qwen3", "one kv head"):
        tensors = read_toy(TOYS[name], tmp_path / name)
        hold_cuts_alike(
            NativeDecoder(tensors, weights, kernels_for("native")), tensors, page_size, 2
        )


@pytest.mark.parametrize(("target", "threads"), [("native", 2), ("x86-64-v3", 1)])
@pytest.mark.parametrize("weights", FORMATS)
def test_any_cut_on_other_targets_and_threads(
    tmp_path: Path, weights: str, target: str, threads: int
) -> None:
    tensors = read_toy(TOYS["tied"], tmp_path)
    hold_cuts_alike(NativeDecoder(tensors, weights, kernels_for(target, threads)), tensors, 16, 1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("vocab", [2, 15, 16, 17, 192, 1280, 32003])
def test_tokens_are_picked_as_torch_picks_them(target: str, vocab: int) -> None:
    generator = torch.Generator().manual_seed(vocab)
    rows, padded = 24, torch.randn((24, vocab + 7), generator=generator)
    for temperature in (0.0, 1e-300, 1e-3, 0.8, 1.5, 60.0, 1e12):
        for spread in (0.0, 1.0, 12.0, 1e4):
            logits = (padded * spread)[:, :vocab]
            logits[3, : vocab // 2] = logits[3, -1]  # equal ones, at the top as they may be
            specs = [
                SampleSpec(Sampling(temperature=temperature, seed=2**63 - 1 - row), 5 * row)
                for row in range(rows)
            ]
            expected = sample(logits, specs)
            assert kernels_for(target).sample(logits, specs) == expected
            if spread == 0 and temperature and vocab > 200:
                assert len(set(expected)) > 10  # noise alone decides


def test_logits_that_are_no_numbers_pick_some_token() -> None:
    logits = torch.randn((6, 50), generator=torch.Generator().manual_seed(0))
    logits[0] = torch.nan
    logits[1, ::3] = torch.nan
    logits[2] = -torch.inf
    logits[3, 7] = torch.inf
    logits[4, :49] = -torch.inf
    logits[5] = torch.inf
    for temperature in (0.0, 0.8):
        specs = [SampleSpec(Sampling(temperature=temperature), row) for row in range(6)]
        found = kernels_for("native").sample(logits, specs)
        assert all(0 <= token < 50 for token in found)
        assert found[4] == 49


def test_filtered_rows_are_picked_by_torch(tmp_path: Path) -> None:
    tensors = read_toy(WIDE, tmp_path)
    decoder = NativeDecoder(tensors, "fp32", kernels_for("native"))
    logits = torch.randn((40, WIDE.vocab), generator=torch.Generator().manual_seed(1))
    specs = [
        SampleSpec(Sampling(temperature=1.0, seed=row, top_k=row % 3, top_p=0.9), row)
        for row in range(40)
    ]
    assert decoder.sample(logits, specs) == sample(logits, specs)


# In C, where such a mistake would be made: (file, what stands there, what is built instead).
PLANTS = {
    "one row is not fused": (
        "linear.h",
        "sums[r][p] = vf_fma(value, w[p], sums[r][p]);",
        "sums[r][p] = rows == 1 ? vf_add(vf_mul(value, w[p]), sums[r][p])"
        " : vf_fma(value, w[p], sums[r][p]);",
    ),
    "queries know their batch": (
        "forward.c",
        "rotate(q, cosine, sine, m->head, 1.0f / sqrtf((float)m->head));",
        "rotate(q, cosine, sine, m->head,"
        " (1.0f + 0x1p-21f * (float)batch->tokens) / sqrtf((float)m->head));",
    ),
}


@pytest.mark.parametrize("plant", list(PLANTS))
def test_the_last_bit_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str
) -> None:
    file, before, after = PLANTS[plant]
    sources = tmp_path / "native"
    shutil.copytree(build.SOURCES, sources)
    text = (sources / file).read_text()
    assert text.count(before) == 1
    (sources / file).write_text(text.replace(before, after))
    monkeypatch.setattr(build, "SOURCES", sources)
    # Intrinsics mean the same, and it is built in a fraction of the time.
    monkeypatch.setattr(build, "FLAGS", ("-O0", *build.FLAGS[1:]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kernels = NativeKernels(1)
    tensors = read_toy(TOYS["tied"], tmp_path / "toy")
    with pytest.raises(AssertionError):
        hold_cuts_alike(NativeDecoder(tensors, "fp32", kernels), tensors, 16, 1)
    if file == "linear.h":
        packed = PackedMatrix(random_matrix(384, 208), "fp32", Arena())
        with pytest.raises(AssertionError):
            hold_rows_alike(lambda x: kernels.linear(packed, x), 384, "fp32")


# Formats


def test_a_build_holds_up_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = WIDE.save(tmp_path / "toy")
    formats = Formats(EngineConfig(str(folder), max_context=64), Knobs(kernels="torch"))
    begun, go_on = Event(), Event()

    def wait(knobs: Knobs, tensors: object) -> None:
        begun.set()
        go_on.wait(60)
        raise EngineError("never built")

    monkeypatch.setattr(formats, "_build", wait)
    asked = Knobs(kernels="torch", weights="int8")

    def build() -> None:
        with suppress(EngineError):
            formats.prepare(asked)

    builder = Thread(target=build)
    builder.start()
    try:
        assert begun.wait(60)
        assert formats.get(Knobs(kernels="torch")) is not None  # would wait for as long
        assert not formats.ready(asked)
    finally:
        go_on.set()
        builder.join()


def test_each_format_is_built_once_and_counted(tmp_path: Path) -> None:
    toy = TOYS["tied"]
    config = EngineConfig(str(toy.save(tmp_path)), kv_memory_mib=1)
    formats = Formats(config, Knobs())
    table, sizes = toy.vocab * toy.hidden * 4, []
    for weights in FORMATS:
        knobs = Knobs(weights=weights)
        assert formats.ready(knobs) == (weights == "fp32")
        formats.prepare(knobs)
        assert formats.ready(knobs)
        decoder = formats.get(knobs)
        assert formats.get(replace(knobs, max_batch=3)) is decoder
        sizes.append(decoder.nbytes)
        # The one embedding's table serves all of them.
        assert formats.nbytes == sum(sizes) - table * (len(sizes) - 1)
    fp32, bf16, int8, _ = sizes
    assert fp32 > bf16 > int8


def submit_all(engine: Engine, count: int = 5, tokens: int = 20) -> list[str]:
    random = Random(4)
    shared = [random.randrange(77) for _ in range(40)]
    for seed in range(count):
        prompt = (*shared[: 7 * seed + 3], seed, seed)
        sampling = Sampling(tokens, temperature=0.8, seed=seed, ignore_eos=True)
        engine.submit(Request(str(seed), prompt, sampling))
    return [str(seed) for seed in range(count)]


def run_out(engine: Engine) -> None:
    while engine.has_work:
        engine.step()
        engine.check()


@pytest.mark.parametrize("kind", ["native", "torch"])
def test_a_switch_of_weights_loses_no_token(tmp_path: Path, kind: str) -> None:
    """What was said before it stays, and two runs that switch alike say the same."""
    toy = TOYS["untied"]
    folder = toy.save(tmp_path)
    order = Random(1).sample(FORMATS, 4)

    def run(switches: dict[int, str]) -> tuple[dict[str, list[int]], int, int]:
        # Few pages: some requests are recomputed by weights that did not write them.
        engine = toy.load(folder, 34, 4, Knobs(kernels=kind, prefill_chunk=16), dtype="float32")
        ids = submit_all(engine)
        said: dict[str, list[int]] = {id: [] for id in ids}
        preempted = number = 0
        while engine.has_work:
            if number in switches:
                engine.set_knobs(replace(engine.knobs, weights=switches[number]))
            stats = engine.step()
            engine.check()
            assert stats.knobs.weights == engine.knobs.weights
            preempted += len(stats.preempted)
            for id, tokens in stats.tokens:
                said[id] += tokens
            number += 1
        for id in ids:
            assert said[id] == engine.tokens(id)
            assert len(said[id]) == 20
            assert engine.request(id).finish_reason == "length"
        return said, preempted, number

    plain, _, _ = run({})
    switches = {6 + 5 * i: weights for i, weights in enumerate(order)}
    first, preempted, number = run(switches)
    assert number > max(switches)
    assert preempted > 0
    assert first == run(switches)[0]
    late, _, _ = run({15: "int4"})
    assert late != plain
    # The first request decodes from step 1 on, a token a step: fifteen at most before the switch.
    assert late["0"][:12] == plain["0"][:12]


@pytest.mark.parametrize("kind", ["native", "torch"])
def test_pages_of_other_weights_are_never_shared(tmp_path: Path, kind: str) -> None:
    toy = TOYS["tied"]
    folder = toy.save(tmp_path)
    random = Random(3)
    prompt = tuple(random.randrange(toy.vocab) for _ in range(30))
    sampling = Sampling(8, ignore_eos=True)

    def load(weights: str) -> Engine:
        return toy.load(folder, 120, 4, Knobs(weights=weights, kernels=kind), dtype="float32")

    expected = {}
    for weights in FORMATS:
        engine = load(weights)
        engine.submit(Request("alone", prompt, sampling))
        run_out(engine)
        expected[weights] = engine.tokens("alone")

    engine = load("fp32")
    other = tuple(random.randrange(toy.vocab) for _ in range(21))
    engine.submit(Request("long", other, Sampling(200, ignore_eos=True)))
    for number, weights in enumerate(("fp32", "int8", "int4", "fp32", "bf16", "int8")):
        engine.set_knobs(replace(engine.knobs, weights=weights))
        for again in (False, True):
            id = f"{number} {again}"
            engine.submit(Request(id, prompt, sampling))
            while engine.request(id).finish_reason is None:
                engine.step()
                engine.check()
            # The second finds what the first one left, written by these very weights.
            assert engine.request(id).hit_tokens == (28 if again else 0)
            assert engine.tokens(id) == expected[weights]
        # Nor those of a request that goes on over keys and values of other weights.
        follower = (*other, *engine.tokens("long"))
        engine.submit(Request(f"{number} after", follower, Sampling(1)))
        engine.step()
        assert (engine.request(f"{number} after").hit_tokens == 0) == (number > 0)
    assert engine.request("long").finish_reason is None


# Where there are no native kernels


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An empty cache, and nothing that this process has built before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native.kernels.cache_clear()
    yield monkeypatch
    native.kernels.cache_clear()


def write_compiler(folder: Path, script: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def copying(folder: Path) -> str:
    """A compiler that hands out what was built before, and counts how often."""
    library = kernels_for("native")._library._name
    return write_compiler(
        folder,
        f'echo run >> "{folder}/runs"\n'
        f'while [ "$1" != -o ]; do shift; done\ncat "{library}" > "$2"',
    )


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().split())


def test_no_compiler_is_named(anew: pytest.MonkeyPatch) -> None:
    anew.setenv("CC", "no-such-compiler")
    with pytest.raises(NativeUnavailableError, match="'no-such-compiler'"):
        NativeKernels(1)


def test_what_a_failing_compiler_says_is_kept(tmp_path: Path, anew: pytest.MonkeyPatch) -> None:
    anew.setenv("CC", write_compiler(tmp_path, "echo the disk is on fire >&2; exit 3"))
    with pytest.raises(NativeUnavailableError) as caught:
        NativeKernels(1)
    assert "\n" not in str(caught.value)
    log = Path(str(caught.value).rpartition("see ")[2])
    assert log.is_relative_to(tmp_path / "cache")
    assert "the disk is on fire" in log.read_text()
    assert "forward.c" in log.read_text()
    assert [path.suffix for path in build.cache_folder().iterdir()] == [".log"]


@pytest.mark.parametrize(
    ("script", "named"),
    [("exec sleep 20", "took longer than"), ("exit 0", "cannot be loaded")],
    ids=["never ends", "writes nothing"],
)
def test_a_compiler_that_does_not_build_is_told(
    tmp_path: Path, anew: pytest.MonkeyPatch, script: str, named: str
) -> None:
    anew.setattr(build, "TIMEOUT_SECONDS", 0.3)
    anew.setenv("CC", write_compiler(tmp_path, script))
    for _ in range(2):
        with pytest.raises(NativeUnavailableError, match=named):
            NativeKernels(1)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, anew: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(NativeUnavailableError, match=str(tmp_path / "cache")):
        NativeKernels(1)


@pytest.mark.parametrize("missing", ["avx2", "fma", "f16c"])
def test_a_cpu_that_is_too_old_is_named(anew: pytest.MonkeyPatch, missing: str) -> None:
    flags = build._cpu_flags() - {missing}
    anew.setattr(build, "_cpu_flags", lambda: flags)
    with pytest.raises(NativeUnavailableError, match=f"no {missing}"):
        NativeKernels(1)


def test_kernels_are_built_once_for_a_source_and_a_target(
    tmp_path: Path, anew: pytest.MonkeyPatch
) -> None:
    anew.setenv("CC", copying(tmp_path))
    for _ in range(3):
        load_library()
    assert runs(tmp_path) == 1
    load_library("x86-64-v3")
    assert runs(tmp_path) == 2
    sources = tmp_path / "native"
    shutil.copytree(build.SOURCES, sources)
    anew.setattr(build, "SOURCES", sources)
    load_library()
    assert runs(tmp_path) == 2
    with (sources / "rows.h").open("a") as file:
        file.write("/* changed */\n")
    load_library()
    assert runs(tmp_path) == 3


@pytest.mark.parametrize("damage", ["cut to 100 bytes", "cut in half", "empty", "random bytes"])
def test_damaged_kernels_are_built_anew(
    tmp_path: Path, anew: pytest.MonkeyPatch, damage: str
) -> None:
    anew.setenv("CC", copying(tmp_path))
    whole = Path(load_library()._name)
    # In another cache: the loader would not open a path again that it has loaded.
    anew.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    damaged = build.cache_folder() / whole.name
    damaged.parent.mkdir(parents=True)
    data = whole.read_bytes()
    shutil.copy(whole.with_suffix(".sum"), damaged.with_suffix(".sum"))
    damaged.write_bytes(
        {
            "cut to 100 bytes": data[:100],
            "cut in half": data[: len(data) // 2],
            "empty": b"",
            "random bytes": Random(0).randbytes(len(data)),
        }[damage]
    )
    kernels = NativeKernels(1)
    assert runs(tmp_path) == 2
    assert damaged.read_bytes() == data
    assert {path.suffix for path in damaged.parent.iterdir()} == {".so", ".sum"}
    matrix, x = random_matrix(16, 16), random_rows(3, 16)
    found = kernels.linear(PackedMatrix(matrix, "int8", Arena()), x)
    assert torch.equal(found, Int8Linear(matrix)(x))


def test_two_processes_may_build_at_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    # Neither compiler begins before both processes have found nothing built.
    script = (
        f'touch "{started}/$$"; tries=0\n'
        f'while [ "$(ls "{started}" | wc -l)" -lt 2 ] && [ $tries -lt 100 ]; do\n'
        f'sleep 0.1; tries=$((tries + 1)); done\nexec "{CC}" "$@"'
    )
    code = (
        "from engine.kernels import build\n"
        "build.FLAGS = ('-O0', *build.FLAGS[1:])\n"
        "library = build.load_library()\n"
        "print(library.pw_sizes(0))\n"
    )
    environment = {
        **os.environ,
        "CC": write_compiler(tmp_path, script),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(build.__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        output, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        assert int(output) > 0
    assert len(list(started.iterdir())) == 2
    built = [path.suffix for path in (tmp_path / "cache" / "pitwall").iterdir()]
    assert sorted(built) == [".so", ".sum"]


def test_an_engine_without_a_compiler_runs_on_torch(
    tmp_path: Path, anew: pytest.MonkeyPatch
) -> None:
    toy = TOYS["tied"]
    folder = toy.save(tmp_path / "toy")
    anew.setenv("CC", copying(tmp_path))
    expected = toy.load(folder, 100, 4, Knobs(kernels="torch"), dtype="float32")
    assert expected.info.why_torch == ""  # torch by choice
    anew.setenv("CC", "nothing")
    native.kernels.cache_clear()
    engine = toy.load(folder, 100, 4, Knobs(kernels="native"), dtype="float32")
    assert "'nothing'" in engine.info.why_torch
    assert engine.knobs.kernels == "torch"
    for each in (expected, engine):
        submit_all(each)
    engine.set_knobs(Knobs(kernels="native"))
    assert engine.knobs.kernels == "torch"
    assert engine.step().knobs.kernels == "torch"
    for each in (expected, engine):
        run_out(each)
    for id in "01234":
        assert engine.tokens(id) == expected.tokens(id)


@pytest.mark.parametrize(
    ("changes", "dtype", "named"),
    [
        ({"hidden": 40}, "float32", "hidden size 40"),
        ({"ffn": 72}, "float32", "feed-forward size 72"),
        ({"head_size": 16}, "float32", "head size 16"),
        ({"head_size": 48}, "float32", "head size 48"),
        ({}, "float64", "float64"),
    ],
)
@pytest.mark.parametrize("weights", FORMATS)
def test_what_native_kernels_cannot_take_runs_on_torch(
    tmp_path: Path, changes: dict[str, int], dtype: str, named: str, weights: str
) -> None:
    toy = replace(TOYS["tied"], **changes)
    engine = toy.load(toy.save(tmp_path), 100, 4, Knobs(weights=weights), dtype=dtype)
    assert named in engine.info.why_torch
    assert engine.knobs.kernels == "torch"
    ids = submit_all(engine, 3, 4)
    run_out(engine)
    assert [len(engine.tokens(id)) for id in ids] == [4, 4, 4]
