"""The pool of KV pages, as the page map shows it."""

from collections.abc import Sequence

from engine.stats import EngineSnapshot, ModelInfo, PageCounts, PageMap
from pitwall_tui.race.car import Car
from pitwall_tui.race.ledger import waste_percent
from pitwall_tui.race.view import NOBODY, PagesView


def pool(
    snapshot: EngineSnapshot | None, model: ModelInfo | None, cars: Sequence[Car]
) -> PagesView:
    """As `snapshot` has it; an owner is a team, and a row among `cars`, NOBODY where it is none."""
    pages = snapshot.pages if snapshot else PageCounts(0, 0, 0, 0, 0, 0, 0)
    page_map = snapshot.page_map if snapshot else PageMap(b"", b"")
    teams, places = bytearray([NOBODY] * 256), bytearray([NOBODY] * 256)
    rows = {car.start.id: (car.team, row) for row, car in enumerate(cars)}
    requests = snapshot.requests[:NOBODY] if snapshot else ()
    for owner, request in enumerate(requests):
        teams[owner], places[owner] = rows.get(request.id, (NOBODY, NOBODY))
    return PagesView(
        kinds=page_map.kinds,
        teams=page_map.owners.translate(teams),
        cars=page_map.owners.translate(places),
        total=pages.total,
        used=pages.used,
        cached=pages.cached,
        free=pages.free,
        reserved=pages.reserved,
        waste_percent=waste_percent(pages.used, pages.empty_slots, model.page_size if model else 0),
        page_bytes=pages.page_bytes,
    )
