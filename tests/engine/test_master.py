"""A car's tokens are the only truth: no schedule of requests and knobs may change one.

The same machinery is shown to bite: each planted bug must make it fail.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import core, kvcache, prefix, sampling, verify
from engine.config import EngineConfig, Knobs
from engine.core import Engine
from engine.formats import Formats
from engine.kvcache import KVCache
from engine.pages import PagePool, PrefixKey
from engine.planner import Planner
from engine.sequence import Sequence
from tests.engine.drive import (
    FAMILIES,
    FORMATS,
    MOST_TOKENS,
    SAMPLINGS,
    VALUES,
    Abort,
    Alone,
    Evidence,
    Life,
    Operation,
    Retry,
    Steps,
    Submit,
    Turn,
    fill_unused,
    lengths,
    random_life,
)
from tests.engine.toy import WIDE, Naive, Toy, save_junior

pytestmark = pytest.mark.usefixtures("one_thread")
TOY = Toy()
SCHEDULES = range(48)
SWITCHED = range(12)


@cache
def oracle() -> Naive:
    return Naive(TOY)


def life(folder: Path, pages: int, page_size: int, knobs: Knobs | None = None) -> Life:
    draft = TOY, save_junior(TOY, folder)
    return Life(TOY.load(folder, pages, page_size, knobs, draft), oracle())


@st.composite
def lives(
    draw: st.DrawFn, values: Mapping[str, tuple[str, ...]] = VALUES
) -> tuple[int, int, list[Operation]]:
    """(pages, page size, operations); one request always fits, two long ones never do."""
    page_size = draw(st.sampled_from((3, 4, 16)))
    least = -(-MOST_TOKENS // page_size)
    submit = st.builds(
        Submit,
        st.integers(0, len(FAMILIES) - 1),
        st.sampled_from([n for n in lengths(page_size) if n <= 17]),
        st.integers(0, 3),
        st.integers(0, len(SAMPLINGS) - 1),
    )
    turn = st.sampled_from([Turn(name, v) for name, all in values.items() for v in all])
    steps = st.builds(Steps, st.integers(1, 6))
    ends = st.one_of(st.builds(Abort, st.integers(0, 99)), st.builds(Retry, st.integers(0, 99)))
    first = draw(st.lists(submit, min_size=2, max_size=8))
    then = draw(st.lists(st.one_of(submit, steps, steps, turn, ends), min_size=10, max_size=40))
    return draw(st.integers(least, least + 4)), page_size, [*first, *then]


@settings(max_examples=100)
@given(lives())
def test_no_schedule_changes_a_token(
    toy_folder: Path, drawn: tuple[int, int, list[Operation]]
) -> None:
    pages, page_size, operations = drawn
    life(toy_folder, pages, page_size).run(operations)


def live_through_all(folder: Path) -> Evidence:
    total = Evidence()
    for seed in SCHEDULES:
        page_size = (4, 3)[seed % 2]
        pages = -(-MOST_TOKENS // page_size) + seed % 5
        total.add(life(folder, pages, page_size).run(random_life(seed, page_size)))
    return total


def test_everything_that_could_go_wrong_happens(toy_folder: Path) -> None:
    seen = live_through_all(toy_folder)
    assert seen.preemptions > 20
    assert seen.prefix_hits > 100
    assert seen.parked > 20
    assert seen.without_cache > 20
    assert seen.reserved > 20
    assert seen.held > 20
    assert seen.turned == set(VALUES)
    assert 200 < seen.accepted < 0.9 * seen.drafts
    assert seen.cut_short > 2
    assert seen.beside_prefill > 20
    assert seen.caught_up > 200
    stages = {"waiting", "preempted", "prefill", "decode", "parked", "finished"}
    assert {stage for stage, count in seen.aborted.items() if count} == stages


# Weights, kv_dtype and kernels turned too


class Garage:
    """Engines of all sizes on one model, whose formats are built once."""

    def __init__(self, toy: Toy, folder: Path, dtype: str) -> None:
        self.toy = toy
        self._config = EngineConfig(
            str(folder),
            dtype=dtype,
            max_context=256,
            kv_memory_mib=1,
            draft=str(save_junior(toy, folder)),
        )
        self._formats = Formats(self._config, Knobs())
        self.alone = Alone(lambda knobs: self.load(32, 4, knobs))

    def load(self, pages: int, page_size: int, knobs: Knobs | None = None) -> Engine:
        """An engine with `pages` pages of floats."""
        size = KVCache.page_bytes(self._formats.spec, page_size, self._formats.dtype, "fp32")
        memory = (2 * pages + 0.5) * size / 2**20  # the junior's keys and values are as large
        config = replace(self._config, page_size=page_size, kv_memory_mib=memory)
        return Engine(self._formats, config, knobs or Knobs())

    def live_twice(self, pages: int, page_size: int, operations: list[Operation]) -> Evidence:
        """Two runs with the same switches say the same, whatever unused pages hold."""
        naive = Naive(self.toy)
        one = Life(self.load(pages, page_size), naive, self.alone)
        other = Life(fill_unused(self.load(pages, page_size)), naive, self.alone)
        seen = one.run(operations)
        other.run(operations)
        for id in one.requests:
            assert one.engine.tokens(id) == other.engine.tokens(id), f"{id} says other things"
        return seen


@cache
def exact_garage(folder: Path) -> Garage:
    return Garage(TOY, folder, "float64")


@cache
def native_garage(folder: Path) -> Garage:
    return Garage(WIDE, folder, "float32")


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WIDE.save(tmp_path_factory.mktemp("toys") / "wide")


# What `auto` chooses is a matter of time, and with it where a text is when formats are turned.
TURNED = {name: tuple(v for v in values if v != "auto") for name, values in VALUES.items()}
TURNED |= {name: FORMATS[name] * 3 for name in ("weights", "kv_dtype")}


@settings(max_examples=25)
@given(lives(TURNED))
def test_no_switch_of_formats_loses_or_lends_a_token(
    toy_folder: Path, drawn: tuple[int, int, list[Operation]]
) -> None:
    exact_garage(toy_folder).live_twice(*drawn)


def switch_through_all(garage: Garage, seeds: range, turned: tuple[str, ...]) -> Evidence:
    total = Evidence()
    # Without those that leave little to convert: others turn them.
    names = ("paging", "prefix_cache")
    values = {name: VALUES[name] for name in names} | {name: FORMATS[name] for name in turned}
    for seed in seeds:
        page_size = (4, 3)[seed % 2]
        pages = -(-MOST_TOKENS // page_size) + seed % 5
        # More at once, to begin with, than fit as floats.
        crowd = [op for op in random_life(seed, page_size) if isinstance(op, Submit)][:6]
        turns = random_life(seed, page_size, 40, values, turns=0.2)
        operations = [Turn("kv_dtype", "int8"), *crowd, Steps(4), *turns]
        total.add(garage.live_twice(pages, page_size, operations))
    return total


def test_switches_of_formats_happen_to_all_kinds_of_requests(toy_folder: Path) -> None:
    seen = switch_through_all(exact_garage(toy_folder), SWITCHED, ("weights", "kv_dtype"))
    assert seen.crossed > 30
    assert seen.alone > 40
    assert seen.moved > 150
    assert seen.shrunk > 5
    assert {"weights", "kv_dtype"} <= seen.turned


@pytest.mark.parametrize("turned", [("weights", "kv_dtype"), tuple(FORMATS)])
def test_switches_on_native_kernels(wide_folder: Path, turned: tuple[str, ...]) -> None:
    """Where they cannot be built, on torch's in float32."""
    garage = native_garage(wide_folder)
    seen = switch_through_all(garage, SWITCHED, turned)
    assert seen.crossed > 30
    assert seen.alone > 30
    assert seen.moved > 150
    assert seen.shrunk > 5
    native = garage.load(9, 4).knobs.kernels == "native"
    assert ("kernels" in seen.turned) == (native and "kernels" in turned)


