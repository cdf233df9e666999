"""A car that is followed, in a real race: the shipped recording."""

from collections.abc import Iterator

import pytest

from pitwall_tui.feed.reading import events_of
from pitwall_tui.paths import asset
from pitwall_tui.race.events import Progress
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView


@pytest.fixture(scope="module")
def moments() -> list[RaceView]:
    """The race after each batch of its events, with every car followed."""

    def race() -> Iterator[RaceView]:
        state, numbers = RaceState(), range(100)
        for event in events_of(asset("races/monza.jsonl.gz")):
            state.apply(event)
            if isinstance(event, Progress):
                yield state.view(0.0, followed=numbers)

    return list(race())


def test_only_who_is_followed_is_drawn_up() -> None:
    state = RaceState()
    for event in events_of(asset("races/monza.jsonl.gz")):
        state.apply(event)
    second = state.view(0.0).cars[1]
    assert state.view(0.0).followed == {}
    assert set(state.view(0.0, followed=[second.number, 1000]).followed) == {second.number}


def test_a_gap_is_the_other_way_round_from_the_other_car(moments: list[RaceView]) -> None:
    timed = 0
    for view in moments:
        for row, car in enumerate(view.cars):
            gaps = view.followed[car.number].gaps
            assert gaps[row] == (0.0, 0)
            for other, gap in enumerate(gaps):
                back = view.followed[view.cars[other].number].gaps[row]
                if gap.seconds is None:
                    assert back.seconds is None
                else:
                    assert (gap.seconds, gap.laps) == (-back.seconds, -back.laps)  # type: ignore[operator]
                    assert (gap.seconds >= 0) == (other >= row) or gap.seconds == 0
                    timed += other != row
    assert timed > 1000


def test_gaps_to_the_leader_are_those_of_the_tower(moments: list[RaceView]) -> None:
    for view in moments:
        to_leader = view.followed[view.cars[0].number].gaps
        for car, gap in list(zip(view.cars, to_leader, strict=True))[1:]:
            assert (car.gap, car.laps_down) == (gap.seconds, gap.laps)


def test_latencies_run_up_to_those_of_the_classification(moments: list[RaceView]) -> None:
    last = moments[-1]
    assert last.status.flag == "chequered"
    for row in last.results:
        followed = last.followed[row.number]
        assert followed.ttft_ms == row.ttft_ms
        assert followed.tpot_ms == row.tpot_ms
        assert followed.output_tokens == row.output_tokens
        assert followed.preemptions == row.preemptions
    lost = sum(last.followed[row.number].preemptions for row in last.results)
    assert lost == last.status.preemptions > 0
    running = [
        (view.followed[car.number].tpot_ms, view.followed[car.number].itl_ms)
        for view in moments
        for car in view.cars
        if car.state == "track" and car.tokens > 20
    ]
    assert len(running) > 100
    assert all(tpot is not None and 1 < tpot < 1000 for tpot, _ in running)
    assert all(itl is not None and 1 < itl < 1000 for _, itl in running)


def test_the_text_is_the_cars_own(moments: list[RaceView]) -> None:
    for view in moments:
        for car in view.cars:
            writing = view.followed[car.number].writing
            assert (writing.car, writing.team) == (car.code, car.team)
    texts = {"".join(text for _, text in f.writing.pieces) for f in moments[-1].followed.values()}
    assert len(texts) == len(moments[-1].cars)
