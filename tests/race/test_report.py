"""The race's JSON: every figure against a plain computation from the script."""

import hashlib
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Knobs
from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.events import EngineReady, FeedEnded, FeedEvent, Progress, RedFlag
from pitwall_tui.race.latency import percentile
from pitwall_tui.race.results import clock_time
from pitwall_tui.report import print_summary, summary
from tests.scripted import MODEL, PAGE_SIZE, Script


def figures(events: list[FeedEvent]) -> dict[str, object]:
    return summary(events)[0]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script("monza", 4, 20, 3)


@pytest.fixture(scope="module")
def events(script: Script) -> list[FeedEvent]:
    return list(script.events((Knobs(), Knobs(prefill_chunk=64))))


def test_the_document_is_the_contract_s(script: Script, events: list[FeedEvent]) -> None:
    race = figures(events)
    steps = [s for e in events if isinstance(e, Progress) for s in e.snapshot.steps]
    peak = max(step.pages.used for step in steps)
    tokens = sum(len(car.body) for car in script.grid)
    last = max(car.finished or 0.0 for car in script.grid)
    changes = race.pop("knob_changes")
    cars = race.pop("cars")
    kv = race.pop("kv")
    for name in ("ttft_ms", "tpot_ms", "e2e_ms"):
        assert set(race.pop(name)) == {"mean", "p50", "p99"}  # type: ignore[call-overload]
    assert race == {
        "schema": 1,
        "circuit": "monza",
        "laps": 4,
        "seed": 3,
        "temperature": 0.8,
        "model": "chief",
        "knobs": Knobs().as_dict(),
        "pace_changes": [],
        "engine_lost": 0,
        "seconds": pytest.approx(last - 0.5),
        "prompt_tokens": sum(car.prompt_tokens for car in script.grid),
        "output_tokens": tokens,
        "tokens_per_second": pytest.approx(tokens / (last - 0.5)),
        "weights": {"format": "fp32", "bytes": MODEL.weights_bytes},
        "quality": None,
        "speculation": None,
    }
    first_change = next(step.time for step in steps if step.knobs.prefill_chunk == 64)
    assert changes[0] == [pytest.approx(first_change - 0.5), "prefill_chunk", 64]  # type: ignore[index]
    assert kv == {
        "page_size": PAGE_SIZE,
        "pages_total": MODEL.pages_total,
        "pages_peak": peak,
        "bytes_total": MODEL.pages_total * MODEL.page_bytes,
        "bytes_peak": peak * MODEL.page_bytes,
        "waste_peak_percent": pytest.approx(
            next(
                100 * s.pages.empty_slots / (peak * PAGE_SIZE)
                for s in steps
                if s.pages.used == peak
            )
        ),
        "preemptions": sum(len(step.preempted) for step in steps),
    }
    assert kv["preemptions"] > 0
    assert cars == [
        {
            "id": car.start.id,
            "prompt_tokens": car.prompt_tokens,
            "output_tokens": len(car.body),
            "laps": sum(" OUT " not in line for line in car.body.splitlines()),
            "finish_reason": "stop",
            "tokens_sha256": hashlib.sha256(
                ",".join(map(str, map(ord, car.body))).encode()
            ).hexdigest(),
            "ttft_ms": pytest.approx(1000 * ((car.first_token or 0) - 0.5)),
            "e2e_ms": pytest.approx(1000 * ((car.finished or 0) - 0.5)),
        }
        for car in script.grid
    ]


def test_latencies_are_spread_as_serving_benchmarks_do(
    script: Script, events: list[FeedEvent]
) -> None:
    race = figures(events)
    ttft = [1000 * ((car.first_token or 0) - 0.5) for car in script.grid]
    e2e = [1000 * ((car.finished or 0) - 0.5) for car in script.grid]
    tpot = [
        (whole - first) / (len(car.body) - 1)
        for car, first, whole in zip(script.grid, ttft, e2e, strict=True)
    ]
    for name, values in (("ttft_ms", ttft), ("tpot_ms", tpot), ("e2e_ms", e2e)):
        assert race[name] == {
            "mean": pytest.approx(statistics.fmean(values)),
            "p50": pytest.approx(statistics.median(values)),
            "p99": pytest.approx(statistics.quantiles(values, n=100, method="inclusive")[98]),
        }


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30), st.integers(1, 99))
def test_percentiles_interpolate(values: list[float], percent: int) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert percentile(values, percent) == pytest.approx(cuts[percent - 1])


