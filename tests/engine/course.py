"""The planner's other half in plain Python: a commit that needs no model, and pretended pages.

What a page slot holds is the whole text up to it, so that a row which reads a page of another
text, or one that nobody has written yet, is found at once.
"""

from dataclasses import dataclass, field

from engine.config import Knobs, Request, Sampling
from engine.pages import PagePool, pages_for
from engine.plan import Row, StepPlan
from engine.planner import Planner
from engine.sequence import Sequence


def next_token(tokens: list[int]) -> int:
    """A model: any function of the text."""
    return (31 * len(tokens) + 7 * sum(tokens[-3:])) % 97


@dataclass
class Course:
    """A planner with its pool, driven step by step."""

    pages: int
    page_size: int = 4
    sequences: dict[str, Sequence] = field(default_factory=dict)
    plans: list[StepPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = PagePool(self.pages)
        self.planner = Planner(self.pool, self.page_size)
        self._slots: dict[int, tuple[int, ...]] = {}

    @property
    def has_work(self) -> bool:
        return bool(self.planner.waiting or self.planner.running)

    def submit(self, id: str, prompt: list[int], max_tokens: int = 8) -> Sequence:
        request = Request(id, tuple(prompt), Sampling(max_tokens=max_tokens))
        assert pages_for(request.max_length, self.page_size) <= self.pages
        sequence = self.sequences[id] = Sequence(request, 0.0)
        self.planner.waiting.append(sequence)
        return sequence

    def abort(self, id: str) -> None:
        sequence = self.sequences[id]
        if sequence.finish_reason is None:
            self.planner.drop(sequence)
            sequence.finish_reason = "abort"

    def step(self, knobs: Knobs) -> StepPlan:
        """Plan and commit; AssertionError where the plan may not be run."""
        backlog = {s.id: len(s.tokens) - s.computed for s in self.planner.running}
        holders = {s.id for s in self.planner.running if s.pages}
        plan = self.planner.plan(knobs)
        self.plans.append(plan)
        self.check()
        assert plan.rows or not self.has_work, "there is work, but nothing of it is run"
        assert not (plan.admitted and plan.preempted), "a step that preempts admits nobody"
        assert set(plan.admitted) <= {row.id for row in plan.rows}, "admitted to do nothing"
        assert holders >= {id for id, _ in plan.preempted}, "preempted to no avail"
        self._check_budget(plan, backlog)
        self._check_tables(plan.rows)
        for row in plan.rows:
            self._read(row)
        for row in plan.rows:
            self._write(row)
        for row in plan.rows:
            self._commit(row, knobs)
        self.check()
        return plan

    def drain(self, knobs: Knobs) -> list[StepPlan]:
        plans = []
        while self.has_work:
            assert len(plans) < 10_000, "it never ends"
            plans.append(self.step(knobs))
        assert self.pool.used == 0
        assert self.pool.free + self.pool.cached == self.pool.total
        return plans

    def check(self) -> None:
        self.planner.check(list(self.sequences.values()))

    def expected(self, id: str) -> list[int]:
        """What the request's whole text must be in the end."""
        request = self.sequences[id].request
        tokens = list(request.prompt)
        while len(tokens) < request.max_length:
            tokens.append(next_token(tokens))
        return tokens

    def _check_budget(self, plan: StepPlan, backlog: dict[str, int]) -> None:
        chunk = plan.knobs.prefill_chunk
        catching_up = [row for row in plan.rows if backlog.get(row.id, 2) > 1]
        if chunk and plan.knobs.kv_cache == "on":
            admitted = sum(row.id in plan.admitted for row in catching_up if len(row.tokens) == 1)
            assert sum(len(row.tokens) for row in catching_up) <= chunk + admitted
        else:
            for row in plan.rows:
                assert row.end == len(self.sequences[row.id].tokens)

    def _check_tables(self, rows: tuple[Row, ...]) -> None:
        """Rows write to pages of their own that nobody can find."""
        assert len({row.id for row in rows}) == len(rows)
        written: list[int] = []
        for row in rows:
            sequence = self.sequences[row.id]
            assert row.start == sequence.computed
            assert row.tokens
            assert list(row.tokens) == sequence.tokens[row.start : row.end]
            assert (row.sampling is not None) == (row.end == len(sequence.tokens))
            assert list(row.pages) == sequence.pages
            assert len(row.pages) >= pages_for(row.end, self.page_size)
            span = range(row.start // self.page_size, pages_for(row.end, self.page_size))
            written += [row.pages[number] for number in span]
        assert len(set(written)) == len(written), "two rows write to one page"
        for page in written:
            assert self.pool.refs[page] == 1, "a shared page is written to"
            assert self.pool.key_of(page) is None, "a published page is written to"

    def _read(self, row: Row) -> None:
        tokens = tuple(self.sequences[row.id].tokens)
        for position in range(row.start):
            held = self._slots.get(self._slot(row, position))
            assert held == tokens[: position + 1], f"{row.id} reads another's position {position}"

    def _write(self, row: Row) -> None:
        tokens = tuple(self.sequences[row.id].tokens)
        for position in range(row.start, row.end):
            self._slots[self._slot(row, position)] = tokens[: position + 1]

    def _slot(self, row: Row, position: int) -> int:
        page, offset = divmod(position, self.page_size)
        return row.pages[page] * self.page_size + offset

    def _commit(self, row: Row, knobs: Knobs) -> None:
        sequence = self.sequences[row.id]
        sequence.computed = row.end
        self.planner.prefix_index(knobs).publish(sequence)
        if row.sampling is not None:
            sequence.tokens.append(next_token(sequence.tokens))
            if sequence.output_length == row.sampling.max_tokens:
                self.planner.drop(sequence)
                sequence.finish_reason = "length"
        if knobs.kv_cache == "off":
            self.planner.forget(sequence)
