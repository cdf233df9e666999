"""Distillation beside the race, from outside: what is said of it, and who asks for it. No torch."""

from dataclasses import dataclass

from engine.child import Child, ProcessLostError
from engine.messages import Close, Pause, Unusable
from engine.training.settings import Documents

# A step of a course, and a folder that is being written.
_GRACE_SECONDS = 10.0

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, slots=True)
class Course:
    """One run: two students of one shape side by side, then one more for each temperature.

    All begin with the same weights and read the same `rows` of the simulator's documents, the two
    `passes` times, the others `sweep_passes` times; sizes are in tokens. The distilled ones learn
    `alpha` of the teacher's distributions at a temperature, the one beside them labels alone. The
    one distilled at `temperature` is saved in the folder `out`. `nice` is the process's.
    """

    teacher: str
    out: str
    documents: Documents
    layers: int = 1
    hidden: int = 128
    temperature: float = 2.0
    alpha: float = 0.9
    rows: int = 24
    row_length: int = 1024
    passes: int = 12
    sweep: tuple[float, ...] = TEMPERATURES
    sweep_passes: int = 8
    held_out_tokens: int = 1500
    exam_every: int = 16  # steps; a step is one row
    seed: int = 8
    threads: int = 1
    nice: int = 5


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The run has begun: who learns from whom, and how many tokens each is to read."""

    teacher: str
    layers: int
    hidden: int
    parameters: int
    temperature: float
    alpha: float
    tokens: int
    sweep: tuple[float, ...]
    sweep_tokens: int
    held_out_tokens: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """A step of both students.

    `tokens` have been read by each; of this step's labels are the mean nats of the distilled
    student and of the other, and the distillation loss that the first minimizes.
    """

    step: int
    tokens: int
    tokens_per_second: float
    seconds_left: float
    distilled_nats: float
    hard_nats: float
    distillation: float


@dataclass(frozen=True, slots=True)
class Marks:
    """Of a student on held-out documents: nats a token, and its agreement with the teacher.

    `top1` is the share of places with the same likeliest token, `overlap` 1 - TV and `coupled` the
    share of equal samples with equal noise, both at the temperature that races are sampled at.
    """

    nats: float
    top1: float
    overlap: float
    coupled: float


@dataclass(frozen=True, slots=True)
class Exam:
    """Marks of both students after so many tokens."""

    tokens: int
    distilled: Marks
    hard: Marks


@dataclass(frozen=True, slots=True)
class Saved:
    """The distilled student is a model folder now."""

    folder: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A temperature of the sweep is being tried: so many tokens of its budget are read."""

    temperature: float
    tokens: int
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Tried:
    temperature: float
    marks: Marks


@dataclass(frozen=True, slots=True)
class Held:
    """It stands between two steps (True), or goes on."""

    paused: bool


@dataclass(frozen=True, slots=True)
class Done:
    """All of the course is over."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The process has ended because it was asked to."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The process has ended without being asked to; why, as far as is known."""

    reason: str


AcademyNews = (
    Enrolled | Lesson | Exam | Saved | Trial | Tried | Held | Done | Unusable | Cancelled | Lost
)


class AcademyClient:
    """One course at a time, in a process of its own that ends with this one.

    Nothing here blocks but `close`, and `pull` while it finds out how a lost process ended.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._ending: tuple[AcademyNews, ...] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.process.pid if self._child else None

    def start(self, course: Course) -> None:
        """Begin a course, in the place of one that is still running."""
        self.close()
        self._ending = None
        self._child = Child("engine.training.academy", _GRACE_SECONDS)
        self._child.send(course)

    def pull(self) -> tuple[AcademyNews, ...]:
        """What has come in since the last call; at the end one of Done, Unusable, Cancelled, Lost.

        Unusable is bad input or a folder that cannot be written to, in one line.
        """
        if self._child is None:
            return ()
        try:
            news: list[AcademyNews] = self._child.receive()
        except ProcessLostError as error:
            ending = (Lost(str(error)),) if self._ending is None else self._ending
            self.close()
            return ending
        if any(isinstance(one, Done | Unusable) for one in news):
            self._ending = ()  # all is told; only the end of the process is to come
        return tuple(news)

    def pause(self, paused: bool) -> None:
        """Between two steps; Held comes when it stands, and when it goes on."""
        if self._child:
            self._child.send(Pause(paused))

    def cancel(self) -> None:
        """End the process; a folder that it is writing is written to its end."""
        if self._child and self._ending is None:
            self._ending = (Cancelled(),)
            self._child.send(Close())

    def close(self) -> None:
        """End the process, if there is one, and wait for it; can be called twice."""
        if self._child:
            self._child.close(Close())
            self._child = None
