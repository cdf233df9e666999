"""RaceState against independent, naive readings of the same events."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Knobs
from engine.stats import (
    EngineSnapshot,
    PageCounts,
    PageMap,
    QualitySample,
    RequestStats,
    State,
    StepStats,
    StepTimes,
    Verdict,
)
from pitwall_tui.race.car import Bests, Car, LineDone
from pitwall_tui.race.events import (
    CarStart,
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    Progress,
    RaceStarted,
    RedFlag,
    Refused,
)
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.timing import Chart, Window
from pitwall_tui.race.view import QualityView, RaceView
from pitwall_tui.report import print_summary
from tests.scripted import MODEL, Script

KNOBS = (Knobs(), Knobs(kv_cache="off"), Knobs(batching="static", max_batch=4))


@cache
def scripted(seed: int) -> tuple[FeedEvent, ...]:
    names = ("monza", "monaco", "spa", "suzuka")
    return tuple(Script(names[seed % 4], 3 + seed % 3, 20, seed).events(KNOBS))


def committed(events: tuple[FeedEvent, ...]) -> Iterator[tuple[str, str, float]]:
    """(car, character, time) of every token, in the order in which they were committed."""
    said: dict[str, str] = {}
    for event in events:
        if isinstance(event, Progress):
            for id, pieces in event.text:
                said[id] = said.get(id, "") + "".join(pieces)
    for event in events:
        if isinstance(event, Progress):
            for step in event.snapshot.steps:
                for id, tokens in step.tokens:
                    for _ in tokens:
                        yield id, said[id][0], step.time
                        said[id] = said[id][1:]


def naive_marks(events: tuple[FeedEvent, ...]) -> tuple[dict[str, list[float]], set[str]]:
    """Times of each car's timing marks, and who retired: columns 13, 19 and 25 end a sector."""
    marks: dict[str, list[float]] = {}
    out = set()
    lines: dict[str, str] = {}
    laps = events[0].laps if isinstance(events[0], RaceStarted) else 0
    for id, character, time in committed(events):
        marks.setdefault(id, [time])
        line = lines.get(id, "") + character
        if id in out or len(marks[id]) > 4 * laps:
            continue
        if "OUT" in line[:8]:
            if character == "\n":
                out.add(id)
        elif len(line) in (13, 19, 25) or character == "\n":
            marks[id].append(time)
        lines[id] = "" if character == "\n" else line
    return marks, out


def folded(events: tuple[FeedEvent, ...]) -> RaceState:
    state = RaceState()
    for event in events:
        state.apply(event)
    return state


@given(seed=st.integers(0, 5), cut=st.floats(0.1, 1.0))
@settings(max_examples=25, deadline=None)
def test_order_gaps_and_intervals_are_those_of_the_marks(seed: int, cut: float) -> None:
    events = scripted(seed)[: max(8, int(len(scripted(seed)) * cut))]
    view = folded(events).view(0.0)
    marks, out = naive_marks(events)
    ids = {str(car.number): car for car in view.cars}
    grid = {car.id: car.grid for car in events[0].cars}  # type: ignore[union-attr]

    def rank(id: str) -> tuple[bool, int, float, int]:
        mine = marks.get(id, [])
        return id in out, -len(mine), mine[-1] if mine else 0.0, grid[id]

    assert [str(car.number) for car in view.cars] == sorted(ids, key=rank)
    assert [car.position for car in view.cars] == list(range(1, 21))
    order = [str(car.number) for car in view.cars]
    assert view.cars[0].gap is None
    now = max(event.snapshot.time for event in events if isinstance(event, Progress))

    def seconds_behind(mine: list[float], theirs: list[float]) -> float:
        since_next = now - theirs[len(mine)] if len(theirs) > len(mine) else 0.0
        return max(since_next, mine[-1] - theirs[len(mine) - 1])

    for ahead, id in pairwise(order):
        car, mine = ids[id], marks.get(id, [])
        if id in out or not mine:
            assert (car.gap, car.interval, car.laps_down, car.interval_laps) == (None, None, 0, 0)
            continue
        assert car.gap == pytest.approx(seconds_behind(mine, marks[order[0]]))
        assert car.interval == pytest.approx(seconds_behind(mine, marks[ahead]))
        assert car.laps_down == (len(marks[order[0]]) - len(mine)) // 4
        assert car.interval_laps == (len(marks[ahead]) - len(mine)) // 4


