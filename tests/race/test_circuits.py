import math
from itertools import combinations

import pytest

from pitwall_tui.race import RaceError
from pitwall_tui.race.circuits import CIRCUITS, Circuit, circuit
from pitwall_tui.race.entries import BY_CODE, ENTRIES, TEAMS

ALL = pytest.mark.parametrize("track", CIRCUITS.values(), ids=CIRCUITS)


def _crosses(a, b, c, d) -> bool:
    def side(p, q, r) -> bool:
        return (q[0] - p[0]) * (r[1] - p[1]) > (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) != side(a, b, d) and side(c, d, a) != side(c, d, b)


def _pieces(track: Circuit):
    return list(zip(track.outline, (*track.outline[1:], track.outline[0]), strict=True))


def test_the_promised_circuits_are_there() -> None:
    promised = {"monza", "spa", "monaco", "silverstone", "suzuka", "interlagos"}
    assert promised <= set(CIRCUITS)
    assert next(iter(CIRCUITS)) == "monza"
    assert all(name == each.name for name, each in CIRCUITS.items())


def test_unknown_circuit_is_named_with_the_known_ones() -> None:
    with pytest.raises(RaceError, match=r"'monsa'.*monza, spa"):
        circuit("monsa")


@ALL
def test_race_distance_is_the_real_one(track: Circuit) -> None:
    # A grand prix is the least number of laps past 305 km, past 260 km at Monaco.
    distance = 260.0 if track.name == "monaco" else 305.0
    assert 0.0 < track.laps * track.length_km - distance < track.length_km + 1.0


@ALL
def test_outline_is_an_even_closed_curve_in_the_unit_box(track: Circuit) -> None:
    xs, ys = zip(*track.outline, strict=True)
    assert 60 <= len(track.outline) <= 120
    assert min(xs) == min(ys) == 0.0
    assert max(*xs, *ys) == 1.0
    lengths = [math.dist(a, b) for a, b in _pieces(track)]
    assert max(lengths) < 1.02 * sum(lengths) / len(lengths)
    assert min(lengths) > 0.6 * sum(lengths) / len(lengths)


@ALL
def test_outline_turns_the_right_way(track: Circuit) -> None:
    area = sum(a[0] * b[1] - a[1] * b[0] for a, b in _pieces(track))
    anticlockwise = track.name == "interlagos"
    # Suzuka's figure eight has both: its first, larger loop is clockwise.
    assert (area > 0) == anticlockwise


@ALL
def test_only_suzuka_crosses_itself(track: Circuit) -> None:
    pieces = _pieces(track)
    crossings = sum(
        _crosses(*one, *other)
        for (i, one), (j, other) in combinations(enumerate(pieces), 2)
        if 1 < j - i < len(pieces) - 1
    )
    assert crossings == (1 if track.name == "suzuka" else 0)


@ALL
def test_base_times_fit_the_language(track: Circuit) -> None:
    """A sector behind the safety car, or with a slow stop in rain, stays under 100 s."""
    assert all(sector >= 15.0 for sector in track.base)
    assert 1.4 * max(track.base) + track.pit_loss < 99.0
    assert 0.0 < track.sectors[0] < track.sectors[1] < 1.0


def test_entries_are_twenty_distinct_cars_of_ten_teams() -> None:
    assert len(ENTRIES) == len(BY_CODE) == len({entry.number for entry in ENTRIES}) == 20
    assert [sum(entry.team is team for entry in ENTRIES) for team in TEAMS] == [2] * 10
    assert all(team.short.isupper() and len(team.short) <= 6 for team in TEAMS)
    assert all(0 < entry.number < 100 and len(entry.code) == 3 for entry in ENTRIES)


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("team", TEAMS, ids=lambda team: team.short)
def test_team_colours_read_on_dark_and_on_light(team) -> None:
    luminance = _luminance(team.colour)
    assert 1.05 / (luminance + 0.05) >= 3.0
    assert (luminance + 0.05) / 0.06 >= 3.0
