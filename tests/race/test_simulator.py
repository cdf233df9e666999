import hashlib
import re
import subprocess
import sys
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitwall_tui.race import RaceError
from pitwall_tui.race.briefing import Briefing, Entrant, draw_race
from pitwall_tui.race.circuits import CIRCUITS, Circuit
from pitwall_tui.race.grammar import LapLine, OutLine, parse_line, parse_prompt
from pitwall_tui.race.quality import judge
from pitwall_tui.race.simulator import NOISE, documents, simulate
from pitwall_tui.race.tyres import tyre_loss, water, water_loss, within

PLURALS = {"softs": "S", "mediums": "M", "hards": "H", "inters": "I", "wets": "W"}


def _race(track: Circuit, laps: int, seed: int) -> tuple[Briefing, tuple[Entrant, ...], tuple]:
    briefing, entrants = draw_race(track, laps, seed)
    return briefing, entrants, simulate(briefing, entrants, seed)


def _assert_faultless(track: Circuit, laps: int, seed: int) -> None:
    briefing, entrants, bodies = _race(track, laps, seed)
    assert len(bodies) == len(entrants) == 20
    for entrant, body in zip(entrants, bodies, strict=True):
        verdict = judge(briefing.text() + entrant.text(), body)
        assert verdict.faults == ()
        assert verdict.lines == verdict.parsed == verdict.legal >= 1
        assert verdict.ended
        assert verdict.two_compounds


@pytest.mark.parametrize("track", CIRCUITS.values(), ids=CIRCUITS)
def test_every_line_is_legal_at_every_circuit(track: Circuit) -> None:
    for laps in (3, 4, 5, 19, 20, 21, track.laps):
        _assert_faultless(track, laps, seed=laps)


@pytest.mark.parametrize("first", range(3, 9))
def test_every_line_is_legal_over_every_distance(first: int) -> None:
    for laps in range(first, 79, 6):
        tracks = [track for track in CIRCUITS.values() if track.laps >= laps]
        _assert_faultless(tracks[laps % len(tracks)], laps, seed=1000 + laps)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(CIRCUITS.values())), st.integers(0, 2**64), st.data())
def test_every_line_is_legal_with_every_seed(track: Circuit, seed: int, data) -> None:
    _assert_faultless(track, data.draw(st.integers(3, 25)), seed)


@pytest.mark.parametrize("laps", [-1, 0, 2, 54])
def test_impossible_distances_are_refused(laps: int) -> None:
    with pytest.raises(RaceError, match=f"laps must be 3 to 53 at monza, not {laps}"):
        draw_race(CIRCUITS["monza"], laps, 7)


def test_a_race_depends_on_its_seeds_alone() -> None:
    briefing, entrants, bodies = _race(CIRCUITS["spa"], 30, 7)
    assert _race(CIRCUITS["spa"], 30, 7) == (briefing, entrants, bodies)
    assert simulate(briefing, entrants, 8) != bodies
    assert draw_race(CIRCUITS["spa"], 30, 8)[0] != briefing


