"""Distillation: the loss, the run, its resumption, acceptance, what is refused."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.config import EngineError, ModelError, Sampling
from engine.sampling import SampleSpec, sample
from engine.training import acceptance, distill, folder
from engine.training.data import Stream
from engine.training.folder import WEIGHTS, load_model, replacing, save_model
from engine.training.junior import RECIPE, DistillSettings, junior_shape
from engine.training.junior_card import write_card
from engine.training.model import Llama
from engine.training.objective import distillation, distillation_loss
from engine.training.raced import raced
from engine.training.settings import Shape
from engine.training.tokenizer import train_tokenizer
from engine.training.trainer import fit
from engine.training.writing import write_bodies
from pitwall_tui import cli
from tests.engine.little import MICRO, SHAPE, SOURCE, TOKENIZER, documents, silent
from tests.engine.test_training import StopError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE_MICRO = replace(MICRO, name="junior", held_out_tokens=600, tokens=4_000)


def settings(teacher: Path, out: Path, **changes: Any) -> DistillSettings:
    base = DistillSettings(
        teacher, out, layers=1, hidden=64, device="cpu", workers=0, recipe=RECIPE_MICRO
    )
    return replace(base, **changes)


# --- the loss


def softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(x) for x in logits]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 1.0), (2.0, 0.9), (4.0, 0.5), (2.0, 0.0)])
def test_the_loss_is_what_it_says(temperature: float, alpha: float) -> None:
    student, teacher = [[1.0, 2.0, -1.0], [0.5, 0.0, 0.0], [9.0, 9.0, 9.0]], [[2.0, 0.0, 1.0]] * 3
    labels, weights = [1, 0, -100], [1.0, 0.25, 1.0]
    divergences, nats = [], []
    for own, wanted, label in zip(student, teacher, labels, strict=True):
        p = softmax([x / temperature for x in wanted])
        q = softmax([x / temperature for x in own])
        divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        nats.append(-math.log(softmax(own)[label]) if label >= 0 else 0)
    soft = (divergences[0] + divergences[1]) / 2
    hard = (nats[0] + 0.25 * nats[1]) / 1.25
    loss = distillation_loss(
        *(torch.tensor(x) for x in (student, teacher, labels, weights, temperature, alpha))
    )
    assert float(loss.minimized) == pytest.approx(
        alpha * temperature**2 * soft + (1 - alpha) * hard
    )
    assert float(loss.nats) == pytest.approx(hard)


def test_a_known_divergence() -> None:
    """KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - ln 3 / 2."""
    student = torch.tensor([[0.0, math.log(3)]])
    one = torch.tensor(1.0)
    loss = distillation_loss(student, torch.zeros(1, 2), torch.tensor([0]), one[None], one, one)
    assert float(loss.minimized) == pytest.approx(math.log(2) - math.log(3) / 2, rel=1e-6)


def test_gradients_are_of_one_size_at_every_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randn(8, 50, generator=generator)
    sizes = []
    for temperature in (4.0, 16.0):
        own = torch.zeros(8, 50, requires_grad=True)
        distillation_loss(
            own,
            wanted,
            torch.zeros(8, dtype=torch.int64),
            torch.ones(8),
            torch.tensor(temperature),
            torch.tensor(1.0),
        ).minimized.backward()
        assert own.grad is not None
        sizes.append(float(own.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


# --- runs


def test_a_run_learns_leaves_the_teacher_and_saves_everything(
    teacher: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in teacher.iterdir()}
    said: list[str] = []
    short = settings(teacher, tmp_path / "short", tokens=512, temperature=1.0, alpha=1.0)
    early = distill.distill(documents, short, silent)
    run = replace(short, out=tmp_path / "junior", tokens=120_000)
    facts = distill.distill(documents, run, said.append)
    assert {path.name: path.read_bytes() for path in teacher.iterdir()} == before
    assert facts["acceptance"]["overlap"] > early["acceptance"]["overlap"] + 0.05
    assert facts["acceptance"]["coupled"] > early["acceptance"]["coupled"]
    assert any("k tokens/s" in line and "left" in line for line in said)
    names = {path.name for path in (tmp_path / "junior").iterdir()}
    assert names == {
        *("config.json", "generation_config.json", WEIGHTS, "tokenizer.json"),
        *("tokenizer_config.json", "training.json", "README.md"),
    }
    assert json.loads((tmp_path / "junior" / "training.json").read_text()) == facts
    assert facts["race"]["drafts"] > 0
    raced = f"{facts['race']['acceptance']:.1%} of its drafts"
    assert raced in (tmp_path / "junior" / "README.md").read_text()
    assert load_model(tmp_path / "junior").shape == junior_shape(SHAPE, 1, 64)
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"rows": [facts, facts | {"alpha": 0.0}]}))
    write_card(tmp_path / "junior", rows)
    card = (tmp_path / "junior" / "README.md").read_text()
    assert f"| 1 x 64 | {facts['parameters']:,} | 1 | 1 |" in card
    assert "| - | 0 |" in card


def test_hard_labels_need_no_teacher_and_a_student_goes_on(teacher: Path, tmp_path: Path) -> None:
    first = distill.distill(
        documents, settings(teacher, tmp_path / "one", alpha=0.0, tokens=20_000), silent
    )
    again = settings(teacher, tmp_path / "two", student=tmp_path / "one", tokens=20_000, alpha=0.0)
    second = distill.distill(documents, again, silent)
    assert second["held_out"]["nats_per_token"] < first["held_out"]["nats_per_token"]
    assert "--student one" in second["command"]


def test_a_teacher_s_texts_and_a_student_s_own(teacher: Path, tmp_path: Path) -> None:
    run = settings(
        teacher,
        tmp_path / "one",
        data="teacher",
        written_tokens=300,
        drafts=200,
        tokens=2_000,
        checkpoint=tmp_path / "saved",
    )
    facts = distill.distill(documents, run, silent)
    assert facts["drafts"]["tokens"] >= 200
    assert "--data teacher --written-tokens 300 --drafts 200" in facts["command"]
    assert "read again and again" in (tmp_path / "one" / "README.md").read_text()
    kept = sorted(path.name.partition("-")[0] for path in (tmp_path / "saved").glob("*.npz"))
    assert kept == ["drafts", "written"]
    # Taken up at its end, and made once more from nothing: the same student.
    for place, checkpoint in (("two", tmp_path / "saved"), ("three", None)):
        distill.distill(
            documents, replace(run, out=tmp_path / place, checkpoint=checkpoint), silent
        )
        weights = [(tmp_path / out / WEIGHTS).read_bytes() for out in ("one", place)]
        assert weights[0] == weights[1]
    next((tmp_path / "saved").glob("written*")).write_bytes(b"cut")
    with pytest.raises(EngineError, match=r"cannot read .*remove it"):
        distill.distill(documents, run, silent)


def test_written_bodies_are_the_engine_s_own_samples(teacher: Path) -> None:
    asked = SOURCE.at_least(Stream.WRITTEN, 200)
    texts = write_bodies(teacher, asked, SOURCE, 0.8, "cpu", silent)
    model = load_model(teacher)
    assert [prompt for prompt, _ in texts] == [prompt for prompt, _ in asked]
    for number, (prompt, body) in enumerate(texts[:4]):
        ids = torch.tensor([prompt + body])
        places = torch.arange(ids.shape[1])[None]
        logits = model(ids, places, torch.tensor([0, ids.shape[1]], dtype=torch.int32))[0]
        drawn = Sampling(1, 0.8, SOURCE.seed << 32 | number)
        specs = [SampleSpec(drawn, place) for place in range(len(prompt), ids.shape[1])]
        assert sample(logits[len(prompt) - 1 : -1].detach(), specs) == body


def test_a_resumed_run_is_equal_to_the_bit(teacher: Path, tmp_path: Path) -> None:
    chief = load_model(teacher).requires_grad_(False)

    def trained(run: DistillSettings, stop_after: int | None = None) -> Llama:
        shape = junior_shape(SHAPE, 1, 64)
        model = Llama(shape)
        model.initialize(1)
        readings = iter(range(10_000))

        def clock() -> float:
            now = next(readings)
            if now == stop_after:
                raise StopError
            return float(now)

        aim = distillation(chief, torch.device("cpu"), "digest", run.temperature, run.alpha)
        fit(model, SOURCE, run.training(shape), silent, clock, aim)
        return model

    whole = trained(settings(teacher, tmp_path))
    cut = settings(teacher, tmp_path, checkpoint=tmp_path / "saved", checkpoint_minutes=0)
    with pytest.raises(StopError):
        trained(cut, stop_after=4)
    resumed = trained(cut)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    for other in (replace(cut, temperature=3.0), replace(cut, alpha=0.0)):
        with pytest.raises(EngineError, match="another run"):
            trained(other)


def test_a_full_disk_leaves_the_old_junior(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "junior"
    shutil.copytree(teacher, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    for place, name in ((folder, "save_file"), (folder, "write_json"), (distill, "write_json")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            with pytest.raises(EngineError, match=r"cannot write the model to .*No space left"):
                distill.distill(documents, settings(teacher, out, tokens=512), silent)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_student_is_kept_whatever_its_race_meets(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(*args: Any) -> None:
        raise ModelError("draft model 'new' cannot be served")

    monkeypatch.setattr(distill, "raced", unfit)
    out = tmp_path / "new"
    with pytest.raises(EngineError, match="cannot be served"):
        distill.distill(documents, settings(teacher, out, tokens=512), silent)
    assert load_model(out).shape == junior_shape(SHAPE, 1, 64)
    assert json.loads((out / "training.json").read_text())["race"] is None
    assert "In a race of" not in (out / "README.md").read_text()


def test_a_race_without_drafts_is_no_figure(teacher: Path) -> None:
    found = raced(teacher, teacher, ()).facts
    assert found["drafts"] == 0
    assert (found["acceptance"], found["mean_acceptance_length"]) == (None, None)


def test_a_pass_on_drafts_is_taken_up_with_its_own_teacher_only(
    teacher: Path, tmp_path: Path
) -> None:
    """Hard labels make the same student of any teacher: only the last pass can tell them apart."""
    run = settings(
        teacher, tmp_path / "one", alpha=0.0, drafts=200, tokens=512, checkpoint=tmp_path / "saved"
    )
    distill.distill(documents, run, silent)
    other, model = tmp_path / "other", load_model(teacher)
    with torch.no_grad():
        model.embed_tokens.weight.mul_(0.5)
    save_model(model, TOKENIZER, other, None)
    (tmp_path / "saved" / "training.pt").unlink()
    with pytest.raises(EngineError, match="another run"):
        distill.distill(documents, replace(run, teacher=other), silent)


def test_replacing_takes_away_shards_that_are_no_more(tmp_path: Path) -> None:
    model = Llama(replace(SHAPE, ffn=4096))
    with replacing(tmp_path) as part:
        save_model(model, TOKENIZER, part, 1)
    assert len(list(tmp_path.glob("model-*"))) > 1
    with replacing(tmp_path) as part:
        save_model(model, TOKENIZER, part, None)
    assert [path.name for path in tmp_path.glob("model*")] == [WEIGHTS]
    assert load_file(tmp_path / WEIGHTS)
    assert not (tmp_path / ".part").exists()


# --- acceptance


def test_runs_and_rounds_by_hand() -> None:
    bodies = [torch.tensor([True, True, False, True]), torch.tensor([False])]
    # From the places on: 2, 1, 0, 1 and 0 accepted.
    assert acceptance.mean_run(bodies, 5) == 4 / 5
    assert acceptance.mean_run(bodies, 1) == 3 / 5
    # Rounds take 3 tokens, then 1; then 1.
    assert acceptance.tokens_per_round(bodies, 5) == 5 / 3
    assert acceptance.tokens_per_round([torch.ones(12, dtype=torch.bool)], 5) == 12 / 2


def test_overlap_is_one_minus_total_variation() -> None:
    p, q = torch.tensor([[0.5, 0.5, 1e-30]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    assert float(acceptance.overlap(p, q)) == pytest.approx(0.5)
    assert float(acceptance.overlap(p, p)) == pytest.approx(1)


def test_coupled_hits_are_the_engine_s_own_samples() -> None:
    generator = torch.Generator().manual_seed(2)
    p = torch.randn(40, 30, generator=generator).double()
    q = p + 0.5 * torch.randn(40, 30, generator=generator)
    positions = list(range(7, 47))
    specs = [SampleSpec(Sampling(1, acceptance.TEMPERATURE, 9), place) for place in positions]
    same = np.equal(sample(p, specs), sample(q, specs))
    hits = acceptance.coupled_hits(p, q, positions, 9)
    assert hits.tolist() == same.tolist()
    assert 0 < hits.sum() < 40


def test_a_teacher_accepts_all_of_itself(teacher: Path) -> None:
    model = load_model(teacher)
    held_out = SOURCE.at_least(Stream.HELD_OUT, 500)
    found = acceptance.measure(model, model, held_out, 256, SOURCE.pad)
    assert found.overlap == pytest.approx(1)
    assert (found.top1_agreement, found.coupled) == (1, 1)
    assert found.greedy_run == found.coupled_run > 4
    assert found.places == sum(len(body) for _, body in held_out)


# --- sizes and refusals


@pytest.mark.parametrize("hidden", [128, 256, 384, 512, 640, 768])
def test_sizes_suit_the_kernels(hidden: int) -> None:
    shape = junior_shape(RECIPE.shape, 2, hidden)
    assert (shape.hidden, shape.layers, shape.head_size) == (hidden, 2, 64)
    assert shape.ffn % 128 == 0
    assert shape.heads * 64 == hidden
    assert shape.heads % shape.kv_heads == 0
    assert junior_shape(RECIPE.shape, RECIPE.shape.layers, 512) == RECIPE.shape


@pytest.mark.parametrize(
    "options",
    [
        ["--temperature", "0"],
        ["--temperature", "nan"],
        ["--alpha", "1.5"],
        ["--alpha", "-0.1"],
        ["--drafts", "-1"],
        ["--layers", "0"],
        ["--hidden", "100"],
        ["--tokens", "0"],
        ["--teacher", "nowhere"],
        ["--student", "nowhere"],
        ["--student", "nowhere", "--layers", "1"],
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(
    options: list[str], teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["distill", "--teacher", str(teacher), "--out", str(tmp_path / "new")]
    status = cli.main([*line, "--device", "cpu", *options])
    said = capsys.readouterr().err
    assert status == 2
    assert said.count("\n") == 1
    assert options[0].strip("-") in said or "nowhere" in said
    assert not (tmp_path / "new").exists()


def test_other_vocabularies_are_refused(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes: list[Shape] = [SHAPE, replace(SHAPE, vocab=301)]
    for shape in sizes:
        # One token more, or as many others.
        texts = ["other words altogether"] * 9
        student = tmp_path / str(shape.vocab)
        save_model(Llama(shape), train_tokenizer(texts, shape.vocab), student, None)
        line = ["distill", "--teacher", str(teacher), "--student", str(student)]
        assert cli.main([*line, "--device", "cpu", "--out", str(tmp_path / "new")]) == 2
        said = capsys.readouterr().err
        assert "different vocabularies" in said
        assert said.count("\n") == 1


def test_a_student_that_could_not_follow_is_refused_before_it_learns(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tmp_path / "short"
    save_model(Llama(replace(SHAPE, context=SHAPE.context // 2)), TOKENIZER, student, None)
    line = ["distill", "--teacher", str(teacher), "--student", str(student)]
    assert cli.main([*line, "--device", "cpu", "--out", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert "has a context of 2048, shorter than the teacher's of 4096" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_nobody_is_written_over_who_is_read(
    role: str, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"teacher": teacher, "student": tmp_path / "student"}
    shutil.copytree(teacher, folders["student"])
    before = {path.name: path.read_bytes() for path in folders[role].iterdir()}
    out = str(folders[role] / ".." / folders[role].name)
    line = [f"--{name}={folder}" for name, folder in folders.items()]
    assert cli.main(["distill", *line, "--device", "cpu", "--tokens", "512", "--out", out]) == 2
    said = capsys.readouterr().err
    assert f"is the {role}'s own folder" in said
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folders[role].iterdir()} == before


def test_a_teacher_that_cannot_teach_is_refused(teacher: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(teacher, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(EngineError, match="only Llama with tied embeddings"):
        distill.distill(documents, settings(broken, tmp_path / "new"), silent)
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(EngineError, match=r"cannot read tokenizer\.json"):
        distill.distill(documents, settings(broken, tmp_path / "new"), silent)
    (broken / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(EngineError, match=WEIGHTS):
        distill.distill(documents, settings(broken, tmp_path / "new"), silent)
