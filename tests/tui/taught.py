"""A course of the academy, written by hand: what its pictures show."""

from math import exp

from engine.academy import (
    TEMPERATURES,
    AcademyNews,
    Enrolled,
    Exam,
    Lesson,
    Marks,
    Saved,
    Trial,
    Tried,
)

STEPS, ROW, EVERY = 288, 1024, 16
COURSE = Enrolled(
    teacher="chief",
    layers=1,
    hidden=128,
    parameters=360_832,
    temperature=2.0,
    alpha=0.9,
    tokens=STEPS * ROW,
    sweep=TEMPERATURES,
    sweep_tokens=192 * ROW,
    held_out_tokens=1587,
)
JUNIOR = "/tmp/pitwall-academy-x/academy-1"
SWEPT = (
    Marks(1.424, 0.538, 0.611, 0.602),
    Marks(1.559, 0.549, 0.638, 0.624),
    Marks(1.701, 0.524, 0.618, 0.603),
    Marks(1.586, 0.549, 0.618, 0.602),
    Marks(1.602, 0.521, 0.601, 0.588),
)


class FakeAcademy:
    """Hands out `news` at the next pull, and keeps the commands that it gets."""

    def __init__(self) -> None:
        self.news: list[AcademyNews] = []
        self.commands: list[tuple[object, ...]] = []

    def start(self) -> None:
        self.commands.append(("start",))

    def pull(self) -> tuple[AcademyNews, ...]:
        due, self.news = tuple(self.news), []
        return due

    def pause(self, paused: bool) -> None:
        self.commands.append(("pause", paused))

    def cancel(self) -> None:
        self.commands.append(("cancel",))

    def close(self) -> None:
        self.commands.append(("close",))


def _nats(step: int, floor: float) -> float:
    wobble = 0.3 * ((step * 37) % 11 - 5) / 5
    return (floor + 1.9 * exp(-step / 80) + 4.0 * exp(-step / 4)) * (1 + wobble)


def _marks(step: int, most: float, pace: float, nats: float) -> Marks:
    learnt = most * (1 - exp(-step / pace))
    return Marks(nats + 2.4 * exp(-step / 80), 0.9 * learnt, 1.02 * learnt, learnt)


def lessons(steps: int) -> list[AcademyNews]:
    """The course up to this step of both students."""
    told: list[AcademyNews] = [COURSE]
    for step in range(1, steps + 1):
        fresh = step <= 24
        told.append(
            Lesson(
                step=step,
                tokens=step * ROW,
                tokens_per_second=912.0 if fresh else 8140.0,
                seconds_left=(STEPS - step) * 0.14 + max(0, 24 - step) * 1.1,
                distilled_nats=_nats(step, 0.62),
                hard_nats=0.8 * _nats(step, 0.58),
                distillation=2.2 * _nats(step, 0.62),
            )
        )
        if step % EVERY == 0:
            told.append(
                Exam(step * ROW, _marks(step, 0.78, 120.0, 1.4), _marks(step, 0.68, 90.0, 1.2))
            )
    return told


def sweep(done: int, share: float) -> list[AcademyNews]:
    """The junior is saved, so many temperatures are through, of the next a share."""
    told: list[AcademyNews] = [Saved(JUNIOR)]
    told += map(Tried, TEMPERATURES[:done], SWEPT)
    if done < len(TEMPERATURES):
        tokens = round(share * COURSE.sweep_tokens)
        told.append(Trial(TEMPERATURES[done], tokens, 14_900.0, (1 - share) * 13.2))
    return told
