"""Writes tests/tui/studied.json: what the engine finds of the shipped model's weights."""

from engine.studies import StudyNews
from engine.workshop import Workshop
from pitwall_tui.paths import asset
from tests.tui.studied import ASKED, LAYER, store


def found() -> list[StudyNews]:
    workshop = Workshop(asset("models/chief"))
    news: list[StudyNews] = []
    for scheme in ASKED:
        workshop.ask(LAYER, scheme)
        while workshop.busy:
            news += workshop.news()
    return news


if __name__ == "__main__":
    store(found())
