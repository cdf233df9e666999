"""What can be wrong with a race's inputs or its text."""


class EngineGoneError(Exception):
    """The engine is lost for good, through nobody's bad input: one line that says how."""


class RaceError(ValueError):
    """A circuit, lap count or other race setting that does not exist."""


class GrammarError(ValueError):
    """Text that is not in the lap-line language."""