@given(seed=st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_the_whole_race_is_read(seed: int) -> None:
    events = scripted(seed)
    start = events[0]
    assert isinstance(start, RaceStarted)
    view = folded(events).view(0.0)
    said: dict[str, str] = {}
    times_of_tokens = []
    for id, character, time in committed(events):
        said[id] = said.get(id, "") + character
        times_of_tokens.append(time)
    last = events[-1]
    assert isinstance(last, Progress)
    assert view.chart.mean * last.snapshot.time == pytest.approx(len(times_of_tokens))
    marks, _ = naive_marks(events)
    for car in view.cars:
        text = said[str(car.number)]
        laps = [line for line in text.splitlines() if " OUT " not in line]
        times = [round(sum(map(float, line.split()[2:5])), 2) for line in laps]
        assert car.state == ("out" if " OUT " in text else "finished")
        assert car.tokens == len(text)
        assert car.last_lap == (times[-1] if times else None)
        assert car.best_lap == min(times, default=None)
        assert car.stops == sum(" BOX " in line for line in laps)
        row = view.results[car.position - 1]
        assert (row.code, row.laps) == (car.code, len(laps))
        flag = marks[str(car.number)][-1] - times_of_tokens[0]
        assert row.race_time == (pytest.approx(flag) if car.state == "finished" else None)
        if laps:
            assert f"{car.tyre}{car.tyre_age:02d}" == laps[-1].split()[1]
    radio = sum(" | " in line for text in said.values() for line in text.splitlines())
    assert sum(entry.kind == "radio" for entry in view.radio) == radio
    assert view.status.flag == "chequered"
    assert view.leader_lap == start.laps


@given(seed=st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_sector_colours_are_those_of_the_order_of_completion(seed: int) -> None:
    """The colours of each lap's sectors, read one token at a time by a second, simpler reader."""
    events = scripted(seed)
    best = [99.99] * 3
    own: dict[str, list[float]] = {}
    lines: dict[str, str] = {}
    expected: dict[tuple[str, str, int], str] = {}
    for id, character, _ in committed(events):
        line = lines[id] = lines.get(id, "") + character
        if len(line) in (13, 19, 25) and "OUT" not in line[:8]:
            index = (13, 19, 25).index(len(line))
            time, mine = float(line[-5:]), own.setdefault(id, [99.99] * 3)
            faster = "green" if time < mine[index] else "yellow"
            expected[id, line[:3], index] = "purple" if time < best[index] else faster
            mine[index], best[index] = min(time, mine[index]), min(time, best[index])
        if character == "\n":
            lines[id] = ""
    state, seen = RaceState(), set()
    for event in events:
        state.apply(event)
        for car in state.view(0.0).cars:
            for index, sector in enumerate(car.sectors):
                if sector.text:
                    key = (str(car.number), f"L{car.lap:02d}", index)
                    assert sector.colour == expected[key]
                    seen.add(sector.colour)
                else:
                    assert sector.colour == "none"
    assert seen == {"purple", "green", "yellow"}


START = CarStart("7", 7, "KES", "NOVA", 1, "M")
OTHER = CarStart("28", 28, "VAR", "NOVA", 2, "M")
RACE = RaceStarted(1, "monza", 3, 7, 0.8, "", (START, OTHER))
LAP = "L01 M01 27.00 28.00 27.00 P01\n"


@given(
    st.sampled_from([1, 2]), st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()))
)
@settings(max_examples=20, deadline=None)
def test_a_view_is_of_all_that_was_folded_however_often_it_was_looked_at(
    seed: int, looks: list[tuple[int, bool, bool]]
) -> None:
    """Between events nothing but the time goes on; what is looked at may change at any look."""
    events, done, state = scripted(seed), 0, RaceState()
    for count, detailed, following in looks:
        for event in events[done : done + count]:
            state.apply(event)
        done += count
        details = ("debrief", "memory") if detailed else ()
        followed = [car.number for car in state.view(0.0).cars[:1]] if following else []
        looked_at = state.view(7.0 + done, details, followed)
        assert looked_at == folded(events[:done]).view(7.0 + done, details, followed)


