"""Who holds a place in the batch and who waits for one: read off the steps of a race."""

from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Literal

from engine.config import Knobs
from engine.stats import StepStats

Doing = Literal["prefill", "decode", "parked"]


class Seating:
    """Follows the planner's rules (see engine.planner), as steps tell only who came and who went.
    What no step tells is whether one that has to compute all anew, as its KV cache was switched on,
    lacked pages for it: it counts as being computed.

    `queue` is who waits, the next one first; `seats` the slot of each that was admitted, in order
    of admission: the lowest that was free. Of those, `active` are the ones that the last step
    might run, in `slots` that it had; `sent` had the slots of those whom it preempted.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._known = tuple(ids)
        self._over: set[str] = set()
        self._last_step = 0
        self._left_at: dict[int, int] = {}
        self.slots = 0
        self._vacate()

    def _vacate(self) -> None:
        """Nobody sits: before the first step, and where an engine was lost with all it held."""
        self.queue = deque(id for id in self._known if id not in self._over)
        self.seats: dict[str, int] = {}
        self.active: tuple[str, ...] = ()
        self.sent: dict[str, int] = {}
        self._gang: set[str] = set()
        self._decoding: set[str] = set()  # have made a token since they were admitted

    def begin(self, step: StepStats) -> bool:
        """Seat everybody as the step ran them; whether it is the first one of a new engine."""
        anew = step.step <= self._last_step
        if anew:
            self._vacate()
        self._last_step = step.step
        self._dismiss(id for id, reason in step.finished if reason == "abort")
        active = self._may_run(step.knobs)
        self.sent = {id: self._leave(id) for id, _ in step.preempted if id in self.seats}
        self.queue.extendleft(self.sent)
        for id in step.admitted:
            if id in self.queue:
                self.queue.remove(id)
                self.seats[id] = self._lowest()
                active.append(id)
                if step.knobs.batching == "static":
                    self._gang.add(id)
        self.active = tuple(id for id in active if id in self.seats)
        # A group may be larger than the knob now is, but it is never refilled.
        self.slots = max(limit(step.knobs), len(self.active))
        return anew

    def end(self, step: StepStats) -> None:
        """Those that ended with the step leave."""
        self._dismiss(id for id, _ in step.finished)

    def doing(self, step: StepStats) -> dict[str, Doing]:
        """What each that sits did in the step, in order of admission. The step that ends a prefill
        makes the first token."""
        made = {id for id, tokens in step.tokens if tokens}
        computing = set(self.active) if _chunked(step) and len(made) < len(self.seats) else set()
        doing: dict[str, Doing] = {}
        for id in self.seats:
            if id in made:
                doing[id] = "decode" if id in self._decoding else "prefill"
            else:
                doing[id] = "prefill" if id in computing else "parked"
        self._decoding |= made
        return doing

    def rows(self, step: StepStats) -> int:
        """How many rows ran: those that made a token and, as it leaves nothing of the chunk to
        others, at most one prompt that was cut."""
        made = len(step.tokens)
        cut = _chunked(step) and step.prefill_tokens > 0 and made < len(self.active)
        return made + cut

    def why(self, step: StepStats) -> str:
        """Why the next one was not admitted with the step; "" where nobody waits."""
        if not step.waiting:
            return ""
        if step.held:
            return f"pages are short: {step.held}"
        if step.preempted:
            return "pages were just taken from others: such a step admits nobody"
        knobs, run = step.knobs, len(self.active)
        if knobs.batching == "static":
            group = len(self._gang)
            if group >= limit(knobs):
                return f"a group is filled once: {run} of its {group} still run, nobody joins them"
        elif len(self.seats) >= limit(knobs):
            many = f"all {limit(knobs)} slots are" if limit(knobs) > 1 else "the one slot is"
            return f"{many} taken"
        return "the step's prefill tokens are spent, or its prefix is just being computed"

    def _may_run(self, knobs: Knobs) -> list[str]:
        """Those that sit and have a turn; the rest is parked."""
        if knobs.batching != "static":
            self._gang.clear()
            return list(self.seats)[: limit(knobs)]
        if self._gang.isdisjoint((*self.seats, *self.queue)):
            self._gang.clear()
        for id in self.seats:
            if len(self._gang) < limit(knobs):
                self._gang.add(id)
        return [id for id in self.seats if id in self._gang]

    def free(self, most: int) -> list[int]:
        """Slots below `most` that nobody holds, the one that was left last first."""
        taken = set(self.seats.values())
        slots = [slot for slot in range(most) if slot not in taken]
        return sorted(slots, key=lambda slot: -self._left_at.get(slot, -1))

    def _lowest(self) -> int:
        taken = set(self.seats.values())
        return next(slot for slot in count() if slot not in taken)

    def _dismiss(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._over.add(id)
            if id in self.seats:
                self._leave(id)
            elif id in self.queue:
                self.queue.remove(id)

    def _leave(self, id: str) -> int:
        slot = self.seats.pop(id)
        self._left_at[slot] = self._last_step
        self._decoding.discard(id)
        return slot


def _chunked(step: StepStats) -> bool:
    """Whether it may run tokens of a request without making it one; else none does."""
    return step.knobs.kv_cache == "on" and step.knobs.prefill_chunk > 0


def limit(knobs: Knobs) -> int:
    """Most requests that may run at once."""
    sizes = {"none": 1, "static": knobs.static_batch, "continuous": knobs.max_batch}
    return sizes[knobs.batching]
