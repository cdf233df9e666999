"""Studies of weights held to loops, to the codes themselves, and to what decoders hold."""

import math
import time
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

import engine.workshop
from engine.calibrated import save_int4
from engine.compare import read_model
from engine.config import WEIGHT_FORMATS
from engine.footprint import LLAMA_2, llama_2_norms, projections, served_bytes
from engine.kernels.build import NativeUnavailableError
from engine.kernels.native import NativeDecoder, kernels
from engine.model import TorchDecoder
from engine.quantize import errors, quantize
from engine.scheme import INT4, INT8, SCHEMES, Scheme
from engine.spec import read_spec
from engine.studies import (
    BINS,
    CALIBRATED,
    SIDE,
    Histogram,
    Inventory,
    LayerRow,
    LayerStudy,
    StudyFailed,
    StudyNews,
)
from engine.study import study
from engine.tensors import DecoderTensors, matrices, read_linears, read_tensors
from engine.workshop import Workshop
from tests.engine.make_studied import found as found_today
from tests.engine.toy import WIDE, Toy
from tests.tui.studied import ASKED, stored

CHIEF = Path(__file__).parents[2] / "assets" / "models" / "chief"
PATIENCE = 60.0


def weights(seed: int, rows: int, columns: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))


def answers(workshop: Workshop, layer: str, scheme: str) -> list[StudyNews]:
    """All that a question is answered with."""
    workshop.ask(layer, scheme)
    found: list[StudyNews] = []
    deadline = time.monotonic() + PATIENCE
    while workshop.busy:
        assert time.monotonic() < deadline
        found += workshop.news()
        time.sleep(0.002)
    return found


def one(found: list[StudyNews], kind: type) -> object:
    [news] = [news for news in found if isinstance(news, kind)]
    return news


# One layer


@given(
    st.integers(0, 99),
    st.integers(1, 5),
    st.integers(1, 40),
    st.sampled_from((0.0, 1e-30, 1.0, 1e30)),
    st.sampled_from(SCHEMES),
)
def test_nothing_of_a_layer_is_left_out(
    seed: int, rows: int, columns: int, scale: float, scheme: Scheme
) -> None:
    weight = weights(seed, rows, columns, scale)
    codes = quantize(weight, scheme)
    found = study("a", scheme.name, weight, codes)
    for histogram in (found.before, found.after, found.off):
        assert len(histogram.counts) == BINS
        assert sum(histogram.counts) == weight.numel()
    assert sum(count for *_, count in found.pairs) == weight.numel()
    assert all(0 <= x < SIDE and 0 <= y < SIDE and count > 0 for x, y, count in found.pairs)
    assert found.before.reach == found.after.reach >= float(weight.abs().max())
    assert found.off.reach == pytest.approx(found.figures.largest)
    assert found.figures == errors(weight, codes)
    assert (found.bytes_before, found.bytes_after) == (4 * weight.numel(), codes.nbytes)
    assert found.codes <= found.levels <= 2**scheme.bits


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_what_shares_a_scale_has_no_more_values_than_codes(scheme: Scheme) -> None:
    weight = weights(3, 6, 300)
    found = quantize(weight, scheme).dequantize()
    shared = {
        "tensor": [found],
        "channel": list(found),
        "group": [part for row in found for part in row.split(scheme.group)],
    }[scheme.granularity]
    assert all(len(part.unique()) <= 2**scheme.bits for part in shared)
    assert study("a", scheme.name, weight, quantize(weight, scheme)).outputs == len(found.unique())


def test_histograms_and_pairs_are_those_of_a_loop() -> None:
    weight = weights(1, 3, 50)
    codes = quantize(weight, INT4)
    found = study("a", INT4.name, weight, codes)
    after, reach = codes.dequantize(), found.before.reach

    def place(value: float, parts: int, reach: float) -> int:
        return min(parts - 1, math.floor((value / reach + 1) / 2 * parts))

    def counts(values: Tensor, reach: float) -> list[int]:
        places = [place(value, BINS, reach) for value in values.flatten().tolist()]
        return [places.count(part) for part in range(BINS)]

    assert found.before == Histogram(reach, tuple(counts(weight, reach)))
    assert found.after == Histogram(reach, tuple(counts(after, reach)))
    assert found.off.counts == tuple(counts(after - weight, found.off.reach))
    pairs = [
        (place(x, SIDE, reach), place(y, SIDE, reach))
        for x, y in zip(weight.flatten().tolist(), after.flatten().tolist(), strict=True)
    ]
    assert found.pairs == tuple((*pair, pairs.count(pair)) for pair in sorted(set(pairs)))


