"""The guided race: one knob after the other, with what it changed as measured just then.

Pure: it looks at views, and says what it would have turned. What a setting gave is noted once
whole steps under it, from the end of one to the end of another, have taken `SECONDS`: views go on
while a step runs, and show figures of the steps before it.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Literal

from pitwall_tui.race.guide_steps import STEPS, Moment, Step
from pitwall_tui.race.view import Flag, RaceView

# Of steps under the same knobs, before figures are of them: as long as a view's look back, or less
# where the race has had these knobs from its start, beyond which they do not look.
SECONDS, SECONDS_FROM_START = 2.2, 1.0
_LONGEST_GAP = 1.5  # seconds between two views; more is a wall that stood still
_LONG_STEP = 1.0  # seconds without a token of which the user should know
_MOST_SETTINGS = 64
_RACING: tuple[Flag, ...] = ("green", "yellow", "safety")
_BUILT = ("weights", "kernels", "speculation")  # the race goes on until what they need is there


Phase = Literal["welcome", "ask", "measure", "told", "end"]


@dataclass(frozen=True, slots=True)
class GuideView:
    """What the guide says now: `lines` of text and `figures`, then what is waited for.

    `enter` is what that key does in a word, "" where there is nothing for it to do; `number` of
    `count` steps, 0 before the first one.
    """

    title: str
    number: int
    count: int
    lines: tuple[str, ...]
    figures: tuple[str, ...]
    wanted: str
    enter: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A knob that is to be turned for the user."""

    knob: str
    value: str


@dataclass(frozen=True, slots=True)
class NextRace:
    """Another race is to begin."""


Wish = Turn | NextRace | None


_WELCOME = (
    "Each car is a request to a language model, each lap a line that it writes. This guide turns"
    " the engine's techniques off and on, one by one, and shows what each gives, measured here"
    " and now. Everything else works meanwhile."
)
_END = (
    "That was each technique by itself. {help} on any screen explains it, the rest of the knobs"
    " too: [ ] for seats, {prefill_chunk} for chunks, {acceptance} and {draft_length} for drafts."
    " What they give together is up to you; {guide} begins the guide again."
)


