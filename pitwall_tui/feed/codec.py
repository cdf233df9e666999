"""Events to and from JSON values, by the fields of their dataclasses.

A dataclass is the list of its fields' values in order, so that fields can be added at its end
with a default and older recordings still be read. Bytes are base64. Of one page map to the next
little changes, so in a recording each is written as what differs from the one before.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.stats import EngineSnapshot
from pitwall_tui.race.events import FeedEvent, Progress

_EVENTS: dict[str, type] = {event.__name__: event for event in get_args(FeedEvent)}
_SNAPSHOT = 1  # of a Progress as it is written, behind its name
_PAGE_MAP = [field.name for field in fields(EngineSnapshot)].index("page_map")
_PLAIN = frozenset((str, int, float, bool, NoneType))


def encode_event(event: FeedEvent) -> list[Any]:
    """The event's name, then its fields."""
    return [type(event).__name__, *_encode(event)]


def decode_event(data: Any) -> FeedEvent:
    """The event that encode_event wrote. Raises ValueError for anything else."""
    if not (isinstance(data, list) and data and data[0] in list(_EVENTS)):
        raise ValueError("not an event")
    event: FeedEvent = _decoder(_EVENTS[data[0]])(data[1:])
    return event


class Encoder:
    """Encodes the events of a recording in their order."""

    def __init__(self) -> None:
        self._before: tuple[str, str, list[str]] = "", "", []

    def encode(self, event: FeedEvent) -> list[Any]:
        """As encode_event, but for what its page map shares with the one before."""
        data = encode_event(event)
        if isinstance(event, Progress):
            kinds, owners, tables = data[_SNAPSHOT][_PAGE_MAP]
            before = self._before
            data[_SNAPSHOT][_PAGE_MAP] = [
                _change(before[0], kinds),
                _change(before[1], owners),
                [_change(*pair) for pair in _beside(before[2], tables)],
            ]
            self._before = kinds, owners, tables
        return data


class Decoder:
    """Decodes the events of a recording in the order in which an Encoder wrote them."""

    def __init__(self, before: tuple[str, str, Sequence[str]] = ("", "", ())) -> None:
        self._before = before

    def decode(self, data: Any) -> FeedEvent:
        """The event. Raises ValueError for what is none."""
        try:
            if data[0] == Progress.__name__:
                kinds, owners, *rest = data[_SNAPSHOT][_PAGE_MAP]
                before = self._before
                whole = [_changed(before[0], kinds), _changed(before[1], owners)]
                tables = [_changed(*pair) for told in rest for pair in _beside(before[2], told)]
                # Older recordings tell of no tables.
                data[_SNAPSHOT][_PAGE_MAP] = [*whole, tables] if rest else whole
                self._before = whole[0], whole[1], tables
        except (TypeError, LookupError):
            raise ValueError("not an event") from None
        return decode_event(data)

    def fork(self) -> "Decoder":
        """One that goes on from here by itself."""
        return Decoder(self._before)


def _beside(before: Sequence[str], after: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Each table with what stood at its place before, "" where there was none."""
    known = len(before)
    return ((before[i] if i < known else "", table) for i, table in enumerate(after))


def _change(before: str, after: str) -> str | list[Any]:
    """What makes `after` of `before`: the whole where lengths differ, else [place, characters]."""
    if len(before) != len(after):
        return after
    start = _alike(before, after)
    same = _alike(before[:start:-1], after[:start:-1])
    return [start, after[start : len(after) - same]]


def _alike(one: str, other: str) -> int:
    """Length of their common beginning; both are equally long."""
    low, high = 0, len(one)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _changed(before: str, change: Any) -> str:
    if isinstance(change, str):
        return change
    start, text = int(change[0]), str(change[1])
    if not 0 <= start <= start + len(text) <= len(before):
        raise ValueError("a page map that does not follow the one before")
    return before[:start] + text + before[start + len(text) :]


def _encode(value: Any) -> Any:
    kind: type = type(value)
    if kind in _PLAIN:
        return value
    if kind is bytes:
        return b64encode(value).decode()
    parts = value if kind is tuple else _parts(kind)(value)
    # Most are numbers alone: no call for each of them.
    return list(parts) if _PLAIN.issuperset(map(type, parts)) else [_encode(part) for part in parts]


@cache
def _parts(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """What reads the fields of a dataclass."""
    names = [field.name for field in fields(kind)]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _expect(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{str(value)[:40]!r} where {kind} was due")
    return value


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    """Reads a value of the type `kind` back; what it returns raises ValueError if it is not one."""
    if is_dataclass(kind):
        return _dataclass_decoder(kind)
    if kind is bytes:
        return lambda value: b64decode(_expect(str, value), validate=True)
    if kind is float:
        return lambda value: float(_expect((int, float), value))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin in (Union, UnionType):
        return _union_decoder(arguments)
    if origin is Literal:
        return lambda value: _one_of(arguments, value)
    return _plain_decoder(kind)


def _plain_decoder(kind: type) -> Callable[[Any], Any]:
    def decode(value: Any) -> Any:
        return value if isinstance(value, kind) else _expect(kind, value)

    return decode


def _dataclass_decoder(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = [_decoder(hints[field.name]) for field in fields(kind)]
    optional = sum(field.default is not MISSING for field in fields(kind))

    def decode(value: Any) -> Any:
        if not len(readers) - optional <= len(_expect(list, value)) <= len(readers):
            raise ValueError(f"{kind.__name__} does not have {len(value)} fields")
        return kind(*[read(item) for read, item in zip(readers, value, strict=False)])

    return decode


def _tuple_decoder(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    if arguments[-1] is Ellipsis:
        read = _decoder(arguments[0])
        return lambda value: tuple([read(item) for item in _expect(list, value)])
    readers = [_decoder(argument) for argument in arguments]
    return lambda value: tuple(
        [read(item) for read, item in zip(readers, _expect(list, value), strict=True)]
    )


def _union_decoder(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Of None and one type, or of plain values, which JSON tells apart by itself."""
    others = tuple(argument for argument in arguments if argument is not NoneType)
    if len(others) > 1:
        return lambda value: _expect(others, value)
    read = _decoder(others[0])
    return lambda value: None if value is None else read(value)


def _one_of(choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices:
        raise ValueError(f"{str(value)[:40]!r} is none of {choices}")
    return value
