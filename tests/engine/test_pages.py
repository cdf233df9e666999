"""The page pool against a model of it that is too simple to be wrong."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.config import Request
from engine.pages import InvariantError, PagePool, PrefixKey, pages_for
from engine.sequence import Sequence

TOTAL = 6


def key(name: int) -> PrefixKey:
    return PrefixKey(b"", (name,))


class PoolAgainstModel(RuleBasedStateMachine):
    """`tables` hold pages; `free` is first in, first out; `cached` is in order of release."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(TOTAL)
        self.tables: list[list[int]] = []
        self.free = deque(range(TOTAL))
        self.cached: list[int] = []
        self.keys: dict[int, PrefixKey] = {}
        self.evicted = 0

    @rule(count=st.integers(0, 4))
    def acquire(self, count: int) -> None:
        if count > len(self.free) + len(self.cached):
            with pytest.raises(InvariantError, match=f"{count} pages asked for"):
                self.pool.acquire(count)
            return
        expected = []
        for _ in range(count):
            self.evicted += not self.free
            page = self.free.popleft() if self.free else self.cached.pop(0)
            self.keys.pop(page, None)
            expected.append(page)
        assert self.pool.acquire(count) == expected
        self.tables.append(expected)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        table = self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1)))
        self.pool.release(table)
        for page in reversed(table):
            if not self._held(page):
                (self.cached if page in self.keys else self.free).append(page)

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), name=st.integers(0, 4))
    def publish(self, data: st.DataObject, name: int) -> None:
        candidates = sorted({p for table in self.tables for p in table} - self.keys.keys())
        if not candidates:
            return
        page = data.draw(st.sampled_from(candidates))
        self.pool.publish(page, key(name))
        if key(name) not in self.keys.values():
            self.keys[page] = key(name)

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        pages = data.draw(st.lists(st.sampled_from(sorted(self.keys)), unique=True, min_size=1))
        assert [self.pool.find(self.keys[page]) for page in pages] == pages
        self.pool.share(pages)
        self.tables.append(pages)
        self.cached = [page for page in self.cached if page not in pages]

    @precondition(lambda self: self.free)
    @rule(data=st.data())
    def release_twice(self, data: st.DataObject) -> None:
        with pytest.raises(InvariantError, match="released twice"):
            self.pool.release([data.draw(st.sampled_from(sorted(self.free)))])

    @rule()
    def forget_published(self) -> None:
        self.pool.forget_published()
        self.free += self.cached
        self.cached = []
        self.keys = {}

    @rule(total=st.integers(0, TOTAL + 3), forget=st.booleans())
    def resize(self, total: int, forget: bool) -> None:
        """Pages in use close ranks; all others are free, in the order of their numbers."""
        if forget:
            self.forget_published()
        held = sorted({page for table in self.tables for page in table})
        if self.keys or len(held) > total:
            with pytest.raises(InvariantError, match=f"cannot become {total}"):
                self.pool.resize(total)
            return
        assert self.pool.resize(total) == held
        self.tables = [[held.index(page) for page in table] for table in self.tables]
        self.free = deque(range(len(held), total))

    @invariant()
    def agrees(self) -> None:
        self.pool.check(self.tables)
        held = {page for table in self.tables for page in table}
        assert (self.pool.free, self.pool.cached) == (len(self.free), len(self.cached))
        assert self.pool.available == len(self.free) + len(self.cached)
        assert self.pool.used == len(held)
        assert (self.pool.published, self.pool.evicted) == (len(self.keys), self.evicted)
        total = self.pool.total
        assert self.pool.refs == [sum(p in t for t in self.tables) for p in range(total)]
        for page in range(total):
            assert self.pool.key_of(page) == self.keys.get(page)
            assert self.pool.is_cached(page) == (page in self.cached)
        found = {key(name): self.pool.find(key(name)) for name in range(5)}
        assert found == {key(name): self._page_of(key(name)) for name in range(5)}

    def _held(self, page: int) -> bool:
        return any(page in table for table in self.tables)

    def _page_of(self, wanted: PrefixKey) -> int | None:
        return next((page for page, found in self.keys.items() if found == wanted), None)


