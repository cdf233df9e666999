"""The academy as it stands: a course's curves, marks and sweep, folded from what is told of it."""

from dataclasses import dataclass
from typing import Literal

from engine.academy import (
    AcademyNews,
    Cancelled,
    Done,
    Enrolled,
    Exam,
    Held,
    Lesson,
    Lost,
    Marks,
    Saved,
    Trial,
    Tried,
)
from engine.messages import Unusable

# "refused" is bad input or a folder that cannot be written to, "lost" a process that is gone.
Stage = Literal["idle", "loading", "students", "sweep", "done", "cancelled", "refused", "lost"]
RUNNING: tuple[Stage, ...] = ("loading", "students", "sweep")


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A temperature of the sweep: `share` of its budget is read; `marks` once all of it is."""

    temperature: float
    share: float = 0.0
    marks: Marks | None = None


@dataclass(frozen=True, slots=True)
class AcademyView:
    """One frozen picture of the academy.

    `course` says who learns from whom, once that is known. `lessons` and `exams` are those of the
    two students, `rows` one for each temperature. `tokens` of `budget`, the rate and the seconds
    left are of the stage that runs. `paused` is whether it stands, `asked` whether it is to.
    `junior` is the folder of the newest student that was saved, "" where none was; `reason` why a
    course was refused or lost.
    """

    stage: Stage = "idle"
    course: Enrolled | None = None
    lessons: tuple[Lesson, ...] = ()
    exams: tuple[Exam, ...] = ()
    rows: tuple[SweepRow, ...] = ()
    tokens: int = 0
    budget: int = 0
    tokens_per_second: float = 0.0
    seconds_left: float = 0.0
    paused: bool = False
    asked: bool = False
    junior: str = ""
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether there is something to pause and to cancel."""
        return self.stage in RUNNING


class AcademyState:
    """Folds in what is told."""

    _stage: Stage
    _course: Enrolled | None
    _lessons: list[Lesson]
    _exams: list[Exam]
    _rows: dict[float, SweepRow]

    def __init__(self) -> None:
        self._junior = ""
        self._clear("idle")

    def begin(self) -> None:
        """A new course was asked for: what the last one has shown is gone, but for its junior."""
        self._clear("loading")

    def ask_pause(self, paused: bool) -> None:
        self._asked = paused

    def apply(self, news: AcademyNews) -> None:
        match news:
            case Enrolled():
                self._stage, self._course, self._budget = "students", news, news.tokens
                self._rows = {heat: SweepRow(heat) for heat in news.sweep}
            case Lesson(tokens=tokens, tokens_per_second=rate, seconds_left=left):
                self._lessons.append(news)
                self._tokens, self._rate, self._left = tokens, rate, left
            case Exam():
                self._exams.append(news)
            case Trial(temperature, tokens, rate, left):
                self._stage = "sweep"
                self._tokens, self._rate, self._left = tokens, rate, left
                self._budget = self._course.sweep_tokens if self._course else tokens
                self._rows[temperature] = SweepRow(temperature, tokens / self._budget)
            case Tried(temperature, marks):
                self._rows[temperature] = SweepRow(temperature, 1.0, marks)
            case Saved(folder):
                self._junior = folder
            case Held(paused):
                self._paused = paused
            case Done():
                self._end("done")
            case Cancelled():
                self._end("cancelled")
            case Unusable(reason):
                self._end("refused", reason)
            case Lost(reason):
                self._end("lost", reason)

    def view(self) -> AcademyView:
        return AcademyView(
            stage=self._stage,
            course=self._course,
            lessons=tuple(self._lessons),
            exams=tuple(self._exams),
            rows=tuple(self._rows.values()),
            tokens=self._tokens,
            budget=self._budget,
            tokens_per_second=self._rate,
            seconds_left=self._left,
            paused=self._paused,
            asked=self._asked,
            junior=self._junior,
            reason=self._reason,
        )

    def _clear(self, stage: Stage) -> None:
        self._course = None
        self._lessons, self._exams, self._rows = [], [], {}
        self._tokens = self._budget = 0
        self._rate = self._left = 0.0
        self._end(stage)

    def _end(self, stage: Stage, reason: str = "") -> None:
        self._stage, self._reason = stage, reason
        self._paused = self._asked = False