# Bytes


TOYS = {
    "tied": Toy(),
    "head of its own": Toy(tied=False),
    "biases": Toy("Qwen2ForCausalLM", biases=("self_attn.q_proj", "self_attn.k_proj",
                                              "self_attn.v_proj")),
    "norms of queries and keys": Toy("Qwen3ForCausalLM", qk_norms=True, tied=False),
    "wide": WIDE,
}  # fmt: skip


@pytest.mark.parametrize("name", TOYS)
def test_the_bytes_told_are_those_that_a_decoder_holds(name: str, tmp_path: Path) -> None:
    folder = TOYS[name].save(tmp_path / "toy")
    held = told(folder)
    tensors = read_tensors(folder, torch.float32, torch.device("cpu"), 64)
    assert held == {weights: TorchDecoder(tensors, weights).nbytes for weights in WEIGHT_FORMATS}


def told(folder: Path) -> dict[str, int]:
    stock = one(answers(Workshop(folder), "head", INT8.name), Inventory)
    assert isinstance(stock, Inventory)
    own, *others = stock.footprints
    assert (own.name, own.projection) == (folder.name, False)
    assert tuple(others) == projections()
    return dict(zip(WEIGHT_FORMATS, own.nbytes, strict=True))


def test_the_chief_takes_what_both_of_its_decoders_hold() -> None:
    tensors = read_model(CHIEF, 64)
    held = told(CHIEF)
    try:
        native = kernels(torch.get_num_threads())
    except NativeUnavailableError as error:
        pytest.skip(str(error))
    for name in WEIGHT_FORMATS:
        assert held[name] == TorchDecoder(tensors, name).nbytes
        assert held[name] == NativeDecoder(tensors, name, native).nbytes


# Numbers in the models' own cards.
PARAMETERS = {"7B": 6_738_415_616, "13B": 13_015_864_320, "70B": 68_976_648_192}


def test_projections_follow_from_the_published_shapes() -> None:
    assert [footprint.name for footprint in projections()] == list(PARAMETERS)
    for footprint in projections():
        spec = LLAMA_2[footprint.name]
        assert footprint.projection
        fp32, bf16, int8, int4 = footprint.nbytes
        assert fp32 == 4 * PARAMETERS[footprint.name]
        linear = sum(rows * columns for rows, columns in spec.linears.values())
        rest = 4 * (PARAMETERS[footprint.name] - linear)
        assert bf16 == 2 * linear + rest
        channels = sum(rows for rows, _ in spec.linears.values())
        assert int8 == linear + 4 * channels + rest
        assert int4 == linear // 2 + 4 * linear // 128 + rest  # all widths are whole groups
        assert fp32 == served_bytes(spec, "fp32", llama_2_norms(spec))


# Questions


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Toy(layers=3).save(tmp_path_factory.mktemp("study") / "toy")


@pytest.fixture(scope="module")
def tensors(toy: Path) -> DecoderTensors:
    return read_model(toy, 64)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_question_is_answered_from_the_folder_s_own_weights(
    scheme: Scheme, toy: Path, tensors: DecoderTensors
) -> None:
    stock, asked, *rows = answers(Workshop(toy), "layers.1.down", scheme.name)
    held = matrices(tensors)
    assert isinstance(stock, Inventory)
    assert dict(stock.layers) == {name: tuple(m.weight.shape) for name, m in held.items()}
    assert stock.schemes == tuple(scheme.name for scheme in SCHEMES)
    weight = held["layers.1.down"].weight
    assert asked == study("layers.1.down", scheme.name, weight, quantize(weight, scheme))
    assert rows == [
        LayerRow(name, scheme.name, errors(m.weight, quantize(m.weight, scheme)))
        for name, m in held.items()
    ]


@pytest.mark.parametrize("tied", [True, False])
def test_layers_are_read_one_at_a_time(tied: bool, tmp_path: Path) -> None:
    folder = Toy(tied=tied).save(tmp_path / "toy")
    spec, whole = read_spec(folder), matrices(read_model(folder, 64))
    found = [read_linears(folder, spec, number) for number in range(spec.layers + 1)]
    assert [name for part in found for name in part] == list(spec.linears) == list(whole)
    for part in found:
        for name, matrix in part.items():
            assert torch.equal(matrix.weight, whole[name].weight)
            assert matrix.weight.shape == spec.linears[name]