def request(id: str, state: State = "decode", **changes: object) -> RequestStats:
    stats = RequestStats(id, state, 10, 0, 2, 0, 0, 0.0, None, None, None)
    return replace(stats, **changes)  # type: ignore[arg-type]


def progress(
    time: float,
    text: dict[str, str] | None = None,
    requests: tuple[RequestStats, ...] = (),
    knobs: Knobs | None = None,
    pages: PageCounts | None = None,
    **changes: object,
) -> Progress:
    """A snapshot of one step in which the cars said `text`, one character a token."""
    text = text or {}
    counts = pages or PageCounts(100, 10, 0, 90, 0, 16, 65536)
    step = StepStats(
        step=1,
        time=time,
        knobs=knobs or Knobs(),
        tokens=tuple((id, tuple(map(ord, said))) for id, said in text.items()),
        pages=counts,
    )
    snapshot = EngineSnapshot(
        time=time,
        knobs=Knobs(),
        paused=False,
        pace=0.0,
        steps=(replace(step, **changes),),  # type: ignore[arg-type]
        requests=requests,
        page_map=PageMap(b"\x02\x00", b"\x00\xff"),
        pages=counts,
        weights_bytes=MODEL.weights_bytes,
        weights_held=MODEL.weights_bytes,
    )
    return Progress(snapshot, tuple((id, tuple(said)) for id, said in text.items()))


def after(*events: FeedEvent) -> RaceView:
    return folded((RACE, EngineReady(MODEL), *events)).view(3.5)


@pytest.mark.parametrize(
    ("stats", "said", "expected"),
    [
        (request("7", "waiting"), "", "grid"),
        (request("7", "prefill"), "", "formation"),
        (request("7", "decode"), "L01", "track"),
        (request("7", "waiting"), "L01", "pit"),
        (request("7", "prefill"), "L01", "pit"),
        (request("7", "parked"), "L01", "parked"),
        (request("7", "finished", finish_reason="length", finished=1.0), "L01", "out"),
        (request("7", "finished", finish_reason="stop", finished=1.0), "L01 OUT clutch", "out"),
        (request("7", "finished", finish_reason="stop", finished=1.0), LAP, "out"),
        (request("7", "decode"), LAP + LAP.replace("L01 M01", "L03 M03"), "finished"),
    ],
)
def test_a_car_s_state(stats: RequestStats, said: str, expected: str) -> None:
    view = after(progress(1.0, {"7": said}, (stats,)))
    assert {car.code: car.state for car in view.cars}["KES"] == expected


def test_preempted_before_its_first_token_is_in_the_pits() -> None:
    waiting = (request("7", "waiting"),)
    view = after(progress(1.0, {}, waiting, preempted=(("7", 12),)))
    assert view.cars[0].state == "pit"
    assert view.radio[-1].text == "KES pits: pages taken, 12 tokens to recompute"


OUT = dict.fromkeys(("7", "28"), "L01 OUT clutch\n")
ENDED = tuple(request(id, "finished", finish_reason="stop", finished=1.0) for id in OUT)


