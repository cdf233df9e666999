"""The academy's course: what its students read and learn, what is told and saved."""

import json
import shutil
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.academy import (
    AcademyNews,
    Course,
    Done,
    Enrolled,
    Exam,
    Lesson,
    Saved,
    Trial,
    Tried,
)
from engine.config import EngineConfig, EngineError, Request, Sampling
from engine.core import Engine
from engine.training import folder, lessons
from engine.training.folder import WEIGHTS, load_model
from engine.training.junior import junior_shape
from engine.training.objective import Remembered, weights_digest
from engine.training.trainer import Batch, Learner, Loss
from tests.engine.little import SHAPE, documents

pytestmark = pytest.mark.usefixtures("one_thread")


class Heard:
    """Reins that nobody pulls; keeps what is told."""

    def __init__(self) -> None:
        self.news: list[AcademyNews] = []
        self.rests = 0
        self.saving = nullcontext()
        self.clock = time.perf_counter

    def tell(self, news: AcademyNews) -> None:
        self.news.append(news)

    def rest(self) -> None:
        self.rests += 1

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.news if isinstance(one, kind)]


def course(teacher: Path, out: Path, **changes: Any) -> Course:
    base = Course(
        str(teacher),
        str(out),
        documents,
        hidden=64,
        rows=6,
        row_length=256,
        passes=5,
        sweep=(1.0, 4.0),
        sweep_passes=2,
        held_out_tokens=200,
        exam_every=10,
    )
    return replace(base, **changes)


@pytest.fixture(scope="module")
def ran(
    teacher: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Heard, Path, list[tuple[Learner, Batch]]]:
    """A whole course: what was told, where its junior is, and who learnt from what."""
    heard, out = Heard(), tmp_path_factory.mktemp("academy") / "junior"
    read: list[tuple[Learner, Batch]] = []

    class Watched(Learner):
        def learn(self, batch: Batch, share: float) -> Loss:
            read.append((self, batch))
            return super().learn(batch, share)

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lessons, "Learner", Watched)
        lessons.run(course(teacher, out), heard)  # type: ignore[arg-type]
    torch.set_num_threads(threads)
    return heard, out, read


def test_it_is_told_from_the_enrolment_to_the_end(ran: tuple[Heard, Path, Any]) -> None:
    heard, out, _ = ran
    [enrolled] = heard.of(Enrolled)
    assert heard.news[0] == enrolled
    assert heard.news[-1] == Done()
    assert (enrolled.teacher, enrolled.layers, enrolled.hidden) == ("teacher", 1, 64)
    assert enrolled.tokens == 6 * 5 * 256
    assert [one.step for one in heard.of(Lesson)] == list(range(1, 31))
    assert heard.of(Lesson)[-1].tokens == enrolled.tokens
    assert heard.of(Lesson)[-1].seconds_left == 0
    assert [one.tokens for one in heard.of(Exam)] == [2560, 5120, 7680]
    assert heard.of(Saved) == [Saved(str(out))]
    assert heard.rests == 30 + 2 * 12


def test_both_students_learn(ran: tuple[Heard, Path, Any]) -> None:
    told = ran[0].of(Lesson)
    for pick in ("distilled_nats", "hard_nats", "distillation"):
        losses = [getattr(one, pick) for one in told]
        assert sum(losses[-5:]) < 0.8 * sum(losses[:5]), pick
    first, *_, last = ran[0].of(Exam)
    assert last.distilled.nats < first.distilled.nats
    assert last.hard.nats < first.hard.nats
    assert last.distilled != last.hard


def test_the_sweep_s_rows_come_in_order_after_the_students(ran: tuple[Heard, Path, Any]) -> None:
    heard = ran[0]
    assert [one.temperature for one in heard.of(Tried)] == [1.0, 4.0]
    told = [one for one in heard.news if isinstance(one, Lesson | Saved | Trial | Tried)]
    kinds = [type(one) for one in told]
    assert kinds == [Lesson] * 30 + [Saved] + ([Trial] * 12 + [Tried]) * 2
    trials = [one for one in heard.of(Trial) if one.temperature == 4.0]
    assert [one.tokens for one in trials] == [256 * step for step in range(1, 13)]


