"""Texts that name keys: {pause} is the key that pauses, whatever it is bound to."""

import re

from pitwall_tui.commands import PALETTE_KEY, Keys

_NAME = re.compile(r"\{(\w+)\}")


def spoken(text: str, keys: Keys) -> str:
    """`text` with the keys of commands and knobs by their ids; what is none stays as it is."""
    shown = {command.id: command.shown or PALETTE_KEY for command in keys.commands}
    shown |= {name: knob.sign or PALETTE_KEY for name, knob in keys.knobs.items()}
    return _NAME.sub(lambda found: shown.get(found[1], found[0]), text)