@pytest.mark.parametrize(
    ("events", "flag", "reason"),
    [
        ((), "lights", ""),
        ((progress(1.0, {"7": "L"}),), "green", ""),
        ((progress(1.0, {"7": "L"}, held="no free pages", waiting=2),), "safety", "no free pages"),
        ((progress(1.0, {"7": "L"}, held="no free pages", waiting=0),), "green", ""),
        (
            (progress(1.0, {"7": "L"}, held="28 needs 3 pages", waiting=1),),
            "safety",
            "VAR needs 3 pages",
        ),
        (
            (progress(1.0, {"7": "L"}, pages=PageCounts(100, 86, 0, 14, 0, 0, 65536)),),
            "yellow",
            "86 % of the KV pages are in use",
        ),
        ((progress(1.0, {"7": "L"}, pages=PageCounts(100, 85, 0, 15, 0, 0, 65536)),), "green", ""),
        ((progress(1.0, {"7": "L"}), RedFlag("killed")), "red", "killed"),
        ((progress(1.0, {"7": "L"}), RedFlag("killed"), EngineReady(MODEL)), "green", ""),
        ((progress(1.0, {"7": "L"}), RedFlag("killed"), progress(1.1)), "green", ""),
        ((progress(1.0, dict.fromkeys(("7", "28"), "L01 OUT clutch\n")),), "green", ""),
        ((progress(1.0, OUT, ENDED),), "chequered", ""),
        ((progress(1.0, OUT, ENDED[:1]),), "green", ""),
        ((progress(1.0, {"7": "L"}), FeedEnded("it is over")), "green", "it is over"),
    ],
)
def test_flags(events: tuple[FeedEvent, ...], flag: str, reason: str) -> None:
    status = after(*events).status
    assert (status.flag, status.reason) == (flag, reason)


def test_the_race_s_clock_goes_on_over_a_lost_engine() -> None:
    view = after(
        progress(10.0, {"7": LAP}),
        RedFlag("killed"),
        EngineReady(MODEL),
        progress(2.0, {"28": LAP}),
    )
    assert view.cars[1].code == "VAR"
    assert view.cars[1].gap == 2.0
    assert dict(view.totals)["engine lost"].startswith("1x")


def test_a_lost_engine_makes_nothing_and_its_return_is_told() -> None:
    said = progress(1.0, {"7": LAP}, (request("7"), request("28")))
    assert after(said).status.running == 2
    lost = after(said, RedFlag("killed by SIGKILL"))
    status = lost.status
    assert (status.tokens_per_second, status.step_ms, status.running) == (0.0, 0.0, 0)
    assert (lost.pages.used, lost.knobs) == (0, after(said).knobs)
    back = after(said, RedFlag("killed by SIGKILL"), EngineReady(MODEL))
    assert back.radio[-1].text == "the engine is back: 2 cars go on from the tokens they have"


def test_nothing_runs_after_the_end_of_a_feed() -> None:
    said = progress(1.0, {"7": LAP}, (request("7"),))
    status = after(said, FeedEnded("the recording is over")).status
    assert (status.tokens_per_second, status.step_ms, status.running) == (0.0, 0.0, 0)


def test_an_engine_that_is_given_up_is_shown_as_lost() -> None:
    said = progress(1.0, {"7": LAP}, (request("7"),))
    view = after(said, FeedEnded("lost for good", fault=True))
    assert (view.status.flag, view.status.reason) == ("red", "lost for good")
    assert view.pages.used == 0
    assert view.radio[-1].text == "lost for good"


def test_a_car_that_is_refused_holds_no_race_up() -> None:
    ends = (request("7", "finished", finish_reason="stop", finished=2.0),)
    view = after(Refused("too long", "28"), progress(2.0, {"7": LAP}, ends))
    assert view.status.flag == "chequered"
    assert {car.code: car.note for car in view.cars}["VAR"] == "refused"