def test_all_students_begin_alike_and_read_the_same_rows(
    ran: tuple[Heard, Path, list[tuple[Learner, Batch]]],
) -> None:
    read: dict[int, list[bytes]] = {}
    for learner, batch in ran[2]:
        read.setdefault(id(learner), []).append(batch.tokens.numpy().tobytes())
    two, swept = list(read.values())[:2], list(read.values())[2:]
    assert two[0] == two[1]
    assert len(two[0]) == 30
    assert len(set(two[0])) == 6
    assert swept == [two[0][:12]] * 2


def test_the_junior_is_a_model_that_the_engine_serves(ran: tuple[Heard, Path, Any]) -> None:
    out = ran[1]
    assert load_model(out).shape == junior_shape(SHAPE, 1, 64)
    engine = Engine.load(EngineConfig(model=str(out), kv_memory_mib=1))
    engine.submit(Request("1", (0, 5, 6), Sampling(8, ignore_eos=True)))
    while engine.has_work:
        engine.step()
    assert len(engine.tokens("1")) == 8
    facts = json.loads((out / "training.json").read_text())
    assert facts["acceptance"]["coupled"] == pytest.approx(
        ran[0].of(Exam)[-1].distilled.coupled, abs=0.05
    )
    card = (out / "README.md").read_text()
    assert "1,536 tokens read again and again" in card
    assert not (out / ".part").exists()


def test_the_teacher_is_as_it_was(teacher: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in teacher.iterdir()}
    run = course(teacher, tmp_path / "new", passes=1, sweep=())
    model, tokenizer = load_model(teacher).requires_grad_(False), folder.read_tokenizer(teacher)
    digest = weights_digest(model)
    school = lessons.School(run, lessons.settings_of(run), model, tokenizer, Heard())  # type: ignore[arg-type]
    school.teach_two()
    assert weights_digest(model) == digest
    assert {path.name: path.read_bytes() for path in teacher.iterdir()} == before


def test_a_remembered_answer_is_the_first_one_and_costs_nothing() -> None:
    asked: list[int] = []

    def model(tokens: torch.Tensor, positions: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
        asked.append(int(tokens.sum()))
        return tokens[..., None].float() / 3

    teacher = Remembered(model, torch.float16)
    ones, twos = torch.ones(1, 4, dtype=torch.int64), torch.full((1, 4), 2)
    bounds = torch.tensor([0, 4])
    first = teacher(ones, ones, bounds)
    assert torch.equal(teacher(ones.clone(), ones, bounds), first)
    assert first.dtype == torch.float16
    assert not torch.equal(teacher(twos, ones, bounds), first)
    teacher(ones, ones, torch.tensor([0, 2, 4]))  # other documents in the same tokens
    assert asked == [4, 8, 4]


def test_a_full_disk_is_one_line_and_the_old_junior_stays(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "junior"
    shutil.copytree(teacher, out)
    before = (out / WEIGHTS).read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "save_file", full)
    with pytest.raises(EngineError, match=r"cannot write the model to .*No space left") as told:
        lessons.run(course(teacher, out, passes=1), Heard())  # type: ignore[arg-type]
    assert "\n" not in str(told.value)
    assert (out / WEIGHTS).read_bytes() == before
    assert not (out / ".part").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": "nowhere"}, "'nowhere' is not a folder"),
        ({"temperature": 0.0}, "temperature"),
        ({"hidden": 100}, "hidden 100"),
        ({"passes": 0}, "tokens 0"),
    ],
)
def test_a_bad_course_is_refused(
    changes: dict[str, Any], said: str, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=said):
        lessons.run(replace(course(teacher, tmp_path / "new"), **changes), Heard())  # type: ignore[arg-type]
