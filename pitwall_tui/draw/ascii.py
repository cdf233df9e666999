"""Signs for terminals that have ASCII alone: every cell stays a cell."""

import unicodedata
from functools import lru_cache

from pitwall_tui.draw.cells import DOTS, char_width, clean

# By look: bars by how full they are, lines by where they run.
_SIGNS = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.-=+*%#", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉", "|||||##", strict=True)),
    **dict(zip("▕▐▔▀■", '||-"#', strict=True)),
    **dict(zip("░▒▓▞▚", ":%#%%", strict=True)),
    **dict(zip("▖▘▝▗", ".`',", strict=True)),
    **dict(zip("─━┈┅╍═│┃║┤├┼╋┬┴╵", "-=.--=|||+++++-'", strict=True)),
    **dict(zip("┌┐└┘╭╮╰╯╔╗╚╝", "++++++++++++", strict=True)),
    **dict(zip("●○◌◉×·•◆", "*ocOx.*+", strict=True)),
    **dict(zip("▲▼△▽▸◂▶◀›‹", "^v^v><><><", strict=True)),
    **dict(zip("→←↑↓↵⏎", "><^v//", strict=True)),
    **dict(zip("…–—−∞≈≤≥±²³µ", ".---*~<>~23u", strict=True)),
    **dict(zip("‘’“”«»", "''\"\"<>", strict=True)),
    **dict(zip("★☆✓✗⚑", "**+x!", strict=True)),
    **dict(zip("‖↻⇧▪▾╱◐", "|@^.v/+", strict=True)),
    "🔎": "> ",
}
_UPPER = sum(DOTS[0] + DOTS[1])


def _braille(mask: int) -> str:
    """Dots of a cell, by how many there are and in which half."""
    if mask.bit_count() >= 5:
        return "#"
    if not mask & ~_UPPER:
        return "'" if mask else " "
    return ":" if mask & _UPPER else "."


@lru_cache(4096)
def _sign(char: str) -> str:
    """One clean character in ASCII, in as many cells."""
    if char.isascii():
        return char
    if 0x2800 <= ord(char) <= 0x28FF:
        return _braille(ord(char) - 0x2800)
    cells = char_width(char)
    plain = _SIGNS.get(char) or unicodedata.normalize("NFD", char)[0]
    return plain if plain.isascii() and len(plain) == cells else "?" * cells


def to_ascii(text: str) -> str:
    """Text in as many cells of ASCII; "?" for what has no likeness there."""
    return text if text.isascii() else "".join(map(_sign, clean(text)))
