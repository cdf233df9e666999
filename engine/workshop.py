"""Studies of a model's weights in a thread beside the race: only the newest question counts."""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock, Thread

from torch import Tensor

from engine.calibrated import has_int4, load_int4
from engine.config import EngineError
from engine.footprint import loaded, projections
from engine.quantize import Quantized, errors, quantize
from engine.scheme import SCHEMES, QuantizationError
from engine.spec import ModelSpec, read_spec
from engine.studies import CALIBRATED, Inventory, LayerRow, StudyFailed, StudyNews
from engine.study import study
from engine.tensors import read_linears
from engine.weights import shapes

Question = tuple[str, str]  # layer, scheme
_BY_NAME = {scheme.name: scheme for scheme in SCHEMES}


class Workshop:
    """Reads a model's folder anew, a layer at a time, and answers with what is there.

    A question is answered with the Inventory, the layer's LayerStudy or a StudyFailed, and a
    LayerRow for each layer in that scheme, in the order that they run in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._asked: Question | None = None
        self._thread: Thread | None = None
        self._told: deque[StudyNews] = deque()
        self._rows: dict[Question, LayerRow] = {}

    @property
    def busy(self) -> bool:
        """Whether something is still to come."""
        return self._thread is not None or bool(self._told)

    def ask(self, layer: str, scheme: str) -> None:
        """What was asked for before and has not been told is dropped."""
        with self._lock:
            self._asked = (layer, scheme)
            self._told.clear()
            if self._thread is None:
                self._thread = Thread(target=self._work, daemon=True)
                self._thread.start()

    def news(self) -> tuple[StudyNews, ...]:
        """What has been found since the last call."""
        with self._lock:
            found = tuple(self._told)
            self._told.clear()
        return found

    def _work(self) -> None:
        while True:
            with self._lock:
                question, self._asked = self._asked, None
                if question is None:
                    self._thread = None
                    return
            for news in self._answers(*question):
                if not self._tell(news):
                    break

    def _tell(self, news: StudyNews) -> bool:
        """False where a newer question has come: this answer is dropped."""
        with self._lock:
            wanted = self._asked is None
            if wanted:
                self._told.append(news)
            return wanted

    def _answers(self, layer: str, scheme: str) -> Iterator[StudyNews]:
        try:
            yield from self._study(layer, scheme)
        except Exception as error:  # whatever it is, the race goes on and the screen says why
            lines = str(error).splitlines() or [type(error).__name__]
            yield StudyFailed(layer, scheme, lines[0])

    def _study(self, layer: str, scheme: str) -> Iterator[StudyNews]:
        spec = read_spec(self._folder)
        stock = _inventory(self._folder, spec)
        yield stock
        if scheme not in stock.schemes:
            raise EngineError(f"scheme {scheme!r}: there are {', '.join(stock.schemes)}")
        names = list(spec.linears)
        if layer not in names:
            raise EngineError(f"layer {layer!r}: there are {names[0]} to {names[-1]}")
        fitted = load_int4(self._folder) if scheme == CALIBRATED else None
        weight = read_linears(self._folder, spec, _block(names, layer))[layer].weight
        try:
            yield study(layer, scheme, weight, _codes(layer, scheme, weight, fitted))
        except QuantizationError as error:
            yield StudyFailed(layer, scheme, str(error))
        del weight
        for number in range(spec.layers + 1):
            yield from self._table(spec, number, scheme, fitted)

    def _table(
        self, spec: ModelSpec, number: int, scheme: str, fitted: Mapping[str, Quantized] | None
    ) -> Iterator[LayerRow]:
        """The rows of one layer's matrices, or of the head; each is measured once."""
        names = list(spec.linears)
        names = [name for name in names if _block(names, name) == number]
        matrices = {}
        if any((name, scheme) not in self._rows for name in names):
            matrices = read_linears(self._folder, spec, number)
        for name in names:
            if (name, scheme) not in self._rows:
                self._rows[name, scheme] = _row(name, scheme, matrices[name].weight, fitted)
            yield self._rows[name, scheme]


def _inventory(folder: Path, spec: ModelSpec) -> Inventory:
    fitted = (CALIBRATED,) if has_int4(folder) else ()
    return Inventory(
        model=folder.resolve().name,
        layers=tuple(spec.linears.items()),
        schemes=(*_BY_NAME, *fitted),
        footprints=(loaded(folder.resolve().name, spec, shapes(folder)), *projections()),
    )


def _block(names: list[str], name: str) -> int:
    """The layer that a matrix belongs to; the head comes after the last."""
    return names.index(name) // 4


def _codes(
    name: str, scheme: str, weight: Tensor, fitted: Mapping[str, Quantized] | None
) -> Quantized:
    try:
        return quantize(weight, _BY_NAME[scheme]) if fitted is None else fitted[name]
    except QuantizationError as error:
        raise QuantizationError(f"{name}: {error}") from None


def _row(
    name: str, scheme: str, weight: Tensor, fitted: Mapping[str, Quantized] | None
) -> LayerRow:
    try:
        codes = _codes(name, scheme, weight, fitted)
    except QuantizationError as error:
        return LayerRow(name, scheme, None, str(error))
    return LayerRow(name, scheme, errors(weight, codes))