def test_the_chart_ends_with_the_race() -> None:
    ends = tuple(request(id, "finished", finish_reason="stop", finished=2.0) for id in ("7", "28"))
    last = progress(2.0, {"7": LAP, "28": LAP}, ends)
    idle = replace(last, snapshot=replace(last.snapshot, time=60.0, steps=()), text=())
    assert after(last).status.flag == "chequered"
    assert after(last, idle).chart == after(last).chart


def test_a_held_pace_is_in_the_totals_and_the_figures() -> None:
    said = progress(1.0, {"7": LAP}, (request("7"),))
    held = replace(said, snapshot=replace(said.snapshot, time=2.0, steps=(), pace=60.0), text=())
    free = replace(held, snapshot=replace(held.snapshot, time=3.0, pace=0.0))
    assert "pace held" not in dict(after(said).totals)
    assert dict(after(said, held, free).totals)["pace held"] == "60/s free"
    figures = folded((RACE, EngineReady(MODEL), said, held, free)).summary()
    assert figures["pace_changes"] == [[2.0, 60.0], [3.0, 0.0]]
    table = print_summary(figures)
    assert "held at 60 tokens/s after 2.0 s" in table
    assert "not held after 3.0 s" in table


def test_a_car_that_stands_falls_behind_at_once() -> None:
    lap = LAP.replace("01 M01", "02 M02")
    view = after(
        progress(1.0, {"7": LAP}),
        progress(1.5, {"28": LAP}),
        progress(2.0, {"7": lap}),
        progress(9.0, {}),
    )
    assert (view.cars[1].code, view.cars[1].gap, view.cars[1].interval) == ("VAR", 7.0, 7.0)
    assert (view.cars[1].laps_down, view.cars[1].interval_laps) == (1, 1)


def test_an_engine_that_says_again_that_it_is_ready_keeps_its_clock() -> None:
    view = after(progress(10.0, {"7": LAP}), EngineReady(MODEL), progress(11.0, {"28": LAP}))
    assert view.cars[1].gap == 1.0


def test_a_safety_car_is_announced_once_while_it_stays() -> None:
    held = [
        progress(time, {"7": "x"}, held="no free pages", waiting=1) for time in (1.0, 2.0, 4.0, 8.0)
    ]
    away = progress(30.0, {"7": "x"}, held="no free pages", waiting=1)
    said = [e.text for e in after(*held, away).radio]
    assert said == ["lights out", *["safety car: no free pages"] * 2]


def test_the_fastest_lap_is_announced_from_the_second_lap_on() -> None:
    second = "L02 M02 26.00 28.00 27.00 P01\n"
    slower = "L02 M02 26.50 28.00 27.00 P01\n"
    view = after(progress(1.0, {"7": LAP}), progress(2.0, {"7": second, "28": LAP + slower}))
    said = [(e.car, e.text) for e in view.radio if e.kind == "control"]
    assert said == [("", "lights out"), ("KES", "fastest lap: KES, 1:21.00 on lap 2")]
    assert {car.code: car.last_lap_colour for car in view.cars} == {"KES": "purple", "VAR": "green"}


def test_the_first_over_the_line_wins() -> None:
    race = "".join(LAP.replace("01 M01", f"{lap:02d} M{lap:02d}") for lap in (1, 2, 3))
    view = after(progress(1.0, {"28": race}), progress(2.0, {"7": race}))
    assert [e.text for e in view.radio][-1] == "chequered flag: VAR wins"
    assert [(row.code, row.race_time) for row in view.results] == [("VAR", 0.0), ("KES", 1.0)]


def test_what_a_phase_reads_is_counted_by_token_and_second() -> None:
    reads = {"weight_bytes": 40_000_000, "kv_bytes": 10_000_000, "decode_rows": 4}
    times = StepTimes(0.0, 2.0, 0.0, 0.0)
    decode = progress(1.0, {"7": "L"}, ms=times, **reads)
    prefill = progress(2.0, {"7": "0"}, ms=times, prefill_tokens=96, **reads)
    old = progress(9.0, {"7": "1"}, ms=times, **reads)
    first, second = after(decode, prefill).traffic
    assert (first.phase, first.weight_bytes, first.kv_bytes) == ("decode", 1e7, 2.5e6)
    assert first.gbs == pytest.approx(25.0)
    assert first.share_percent == pytest.approx(100 * 25 / MODEL.read_gbs)
    assert (second.phase, second.weight_bytes) == ("prefill", 4e5)
    assert after(decode, prefill, old).traffic[0] == first


