"""A race run by the real planner, and by no model: steps take as long as we say.

Everything that the planner knows is kept beside each step, for tests that ask who really ran.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from engine.config import Knobs
from engine.plan import Row
from engine.stats import (
    EngineSnapshot,
    FinishReason,
    PageMap,
    RequestStats,
    StepStats,
    StepTimes,
)
from pitwall_tui.race.entries import ENTRIES
from pitwall_tui.race.events import CarStart, EngineReady, Progress, RaceStarted
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView
from tests.engine.course import Course
from tests.scripted import MODEL

STARTS = tuple(
    CarStart(str(entry.number), entry.number, entry.code, entry.team.short, grid, "M")
    for grid, entry in enumerate(ENTRIES, 1)
)
RACE = RaceStarted(1, "monza", 53, 7, 0.8, "", STARTS)
SUBMITTED = 0.25


class Unchecked(Course):
    """The planner is tested elsewhere: what it says is taken as it is."""

    def check(self) -> None:
        pass

    def _read(self, row: Row) -> None:
        pass

    def _write(self, row: Row) -> None:
        pass


@dataclass(frozen=True)
class Truth:
    """After a step: who waits, who sits and whom the planner parked, and who had rows."""

    waiting: tuple[str, ...]
    running: tuple[str, ...]
    parked: frozenset[str]
    rows: tuple[str, ...]


@dataclass
class Batched:
    """A race of `cars` cars, its texts' lengths drawn from `seed`, in `pages` pages of 16 tokens.

    A step takes 2 ms, 1 ms a row, and 0.05 ms a prefill token.
    """

    cars: int = 20
    seed: int = 5
    pages: int = 2000
    tokens: tuple[int, int] = (20, 80)
    course: Course = field(init=False)
    truth: list[Truth] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        rng = Random(self.seed)
        self.course = Unchecked(self.pages, 16)
        self.time, self.number = 0.3, 0
        self.first: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        briefing = [rng.randrange(90) for _ in range(60)]
        self.starts = STARTS[: self.cars]
        for start in self.starts:
            own = [rng.randrange(90) for _ in range(rng.randrange(4, 20))]
            self.course.submit(start.id, briefing + own, rng.randrange(*self.tokens))

    def step(self, knobs: Knobs) -> StepStats:
        """One step of the planner, as the engine would tell of it."""
        course = self.course
        before = {id: len(s.tokens) for id, s in course.sequences.items()}
        over = {id for id, s in course.sequences.items() if s.finish_reason is not None}
        plan = course.step(knobs)
        sequences = course.sequences
        made = [(row.id, sequences[row.id].tokens[before[row.id] :]) for row in plan.rows]
        tokens = tuple((id, tuple(found)) for id, found in made if found)
        decodes = sum(len(row.tokens) == 1 and row.sampling is not None for row in plan.rows)
        prefill = sum(len(row.tokens) for row in plan.rows) - decodes
        ms = 2.0 + len(plan.rows) + 0.05 * prefill
        self.number += 1
        self.time += ms / 1e3
        for id, _ in tokens:
            self.first.setdefault(id, self.time)
        finished: tuple[tuple[str, FinishReason], ...] = tuple(
            (id, s.finish_reason)
            for id, s in sequences.items()
            if s.finish_reason is not None and id not in over
        )
        self.ended |= {id: self.time for id, _ in finished}
        planner = course.planner
        self.truth.append(
            Truth(
                waiting=tuple(s.id for s in planner.waiting),
                running=tuple(s.id for s in planner.running),
                parked=frozenset(s.id for s in planner.running if s.state == "parked"),
                rows=tuple(row.id for row in plan.rows),
            )
        )
        return StepStats(
            step=self.number,
            time=self.time,
            knobs=knobs,
            tokens=tokens,
            prefill_tokens=prefill,
            decode_rows=decodes,
            admitted=plan.admitted,
            preempted=plan.preempted,
            finished=finished,
            waiting=len(planner.waiting),
            running=len(planner.running),
            held=plan.held,
            ms=StepTimes(0.5, ms - 1.5, 0.5, 0.5),
        )

    def request(self, id: str) -> RequestStats:
        sequence = self.course.sequences[id]
        ended = self.ended.get(id)
        return RequestStats(
            id=id,
            state=sequence.state if ended is None else "finished",
            prompt_tokens=len(sequence.request.prompt),
            output_tokens=sequence.output_length,
            pages=len(sequence.pages),
            hit_tokens=0,
            preemptions=sequence.preemptions,
            submitted=SUBMITTED,
            first_token=self.first.get(id),
            finished=ended,
            finish_reason=None if ended is None else "length",
        )

    def progress(self, knobs: Knobs, steps: int = 5) -> Progress:
        """Some steps, and the snapshot after them."""
        made = []
        while self.course.has_work and len(made) < steps:
            made.append(self.step(knobs))
        counts: dict[str, int] = {}
        for step in made:
            for id, tokens in step.tokens:
                counts[id] = counts.get(id, 0) + len(tokens)
        return Progress(
            EngineSnapshot(
                time=self.time,
                knobs=knobs,
                paused=False,
                pace=0.0,
                steps=tuple(made),
                requests=tuple(self.request(start.id) for start in self.starts),
                page_map=PageMap(b"", b""),
                pages=made[-1].pages if made else StepStats(0, 0.0, knobs).pages,
                weights_bytes=MODEL.weights_bytes,
                weights_held=MODEL.weights_bytes,
            ),
            tuple((id, ("",) * count) for id, count in counts.items()),
        )

    def events(self, knobs: Callable[[int], Knobs]) -> Iterator[Progress]:
        """Until all have ended; `knobs` are those of a step, by its number."""
        while self.course.has_work:
            yield self.progress(knobs(self.number))


TOUR = (
    (0, Knobs(max_batch=8)),
    (30, Knobs(batching="static")),
    (220, Knobs(batching="none")),
    (320, Knobs(max_batch=12)),
)


def tour(number: int) -> Knobs:
    """All modes in turn, by the number of the step."""
    return next(knobs for first, knobs in reversed(TOUR) if number >= first)


def toured(until: int | None = None, pages: int = 2000) -> RaceView:
    """The race on a tour of all modes, after `until` steps or at its end, with what the batching
    screen draws."""
    batched, state = Batched(pages=pages), RaceState()
    for event in (RACE, EngineReady(MODEL)):
        state.apply(event)
    for progress in batched.events(tour):
        state.apply(progress)
        if until is not None and batched.number >= until:
            break
    return state.view(10.0, ("batching",))