# Planted bugs. Each is one that a serving engine has had.


def chained_by_nothing(patch: pytest.MonkeyPatch) -> None:
    """A page is found by its own tokens, whatever stands before them."""
    patch.setattr(PrefixKey, "digest", lambda self: b"")


def match_to_the_end(patch: pytest.MonkeyPatch) -> None:
    """A prefix hit takes a page more than is published: whichever is cached."""
    match = prefix.PrefixCache.match

    def plant(self: prefix.PrefixCache, sequence: Sequence) -> list[int]:
        pages = match(self, sequence)
        room = (len(sequence.tokens) - 1) // self._page_size - len(pages)
        others = [page for page in self._pool._cached if page not in pages]
        return pages + others[: min(room, 1)]

    patch.setattr(prefix.PrefixCache, "match", plant)


def published_early(patch: pytest.MonkeyPatch) -> None:
    """Pages are published that the next chunk has yet to fill."""

    def plant(self: prefix.PrefixCache, sequence: Sequence) -> None:
        full = min(
            -(-sequence.computed // self._page_size), len(sequence.tokens) // self._page_size
        )
        for number, key in enumerate(sequence.keys(self._page_size, full)):
            self._pool.publish(sequence.pages[number], key)

    patch.setattr(prefix.PrefixCache, "publish", plant)


def resumed_one_too_far(patch: pytest.MonkeyPatch) -> None:
    """After a preemption the first token is not computed again."""
    schedule = Planner._schedule

    def plant(self: Planner, sequence: Sequence, step: object) -> None:
        if sequence.preemptions and sequence.computed == 0 and len(sequence.tokens) > 1:
            sequence.computed = 1
        schedule(self, sequence, step)

    patch.setattr(Planner, "_schedule", plant)


def preempted_loses_a_token(patch: pytest.MonkeyPatch) -> None:
    """The token in flight is dropped, to be sampled again."""
    preempt = Planner._preempt

    def plant(self: Planner, sequence: Sequence, step: object) -> None:
        if sequence.output_length:
            sequence.tokens.pop()
        preempt(self, sequence, step)

    patch.setattr(Planner, "_preempt", plant)


def sampled_a_place_early(patch: pytest.MonkeyPatch) -> None:
    """Noise belongs to the position before."""
    patch.setattr(
        verify, "SampleSpec", lambda how, position: sampling.SampleSpec(how, position - 1)
    )


def noise_by_batch_row(patch: pytest.MonkeyPatch) -> None:
    """Noise depends on who runs beside a request."""
    words = sampling.hash_words

    def plant(keys: list[tuple[int, int]], *rest: object) -> object:
        return words([(low ^ row, high) for row, (low, high) in enumerate(keys)], *rest)

    patch.setattr(sampling, "hash_words", plant)


def pages_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """Attention reads a table's first two pages in the wrong order."""
    pad = kvcache._pad_tables

    def plant(*given: object) -> list[list[int]]:
        return [[table[1], table[0], *table[2:]] for table in pad(*given)]

    patch.setattr(kvcache, "_pad_tables", plant)


def evicted_but_still_known(patch: pytest.MonkeyPatch) -> None:
    """A page that was handed out again is still found by its old prefix."""
    acquire = PagePool.acquire

    def plant(self: PagePool, count: int) -> list[int]:
        known = dict(self._page_of)
        pages = acquire(self, count)
        self._page_of.update(known)
        return pages

    patch.setattr(PagePool, "acquire", plant)


def abort_keeps_a_page(patch: pytest.MonkeyPatch) -> None:
    """An ended request's last page is never given back."""
    release = PagePool.release
    patch.setattr(PagePool, "release", lambda self, pages: release(self, pages[:-1]))


def eos_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A request goes on after its end."""
    patch.setattr(
        core.Engine,
        "_end_of",
        lambda self, sequence: (
            "length" if sequence.output_length >= sequence.request.sampling.max_tokens else None
        ),
    )


@pytest.mark.parametrize(
    "plant",
    [
        chained_by_nothing,
        match_to_the_end,
        published_early,
        resumed_one_too_far,
        preempted_loses_a_token,
        sampled_a_place_early,
        noise_by_batch_row,
        pages_out_of_order,
        evicted_but_still_known,
        abort_keeps_a_page,
        eos_forgotten,
    ],
)
def test_planted_bugs_are_found(
    toy_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    with monkeypatch.context() as patch:
        # The oracle samples too: it must not catch the bug.
        for seed in SCHEDULES:
            for operation in random_life(seed, (4, 3)[seed % 2]):
                if isinstance(operation, Submit):
                    oracle().generate(operation.request(""))
        plant(patch)
        with pytest.raises(AssertionError):
            live_through_all(toy_folder)


def lent_across_weights(patch: pytest.MonkeyPatch) -> None:
    """Pages that nobody holds are found by requests that other weights serve."""
    adopt = core.Engine._adopt

    def plant(self: Engine) -> list[tuple[str, int]]:
        with pytest.MonkeyPatch.context() as inner:
            if self._served.kv_dtype == self._knobs.kv_dtype:
                inner.setattr(self._planner, "taint", lambda: None)
            return adopt(self)

    patch.setattr(core.Engine, "_adopt", plant)


def goes_on_publishing(patch: pytest.MonkeyPatch) -> None:
    """A request that runs across a switch publishes what it holds of other formats."""
    taint = Planner.taint

    def plant(self: Planner) -> None:
        taint(self)
        for sequence in self.running:
            sequence.tainted = False

    patch.setattr(Planner, "taint", plant)


def moved_to_other_pages(patch: pytest.MonkeyPatch) -> None:
    """Converted pages are put in another order than the tables have them in."""
    take = KVCache.take
    patch.setattr(KVCache, "take", lambda self, other, pages: take(self, other, pages[::-1]))


def last_page_not_moved(patch: pytest.MonkeyPatch) -> None:
    take = KVCache.take
    patch.setattr(KVCache, "take", lambda self, other, pages: take(self, other, pages[:-1]))


def codes_moved_without_scales(patch: pytest.MonkeyPatch) -> None:
    """What int8 pages become as floats is their codes."""
    take = KVCache.take

    def plant(self: KVCache, other: KVCache, pages: list[int]) -> None:
        scale, other.scale = other.scale, None
        if scale is None or not pages:
            take(self, other, pages)
        else:
            other.data = other.data.to(self.data.dtype)
            take(self, other, pages)

    patch.setattr(KVCache, "take", plant)


@pytest.mark.parametrize(
    "plant",
    [
        goes_on_publishing,
        lent_across_weights,
        moved_to_other_pages,
        last_page_not_moved,
        codes_moved_without_scales,
    ],
)
def test_planted_bugs_of_switches_are_found(
    toy_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    garage = exact_garage(toy_folder)  # whose oracle no plant reaches: it never switches
    with monkeypatch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError):
            switch_through_all(garage, SWITCHED, ("weights", "kv_dtype"))