def test_what_is_read_is_shared_by_drafts_that_were_accepted() -> None:
    drafted = progress(
        1.0, {"7": "L01"}, decode_rows=1, weight_bytes=3000, ms=StepTimes(0, 1, 0, 0),
        verdicts=(Verdict("7", (1, 2, 3), 2),),
    )  # fmt: skip
    (decode,) = after(drafted).traffic
    assert decode.weight_bytes == 1000


def test_quality_is_of_what_is_served_now() -> None:
    int8, int4 = Knobs(weights="int8"), Knobs(weights="int4", kv_dtype="int8")
    times = StepTimes(0.5, 6.0, 1.0, 0.5, score=2.0)
    one, two = QualitySample(32, 0.032, 30, 20, 20), QualitySample(32, 0.064, 28, 0, 0)

    def step(time: float, knobs: Knobs, quality: QualitySample | None = None) -> Progress:
        return progress(time, {"7": "L"}, knobs=knobs, quality=quality, ms=times)

    assert after(step(1.0, Knobs())).quality is None
    unscored = after(step(1.0, int8)).quality
    assert unscored is not None
    assert (unscored.form, unscored.tokens, unscored.clear_top1_percent) == ("int8", 0, None)
    both = after(step(1.0, int8, one), step(2.0, int8), step(3.0, int8, two)).quality
    assert both == QualityView("int8", 64, 0.0015, 100 * 58 / 64, 100.0, 20.0)
    turned = after(step(1.0, int8, one), step(2.0, int4, two)).quality
    assert turned == QualityView("int4, kv int8", 32, 0.002, 87.5, None, 20.0)
    assert after(step(1.0, int8, one), step(2.0, replace(int8, quality="off"))).quality is None


def test_the_document_has_the_quality_of_each_format() -> None:
    state = RaceState()
    int8, int4 = Knobs(weights="int8"), Knobs(weights="int4")
    one, two = QualitySample(32, 0.032, 30, 20, 19), QualitySample(32, 0.064, 28, 0, 0)
    for event in (
        RACE,
        progress(1.0, {"7": "L"}, knobs=int8, quality=one, ms=StepTimes(0, 2, 1, 0, score=1)),
        progress(2.0, {"7": "L"}, knobs=int8, quality=one, ms=StepTimes(0, 4, 0, 0)),
        progress(3.0, {"7": "L"}, knobs=int4, quality=two, ms=StepTimes(0, 2, 0, 0)),
    ):
        state.apply(event)
    assert state.summary()["quality"] == {
        "cost_percent": 10.0,
        "formats": [
            {"weights": "int8", "kv_dtype": "fp32", "tokens": 64, "mean_kl": 0.001,
             "top1_percent": 93.75, "clear_tokens": 40, "clear_top1_percent": 95.0},
            {"weights": "int4", "kv_dtype": "fp32", "tokens": 32, "mean_kl": 0.002,
             "top1_percent": 87.5, "clear_tokens": 0, "clear_top1_percent": None},
        ],
    }  # fmt: skip


def test_the_rate_falls_while_an_engine_waits() -> None:
    said = progress(1.0, {"7": "L01 M01 27"})
    idle = replace(said, snapshot=replace(said.snapshot, time=2.0, steps=()), text=())
    assert [after(said, *more).status.tokens_per_second for more in ((), (idle,))] == [10.0, 5.0]
    later = replace(idle, snapshot=replace(idle.snapshot, time=3.5))
    assert after(said, later).status.tokens_per_second == 0.0


