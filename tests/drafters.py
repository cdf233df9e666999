"""Draft models as an engine tells of them."""

from engine.stats import DraftInfo


def drafter(name: str = "junior") -> DraftInfo:
    """One that stands ready, of the shipped junior's size."""
    return DraftInfo(name, 1_836_288, 2, "int8", 1_900_544)