TestPool = PoolAgainstModel.TestCase


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_pages_for_is_the_least_that_holds_them(tokens: int, size: int) -> None:
    pages = pages_for(tokens, size)
    assert pages * size >= tokens
    assert (pages - 1) * size < tokens or pages == 0


def test_a_prefix_outlives_what_follows_it() -> None:
    pool = PagePool(3)
    pages = pool.acquire(3)
    for name, page in enumerate(pages):
        pool.publish(page, key(name))
    pool.release(pages)
    pool.acquire(1)
    assert [pool.find(key(name)) for name in range(3)] == [0, 1, None]
    pool.acquire(1)
    assert [pool.find(key(name)) for name in range(3)] == [0, None, None]


def test_a_shared_page_is_not_handed_out() -> None:
    pool = PagePool(2)
    (page,) = pool.acquire(1)
    pool.publish(page, key(0))
    pool.share([page])
    pool.release([page])
    assert (pool.used, pool.available) == (1, 1)
    assert pool.acquire(1) == [1]


def test_resizing_keeps_who_shares_what() -> None:
    pool = PagePool(6)
    first, _, gone = pool.acquire(2), pool.acquire(3), pool.acquire(1)
    pool.publish(first[0], key(0))
    pool.share(first[:1])
    pool.release(first)
    pool.release(gone)
    with pytest.raises(InvariantError, match="4 pages in use cannot become 9"):
        pool.resize(9)  # one of them is published
    pool.forget_published()
    with pytest.raises(InvariantError, match="4 pages in use cannot become 3"):
        pool.resize(3)
    assert pool.resize(5) == [0, 2, 3, 4]
    pool.check([[0], [1, 2, 3]])
    assert (pool.total, pool.used, pool.free) == (5, 4, 1)
    assert pool.acquire(1) == [4]


def test_a_second_copy_stays_private() -> None:
    pool = PagePool(2)
    first, second = pool.acquire(2)
    pool.publish(first, key(0))
    pool.publish(second, key(0))
    assert pool.key_of(second) is None
    pool.release([second])
    assert (pool.find(key(0)), pool.free, pool.cached) == (first, 1, 0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=24), st.integers(1, 4))
def test_keys_name_all_tokens_before_them(tokens: list[int], size: int) -> None:
    """Two requests share exactly the keys of the pages in which all before is equal."""
    other = [*tokens]
    other[len(other) // 2] += 1
    a, b = (Sequence(Request("r", tuple(found)), 0.0) for found in (tokens, other))
    count = len(tokens) // size
    for number, (one, two) in enumerate(zip(a.keys(size, count), b.keys(size, count), strict=True)):
        end = (number + 1) * size
        assert one.tokens == tuple(tokens[end - size : end])
        assert (one == two) == (tokens[:end] == other[:end])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda pool: pool.refs.__setitem__(0, 2), "references do not match"),
        (lambda pool: pool._free.append(5), "free twice"),
        (lambda pool: pool._free.append(0), "two of free, cached and used"),
        (lambda pool: pool._free.pop(), "neither free, cached nor used"),
        (lambda pool: pool._key_of.pop(1), "mirror"),
        (lambda pool: pool._page_of.pop(key(1)), "mirror"),
        (lambda pool: pool._cached.__setitem__(pool._free.pop(), None), "cached page has no key"),
    ],
)
def test_check_finds_damage(damage: object, message: str) -> None:
    pool = PagePool(TOTAL)
    table = pool.acquire(2)
    pool.publish(1, key(1))
    pool.check([table])
    damage(pool)
    with pytest.raises(InvariantError, match=message):
        pool.check([table])


def test_check_finds_a_page_that_stands_twice() -> None:
    pool = PagePool(TOTAL)
    pool.acquire(1)
    with pytest.raises(InvariantError, match="stands twice"):
        pool.check([[0, 0]])
