"""Decoders on the native kernels, held to torch's and to themselves, and the tokens they pick."""

import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from engine.config import WEIGHT_FORMATS, Knobs, Sampling
from engine.decoder import draft_in_turn
from engine.kernels import build
from engine.kernels.native import NativeDecoder, NativeKernels, PackedMatrix
from engine.memory import Arena
from engine.plan import Row
from engine.sampling import SampleSpec, sample
from tests.engine.compiled import (
    TARGETS,
    TOYS,
    compiled,
    hold_rows_alike,
    kernels_for,
    random_matrix,
)
from tests.engine.cuts import all_logits, hold_cuts_alike, make_cache, read_toy
from tests.engine.toy import WIDE, Naive

pytestmark = [
    compiled,
    # As many as the engine's kernels get: more only wait for each other here.
    pytest.mark.usefixtures("one_thread"),
]


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
        for weights in WEIGHT_FORMATS
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


@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
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
@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
def test_any_cut_of_any_batch(tmp_path: Path, weights: str, page_size: int) -> None:
    for name in ("qwen2", "qwen3", "one kv head"):
        tensors = read_toy(TOYS[name], tmp_path / name)
        hold_cuts_alike(
            NativeDecoder(tensors, weights, kernels_for("native")), tensors, page_size, 2
        )


@pytest.mark.parametrize(("target", "threads"), [("native", 2), ("x86-64-v3", 1)])
@pytest.mark.parametrize("weights", WEIGHT_FORMATS)
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


@pytest.mark.parametrize("weights", ["fp32", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_drafts_are_those_of_a_pass_after_the_other(
    tmp_path: Path, weights: str, threads: int
) -> None:
    """Any number for each of some requests, beside others that only catch up; and as many again
    find what the first have left of keys and values."""
    tensors, random = read_toy(TOYS["qwen3"], tmp_path), Random(1)
    decoder = NativeDecoder(tensors, weights, kernels_for("native", threads))
    caches = [make_cache(tensors, 40, 5) for _ in range(2)]
    rows = []
    for i, room in enumerate((3, 0, 1, 7, 0, 2)):
        tokens = tuple(random.randrange(70) for _ in range(1 + 4 * i))
        how = Sampling(temperature=0.9 * (i % 2), seed=i) if room else None
        rows.append(Row(str(i), 0, tokens, tuple(range(6 * i, 6 * i + 6)), how, room))
    found = decoder.draft(caches[0], rows)
    assert [len(drafts) for drafts in found] == [3, 1, 7, 2]
    expected, logits = draft_in_turn(decoder, caches[1], rows)
    assert found == expected
    assert logits is not None
    assert logits.shape == (13, tensors.spec.vocab_size)
    assert torch.equal(caches[0].data, caches[1].data)
    filtered = [
        replace(row, sampling=row.sampling and replace(row.sampling, top_k=2)) for row in rows
    ]
    again = decoder.draft(caches[0], filtered)
    assert again == draft_in_turn(decoder, caches[1], filtered)[0]
