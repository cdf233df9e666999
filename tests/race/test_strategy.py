from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pitwall_tui.race.strategy import (
    NO_STOP,
    SHORTEST_STINT,
    TWO_COMPOUND_LAPS,
    dry_laps,
    planner,
    rain_laps,
)

slicks = st.sampled_from("SMH")
wears = st.integers(50, 150).map(lambda percent: percent / 100)
pit_losses = st.integers(175, 245).map(lambda tenths: tenths / 10)


@given(slicks, wears, pit_losses, st.integers(TWO_COMPOUND_LAPS, 78), st.integers())
def test_a_stop_that_must_be_made_leaves_room_for_another_stint(
    letter: str, wear: float, pit_loss: float, laps: int, seed: int
) -> None:
    age = planner(wear, pit_loss).stint(letter, laps, Random(seed), must_stop=True)
    assert 2 <= age <= laps - SHORTEST_STINT


@given(wears, pit_losses, st.integers(1, 78))
def test_a_plan_is_no_dearer_than_any_first_stop(wear: float, pit_loss: float, laps: int) -> None:
    plan = planner(wear, pit_loss)
    for letter in "SMH":
        cost, stint = plan.best(letter, laps)
        assert 1 <= stint <= laps
        limited, shorter = plan.best(letter, laps, shortest_rest=laps // 2)
        assert shorter <= max(1, laps - laps // 2)
        assert limited >= cost


def test_stops_follow_wear_and_the_price_of_a_stop() -> None:
    assert planner(0.6, 24.0).stint("M", 20, Random(1), must_stop=False) == NO_STOP
    assert planner(1.2, 18.0).stint("S", 60, Random(1), must_stop=False) < 25


@given(slicks, wears, st.integers(3, 78), st.integers())
def test_a_used_compound_can_be_ruled_out(letter: str, wear: float, laps: int, seed: int) -> None:
    plan = planner(wear, 20.0)
    assert plan.choose(laps, Random(seed), spread=4.0, exclude=frozenset(letter)) != letter


def test_rain_ends_the_dry_laps() -> None:
    rain = ((11, 20),)
    assert dry_laps(0, 50, rain) == 10
    assert dry_laps(10, 50, rain) == 1  # none, but a plan needs one lap at least
    assert dry_laps(20, 50, rain) == 30
    assert [rain_laps(lap, rain) for lap in (9, 10, 15, 20, 21)] == [0, 10, 5, 0, 0]
