"""Calibrated 4-bit weights held to rounding to nearest, and their folder to what was written."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.calibrated import CODES, FACTS, has_int4, load_int4, save_int4
from engine.compare import (
    DequantizedLinear,
    Document,
    compare,
    decoder_scorer,
    read_model,
    scheme_figures,
    served,
    weight_figures,
)
from engine.config import EngineConfig, EngineError, Knobs, ModelError
from engine.formats import Formats
from engine.gptq import GptqOptions, calibrate, quantize_matrix
from engine.linear import Int4Linear, Int8Linear
from engine.model import TorchDecoder
from engine.quantize import Quantized, quantize
from engine.scheme import INT4, SCHEMES
from engine.tensors import DecoderTensors, Matrix, matrices, with_codes
from tests.engine.toy import WIDE, Naive, Toy

PLAIN = GptqOptions(follow=False)
# Milder than WIDE, whose random layers make a large difference of any small one.
MILD = replace(WIDE, tied=False, scale=0.5)
# Groups that do not fill, grouped heads, biases, norms of queries and keys, a head of its own.
ODD = Toy(
    architecture="Qwen3ForCausalLM",
    hidden=132,
    ffn=140,
    tied=False,
    biases=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    qk_norms=True,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def texts(toy: Toy, count: int, seed: int, length: int = 60) -> list[Document]:
    """Random documents of uneven lengths."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Document] = []
    for number in range(count):
        ids = torch.randint(toy.vocab, (length + number,), generator=generator).tolist()
        found.append((tuple(ids[:7]), tuple(ids[7:])))
    return found


