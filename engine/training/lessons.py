"""What the academy teaches: two students side by side, and a temperature sweep after them."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from torch import Tensor

from engine.academy import Course, Done, Enrolled, Exam, Lesson, Marks, Saved, Trial, Tried
from engine.config import EngineError
from engine.training.acceptance import compare
from engine.training.data import Position, Rows, batches, chunk_reader
from engine.training.distill import examine, held_out_documents, junior_facts, save_junior
from engine.training.evaluate import held_out_loss
from engine.training.folder import check_writable, load_model, read_tokenizer
from engine.training.junior import RECIPE, DistillSettings, junior_shape
from engine.training.model import Decoder, Llama
from engine.training.objective import Remembered, distillation, weights_digest
from engine.training.run import count, line_end, round_weights, run_facts, source_of
from engine.training.settings import TrainSettings
from engine.training.trainer import Learner, Progress, Step, steps
from engine.training.writing import repeating

if TYPE_CHECKING:
    from engine.training.academy import Reins

_CPU = torch.device("cpu")
# Some hundred steps of one row: higher rates than a long run has.
_RECIPE = replace(
    RECIPE,
    name="academy",
    rows_per_step=1,
    races_per_chunk=16,
    muon_rate=0.03,
    adam_rate=1e-2,
    warmup_steps=10,
)


class Timed:
    """A decoder, how often it has been asked, and the seconds that it took."""

    def __init__(self, model: Decoder) -> None:
        self._model = model
        self.asked = 0
        self.seconds = 0.0

    def __call__(self, tokens: Tensor, positions: Tensor, bounds: Tensor) -> Tensor:
        began = time.perf_counter()
        logits = self._model(tokens, positions, bounds)
        self.seconds += time.perf_counter() - began
        self.asked += 1
        return logits


class Pace:
    """How fast a run goes, and how long it will: what the teacher has read before goes faster."""

    def __init__(self, run: TrainSettings, teacher: Timed, rows: int) -> None:
        self._steps = run.token_budget // (run.recipe.rows_per_step * run.recipe.row_length)
        self._rows = rows
        self._teacher = teacher
        self._before = teacher.seconds
        self._last = deque([Progress()], maxlen=9)

    def after(self, progress: Progress) -> tuple[float, float]:
        """Tokens/s over the last steps, and the seconds that are left."""
        self._last.append(progress)
        first, teacher = self._last[0], self._teacher
        speed = (progress.tokens - first.tokens) / max(1e-9, progress.seconds - first.seconds)
        taught = teacher.seconds - self._before
        student = max(0.0, progress.seconds - taught) / progress.step
        unread = (self._rows - teacher.asked) * teacher.seconds / max(1, teacher.asked)
        return speed, (self._steps - progress.step) * student + unread


def settings_of(course: Course) -> DistillSettings:
    """The same as options of a distillation; raises EngineError for bad ones."""
    return DistillSettings(
        teacher=Path(course.teacher),
        out=Path(course.out),
        layers=course.layers,
        hidden=course.hidden,
        temperature=course.temperature,
        alpha=course.alpha,
        tokens=course.passes * course.rows * course.row_length,
        seed=course.seed,
        device="cpu",
        workers=0,
        compile=False,
        recipe=replace(
            _RECIPE, row_length=course.row_length, held_out_tokens=course.held_out_tokens
        ),
    )


def run(course: Course, reins: "Reins") -> None:
    """The whole course, told to `reins` as it goes.

    Raises EngineError for a bad course or folder, a diverged loss, or a disk that refuses.
    """
    settings = settings_of(course)
    teacher = load_model(settings.teacher).eval().requires_grad_(False)
    check_writable(settings.out)
    torch.set_num_threads(course.threads)
    school = School(course, settings, teacher, read_tokenizer(settings.teacher), reins)
    school.teach_two()
    for temperature in course.sweep:
        school.teach_at(temperature)
    reins.tell(Done())


class School:
    """A teacher, the rows that all students read, and the documents that they are examined on."""

    def __init__(
        self,
        course: Course,
        settings: DistillSettings,
        teacher: Llama,
        tokenizer: Tokenizer,
        reins: "Reins",
    ) -> None:
        self._course = course
        self._settings = settings
        self._reins = reins
        self._tokenizer = tokenizer
        self._digest = weights_digest(teacher)
        self._shape = junior_shape(teacher.shape, settings.layers, settings.hidden)
        self._run = settings.training(self._shape)
        self._source = source_of(course.documents, tokenizer, self._run)
        self._rows = self._read(course.rows)
        self._held_out = held_out_documents(self._source, course.held_out_tokens)
        self._newline = line_end(tokenizer)
        self._chief = teacher
        self._timed = Timed(teacher)
        # All students read the same rows again and again: the teacher reads each of them once.
        self._teacher = Remembered(self._timed, torch.float16)
        self._examiner = Remembered(teacher, torch.float32)

    def teach_two(self) -> None:
        """The distilled student and the one of hard labels, step by step; the first is saved."""
        course = self._course
        distilled, hard = self._enrol(course.temperature, course.alpha), self._enrol(1.0, 0.0)
        self._reins.tell(
            Enrolled(
                teacher=self._settings.teacher.resolve().name,
                layers=self._shape.layers,
                hidden=self._shape.hidden,
                parameters=count(distilled.model),
                temperature=course.temperature,
                alpha=course.alpha,
                tokens=self._run.token_budget,
                sweep=course.sweep,
                sweep_tokens=self._sweep_run.token_budget,
                held_out_tokens=sum(len(body) for _, body in self._held_out),
            )
        )
        progress, pace = Progress(), self._pace(self._run)
        for step in self._steps([distilled, hard], self._run):
            progress = step.progress
            losses = [float(value) for loss in step.losses for value in loss]
            if not all(map(isfinite, losses)):
                raise EngineError(f"training has diverged at step {progress.step}: {losses}")
            speed, left = pace.after(progress)
            self._reins.tell(
                Lesson(
                    step=progress.step,
                    tokens=progress.tokens,
                    tokens_per_second=speed,
                    seconds_left=left,
                    distilled_nats=losses[1],
                    hard_nats=losses[3],
                    distillation=losses[0],
                )
            )
            if progress.step % course.exam_every == 0 or progress.tokens == self._run.token_budget:
                marks = [self._marks(learner.model) for learner in (distilled, hard)]
                self._reins.tell(Exam(progress.tokens, *marks))
            self._reins.rest()
        self._save(distilled.model, progress)

    def teach_at(self, temperature: float) -> None:
        """One more student, distilled at this temperature."""
        learner, pace = self._enrol(temperature, self._course.alpha), self._pace(self._sweep_run)
        for step in self._steps([learner], self._sweep_run):
            speed, left = pace.after(step.progress)
            self._reins.tell(Trial(temperature, step.progress.tokens, speed, left))
            self._reins.rest()
        self._reins.tell(Tried(temperature, self._marks(learner.model)))

    @property
    def _sweep_run(self) -> TrainSettings:
        tokens = self._course.sweep_passes * self._rows.tokens.size
        return replace(self._run, tokens=tokens)

    def _read(self, rows: int) -> Rows:
        with chunk_reader(self._source, workers=0, start=0) as read:
            return next(batches(read, Position(), rows))[0]

    def _enrol(self, temperature: float, alpha: float) -> Learner:
        """A new student: the same as every other but for what it minimizes."""
        student = Llama(self._shape)
        student.initialize(self._course.seed)
        aim = distillation(self._teacher, _CPU, self._digest, temperature, alpha)
        return Learner(student, self._run, aim)

    def _steps(self, learners: Sequence[Learner], run: TrainSettings) -> Iterator[Step]:
        reader = repeating(self._rows, self._course.seed)
        return steps(learners, self._source, run, Progress(), self._reins.clock, reader)

    def _pace(self, run: TrainSettings) -> Pace:
        return Pace(run, self._timed, len(self._rows))

    def _marks(self, student: Llama) -> Marks:
        length, pad = self._source.row_length, self._source.pad
        loss = held_out_loss(student, self._held_out, length, self._newline, pad)
        found = compare(student, self._examiner, _CPU, self._held_out, length, pad)
        return Marks(loss.nats_per_token, found.top1_agreement, found.overlap, found.coupled)

    def _save(self, student: Llama, progress: Progress) -> None:
        """Replaces what is in the folder once all of it is written."""
        round_weights(student)
        tokens = self._course.held_out_tokens
        examined = examine(student, self._chief, self._tokenizer, self._source, tokens)
        facts = {
            **junior_facts(self._settings, self._digest, examined),
            **run_facts(student, self._run, progress, "per-document"),
            "command": "pitwall race    # and in it the academy",
            "data": "rows",
            "written_tokens": self._rows.tokens.size,
            "drafts": None,
            "race": None,
        }
        with self._reins.saving:
            save_junior(student, self._tokenizer, self._settings.out, facts)
        self._reins.tell(Saved(str(self._settings.out)))