def test_percentiles_of_little() -> None:
    assert percentile([], 50) is None
    assert percentile([3.0], 99) == 3.0


def test_a_race_that_breaks_off_claims_no_latencies(events: list[FeedEvent]) -> None:
    race = figures(events[:12])
    assert race["e2e_ms"] == race["ttft_ms"] == {"mean": None, "p50": None, "p99": None}
    assert {car["finish_reason"] for car in race["cars"]} == {"abort"}  # type: ignore[attr-defined]
    assert "TTFT    mean -, p50 -, p99 - ms" in print_summary(race)


def test_a_lost_engine_changes_no_token(events: list[FeedEvent]) -> None:
    """The second engine's clock, its peaks and its counts of preemptions start anew."""
    half = len(events) * 3 // 4
    lost_at = events[half - 1]
    assert isinstance(lost_at, Progress)
    assert any(request.finished for request in lost_at.snapshot.requests)
    second = [anew(event, lost_at.snapshot.time) for event in events[half:]]
    race = figures([*events[:half], RedFlag("killed"), EngineReady(MODEL), *second])
    whole = figures(events)
    for name in ("output_tokens", "kv"):
        assert race[name] == whole[name]
    assert race["seconds"] == pytest.approx(whole["seconds"])
    for car, same in zip(race["cars"], whole["cars"], strict=True):  # type: ignore[call-overload]
        assert car["tokens_sha256"] == same["tokens_sha256"]
        assert car["ttft_ms"] == pytest.approx(same["ttft_ms"])
        assert car["e2e_ms"] == pytest.approx(same["e2e_ms"])


def anew(event: FeedEvent, start: float) -> FeedEvent:
    """The same progress on the clock of an engine that was ready at `start`."""
    if not isinstance(event, Progress):
        return event
    snapshot = event.snapshot
    requests = tuple(
        replace(
            r,
            submitted=0.0,
            first_token=None,
            finished=None if r.finished is None else max(0.0, r.finished - start),
        )
        for r in snapshot.requests
    )
    steps = tuple(replace(step, time=step.time - start) for step in snapshot.steps)
    changed = replace(snapshot, time=snapshot.time - start, requests=requests, steps=steps)
    return replace(event, snapshot=changed)


def test_the_last_race_that_was_run_to_its_end_is_told(events: list[FeedEvent]) -> None:
    short = list(Script("spa", 3, 20, 5).events())
    assert figures([*events, *short])["circuit"] == "spa"
    assert figures([*events, *short[:12], FeedEnded("closed")])["circuit"] == "monza"
    assert figures(short[:12])["circuit"] == "spa"
    broken = [*events, *short[:12], FeedEnded("it breaks off here")]
    assert summary(broken)[1] == ("it breaks off here", "race 1 of 2")
    assert summary([*events, *short])[1] == ("race 2 of 2",)
    assert summary(short[:12])[1] == ("the race stops before its flag",)
    assert summary(events)[1] == ()


def test_no_race_is_said_in_one_line() -> None:
    with pytest.raises(RaceError, match="no race"):
        figures([EngineReady(MODEL)])


def test_the_table_holds_each_car(script: Script, events: list[FeedEvent]) -> None:
    lines = print_summary(figures(events)).splitlines()
    assert lines[0] == "monza, 4 laps, 20 cars, seed 3, temperature 0.8"
    assert [line.split()[0] for line in lines[-20:]] == [car.start.id for car in script.grid]
    assert any("prefill_chunk=64 after" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(83.456, "1:23.46"), (59.999, "1:00.00"), (60.0, "1:00.00"), (9.5, "0:09.50")],
)
def test_lap_times_are_written_as_on_a_timing_screen(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text
