"""What the wall remembers between frames: places just changed, and how late its ticks are."""

from dataclasses import replace

from pitwall_tui.cadence import LATE, RECOVERY, Cadence
from pitwall_tui.draw.moves import Fresh, Moves
from pitwall_tui.race.view import RaceView, SectorView
from tests.tui import views


def _swapped(view: RaceView) -> RaceView:
    first, second, *others = view.cars
    cars = (replace(second, position=1), replace(first, position=2), *others)
    return replace(view, cars=cars)


def test_a_change_of_places_shows_for_its_time() -> None:
    moves, view = Moves(seconds=2.0), views.racing()
    leader, second = view.cars[0].number, view.cars[1].number
    assert moves.update(view, 10.0) == {}
    assert moves.update(_swapped(view), 10.1) == {second: 1, leader: -1}
    assert moves.update(_swapped(view), 12.0) == {second: 1, leader: -1}
    assert moves.update(_swapped(view), 12.2) == {}


def test_a_new_race_moves_nobody() -> None:
    moves, view = Moves(), views.racing()
    moves.update(view, 10.0)
    assert moves.update(replace(_swapped(view), race_number=2), 10.1) == {}


def test_cars_that_do_not_race_are_not_highlighted() -> None:
    moves, view = Moves(), views.loading()
    moves.update(view, 10.0)
    assert moves.update(_swapped(view), 10.1) == {}


def test_ticks_on_time_are_all_frames() -> None:
    cadence = Cadence()
    assert all(cadence.due(0.01) for _ in range(200))


def test_late_ticks_halve_the_frames_and_time_brings_them_back() -> None:
    cadence = Cadence()
    cadence.due(LATE * 1.5)
    assert cadence.ticks_per_frame == 1  # a single one is no reason
    cadence.due(LATE * 1.5)
    assert cadence.ticks_per_frame == 2
    assert sum(cadence.due(0.0) for _ in range(20)) == 10
    for _ in range(20):
        cadence.due(1.0)
    assert cadence.ticks_per_frame == 8
    for _ in range(3 * RECOVERY):
        cadence.due(0.0)
    assert cadence.ticks_per_frame == 1


# What is new in the tower


def _with(view: RaceView, **changes: object) -> RaceView:
    first, *others = view.cars
    return replace(view, cars=(replace(first, **changes), *others))  # type: ignore[arg-type]


def test_something_new_shows_for_its_time() -> None:
    fresh, view = Fresh(seconds=1.0), views.racing()
    number = view.cars[0].number
    assert fresh.update(view, 10.0) == {}
    news = _with(view, last_lap=80.0, best_lap=80.0, state="pit")
    assert fresh.update(news, 11.5) == {number: {"last", "best", "state"}}
    assert fresh.update(news, 12.4) == {number: {"last", "best", "state"}}
    assert fresh.update(news, 12.6) == {}
    assert fresh.update(_with(news, state="track"), 20.0) == {}  # back on track is no news


def test_what_is_new_all_the_time_is_no_news() -> None:
    fresh, view = Fresh(seconds=1.0), views.racing()
    for tenth in range(100):
        news = fresh.update(_with(view, last_lap=80.0 + tenth), 10.0 + tenth / 10)
        assert news == {}


def test_a_sector_that_is_cleared_is_no_news() -> None:
    fresh, view = Fresh(seconds=1.0), views.racing()
    none = SectorView("", "none")
    number = view.cars[0].number
    fresh.update(_with(view, sectors=(SectorView("27.4", "green"), none, none)), 10.0)
    assert fresh.update(_with(view, sectors=(none, none, none)), 12.0) == {}
    again = _with(view, sectors=(SectorView("27.2", "purple"), none, none))
    assert fresh.update(again, 14.0) == {number: {"s1"}}


def test_a_new_race_has_nothing_new() -> None:
    fresh, view = Fresh(), views.racing()
    fresh.update(view, 10.0)
    assert fresh.update(replace(_with(view, last_lap=1.0), race_number=2), 20.0) == {}
