"""How native kernels come to an engine: formats built beside its steps, and the library itself.

Where kernels cannot be built the engine goes on without them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Event, Thread

import pytest
import torch

from engine.config import WEIGHT_FORMATS, EngineConfig, EngineError, Knobs, Request, Sampling
from engine.core import Engine
from engine.formats import Formats
from engine.kernels import build, native
from engine.kernels.build import NativeUnavailableError, load_library
from engine.kernels.native import NativeKernels, PackedMatrix
from engine.linear import Int8Linear
from engine.memory import Arena
from tests.engine.compiled import CC, TOYS, compiled, kernels_for, random_matrix, random_rows
from tests.engine.toy import WIDE

pytestmark = [
    compiled,
    # As many as the engine's kernels get: more only wait for each other here.
    pytest.mark.usefixtures("one_thread"),
]


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
    for weights in WEIGHT_FORMATS:
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
    order = Random(1).sample(WEIGHT_FORMATS, 4)

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
    for weights in WEIGHT_FORMATS:
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
@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
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