def correlated(rows: int, size: int, seed: int) -> Tensor:
    """Inputs that move together, of unlike sizes: float32 [rows, size]."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn((size // 4, size), generator=generator)
    own = torch.randn((rows, size), generator=generator) * 0.3
    sizes = torch.rand(size, generator=generator) * 3
    return (torch.randn((rows, size // 4), generator=generator) @ mix + own) * sizes


def output_error(weight: Tensor, found: Quantized, x: Tensor) -> float:
    return float(((found.dequantize() - weight) @ x.T).square().sum())


@pytest.fixture(scope="module")
def mild(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DecoderTensors]:
    folder = MILD.save(tmp_path_factory.mktemp("mild") / "mild")
    return folder, read_model(folder, 256)


@pytest.mark.parametrize("size", [128, 200, 301])
@pytest.mark.parametrize("seed", range(2))
def test_it_beats_rounding_to_nearest_on_correlated_inputs(seed: int, size: int) -> None:
    weight = torch.randn((48, size), generator=torch.Generator().manual_seed(seed))
    x = correlated(2000, size, seed)
    hessian = 2 * (x.T @ x).double()
    found = [
        output_error(weight, quantized, x)
        for quantized in (
            quantize(weight, INT4),
            quantize_matrix(weight, hessian, replace(PLAIN, order=False)),
            quantize_matrix(weight, hessian, PLAIN),
        )
    ]
    assert found[1] < 0.6 * found[0]
    assert found[2] < 0.6 * found[0]
    assert found[2] < found[1]  # the order pays where inputs are of unlike sizes


@pytest.mark.parametrize("order", [True, False])
@pytest.mark.parametrize("columns", [1, 5, 128, 300])
def test_without_correlation_it_is_rounding_to_nearest(columns: int, order: bool) -> None:
    weight = torch.randn((7, columns), generator=torch.Generator().manual_seed(columns))
    weight[2] = 0
    for hessian in (torch.eye(columns), torch.zeros(columns, columns)):
        found = quantize_matrix(weight, hessian, replace(PLAIN, order=order))
        plain = quantize(weight, INT4)
        assert (found.scheme, found.shape) == (plain.scheme, plain.shape)
        assert torch.equal(found.codes, plain.codes)
        assert torch.equal(found.scales, plain.scales)


def test_singular_hessians_and_dead_inputs_are_taken() -> None:
    weight = torch.randn((9, 140), generator=torch.Generator().manual_seed(0))
    x = correlated(12, 140, 0)  # far fewer rows than inputs
    x[:, [3, 130]] = 0
    for damping in (0.0, 0.01):
        options = GptqOptions(damping=damping)
        found = quantize_matrix(weight, 2 * (x.T @ x).double(), options)
        assert bool(torch.isfinite(found.scales).all())
        assert output_error(weight, found, x) < output_error(weight, quantize(weight, INT4), x)
        # Nothing says what a dead input's weight is for: it stays as near as its scale allows.
        off = (found.dequantize() - weight)[:, [3, 130]].abs()
        scale = found.scales[:, [0, 1]]
        assert bool((off <= 0.51 * scale).all())


def test_no_hessian_keeps_it_from_ending() -> None:
    weight = torch.randn((4, 6), generator=torch.Generator().manual_seed(0))
    for hessian in (-torch.eye(6), torch.ones(6, 6), 1 - 2 * torch.eye(6)):
        assert quantize_matrix(weight, hessian).dequantize().isfinite().all()


def test_zero_rows_and_groups_stay_zero() -> None:
    weight = torch.randn((6, 300), generator=torch.Generator().manual_seed(0))
    weight[1] = 0
    weight[2, 128:256] = 0
    x = correlated(500, 300, 1)
    found = quantize_matrix(weight, 2 * (x.T @ x).double())
    assert not found.dequantize()[1].any()
    assert bool(torch.isfinite(found.dequantize()).all())


@pytest.mark.parametrize(
    ("weight", "hessian", "named"),
    [
        (torch.ones(2, 3), torch.eye(4), "Hessian"),
        (torch.full((2, 3), torch.nan), torch.eye(3), "NaN or Inf"),
        (torch.ones(2, 3), torch.full((3, 3), torch.inf), "NaN or Inf"),
    ],
)
def test_bad_matrices_are_named(weight: Tensor, hessian: Tensor, named: str) -> None:
    with pytest.raises(EngineError, match=named):
        quantize_matrix(weight, hessian)


def test_the_fast_forms_are_the_served_ones(mild: tuple[Path, DecoderTensors]) -> None:
    """An activation on a rounding tie may go either way, so that whole models are held loosely:
    to a small part of what the format changes."""
    x = correlated(30, 300, 0)
    weight = torch.randn((20, 300), generator=torch.Generator().manual_seed(0))
    bias = torch.randn(20, generator=torch.Generator().manual_seed(1))
    four = DequantizedLinear(quantize(weight, INT4), bias)
    torch.testing.assert_close(four(x), Int4Linear(Matrix(weight, bias))(x), rtol=1e-4, atol=1e-3)
    assert four.nbytes == Int4Linear(Matrix(weight, bias)).nbytes
    _, tensors = mild
    document = texts(MILD, 1, 5)[0]
    exact = served(tensors, "fp32")(document)
    for name in ("fp32", "bf16", "int8", "int4"):
        decoder = TorchDecoder(tensors, name)
        fast = served(tensors, name)
        scored = decoder_scorer(decoder, tensors.spec, torch.float32)(document)
        off = (fast(document) - scored).abs().mean()
        assert off <= 1e-6 + 0.2 * (scored - exact).abs().mean(), name
        assert fast.nbytes == decoder.read_bytes
    assert Int8Linear(Matrix(weight)).nbytes < weight.nbytes / 3


def test_whole_documents_run_as_the_naive_decoder_says(tmp_path: Path) -> None:
    for number, toy in enumerate((Toy(), ODD)):
        tensors = read_model(toy.save(tmp_path / str(number)), 256)
        for prompt, body in texts(toy, 2, 0, 30):
            logits = Naive(toy).logits([*prompt, *body])[len(prompt) - 1 : -1]
            found = served(tensors, "fp32")((prompt, body))
            torch.testing.assert_close(found.double(), logits, rtol=1e-3, atol=1e-3)


def test_a_calibrated_model_is_nearer_to_its_original(mild: tuple[Path, DecoderTensors]) -> None:
    _, tensors = mild
    told: list[str] = []
    codes = calibrate(tensors, texts(MILD, 30, 1), tell=told.append)
    assert list(codes) == list(tensors.spec.linears)
    assert len(told) == len(codes)
    exact = served(tensors, "fp32")
    gptq = served(with_codes(tensors, codes), "int4")
    found = compare(
        exact,
        {"fp32": exact, "rtn": served(tensors, "int4"), "gptq": gptq},
        texts(MILD, 6, 2),
    )
    assert found["gptq"].mean_kl < 0.7 * found["rtn"].mean_kl
    assert found["fp32"].mean_kl == found["fp32"].flip_gap == 0
    assert found["fp32"].top1 == 1
    assert 0 < found["rtn"].top1 < 1
    assert found["rtn"].flip_gap > 0
    assert found["fp32"].tokens == sum(len(body) for _, body in texts(MILD, 6, 2))


def test_odd_models_are_taken(tmp_path: Path) -> None:
    tensors = read_model(ODD.save(tmp_path), 256)
    codes = calibrate(tensors, texts(ODD, 2, 1))
    for name, matrix in matrices(tensors).items():
        assert codes[name].shape == tuple(matrix.weight.shape)
    model = served(with_codes(tensors, codes), "int4")
    assert model(texts(ODD, 1, 2)[0]).isfinite().all()


def test_compare_s_figures_are_those_of_the_formulas() -> None:
    right = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    wrong = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    found = compare(lambda _: right, {"wrong": lambda _: wrong}, [((9,), (0, 2))])["wrong"]
    p, q = right.softmax(-1), wrong.softmax(-1)
    assert found.tokens == 2
    assert found.perplexity == pytest.approx(float((q[0, 0] * q[1, 2]) ** -0.5))
    assert found.mean_kl == pytest.approx(float((p * (p / q).log()).sum() / 2))
    assert found.top1 == 0.5
    assert found.flip_gap == pytest.approx(float(p[0, 0] - p[0, 1]))
    assert (found.clear, found.clear_top1) == (1, 0.5)
    tied = torch.tensor([[1.0, 1.01, 0.0], [0.0, 0.0, 3.0]])
    found = compare(lambda _: tied, {"right": lambda _: right}, [((9,), (0, 2))])["right"]
    assert (found.top1, found.clear, found.clear_top1) == (0.5, 0.5, 1)


def test_figures_of_weights_are_over_all_layers(mild: tuple[Path, DecoderTensors]) -> None:
    _, tensors = mild
    assert len({scheme.name for scheme in SCHEMES}) == 12
    found = {scheme.name: scheme_figures(tensors, scheme) for scheme in SCHEMES}
    codes = {name: quantize(matrix.weight, INT4) for name, matrix in matrices(tensors).items()}
    assert found[INT4.name] == weight_figures(tensors, codes)
    noise = [
        (codes[name].dequantize() - matrix.weight).double().square().flatten()
        for name, matrix in matrices(tensors).items()
    ]
    assert found[INT4.name].errors.mse == pytest.approx(float(torch.cat(noise).mean()))
    assert found[INT4.name].nbytes == sum(code.nbytes for code in codes.values())
    assert 7 < found[INT4.name].errors.compression < 8


def test_what_cannot_be_calibrated_or_compared_is_named(
    mild: tuple[Path, DecoderTensors], tmp_path: Path
) -> None:
    _, tensors = mild
    exact = served(tensors, "fp32")
    broken = replace(tensors, embedding=torch.full_like(tensors.embedding, torch.nan))
    faults: list[tuple[Callable[[], object], str]] = [
        (lambda: calibrate(tensors, []), "needs documents"),
        (lambda: calibrate(tensors, [((), ())]), "needs documents"),
        (lambda: calibrate(tensors, [((MILD.vocab,), ())]), "outside the vocabulary"),
        (lambda: calibrate(tensors, [((1,) * 300, ())]), "at most 256"),
        (lambda: calibrate(broken, [((1, 2), (3,))]), "layers.0.qkv hold NaN"),
        (lambda: compare(exact, {}, [((), (1,))]), "without a prompt"),
        (lambda: compare(exact, {}, [((1,), ())]), "no body tokens"),
        (lambda: served(tensors, "int3"), "int3"),
    ]
    for make, named in faults:
        with pytest.raises(EngineError, match=named):
            make()


@pytest.fixture(scope="module")
def written(
    mild: tuple[Path, DecoderTensors], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Quantized]]:
    source, tensors = mild
    codes = calibrate(tensors, texts(MILD, 2, 1))
    out = tmp_path_factory.mktemp("int4") / "new" / "model"
    save_int4(source, out, codes)
    return out, codes


def test_a_folder_reads_back_to_the_bit(
    mild: tuple[Path, DecoderTensors], written: tuple[Path, dict[str, Quantized]]
) -> None:
    out, codes = written
    assert has_int4(out)
    assert not has_int4(mild[0])
    found = load_int4(out)
    assert list(found) == list(codes)
    for name, code in codes.items():
        assert (found[name].scheme, found[name].shape) == (code.scheme, code.shape)
        assert torch.equal(found[name].codes, code.codes)
        assert torch.equal(found[name].scales, code.scales)
        assert found[name].zeros is None
    # It is a model folder like its source.
    tensors = read_model(out, 256)
    assert torch.equal(tensors.embedding, mild[1].embedding)
    document = texts(MILD, 1, 4)[0]
    right = served(with_codes(mild[1], codes), "int4")
    assert torch.equal(served(with_codes(tensors, found), "int4")(document), right(document))


@pytest.mark.parametrize("kernels", ["torch", "native"])
def test_a_calibrated_folder_is_served_by_its_codes(
    mild: tuple[Path, DecoderTensors], written: tuple[Path, dict[str, Quantized]], kernels: str
) -> None:
    folder, codes = written
    knobs = Knobs(weights="int4", kernels=kernels)
    formats = Formats(EngineConfig(str(folder), max_context=256), Knobs())
    decoder = formats.get(formats.effective(knobs))
    document = texts(MILD, 1, 4)[0]
    found = decoder_scorer(decoder, mild[1].spec, torch.float32)(document)
    calibrated = served(with_codes(mild[1], codes), "int4")(document)
    nearest = served(mild[1], "int4")(document)
    assert (found - calibrated).abs().max() < 0.1 * (found - nearest).abs().max()


def test_codes_that_are_spoilt_keep_no_other_format_from_being_served(
    written: tuple[Path, dict[str, Quantized]], tmp_path: Path
) -> None:
    folder = shutil.copytree(written[0], tmp_path / "copy")
    (folder / CODES).unlink()
    formats = Formats(EngineConfig(str(folder), max_context=256), Knobs())
    with pytest.raises(ModelError, match=CODES):
        formats.prepare(formats.effective(Knobs(weights="int4")))
    formats.prepare(formats.effective(Knobs(weights="int8")))


def test_it_can_be_written_into_the_model_s_own_folder(
    mild: tuple[Path, DecoderTensors], written: tuple[Path, dict[str, Quantized]], tmp_path: Path
) -> None:
    own = shutil.copytree(mild[0], tmp_path / "own")
    for _ in range(2):
        save_int4(own, own, written[1])
    assert load_int4(own).keys() == written[1].keys()


def test_an_older_copy_s_shards_are_not_left_over(
    mild: tuple[Path, DecoderTensors], written: tuple[Path, dict[str, Quantized]], tmp_path: Path
) -> None:
    out = shutil.copytree(written[0], tmp_path / "copy")
    (out / "model-00001-of-00002.safetensors").write_bytes(b"old")
    (out / "model.safetensors.index.json").write_text("{}")
    save_int4(mild[0], out, written[1])
    assert load_int4(out).keys() == written[1].keys()
    assert torch.equal(read_model(out, 256).embedding, mild[1].embedding)


def spoil_facts(**changes: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / FACTS
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def spoil_codes(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / CODES)
        change(tensors)
        save_file(tensors, folder / CODES)

    return spoil


QKV = "layers.0.qkv"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / FACTS).unlink(), (FACTS, "cannot be read")),
        (lambda folder: (folder / FACTS).write_text("{"), (FACTS, "cannot be read")),
        (lambda folder: (folder / FACTS).write_text("[]"), (FACTS, "version None")),
        (lambda folder: (folder / CODES).unlink(), (CODES, "cannot be read")),
        (lambda folder: (folder / CODES).write_bytes(b"x" * 99), (CODES, "cannot be read")),
        (spoil_facts(version=2), ("version 2 is not 1",)),
        (spoil_facts(scheme={"bits": 3}), ("scheme", "'bits': 3")),
        (lambda folder: replace(MILD, seed=9).save(folder), ("other weights",)),
        (spoil_codes(lambda t: t[f"{QKV}.scales"].fill_(torch.nan)), (f"{QKV}.scales", "NaN")),
        (spoil_codes(lambda t: t[f"{QKV}.scales"].fill_(-1)), (f"{QKV}.scales", "below 0")),
        (spoil_codes(lambda t: t[f"{QKV}.codes"].fill_(0)), (f"{QKV}.codes", "below -7")),
        (spoil_codes(lambda t: t.pop("head.codes")), ("head.codes is missing",)),
        (spoil_codes(lambda t: t.update(more=torch.ones(1))), ("more is not part",)),
        (
            spoil_codes(lambda t: t.update({f"{QKV}.codes": t[f"{QKV}.codes"][1:].clone()})),
            (f"{QKV}.codes", "[319, 64]", "[320, 64]"),
        ),
        (
            spoil_codes(lambda t: t.update({"head.scales": t["head.scales"].double()})),
            ("head.scales", "float64"),
        ),
    ],
)
def test_a_bad_folder_is_named(
    written: tuple[Path, dict[str, Quantized]],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    words: tuple[str, ...],
) -> None:
    folder = shutil.copytree(written[0], tmp_path / "copy")
    spoil(folder)
    with pytest.raises(ModelError) as caught:
        load_int4(folder)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_disk_that_refuses_is_named(
    mild: tuple[Path, DecoderTensors], written: tuple[Path, dict[str, Quantized]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot write"):
        save_int4(mild[0], tmp_path / "file", written[1])
