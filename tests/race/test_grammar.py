import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitwall_tui.race import GrammarError
from pitwall_tui.race.briefing import draw_race
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.grammar import (
    REASONS,
    LapLine,
    OutLine,
    legal,
    line_progress,
    parse_line,
    parse_prompt,
)

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=7)
radios = st.none() | st.lists(words, min_size=1, max_size=12).map(" ".join)
sectors = st.integers(1000, 9999).map(lambda hundredths: hundredths / 100)
compounds = st.sampled_from("SMHIW")
laps = st.integers(1, 99)
lap_lines = st.builds(
    LapLine,
    lap=laps,
    compound=compounds,
    age=laps,
    sectors=st.tuples(sectors, sectors, sectors),
    position=st.integers(1, 20),
    safety=st.booleans(),
    box=st.none() | compounds,
    radio=radios,
)
out_lines = st.builds(OutLine, lap=laps, reason=st.sampled_from(REASONS), radio=radios)
lines = lap_lines | out_lines
LINE = "L19 M18 27.62 29.20 29.88 P03"


@given(lines)
def test_lines_survive_their_text(line: LapLine | OutLine) -> None:
    assert parse_line(line.text()) == line


@given(st.sampled_from(list(CIRCUITS.values())), st.integers(0, 2**32), st.data())
def test_prompts_survive_their_text(track, seed: int, data) -> None:
    briefing, entrants = draw_race(track, data.draw(st.integers(3, track.laps)), seed)
    for entrant in entrants:
        assert parse_prompt(briefing.text() + entrant.text()) == (briefing, entrant)


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        f"{LINE} SC",
        f"{LINE} BOX H",
        f"{LINE} SC BOX W | rain is here, box this lap",
        f"{LINE} | what, again?",
        "L23 OUT gearbox",
        "L23 OUT spun off | i'm ok. sorry guys",
    ],
)
def test_accepts(text: str) -> None:
    assert parse_line(text).text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{LINE} ",
        f" {LINE}",
        f"{LINE}\n",
        "l19 M18 27.62 29.20 29.88 P03",
        "L00 M18 27.62 29.20 29.88 P03",
        "L19 M00 27.62 29.20 29.88 P03",
        "L19 X18 27.62 29.20 29.88 P03",
        "L19 M18 07.62 29.20 29.88 P03",
        "L19 M18 127.62 29.20 29.88 P03",
        "L19 M18 27.62 29.20 29.88 P00",
        "L19 M18 27.62 29.20 29.88 P21",
        "L19 M18 27.62 29.20 P03",
        "L19  M18 27.62 29.20 29.88 P03",
        "L١٩ M18 27.62 29.20 29.88 P03",
        f"{LINE} BOX",
        f"{LINE} BOX X",
        f"{LINE} BOX H SC",
        f"{LINE} |",
        f"{LINE} | ",
        f"{LINE} |no space",
        f"{LINE} | Upper case",
        f"{LINE} | two | bars",
        f"{LINE} | double  space",
        f"{LINE} | trailing ",
        f"{LINE} | {'long ' * 20}long",
        "L23 OUT",
        "L23 OUT of luck",
        "L23 OUT gearbox P03",
        "L00 OUT gearbox",
    ],
)
def test_rejects_near_misses(text: str) -> None:
    with pytest.raises(GrammarError):
        parse_line(text)


@given(lap_lines, st.data())
def test_a_line_that_misses_a_character_is_rejected(line: LapLine, data) -> None:
    text = LapLine(line.lap, line.compound, line.age, line.sectors, line.position).text()
    at = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(GrammarError):
        parse_line(text[:at] + text[at + 1 :])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("MONZA", "MONSA"),
        ("LAPS L53", "LAPS 53"),
        ("RAIN ", "RAIN L05 "),
        ("SAFETY ", "SAFE "),
        ("CAR ", "CARS "),
        ("PACE ", "PACE"),
        ("\n", "\r\n"),
    ],
)
def test_rejects_broken_prompts(right: str, wrong: str) -> None:
    briefing, entrants = draw_race(CIRCUITS["monza"], 53, 7)
    text = briefing.text() + entrants[0].text()
    assert right in text
    with pytest.raises(GrammarError, match="not a race prompt"):
        parse_prompt(text.replace(right, wrong))


@given(lines)
def test_progress_never_falls_and_ends_before_the_next_lap(line: LapLine | OutLine) -> None:
    text = line.text()
    steps = [line_progress(text[:length]) for length in range(len(text) + 1)]
    assert steps[0] == 0.0
    assert steps == sorted(steps)
    assert steps[-1] < 1.0


@given(st.text(max_size=80))
def test_progress_stands_any_text(text: str) -> None:
    assert 0.0 <= line_progress(text) < 1.0


@given(lap_lines)
def test_progress_is_at_a_sectors_end_when_its_time_is_complete(line: LapLine) -> None:
    text = line.text()
    assert line_progress(text[: len("L19 M18 27.62")], (0.3, 0.7)) == pytest.approx(0.3)
    assert line_progress(text[: len("L19 M18 27.62 29.20")], (0.3, 0.7)) == pytest.approx(0.7)
    assert line_progress(text[: len("L19 M18 27.62 29.20 29.88")], (0.3, 0.7)) > 0.95


@given(out_lines)
def test_a_retired_car_stays_where_it_was(line: OutLine) -> None:
    assert line_progress(line.text()) == line_progress(line.text()[:4])


@given(lap_lines, st.none() | compounds)
def test_what_may_follow_a_lap(previous: LapLine, change: str | None) -> None:
    """After any lap exactly one tyre is legal: the fitted one, new, or the same a lap older."""
    briefing, entrants = draw_race(CIRCUITS["monaco"], 78, 3)
    following = LapLine(
        lap=previous.lap + 1,
        compound=change or previous.compound,
        age=previous.age + 1,
        sectors=previous.sectors,
        position=previous.position,
        safety=any(a <= previous.lap + 1 <= b for a, b in briefing.safety),
    )
    allowed = legal(previous, following, briefing, entrants[0]) is None
    stays = previous.box is None and following.compound == previous.compound
    assert allowed == (stays and following.lap <= 78)
