"""Pages of the KV cache: who holds which, and which hold a prefix that others can use.

A page is free (holds nothing), cached (a published prefix that nobody holds: handed out last,
oldest first) or used (held by one or more requests). Plain Python: no tensors here.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple


class InvariantError(AssertionError):
    """The engine's own bookkeeping contradicts itself."""


class PrefixKey(NamedTuple):
    """Names a full page by its tokens and by the digest of all tokens before it.

    The tokens are part of the key, so that a hit has compared them.
    """

    parent: bytes
    tokens: tuple[int, ...]

    def digest(self) -> bytes:
        data = b"".join(token.to_bytes(4, "little") for token in self.tokens)
        return blake2b(self.parent + data, digest_size=16).digest()


def pages_for(tokens: int, page_size: int) -> int:
    return -(-tokens // page_size)


class PagePool:
    """Reference-counted pages 0 .. total - 1."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.refs = [0] * total
        self.evicted = 0  # cached pages handed out for other tokens, ever
        # Pages that hold the draft model's keys and values of all their tokens too.
        self.drafted = bytearray(total)
        self._free = deque(range(total))
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._key_of: dict[int, PrefixKey] = {}
        self._page_of: dict[PrefixKey, int] = {}

    @property
    def available(self) -> int:
        """Pages that `acquire` can hand out."""
        return len(self._free) + len(self._cached)

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def cached(self) -> int:
        return len(self._cached)

    @property
    def published(self) -> int:
        """Pages that others can find: the cached ones, and some of the used."""
        return len(self._key_of)

    @property
    def used(self) -> int:
        return self.total - self.available

    def acquire(self, count: int) -> list[int]:
        """`count` pages to write to, free ones first, then the longest unused cached ones."""
        if count > self.available:
            raise InvariantError(f"{count} pages asked for, {self.available} available")
        pages = []
        for _ in range(count):
            if self._free:
                page = self._free.popleft()
            else:
                page, _ = self._cached.popitem(last=False)
                self.evicted += 1
                del self._page_of[self._key_of.pop(page)]
            self.refs[page] = 1
            self.drafted[page] = False
            pages.append(page)
        return pages

    def share(self, pages: Iterable[int]) -> None:
        """One more holder for each of these used or cached pages."""
        for page in pages:
            if self.refs[page] == 0:
                del self._cached[page]
            self.refs[page] += 1

    def release(self, pages: Sequence[int]) -> None:
        """One holder less; the last page first, so that a prefix outlives what follows it."""
        for page in reversed(pages):
            if self.refs[page] <= 0:
                raise InvariantError(f"page {page} released twice")
            self.refs[page] -= 1
            if self.refs[page] == 0:
                if page in self._key_of:
                    self._cached[page] = None
                else:
                    self._free.append(page)

    def publish(self, page: int, key: PrefixKey) -> None:
        """Let others find `page` by `key`. Tables never change: a second copy stays private."""
        if key not in self._page_of:
            self._page_of[key] = page
            self._key_of[page] = key

    def forget_published(self) -> None:
        """Empty the prefix index: cached pages become free, used ones private."""
        self._free.extend(self._cached)
        self._cached.clear()
        self._key_of.clear()
        self._page_of.clear()

    def resize(self, total: int) -> list[int]:
        """Have `total` pages from now on. The pages in use become 0, 1, ... in the order of their
        numbers, which are returned; all others are free. Nothing may be published."""
        kept = [page for page in range(self.total) if self.refs[page]]
        if self._key_of or len(kept) > total:
            raise InvariantError(f"{len(kept)} pages in use cannot become {total}")
        self.refs = [self.refs[page] for page in kept] + [0] * (total - len(kept))
        self.drafted = bytearray(total)  # of pages that others may find, and none may be found
        self._free = deque(range(len(kept), total))
        self.total = total
        return kept

    def find(self, key: PrefixKey) -> int | None:
        return self._page_of.get(key)

    def key_of(self, page: int) -> PrefixKey | None:
        return self._key_of.get(page)

    def is_cached(self, page: int) -> bool:
        return page in self._cached

    def check(self, tables: Iterable[Sequence[int]]) -> None:
        """Raises InvariantError unless the tables explain every reference and page."""
        counted = [0] * self.total
        for table in tables:
            if len(set(table)) != len(table):
                raise InvariantError(f"a page stands twice in table {list(table)}")
            for page in table:
                counted[page] += 1
        if counted != self.refs:
            wrong = [p for p in range(self.total) if counted[p] != self.refs[p]]
            raise InvariantError(f"pages {wrong[:8]}: references do not match the tables")
        free, cached = set(self._free), set(self._cached)
        held = {page for page, count in enumerate(counted) if count}
        if len(free) != len(self._free):
            raise InvariantError("a page is free twice")
        if free & cached or free & held or cached & held:
            raise InvariantError("a page is in two of free, cached and used")
        if len(free) + len(cached) + len(held) != self.total:
            raise InvariantError("a page is neither free, cached nor used")
        if {key: page for page, key in self._key_of.items()} != self._page_of:
            raise InvariantError("keys and pages of the prefix index do not mirror each other")
        if not cached <= self._key_of.keys() or free & self._key_of.keys():
            raise InvariantError("a cached page has no key, or a free one has")