def test_a_paused_engine_makes_no_tokens_a_second() -> None:
    said = progress(1.0, {"7": "L01"})
    paused = replace(said, snapshot=replace(said.snapshot, paused=True, steps=()), text=())
    assert after(said).status.tokens_per_second == after(said).cars[0].tokens_per_second == 3.0
    status = after(said, paused).status
    assert (status.paused, status.tokens_per_second) == (True, 0.0)


def test_a_retired_car_stays_where_it_stopped() -> None:
    view = after(progress(1.0, {"7": LAP + "L02 OUT clutch\n"}))
    car = next(car for car in view.cars if car.code == "KES")
    assert (car.position, car.state, car.lap, car.note) == (2, "out", 2, "clutch")
    assert 0 < car.fraction < 0.2
    assert [e.text for e in view.radio] == ["lights out", "KES out: clutch"]


def test_a_car_that_falls_back_and_stalls_has_no_negative_gap() -> None:
    view = after(
        progress(1.0, {"7": "L"}),
        progress(2.0, {"28": "L01 M01 27.00"}),
    )
    assert [car.code for car in view.cars] == ["VAR", "KES"]
    assert view.cars[1].gap == 0.0


def test_knobs_show_what_the_plan_used_and_what_was_asked_for() -> None:
    used = Knobs(kv_cache="off", max_batch=3)
    view = after(progress(1.0, {"7": "L"}), progress(2.0, {"7": "0"}, knobs=used))
    knobs = {knob.name: (knob.value, knob.pending) for knob in view.knobs}
    assert knobs["kv_cache"] == ("off", "on")
    assert knobs["max_batch"] == ("3", "20")
    assert knobs["batching"] == ("continuous", None)
    assert [e.text for e in view.radio if e.kind == "knob"] == ["kv_cache off", "max_batch 3"]
    assert view.chart.marks == ((4, "kv_cache off, max_batch 3"),)


def test_knobs_before_any_plan_are_those_that_were_set() -> None:
    state = RaceState("replay", Knobs(paging="contiguous"))
    view = state.view(0.0)
    assert {knob.name: knob.value for knob in view.knobs}["paging"] == "contiguous"
    assert view.status.source == "replay"


def test_lights_are_the_phases_of_loading() -> None:
    state = folded((Loading(0, "import", "torch", 1.4), Loading(1, "chief", "", None)))
    lights = state.view(0.0).lights
    assert len(lights) == 5
    assert [(light.title, light.seconds) for light in lights[:3]] == [
        ("import", 1.4),
        ("chief", None),
        ("", None),
    ]


def test_pages_are_coloured_by_the_team_and_row_of_their_owner() -> None:
    # VAR leads, so the page of the first request, KES, is that of the second row.
    view = after(progress(1.0, {"28": "L"}, (request("7", "waiting"), request("28"))))
    assert view.pages.kinds == b"\x02\x00"
    assert view.pages.cars == b"\x01\xff"
    assert view.pages.teams == bytes([view.cars[1].team, 255])
    assert view.pages.waste_percent == 10.0


def test_a_refusal_is_said_and_teams_of_other_seasons_are_shown() -> None:
    stranger = replace(START, team="OTHER")
    view = folded((replace(RACE, cars=(stranger,), circuit="nowhere"), Refused("no"))).view(0.0)
    assert view.teams[view.cars[0].team][0] == "OTHER"
    assert view.radio[-1].text == "refused: no"
    assert (view.title, view.outline) == ("nowhere", ())


def test_a_new_race_starts_from_nothing() -> None:
    events = scripted(1)
    view = folded((*events, replace(RACE, race_number=2))).view(0.0)
    assert (view.race_number, view.status.flag) == (2, "lights")
    assert [car.tokens for car in view.cars] == [0, 0]
    assert view.chart.mean == 0.0
    assert dict(view.totals)["KV pages at peak"].startswith("0 of")


