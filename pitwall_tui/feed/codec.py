"""Events to and from JSON values, by the fields of their dataclasses.

A dataclass is the list of its fields' values in order, so that fields can be added at its end
with a default and older recordings still be read. Bytes are base64.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pitwall_tui.race.events import FeedEvent

_EVENTS: dict[str, type] = {event.__name__: event for event in get_args(FeedEvent)}


def encode_event(event: FeedEvent) -> list[Any]:
    """The event's name, then its fields."""
    return [type(event).__name__, *_encode(event)]


def decode_event(data: Any) -> FeedEvent:
    """The event that encode_event wrote. Raises ValueError for anything else."""
    if not (isinstance(data, list) and data and data[0] in list(_EVENTS)):
        raise ValueError("not an event")
    event: FeedEvent = _decoder(_EVENTS[data[0]])(data[1:])
    return event


def _encode(value: Any) -> Any:
    match value:
        case bytes():
            return b64encode(value).decode()
        case tuple():
            return [_encode(item) for item in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            return [_encode(getattr(value, name)) for name in value.__dataclass_fields__]
        case _:
            return value


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
    return lambda value: _expect(kind, value)


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
