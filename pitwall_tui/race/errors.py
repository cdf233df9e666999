"""What can be wrong with a race's inputs or its text."""


class RaceError(ValueError):
    """A circuit, lap count or other race setting that does not exist."""


class GrammarError(ValueError):
    """Text that is not in the lap-line language."""
