"""The race domain: circuits, entries, the lap-line language and its simulator. Pure Python."""

from pitwall_tui.race.errors import GrammarError, RaceError

__all__ = ["GrammarError", "RaceError"]