def test_documents_are_the_same_in_every_process() -> None:
    program = (
        "import hashlib; from pitwall_tui.race.simulator import documents;"
        "print(hashlib.sha256(repr(list(documents(5, 4))).encode()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = hashlib.sha256(repr(list(documents(5, 4))).encode()).hexdigest()
    assert there.stdout.strip() == here
    assert list(documents(5, 4))[:20] == list(documents(5, 1))
    assert list(documents(6, 1)) != list(documents(5, 1))


def test_the_cars_of_a_race_share_their_briefing(season: list[tuple[str, str]]) -> None:
    for start in range(0, len(season), 20):
        prompts = [prompt for prompt, _ in season[start : start + 20]]
        shared = {prompt[: prompt.index("CAR ")] for prompt in prompts}
        assert len(shared) == 1
        assert shared.pop().endswith("\n")
        entries = [parse_prompt(prompt)[1] for prompt in prompts]
        assert [entry.grid for entry in entries] == list(range(1, 21))
        assert tuple(entry.code for entry in entries) == parse_prompt(prompts[0])[0].grid


def test_positions_of_a_lap_are_a_ranking(season: list[tuple[str, str]]) -> None:
    for start in range(0, len(season), 20):
        by_lap: dict[int, list[int]] = {}
        for _, body in season[start : start + 20]:
            for line in map(parse_line, body.splitlines()):
                if isinstance(line, LapLine):
                    by_lap.setdefault(line.lap, []).append(line.position)
        for positions in by_lap.values():
            assert sorted(positions) == list(range(1, len(positions) + 1))


def _laps(season: list[tuple[str, str]]):
    """(briefing, entrant, previous lap, lap) of all completed laps."""
    for prompt, body in season:
        briefing, entrant = parse_prompt(prompt)
        previous = None
        for line in map(parse_line, body.splitlines()):
            if isinstance(line, LapLine):
                yield briefing, entrant, previous, line
                previous = line


def test_a_leaders_lap_time_follows_from_what_is_written(season: list[tuple[str, str]]) -> None:
    errors = [
        line.time
        - sum(briefing.base)
        - entrant.pace
        - briefing.fuel * (briefing.laps - line.lap)
        - tyre_loss(line.compound, line.age, briefing.wear)
        - water_loss(line.compound, water(line.lap, briefing.rain))
        for briefing, entrant, previous, line in _laps(season)
        if previous and previous.position == 1 and not previous.box and not line.safety
    ]
    assert len(errors) > 1000
    assert abs(fmean(errors)) < 0.01
    assert stdev(errors) == pytest.approx(NOISE, rel=0.1)


def test_an_out_lap_holds_the_pit_loss_and_others_do_not(season: list[tuple[str, str]]) -> None:
    for briefing, _, previous, line in _laps(season):
        over = line.sectors[0] - briefing.base[0] * (1.4 if line.safety else 1.0)
        if previous and previous.box:
            share = 0.4 if line.safety else 0.95
            assert over > share * briefing.pit_loss - 2.0
        elif previous:
            assert over < 8.0


def test_tyres_follow_the_weather(season: list[tuple[str, str]]) -> None:
    """From the third lap of lasting rain nearly nobody is on slicks; in the dry nobody else is."""
    soaked, slicks = 0, 0
    for briefing, _, _, line in _laps(season):
        first = [first for first, last in briefing.rain if first + 3 <= line.lap <= last - 3]
        if first:
            soaked += 1
            slicks += line.compound in "SMH"
        if not briefing.rain:
            assert line.compound in "SMH"
    assert soaked > 500
    assert slicks < 0.02 * soaked


def test_safety_cars_slow_the_field(season: list[tuple[str, str]]) -> None:
    ratios = [
        sum(line.sectors[1:]) / sum(briefing.base[1:])
        for briefing, _, _, line in _laps(season)
        if line.safety and line.position == 1
    ]
    assert len(ratios) > 50
    assert fmean(ratios) == pytest.approx(1.4, abs=0.03)


def test_retirements_are_plausible(season: list[tuple[str, str]]) -> None:
    lines = [parse_line(text) for _, body in season for text in body.splitlines()]
    outs = sum(isinstance(line, OutLine) for line in lines)
    assert 0.0022 < outs / len(lines) < 0.0042


def test_radio_is_varied_and_not_everywhere(season: list[tuple[str, str]]) -> None:
    lines = [parse_line(text) for _, body in season for text in body.splitlines()]
    messages = [line.radio for line in lines if line.radio]
    assert 0.08 < len(messages) / len(lines) < 0.22
    assert len(set(messages)) > 300
    assert all(3 <= len(message.split()) <= 12 for message in set(messages))


def test_radio_speaks_of_its_own_line(season: list[tuple[str, str]]) -> None:
    seen = {"position": 0, "tyre": 0, "box": 0, "rain": 0, "safety": 0, "end": 0}
    for briefing, _, _, line in _laps(season):
        if line.radio is None:
            continue
        words = re.findall(r"[a-z0-9]+", line.radio)
        for place in re.findall(r"\bp(\d+)", line.radio):
            seen["position"] += 1
            assert int(place) == line.position
        for word in set(words) & set(PLURALS):
            if "ready if you need" in line.radio:
                continue
            seen["tyre"] += 1
            assert PLURALS[word] in (line.compound, line.box)
        if words[0] == "box" or "pit" in words:
            seen["box"] += 1
            assert line.box or line.age == 1
        if "rain" in words or "raining" in words:
            seen["rain"] += 1
            wet = [water(lap, briefing.rain) for lap in (line.lap, line.lap + 1)]
            assert max(wet) > 0.0
        if "safety car is out" in line.radio:
            seen["safety"] += 1
            assert within(line.lap, briefing.safety)
        if "chequered" in words or "podium" in words or "victory" in words:
            seen["end"] += 1
            assert line.lap == briefing.laps
    assert min(seen.values()) > 10
