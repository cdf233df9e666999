"""From a race to requests: each entrant's briefing is a prompt."""

from engine.config import Request, Sampling
from pitwall_tui.feed.settings import LINE_TOKENS, Race, RaceSettings
from pitwall_tui.feed.text import Vocabulary
from pitwall_tui.race.briefing import draw_race
from pitwall_tui.race.circuits import circuit
from pitwall_tui.race.events import CarStart, RaceStarted


def line_up(
    race: Race, settings: RaceSettings, vocabulary: Vocabulary, max_context: int
) -> tuple[RaceStarted, tuple[Request, ...]]:
    """The race's announcement and its cars as requests, in grid order.

    A car's request id is the race's number and the car's code; its seed follows from the race's
    seed and the car's number.
    """
    briefing, entrants = draw_race(circuit(race.circuit), race.laps, race.seed)
    shared = briefing.text()
    starts: list[CarStart] = []
    requests: list[Request] = []
    for entrant in entrants[: settings.cars]:
        prompt = vocabulary.encode(shared + entrant.text())
        sampling = Sampling(
            max_tokens=max(1, min(race.laps * LINE_TOKENS, max_context - len(prompt))),
            temperature=settings.temperature,
            seed=race.seed * 100 + entrant.number,
        )
        start = CarStart(
            id=f"{race.number}-{entrant.code}",
            number=entrant.number,
            code=entrant.code,
            team=entrant.team,
            grid=entrant.grid,
            tyre=entrant.tyre,
        )
        starts.append(start)
        requests.append(Request(start.id, prompt, sampling))
    announcement = RaceStarted(
        race.number,
        race.circuit,
        race.laps,
        race.seed,
        settings.temperature,
        shared,
        tuple(starts),
    )
    return announcement, tuple(requests)
