"""The workshop: which layer and scheme are looked at, and what has been measured of them so far."""

from dataclasses import dataclass

from engine.footprint import Footprint
from engine.studies import (
    FIRST_LAYER,
    FIRST_SCHEME,
    Inventory,
    LayerRow,
    LayerStudy,
    StudyFailed,
    StudyNews,
)


@dataclass(frozen=True, slots=True)
class WorkshopView:
    """One frozen picture of the workshop.

    `layers` holds (name, (out, in)); `rows` one for each of them in the chosen scheme, None where
    it has not been measured yet. `study` is the newest there is: perhaps that of an earlier
    choice, while the one of this `layer` and `scheme` is coming. `failure` says why it will not.
    """

    layer: str = FIRST_LAYER
    scheme: str = FIRST_SCHEME
    layers: tuple[tuple[str, tuple[int, int]], ...] = ()
    schemes: tuple[str, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    rows: tuple[LayerRow | None, ...] = ()
    study: LayerStudy | None = None
    failure: str = ""

    @property
    def current(self) -> LayerStudy | None:
        """The study of what is chosen, once it is there."""
        study = self.study
        chosen = (self.layer, self.scheme)
        return study if study and (study.layer, study.scheme) == chosen else None


class WorkshopState:
    """Folds in what is found; says which question a choice makes."""

    def __init__(self) -> None:
        self._stock = Inventory("", (), (), ())
        self._layer, self._scheme = FIRST_LAYER, FIRST_SCHEME
        self._rows: dict[tuple[str, str], LayerRow] = {}
        self._study: LayerStudy | None = None
        self._failure = ""

    @property
    def question(self) -> tuple[str, str]:
        """The chosen layer and scheme, by their names."""
        return self._layer, self._scheme

    def choose_layer(self, name: str) -> None:
        self._layer, self._failure = name, ""

    def step_layer(self, step: int) -> None:
        """So many layers on, as far as there are any."""
        names = [name for name, _ in self._stock.layers]
        if self._layer in names:
            place = names.index(self._layer) + step
            self.choose_layer(names[min(max(place, 0), len(names) - 1)])

    def step_scheme(self, step: int) -> None:
        """So many schemes on, round the end."""
        schemes = self._stock.schemes
        if self._scheme in schemes:
            self._scheme = schemes[(schemes.index(self._scheme) + step) % len(schemes)]
            self._failure = ""

    def apply(self, news: StudyNews) -> None:
        """Answers to questions that are no longer asked change nothing but the table."""
        match news:
            case Inventory():
                self._stock = news
            case LayerRow(layer, scheme):
                self._rows[layer, scheme] = news
            case LayerStudy(layer, scheme) if (layer, scheme) == self.question:
                self._study, self._failure = news, ""
            case StudyFailed(layer, scheme, reason) if (layer, scheme) == self.question:
                self._study, self._failure = None, reason

    def view(self) -> WorkshopView:
        stock = self._stock
        return WorkshopView(
            layer=self._layer,
            scheme=self._scheme,
            layers=stock.layers,
            schemes=stock.schemes,
            footprints=stock.footprints,
            rows=tuple(self._rows.get((name, self._scheme)) for name, _ in stock.layers),
            study=self._study,
            failure=self._failure,
        )
