"""Words for what was not found."""

from collections.abc import Iterable
from difflib import SequenceMatcher


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known name that is most like `word`."""
    matcher = SequenceMatcher(b=word)

    def likeness(name: str) -> float:
        matcher.set_seq1(name)
        return matcher.ratio()

    return f"nearest is {max(known, key=likeness)}"