def test_nonsense_is_shown_and_counts_for_nothing() -> None:
    view = after(progress(1.0, {"7": "once upon a time\nL07 M07 27.00 28.00 27.00 P01\n"}))
    car = view.cars[0]
    assert (car.lap, car.last_lap, car.note) == (1, None, "lap 7 after 0")
    assert view.radio[-1].text == "once upon a time"


GARBAGE = st.text(
    st.sampled_from("L0129SMP .|\nOUTBX7clutch\x00\U0001f600"), max_size=60
) | st.sampled_from([LAP, LAP[:9], LAP.replace("01", "02"), "L02 OUT clutch\n", "L99 M01 99.99 "])


@given(said=st.lists(GARBAGE, max_size=8), others=st.lists(GARBAGE, max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_text_makes_a_picture(said: list[str], others: list[str]) -> None:
    state = folded((RACE, EngineReady(MODEL)))
    for time, text in enumerate(zip(said, others, strict=False), start=1):
        state.apply(progress(float(time), {"7": text[0], "28": text[1]}))
        view = state.view(0.0)
        for car in view.cars:
            assert 0 <= car.fraction < 1
            assert 0 <= car.lap <= RACE.laps
            assert car.gap is None or car.gap >= 0
        assert [car.position for car in view.cars] == [1, 2]


@given(text=st.lists(GARBAGE, max_size=8).map("".join), data=st.data())
@settings(max_examples=100, deadline=None)
def test_how_text_is_cut_into_pieces_changes_nothing(text: str, data: st.DataObject) -> None:
    def read(pieces: list[str]) -> tuple[object, list[LineDone]]:
        car, bests = Car(START, 0, 3), Bests()
        done = [line for piece in pieces for line in car.add(piece, 1.0, bests)]
        return (car.marks, car.sectors, car.completed, car.partial, car.note, bests), done

    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(pieces) == read(["", *text])


def test_a_rate_is_over_whole_steps_however_long_they_are() -> None:
    """Twenty tokens that took 30 s are no burst of ten a second when they come."""
    window = Window(0.0)
    for number in range(1, 5):
        window.add(30.0 * number, (("7", 1), ("8", 19)), 30_000)
        assert window.total_rate == pytest.approx(20 / 30)
        window.advance(30.0 * number + 20)
        assert 20 / 60 < window.total_rate < 20 / 30, "it is known that no more have come"
    window.advance(200.0)
    assert window.total_rate == window.rate("8") == 0
    for number in range(100):
        window.add(200 + 0.05 * number, (("7", 1),), 50)
    assert window.rate("7") == pytest.approx(20, rel=0.03)


@given(st.lists(st.tuples(st.floats(0.001, 1.9), st.integers(0, 40)), min_size=1, max_size=60))
@settings(deadline=None)
def test_no_token_is_lost_in_the_chart_and_the_window(steps: list[tuple[float, int]]) -> None:
    chart, window, time, seen = Chart(0.0), Window(0.0), 0.0, []
    for gap, tokens in steps:
        time += gap
        chart.add(time, tokens)
        window.add(time, (("7", tokens),), gap * 1000)
        seen.append((time, tokens))
    view = chart.view()
    assert view.peak >= view.mean
    assert view.mean * time == pytest.approx(sum(tokens for _, tokens in seen))
    assert len(view.values) <= 240
    recent = sum(tokens for moment, tokens in seen if moment > time - 2.0)
    assert window.rate("7") == window.total_rate == pytest.approx(recent / max(min(2, time), 1e-3))


def test_a_long_race_s_chart_doubles_its_buckets() -> None:
    chart = Chart(10.0)
    for second in range(400):
        chart.add(10.0 + second, 5)
    chart.mark(300.0, "kv_cache off")
    view = chart.view()
    assert view.bucket == 2.0
    assert len(view.values) <= 200
    assert view.values[:3] == (5.0, 5.0, 5.0)
    assert view.marks == ((145, "kv_cache off"),)
