import pytest

from pitwall_tui.race import GrammarError
from pitwall_tui.race.briefing import Entrant, draw_race
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.grammar import LapLine, parse_line
from pitwall_tui.race.quality import LapTimes, judge
from pitwall_tui.race.simulator import simulate
from pitwall_tui.race.tyres import within


@pytest.fixture(scope="module")
def race() -> tuple[str, list[str]]:
    """A prompt and the lines of a car that stops and finishes, without its last radio."""
    briefing, entrants = draw_race(CIRCUITS["monza"], 53, 7)
    bodies = simulate(briefing, entrants, 7)
    for entrant, body in zip(entrants, bodies, strict=True):
        lines = body.splitlines()
        if " BOX " in body and " OUT " not in body:
            return briefing.text() + entrant.text(), lines
    raise AssertionError("no car stopped and finished")


def _body(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _flip(letter: str) -> str:
    return "H" if letter != "H" else "M"


def test_a_simulated_race_is_faultless(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    verdict = judge(prompt, _body(lines))
    assert verdict.faults == ()
    assert (verdict.lines, verdict.parsed, verdict.legal) == (53, 53, 53)


def test_a_skipped_lap_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    verdict = judge(prompt, _body(lines[:4] + lines[5:]))
    assert verdict.legal == verdict.parsed - 1
    assert verdict.faults == ("line 5: lap 6 where 5 was due",)


def test_a_wrong_age_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    wrong = f"{lines[3][:5]}09{lines[3][7:]}"
    verdict = judge(prompt, _body([*lines[:3], wrong, *lines[4:]]))
    assert verdict.faults[0] == "line 4: tyre age 9 where 4 was due"


def test_a_change_without_a_stop_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    wrong = f"{lines[3][:4]}{_flip(lines[3][4])}{lines[3][5:]}"
    verdict = judge(prompt, _body([*lines[:3], wrong, *lines[4:]]))
    assert verdict.faults[0].startswith(f"line 4: compound {_flip(lines[3][4])} where")
    assert verdict.legal < verdict.parsed == 53


def test_a_stop_without_a_change_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    stop = next(i for i, line in enumerate(lines) if " BOX " in line)
    plain = lines[stop][: lines[stop].index(" BOX ")]
    verdict = judge(prompt, _body([*lines[:stop], plain, *lines[stop + 1 :]]))
    assert verdict.faults[0].startswith(f"line {stop + 2}: ")


def test_a_stop_on_the_last_lap_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    core = lines[-1].split(" | ")[0]
    assert judge(prompt, _body([*lines[:-1], f"{core} BOX S"])).faults == (
        "line 53: pit call on the last lap",
    )


def test_a_wrong_safety_car_mark_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    line = parse_line(lines[1])
    assert isinstance(line, LapLine)
    wrong = LapLine(line.lap, line.compound, line.age, line.sectors, line.position, not line.safety)
    assert judge(prompt, _body([lines[0], wrong.text(), *lines[2:]])).faults == (
        "line 2: safety car mark does not fit the briefing",
    )


@pytest.mark.parametrize("keep", [0, 1, 52])
def test_an_early_end_is_found(race: tuple[str, list[str]], keep: int) -> None:
    prompt, lines = race
    verdict = judge(prompt, _body(lines[:keep]))
    assert not verdict.ended
    assert verdict.faults == ("the race has no end",)
    assert verdict.lines == verdict.legal == keep


def test_an_unfinished_last_line_is_no_end(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    assert not judge(prompt, _body(lines).removesuffix("\n")).ended


def test_a_retirement_ends_the_race_and_nothing_follows(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    assert judge(prompt, _body([*lines[:9], "L10 OUT gearbox"])).faults == ()
    assert judge(prompt, _body([*lines[:9], "L10 OUT gearbox", lines[9]])).faults == (
        "line 11: line after a retirement",
    )


def test_a_lap_too_many_is_found(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    last = parse_line(lines[-1])
    assert isinstance(last, LapLine)
    extra = LapLine(54, last.compound, last.age + 1, last.sectors, last.position)
    assert judge(prompt, _body([*lines, extra.text()])).faults[0] == "line 54: lap 54 of 53"


def test_an_unreadable_line_is_counted_and_named(race: tuple[str, list[str]]) -> None:
    prompt, lines = race
    verdict = judge(prompt, _body([*lines, "the end"]))
    assert (verdict.lines, verdict.parsed, verdict.legal) == (54, 53, 53)
    assert verdict.faults == ("line 54: not a lap line: 'the end'",)


def test_a_bad_prompt_is_not_judged(race: tuple[str, list[str]]) -> None:
    with pytest.raises(GrammarError):
        judge(race[0].removesuffix("\n"), _body(race[1]))


def test_a_dry_race_on_one_compound_breaks_the_rule() -> None:
    dry = (draw_race(CIRCUITS["monza"], 20, seed) for seed in range(50))
    briefing, entrants = next(pair for pair in dry if not pair[0].rain)
    entrant: Entrant = entrants[0]
    lines = [
        LapLine(lap, entrant.tyre, lap, (30.0, 30.0, 30.0), 1, within(lap, briefing.safety)).text()
        for lap in range(1, 21)
    ]
    verdict = judge(briefing.text() + entrant.text(), _body(lines))
    assert verdict.faults == ()
    assert not verdict.two_compounds


def _slower(body: str, seconds: float) -> str:
    lines = [parse_line(text) for text in body.splitlines()]
    return _body(
        [
            LapLine(
                line.lap,
                line.compound,
                line.age,
                (line.sectors[0], line.sectors[1], line.sectors[2] + seconds),
                line.position,
                line.safety,
            ).text()
            if isinstance(line, LapLine)
            else line.text()
            for line in lines
        ]
    )


def test_lap_times_differ_by_what_was_added(season: list[tuple[str, str]]) -> None:
    ours, same, slower = LapTimes(), LapTimes(), LapTimes()
    for prompt, body in season[:400]:
        ours.add(prompt, body)
        same.add(prompt, body)
        slower.add(prompt, _slower(body, 0.3))
    rows = ours.compare(slower, min_samples=20)
    assert {row.compound for row in rows} >= {"S", "M", "H"}
    assert all(row.diff == pytest.approx(0.3, abs=1e-6) for row in rows)
    assert all(row.n >= 20 for row in rows)
    assert all(row.diff == 0.0 for row in ours.compare(same))
    assert len(ours.compare(same, min_samples=500)) < len(rows)


def test_simulated_laps_take_what_is_expected_of_them_and_some_traffic(
    season: list[tuple[str, str]],
) -> None:
    times = LapTimes()
    for prompt, body in season:
        times.add(prompt, body)
    means = {(row.compound, row.age): row.mean_a for row in times.compare(times, min_samples=200)}
    assert {compound for compound, _ in means} >= {"S", "M", "H"}
    assert max(age for _, age in means) > 20
    assert all(-0.02 < mean < 0.2 for mean in means.values())


def test_only_racing_laps_in_the_dry_are_clean() -> None:
    races = (draw_race(CIRCUITS["monza"], 30, seed) for seed in range(200))
    briefing, entrants = next(pair for pair in races if pair[0].rain and pair[0].safety)
    prompt = briefing.text() + entrants[0].text()
    out_lap = LapLine(9, "S", 1, (50.0, 30.0, 30.0), 1)
    wet = LapLine(briefing.rain[0][0], "I", 5, (30.0, 30.0, 30.0), 1)
    drying = LapLine(briefing.rain[-1][1] + 2, "I", 5, (30.0, 30.0, 30.0), 1)
    slow = LapLine(9, "S", 5, (40.0, 40.0, 40.0), 1, safety=True)
    start = LapLine(1, "S", 1, (35.0, 30.0, 30.0), 1)
    times = LapTimes()
    times.add(prompt, _body([each.text() for each in (out_lap, wet, drying, slow, start)]))
    times.add(prompt, "not a line\nL09 OUT gearbox\n")
    assert times.compare(times, min_samples=1) == ()