def test_calibrated_codes_are_one_more_scheme(
    toy: Path, tensors: DecoderTensors, tmp_path: Path
) -> None:
    # As good as calibrated: codes that rounding to nearest would not give.
    codes = {name: quantize(1.1 * m.weight, INT4) for name, m in matrices(tensors).items()}
    save_int4(toy, tmp_path / "toy", codes)
    stock, asked, *rows = answers(Workshop(tmp_path / "toy"), "head", CALIBRATED)
    assert isinstance(stock, Inventory)
    assert stock.schemes[-1] == CALIBRATED
    weight = tensors.head.weight
    assert asked == study("head", CALIBRATED, weight, codes["head"])
    assert asked != replace(study("head", "", weight, quantize(weight, INT4)), scheme=CALIBRATED)
    assert [row.figures for row in rows if isinstance(row, LayerRow)] == [
        errors(matrix.weight, codes[name]) for name, matrix in matrices(tensors).items()
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_layer_that_cannot_be_quantized_is_told_of_and_the_others_are_studied(
    value: float, tmp_path: Path
) -> None:
    folder = Toy().save(tmp_path / "toy")
    held = load_file(folder / "model.safetensors")
    held["model.layers.1.mlp.up_proj.weight"][2, 3] = value
    save_file(held, folder / "model.safetensors")
    found = answers(Workshop(folder), "layers.1.gate_up", INT8.name)
    reason = "layers.1.gate_up: the tensor holds NaN or Inf"
    assert found[1] == StudyFailed("layers.1.gate_up", INT8.name, reason)
    rows = [news for news in found if isinstance(news, LayerRow)]
    assert len(rows) == 9
    assert {row.layer: row.reason for row in rows if row.figures is None} == {
        "layers.1.gate_up": reason
    }


@pytest.mark.parametrize(
    ("layer", "scheme", "named"),
    [
        ("layers.9.qkv", INT8.name, "layers.9.qkv"),
        ("head", "int3", "int3"),
        ("head", CALIBRATED, "gptq"),
    ],
)
def test_what_there_is_not_is_named(layer: str, scheme: str, named: str, toy: Path) -> None:
    failed = answers(Workshop(toy), layer, scheme)[-1]
    assert isinstance(failed, StudyFailed)
    assert named in failed.reason


def test_a_folder_that_has_gone_is_one_line(tmp_path: Path) -> None:
    [failed] = answers(Workshop(tmp_path / "gone"), "head", INT8.name)
    assert isinstance(failed, StudyFailed)
    assert "gone" in failed.reason
    assert "\n" not in failed.reason


def test_the_newest_question_is_the_one_that_is_answered(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop(toy)
    asked: list[str] = []

    def slow(layer: str, *rest: object) -> LayerStudy:
        asked.append(layer)
        if len(asked) == 1:
            for later in ("layers.0.out", "layers.1.out", "head"):
                workshop.ask(later, INT4.name)  # while the first is under way
        return study(layer, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.workshop, "study", slow)
    found = answers(workshop, "layers.0.qkv", INT8.name)
    assert asked == ["layers.0.qkv", "head"]
    studied = one(found, LayerStudy)
    assert isinstance(studied, LayerStudy)
    assert (studied.layer, studied.scheme) == ("head", INT4.name)
    assert {row.scheme for row in found if isinstance(row, LayerRow)} == {INT4.name}


def test_a_table_is_measured_once(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = Workshop(toy)
    _, first, *rows = answers(workshop, "layers.0.qkv", INT8.name)
    read: list[int] = []
    whole = engine.workshop.read_linears
    monkeypatch.setattr(
        engine.workshop, "read_linears", lambda *args: (read.append(args[2]), whole(*args))[1]
    )
    _, second, *again = answers(workshop, "layers.2.out", INT8.name)
    assert first != second
    assert again == rows
    assert read == [2]


def test_the_stored_studies_are_what_the_engine_finds_today() -> None:
    today, before = found_today(), stored()
    assert len(today) == len(before) == len(ASKED) * 35
    for now, then in zip(today, before, strict=True):
        if isinstance(now, LayerStudy | LayerRow) and isinstance(then, LayerStudy | LayerRow):
            assert now.figures is not None
            # Sums, whose order is another on other machines.
            assert astuple(now.figures) == pytest.approx(astuple(then.figures), rel=1e-9)  # type: ignore[arg-type]
            now = replace(now, figures=then.figures)
        assert now == then
