"""The prefix cache: requests that begin alike share the pages of that beginning."""

from typing import Protocol

from engine.pages import PagePool, PrefixKey
from engine.sequence import Sequence


class PrefixIndex(Protocol):
    """Finds and publishes full pages of committed tokens."""

    def match(self, sequence: Sequence) -> list[int]:
        """Pages of its longest published beginning, short of its last token. Takes nothing."""
        ...

    def publish(self, sequence: Sequence) -> None:
        """Let others find its pages that are full and computed, by the present weights alone."""
        ...

    def unwritten(self, sequence: Sequence) -> list[PrefixKey]:
        """Keys of the full pages that it has yet to compute and will publish."""
        ...


class PrefixCache:
    """Published pages by the tokens that they and all pages before them hold."""

    def __init__(self, pool: PagePool, page_size: int) -> None:
        self._pool = pool
        self._page_size = page_size

    def match(self, sequence: Sequence) -> list[int]:
        # The last token always runs: its logits are wanted.
        most = (len(sequence.tokens) - 1) // self._page_size
        pages: list[int] = []
        for key in sequence.keys(self._page_size, most):
            page = self._pool.find(key)
            if page is None:
                break
            pages.append(page)
        return pages

    def publish(self, sequence: Sequence) -> None:
        full = sequence.computed // self._page_size
        if full > sequence.published and not sequence.tainted:
            keys = sequence.keys(self._page_size, full)
            for index in range(sequence.published, full):
                self._pool.publish(sequence.pages[index], keys[index])
            sequence.published = full

    def unwritten(self, sequence: Sequence) -> list[PrefixKey]:
        if sequence.tainted:
            return []  # nobody will find them
        full = len(sequence.tokens) // self._page_size
        return sequence.keys(self._page_size, full)[sequence.computed // self._page_size :]


class NoPrefixCache:
    """Nothing is found and nothing published."""

    def match(self, sequence: Sequence) -> list[int]:
        return []

    def publish(self, sequence: Sequence) -> None:
        return

    def unwritten(self, sequence: Sequence) -> list[PrefixKey]:
        return []