class Guide:
    """A guide that is shown or not; `see` every view, in the order of their times."""

    def __init__(self, on: bool = False) -> None:
        self._phase: Phase | None = "welcome" if on else None
        self._at = 0
        self._noted: dict[tuple[str, ...], Moment] = {}
        self._ttft: dict[tuple[str, ...], float] = {}
        self._race = 0
        self._key: tuple[str, ...] = ()
        self._from_start = False  # the race has had these knobs since it began
        self._time = -inf
        self._tokens = 0
        # (time, tokens) as steps under these knobs ended, one after the other.
        self._ends: deque[tuple[float, int]] = deque()
        self._silent_since = -inf
        self._before: Moment | None = None
        self._after: Moment | None = None
        self._asked_in = 0  # the race in which the present step's knob was turned
        self._view: GuideView | None = None

    @property
    def on(self) -> bool:
        return self._phase is not None

    def start(self) -> None:
        """From the welcome on, whatever was before."""
        self._phase, self._at = "welcome", 0

    def leave(self) -> None:
        self._phase = self._view = None

    def view(self) -> GuideView | None:
        """As of the last view that was seen; None where it is not shown."""
        return self._view

    def see(self, race: RaceView) -> None:
        """Note what there is to be noted, and go on where what was waited for has happened."""
        if self._phase is None:
            return
        before = self._note(race)
        if self._phase == "told" and self._key != before and self._is_ahead(race):
            self._go_on()
        if self._phase == "ask" and self._stands(race, self._target(race)):
            self._before = self._noted.get(before) if before != self._key else None
            self._after = None
            self._noted.pop(self._key, None)
            self._asked_in = race.race_number
            self._phase = "measure"
        if self._phase == "measure" and self._measured(race):
            self._after = self._noted[self._key]
            self._phase = "told"
        if self._phase == "told" and self._step.back and self._stands(race, self._step.back):
            self._go_on()
        self._view = self._told(race)

    def enter(self, race: RaceView) -> Wish:
        """Go on, or say what is to be done for the user before it goes on by itself."""
        match self._phase:
            case "welcome":
                self._phase, self._at = "ask", 0
            case "ask" | "told" if heard := self._heard(race):
                return NextRace() if self._pending(heard, race)[1] else None
            case "ask":
                return Turn(self._step.knob, self._target(race))
            case "measure" if self._needs_race(race):
                return NextRace()
            case "told" if self._step.back:
                return Turn(self._step.knob, self._step.back)
            case "told":
                self._go_on()
            case "end":
                self.leave()
        return None

    # What is noted

    def _note(self, race: RaceView) -> tuple[str, ...]:
        """Follow the race; the key of the knobs before this view."""
        before, key = self._key, (*(knob.value for knob in race.knobs), f"{race.status.pace:g}")
        passed, self._time = race.time - self._time, race.time
        anew = race.race_number != self._race
        if anew:
            self._from_start = race.status.flag == "lights" or passed <= _LONGEST_GAP
        elif key != before:
            self._from_start = self._from_start and race.status.flag == "lights"
        self._race, self._key = race.race_number, key
        racing = race.status.flag in _RACING and not race.status.paused
        if anew or key != before or passed > _LONGEST_GAP or not racing:
            self._ends.clear()
            self._silent_since = race.time
        tokens = sum(car.tokens for car in race.cars)
        ended, self._tokens = tokens > self._tokens, tokens
        if racing and ended:
            self._ends.append((race.time, tokens))
            self._silent_since = race.time
            while len(self._ends) > 2 and race.time - self._ends[1][0] >= SECONDS:
                self._ends.popleft()
            if self._seconds >= self._needed and race.status.running:
                self._keep(race)
        return before

    @property
    def _needed(self) -> float:
        """Seconds of steps until a moment is of these knobs alone."""
        return SECONDS_FROM_START if self._from_start else SECONDS

    @property
    def _seconds(self) -> float:
        """What whole steps under these knobs have taken, as far as rates look back."""
        return self._ends[-1][0] - self._ends[0][0] if self._ends else 0.0

    def _keep(self, race: RaceView) -> None:
        """The newest moment of these knobs; with fewer cars than before only in another race."""
        waits = [row.ttft_ms for row in race.results]
        known = [wait for wait in waits if wait is not None]
        if self._from_start and known and len(known) == len(waits):
            self._ttft[self._key] = sum(known) / len(known)
        status = race.status
        made = self._ends[-1][1] - self._ends[0][1]
        kept = self._noted.get(self._key)
        if kept is not None and kept.running > status.running:
            return
        self._noted.pop(self._key, None)
        while len(self._noted) >= _MOST_SETTINGS:
            self._noted.pop(next(iter(self._noted)))
        self._noted[self._key] = Moment(
            race_number=race.race_number,
            knobs={knob.name: knob.value for knob in race.knobs},
            tokens_per_second=made / self._seconds,
            step_ms=status.step_ms,
            running=status.running,
            waiting=status.waiting,
            parked=status.parked,
            pages=race.pages,
            decode=next((each for each in race.traffic if each.phase == "decode"), None),
            prefix_hit_percent=status.prefix_hit_percent,
            ttft_ms=self._ttft.get(self._key),
        )

    # Where it stands

    @property
    def _step(self) -> Step:
        return STEPS[self._at]

    def _go_on(self) -> None:
        self._at += 1
        self._phase = "ask" if self._at < len(STEPS) else "end"

    def _is_ahead(self, race: RaceView) -> bool:
        """Whether somebody has turned the knob to where the next step wants it already."""
        following = STEPS[self._at + 1 : self._at + 2]
        return any(
            step.knob == knob.name and step.value == knob.value and self._step.back is None
            for step in following
            for knob in race.knobs
        )

    def _target(self, race: RaceView) -> str:
        """Where no junior stands ready, the car's own earlier text drafts."""
        value = self._step.value
        return "ngram" if value == "junior" and not race.draft else value

    def _stands(self, race: RaceView, value: str) -> bool:
        """Whether the last plan used that value of the step's knob."""
        return any(knob.name == self._step.knob and knob.value == value for knob in race.knobs)

    def _heard(self, race: RaceView) -> str:
        """The value that the step's knob is waited for to have, where it has been asked for; ""
        where it has not."""
        wanted = self._target(race) if self._phase == "ask" else self._step.back
        asked = (knob.pending for knob in race.knobs if knob.name == self._step.knob)
        return wanted if wanted is not None and wanted in asked else ""

    def _needs_race(self, race: RaceView) -> bool:
        new = race.race_number != self._asked_in
        return race.status.flag == "chequered" or (self._step.anew and not new)

    def _measured(self, race: RaceView) -> bool:
        noted = self._noted.get(self._key)
        if noted is None or (self._step.anew and noted.race_number == self._asked_in):
            return False
        return self._stands(race, self._target(race))

    # What it says

    def _told(self, race: RaceView) -> GuideView:
        if self._phase == "welcome":
            return self._card("GUIDED RACE", 0, (_WELCOME,), (), "", "begin")
        if self._phase == "end":
            return self._card("GUIDED RACE", len(STEPS), (_END,), (), "", "close")
        step = self._step
        key = "{" + step.knob + "}"
        heard = self._heard(race)
        if self._phase == "ask":
            wanted = f"Press {key} until {step.knob} is {self._target(race)}."
            enter = "press it for me"
            if heard:
                wanted, enter = self._pending(heard, race)
            return self._card(step.title, self._at + 1, (step.lead,), (), wanted, enter)
        if self._phase == "measure":
            enter = "next race" if self._needs_race(race) else ""
            return self._card(step.title, self._at + 1, (), (), self._waiting(race), enter)
        assert self._after is not None
        before = self._before
        if before is not None and before.race_number != self._after.race_number and not step.anew:
            before = None  # other texts, and another part of a race
        figures = tuple(step.told(before, self._after, race))
        back = f"Press {key} until {step.knob} is {step.back} again." if step.back else ""
        lines = (step.closing,) if step.closing else ()
        if race.status.pace:
            lines = (f"Held at {race.status.pace:g} tokens/s: {{faster}} lets it make more.",)
        enter = "put it back" if step.back else "go on"
        if heard:
            back, enter = self._pending(heard, race)
        return self._card(step.title, self._at + 1, lines, figures, back, enter)

    def _waiting(self, race: RaceView) -> str:
        """Why there are no figures yet."""
        step = self._step
        if not self._stands(race, self._target(race)):
            return f"{step.knob} was turned away: press {{{step.knob}}} until it is {step.value}."
        if race.status.paused:
            return "The engine is paused: {pause} lets it go on."
        if race.status.flag == "chequered":
            return "The race is over: {next} begins the next one, in which it is measured."
        if self._needs_race(race):
            return "It counts for cars that are admitted: {next} begins the next race."
        return (
            f"Measuring: only steps that have ended count, {self._seconds:.1f} of {self._needed} s"
            f" have{self._silence()}."
        )

    def _pending(self, value: str, race: RaceView) -> tuple[str, str]:
        """Why a value that has been asked for is not there yet, and what enter does about it."""
        if race.status.paused:
            return "The engine is paused: {pause} lets it go on.", ""
        if race.status.flag == "chequered":
            return "The race is over: {next} begins the next one, which will have it.", "next race"
        knob = self._step.knob
        built = "what it needs is there, " if knob in _BUILT else ""
        return (
            f"Heard: {knob} is {value} once {built}the step in flight has ended, and a first one"
            f" planned with it{self._silence()}."
        ), ""

    def _silence(self) -> str:
        """A step that takes long is no wall that hangs."""
        seconds = self._time - self._silent_since
        return f"; no token for {seconds:.0f} s" if seconds >= _LONG_STEP else ""

    def _card(
        self,
        title: str,
        number: int,
        lines: tuple[str, ...],
        figures: tuple[str, ...],
        wanted: str,
        enter: str,
    ) -> GuideView:
        return GuideView(title, number, len(STEPS), lines, figures, wanted, enter)
