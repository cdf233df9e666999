"""The guide: what it waits for, and which figures it points at, over scripted views."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import KNOBS, Knobs
from pitwall_tui.commands import KEYS
from pitwall_tui.draw.spoken import spoken
from pitwall_tui.race.guide import (
    SECONDS,
    SECONDS_FROM_START,
    Guide,
    GuideView,
    NextRace,
    Turn,
)
from pitwall_tui.race.guide_steps import STEPS
from pitwall_tui.race.view import QualityView, RaceView, RadioView, TrafficView
from tests.tui import views

DECODE = TrafficView("decode", 4.4 * 2**20, 1.0 * 2**20, 20.0, 60.0)


class Race:
    """A race that goes as it is told to: a view every tenth of a second, and a step with each,
    unless one is in flight."""

    def __init__(self, guide: Guide) -> None:
        self.guide = guide
        self.knobs = Knobs()
        self.rates = {self.knobs: 2310.0}
        self.view: RaceView = replace(views.racing(), time=100.0, quality=None, speculation=None)
        self.running = 20
        self.tokens = 0.0
        self.pending: dict[str, str] = {}

    def see(self, seconds: float = 0.1, **changes: object) -> GuideView | None:
        for _ in range(max(1, round(seconds * 10))):
            knobs = tuple(
                replace(
                    knob,
                    value=str(self.knobs.as_dict()[knob.name]),
                    pending=self.pending.get(knob.name),
                )
                for knob in (replace(self.view.knobs[0], name=k.name) for k in KNOBS)
            )
            self.tokens += self.rates.get(self.knobs, 100.0) / 10
            status = replace(self.view.status, running=self.running, pace=0.0)
            cars = (replace(self.view.cars[0], tokens=round(self.tokens)),)
            self.view = replace(
                self.view,
                time=self.view.time + 0.1,
                knobs=knobs,
                status=status,
                traffic=(DECODE,),
                cars=cars,
            )
            self.view = replace(self.view, **changes)  # type: ignore[arg-type]
            self.guide.see(self.view)
        return self.guide.view()

    def fly(self, seconds: float) -> GuideView | None:
        """A step is in flight: views show what was, and time goes on."""
        for _ in range(round(seconds * 10)):
            self.view = replace(self.view, time=self.view.time + 0.1)
            self.guide.see(self.view)
        return self.guide.view()

    def turn(self, name: str, value: str, rate: float) -> None:
        self.knobs = self.knobs.with_value(name, value)
        self.rates[self.knobs] = rate

    def obey(self) -> None:
        """Press enter; do what it says is to be done."""
        match self.guide.enter(self.view):
            case Turn(knob, value):
                self.turn(knob, value, self.rates.get(self.knobs, 100.0) * 2)
            case NextRace():
                self.view = replace(self.view, race_number=self.view.race_number + 1)


def guided() -> Race:
    race = Race(Guide(on=True))
    race.see(SECONDS + 0.2)
    return race


def at(title: str) -> Race:
    """A guide that asks for the step of a title."""
    race = guided()
    for _ in range(400):
        view = race.see()
        assert view is not None
        if view.title == title and view.lines and not view.figures:
            return race
        race.obey()
    raise AssertionError(f"the guide never comes to {title}")


def figures(race: Race, seconds: float = 0.1) -> str:
    view = race.see(seconds)
    assert view is not None
    return " | ".join(view.figures)


def test_a_guide_that_is_off_says_nothing_until_it_is_asked_for() -> None:
    guide = Guide()
    race = Race(guide)
    assert race.see(3) is None
    guide.start()
    view = race.see()
    assert view is not None
    assert (view.number, view.enter) == (0, "begin")
    guide.leave()
    assert guide.view() is None
    assert race.see() is None


def test_it_waits_for_the_knob_and_then_for_figures_of_that_knob_alone() -> None:
    race = guided()
    race.obey()
    view = race.see()
    assert view is not None
    assert spoken(view.wanted, KEYS) == "Press 1 until kv_cache is off."
    assert race.see(5) == view  # as long as it takes
    race.turn("kv_cache", "off", 100.0)
    view = race.see()
    assert view is not None
    assert view.wanted.startswith("Measuring")
    assert figures(race, SECONDS - 0.2) == ""
    told = figures(race, 0.3)
    assert "kv_cache on to off: 2,310 to 100 tokens/s, 0.04x" in told
    view = race.see()
    assert view is not None
    assert spoken(view.wanted, KEYS) == "Press 1 until kv_cache is on again."
    race.turn("kv_cache", "on", 2310.0)
    view = race.see()
    assert view is not None
    assert (view.title, view.number) == (STEPS[1].title, 2)


def test_enter_presses_the_key() -> None:
    race = guided()
    race.obey()
    race.see()
    assert race.guide.enter(race.view) == Turn("kv_cache", "off")
    race.turn("kv_cache", "off", 50.0)
    race.see(SECONDS + 0.2)
    assert race.guide.enter(race.view) == Turn("kv_cache", "on")


def test_figures_are_of_the_last_seconds_under_each_setting_alone() -> None:
    race = at("WEIGHTS IN 8 BITS")
    race.rates[race.knobs] = 2000.0
    race.see(SECONDS + 0.2)
    race.turn("weights", "int8", 6000.0)
    assert figures(race, SECONDS) == ""
    assert "2,000 to 6,000 tokens/s, 3.00x" in figures(race, 0.3)
    race.rates[race.knobs] = 7000.0
    assert "6,000" in figures(race, 1.0)  # they stand still once they are told
    assert "weights read for a token: 4.4 to 4.4 MiB" in figures(race)


def without_cache() -> Race:
    """The cache is off, and its first step has ended: it had all keys and values still."""
    race = guided()
    race.obey()
    race.see()
    race.turn("kv_cache", "off", 2310.0)
    race.see()
    race.rates[race.knobs] = 200.0
    return race


def test_steps_count_once_they_have_ended_and_for_all_the_time_that_they_took() -> None:
    race = without_cache()
    race.fly(30.0)
    assert race.guide.view().figures == ()  # type: ignore[union-attr]
    assert "2,310 to 0.7 tokens/s, 0.00x" in figures(race)  # 20 tokens in 30.1 s


def test_a_step_that_takes_long_is_told_of_while_it_is_measured() -> None:
    view = without_cache().fly(12.0)
    assert view is not None
    assert "0.0 of 2.2 s have; no token for 12 s" in view.wanted


def test_a_knob_that_was_asked_for_is_heard_before_a_step_has_it() -> None:
    race = guided()
    race.obey()
    race.see()
    race.pending = {"kv_cache": "off"}
    race.see()
    view = race.fly(20.0)
    assert view is not None
    assert view.wanted.startswith("Heard: kv_cache is off once the step in flight has ended")
    assert "no token for 20 s" in view.wanted
    assert (view.enter, race.guide.enter(race.view)) == ("", None)
    over = race.see(status=replace(race.view.status, flag="chequered"))
    assert over is not None
    assert "race is over" in over.wanted
    assert (over.enter, race.guide.enter(race.view)) == ("next race", NextRace())
    race.view = replace(race.view, status=replace(race.view.status, flag="green"))
    race.turn("kv_cache", "off", 100.0)
    race.pending = {}
    race.see(SECONDS + 0.2)
    race.pending = {"kv_cache": "on"}
    view = race.see()
    assert view is not None
    assert view.figures
    assert view.wanted.startswith("Heard: kv_cache is on once")
    assert (view.enter, race.guide.enter(race.view)) == ("", None)


def test_what_has_to_be_built_is_heard_too() -> None:
    race = at("WEIGHTS IN 8 BITS")
    race.pending = {"weights": "int4"}
    view = race.see()
    assert view is not None
    assert view.wanted.startswith("Press")  # it goes past what is asked for
    race.pending = {"weights": "int8"}
    view = race.see()
    assert view is not None
    assert "once what it needs is there" in view.wanted


def told_by_radio(*texts: str) -> tuple[RadioView, ...]:
    return tuple(RadioView(1.0, "knob", "", 255, 9, text, 2.0) for text in texts)


@pytest.mark.parametrize(
    ("radio", "told"),
    [
        (("kernels torch", "kernels torch gave 0.41x: 9 to 4 tokens/s in 2.1 s"), True),
        (("kernels torch gave 0.41x: 9 to 4 tokens/s in 2.1 s", "kernels torch"), False),
        (("kernels torch", "kernels torch, max_batch 4 gave 0.41x: 9 to 4 tokens/s"), False),
    ],
    ids=["this turn", "an earlier turn", "more than this turn"],
)
def test_a_turn_has_the_ratio_that_the_radio_tells(radio: tuple[str, ...], told: bool) -> None:
    race = at("KERNELS")
    race.see(SECONDS + 0.1)
    race.turn("kernels", "torch", 900.0)
    race.see(radio=told_by_radio(*radio))
    line = figures(race, SECONDS + 0.2)
    assert line.startswith(f"{radio[-1]}; a step " if told else "kernels native to torch: ")


def paged(running: int, another_race: bool = False) -> str:
    """The figures of the step on pages, with so many cars left after the turn."""
    race = at("PAGES")
    race.see(SECONDS + 0.2)
    race.turn("paging", "contiguous", 900.0)
    race.see()
    race.running = running
    used = replace(race.view.pages, used=40, page_bytes=2**20, waste_percent=71.0)
    if another_race:
        race.view = replace(race.view, race_number=race.view.race_number + 1)
    race.see(SECONDS + 0.3, pages=used)
    return figures(race)


def test_memory_is_compared_in_one_race_with_as_many_cars() -> None:
    assert "held with 20 cars running: 89.5 to 40.0 MiB; empty of that: 12 to 71 %" in paged(20)
    assert "held with 9 cars running: 40.0 MiB; empty of that: 71 %" in paged(9)
    assert "held with 20 cars running: 40.0 MiB" in paged(20, another_race=True)


def test_what_was_not_measured_before_is_not_compared() -> None:
    race = Race(Guide(on=True))
    race.see(0.3)
    race.obey()
    race.see(0.2)
    race.turn("kv_cache", "off", 100.0)
    told = figures(race, SECONDS + 0.2)
    assert told.startswith("100 tokens/s")
    assert "before was not measured" in told


def test_a_knob_that_stands_there_already_has_no_before() -> None:
    race = Race(Guide(on=True))
    race.turn("kv_cache", "off", 100.0)
    race.see(SECONDS + 0.2)
    race.obey()
    assert "before was not measured" in figures(race, SECONDS + 0.3)


def test_other_knobs_turned_meanwhile_are_named() -> None:
    race = at("KERNELS")
    race.see(SECONDS + 0.1)
    race.turn("kernels", "torch", 900.0)
    race.see(0.5)
    race.turn("max_batch", "4", 300.0)
    told = figures(race, SECONDS + 0.3)
    assert "max_batch 20 to 4, kernels native to torch" in told


def test_a_knob_that_is_turned_back_too_soon_is_asked_for_again() -> None:
    race = at("KERNELS")
    race.turn("kernels", "torch", 900.0)
    race.see()
    race.turn("kernels", "native", 2310.0)
    view = race.see(SECONDS + 0.5)
    assert view is not None
    assert not view.figures
    assert "turned away" in view.wanted
    race.turn("kernels", "torch", 900.0)
    assert "tokens/s" in figures(race, SECONDS + 0.3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"paused": True}, "paused"), ({"flag": "chequered", "running": 0}, "race is over")],
)
def test_nothing_is_measured_while_nothing_races(changes: dict[str, object], words: str) -> None:
    race = at("KERNELS")
    race.turn("kernels", "torch", 900.0)
    race.see()
    for _ in range(40):
        still = replace(race.view.status, tokens_per_second=0.0, **changes)  # type: ignore[arg-type]
        race.see(status=still)
    view = race.guide.view()
    assert view is not None
    assert not view.figures
    assert words in view.wanted
    assert race.guide.enter(race.view) == (NextRace() if "over" in words else None)
    assert figures(race, 0.1) == ""


def test_a_race_that_ends_meanwhile_is_measured_in_the_next_one_and_not_compared() -> None:
    race = at("KERNELS")
    race.turn("kernels", "torch", 900.0)
    race.see(1.0)
    race.view = replace(race.view, race_number=race.view.race_number + 1)
    race.see()
    assert figures(race, SECONDS_FROM_START - 0.2) == ""
    told = figures(race, 0.4)
    assert told.startswith("900 tokens/s")
    assert "before was not measured in this race" in told


def test_a_mode_that_is_turned_past_is_the_next_step() -> None:
    race = at("ONE AT A TIME")
    race.see(SECONDS + 0.1)
    race.turn("batching", "none", 300.0)
    assert "batching continuous to none" in figures(race, SECONDS + 0.3)
    race.turn("batching", "static", 900.0)
    told = figures(race, SECONDS + 0.3)
    assert "batching none to static: 300 to 900 tokens/s" in told
    assert race.guide.view().title == "A STATIC BATCH"  # type: ignore[union-attr]


def test_shared_beginnings_are_told_by_the_next_race() -> None:
    race = at("SHARED BEGINNINGS")
    results = tuple(replace(row, ttft_ms=100.0) for row in views.finished().results)
    assert results
    race.view = replace(race.view, race_number=50)
    race.see(SECONDS + 0.3, results=results)
    race.turn("prefix_cache", "off", 1700.0)
    view = race.see(SECONDS + 1)
    assert view is not None
    assert not view.figures
    assert "{next}" in view.wanted
    race.obey()
    assert race.view.race_number == 51
    results = tuple(replace(row, ttft_ms=310.0) for row in results)
    race.see(SECONDS_FROM_START + 0.3, results=results)
    assert "mean TTFT 100 to 310 ms" in figures(race)
    assert "MiB" not in figures(race)  # what is held differs by more than the knob


def test_quality_is_told_as_soon_as_it_is_known() -> None:
    race = at("WEIGHTS IN 4 BITS")
    race.turn("weights", "int4", 6000.0)
    quality = QualityView("int4", 0, 0.0, 0.0, None, 0.0)
    race.see(SECONDS + 0.3, quality=quality)
    assert "not scored yet" in figures(race)
    race.see(quality=replace(quality, tokens=640, kl=0.0007, top1_percent=94.6))
    assert "KL 0.0007 nats a token; same likeliest token 94.6 % of 640" in figures(race)


def test_without_a_junior_the_cars_own_text_drafts() -> None:
    race = at("THE JUNIOR")
    for draft, value in (("junior", "junior"), ("", "ngram")):
        race.see(draft=draft)
        assert race.guide.enter(race.view) == Turn("speculation", value)


def test_the_pace_that_the_engine_is_held_at_is_said() -> None:
    race = at("KERNELS")
    race.turn("kernels", "torch", 900.0)
    race.see(SECONDS + 0.3)
    view = race.see(status=replace(race.view.status, pace=200.0))
    assert view is not None
    assert "Held at 200 tokens/s" in view.lines[0]


def test_enter_alone_leads_through_every_step_to_the_end() -> None:
    race = guided()
    seen = []
    for _ in range(2000):
        view = race.see()
        if view is None:
            break
        if view.figures and view.title not in seen:
            seen.append(view.title)
        race.obey()
    assert seen == [step.title for step in STEPS]
    assert not race.guide.on
    assert race.knobs == Knobs()  # as it was found


def test_every_step_is_of_a_knob_and_values_that_there_are() -> None:
    for step in STEPS:
        for value in filter(None, (step.value, step.back)):
            Knobs().with_value(step.knob, value)


_ACTS = st.sampled_from(["see", "enter", "start", "leave", "long", "race", *KEYS.knobs])


@settings(max_examples=60, deadline=None)
@given(st.lists(_ACTS, max_size=40))
def test_nothing_that_is_done_breaks_it(acts: list[str]) -> None:
    race = Race(Guide(on=True))
    for act in acts:
        match act:
            case "see" | "long":
                race.see(0.1 if act == "see" else 3.0)
            case "enter":
                race.obey()
            case "start":
                race.guide.start()
            case "leave":
                race.guide.leave()
            case "race":
                race.view = replace(race.view, race_number=race.view.race_number + 1)
            case knob:
                steps = KEYS.knobs[knob].steps
                value = str(race.knobs.as_dict()[knob])
                race.turn(knob, steps[(steps.index(value) + 1) % len(steps)], 500.0)
        view = race.see()
        assert (view is not None) is race.guide.on
        if view is not None:
            assert "{" not in spoken(" ".join((*view.lines, *view.figures, view.wanted)), KEYS)
