"""Names of keys, as Textual has them: `question_mark` is `?`, `ctrl+s`, `f5`, `pagedown`."""

import unicodedata
from functools import lru_cache

from pitwall_tui.race.errors import RaceError
from pitwall_tui.words import nearest

NAMED = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"),
    *("backspace", "tab", "enter", "escape", "space", *(f"f{number}" for number in range(1, 25))),
)
MODIFIERS = ("ctrl", "alt", "shift", "super")
# Characters whose names are not those of Unicode.
_SIGNS = {"/": "slash", "\\": "backslash", "@": "at", "-": "minus", "+": "plus", "_": "underscore"}


def _name_of(char: str) -> str:
    """The name of a printable character's key."""
    if char.isalnum():
        return char
    name = unicodedata.name(char, char).lower().replace("-", "_").replace(" ", "_")
    return _SIGNS.get(char, name)


_PRINTED = {_name_of(chr(code)): chr(code) for code in range(0x21, 0x7F)}


def key_name(text: str) -> str:
    """A key, written as its character or its name, as the name; raises RaceError."""
    if len(text) == 1 and text.isprintable() and text != " ":
        return _name_of(text)
    *modifiers, key = text.lower().split("+")
    for word, known in (*((word, MODIFIERS) for word in modifiers), (key, (*NAMED, *_PRINTED))):
        if word not in known:
            raise RaceError(f'no key is called "{text}"; {nearest(word, known)}')
    return "+".join((*modifiers, key))


@lru_cache(256)
def shown(key: str) -> str:
    """A key's name as the wall writes it: its character where it has one."""
    modifiers, plus, last = key.rpartition("+")
    if last in NAMED:
        last = last.upper() if last[1:].isdigit() else last
    return modifiers + plus + _PRINTED.get(last, last)
