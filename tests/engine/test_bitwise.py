"""A row's logits depend on its own tokens alone, to the last bit, in float32.

Then tokens are equal whatever runs beside a request, however its prompt was cut and wherever
its keys and values came from. Requests are told apart by their seeds.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from engine import kvcache, runner
from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from engine.decoder import Decoder
from engine.linear import PackedLinear
from engine.plan import Row
from engine.tensors import Matrix
from engine.verify import RULES, accept_equal
from tests.engine.drive import knobs_from
from tests.engine.toy import QKV, WIDE, Toy, save_junior

CHIEF = Path(__file__).parents[2] / "assets" / "models" / "chief"
JUNIOR = CHIEF.with_name("junior")
Seen = dict[tuple[int, int], Tensor]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Two threads on a machine whose cores are taken are slow: for the least that tells."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Logits of every token that was kept, by (seed of its request, position)."""
    found: Seen = {}

    def note(
        decoder: Decoder, rows: list[Row], logits: Tensor, drafted: Tensor | None
    ) -> list[tuple[int, ...]]:
        kept = accept_equal(decoder, rows, logits, drafted)
        places = iter(logits)
        for row, tokens in zip(rows, kept, strict=True):
            assert row.sampling is not None
            for i, of_place in enumerate(islice(places, row.drafts + 1)):
                place = row.sampling.seed, row.length + i
                if i < len(tokens):  # after a draft that was wrong it says something else
                    assert place not in found or torch.equal(found[place], of_place)
                    found[place] = of_place.clone()
        return kept

    monkeypatch.setitem(RULES, "equal", note)
    return found


def hold_alike(
    make: Callable[[], Engine], seen: Seen, requests: list[Request], seed: int
) -> Counter[str]:
    """Run the requests together under changing knobs; `seen` holds them to their logits alone."""
    solo = make()
    for request in requests:
        solo.submit(request)
        while solo.has_work:
            solo.step()
        solo.discard(request.id)
    whole = make()
    for request in requests:
        tokens = list(request.prompt)
        logits = whole.logits(tokens)
        assert torch.equal(seen[request.sampling.seed, len(tokens)], logits[-1])
    alone = dict(seen)
    random, together = Random(seed), make()
    counts: Counter[str] = Counter()
    for request in requests:
        together.submit(request)
    while together.has_work:
        if random.random() < 0.3:
            knobs = knobs_from(random)
            together.set_knobs(replace(knobs, prefill_chunk=random.choice((0, 1, 7, 40, 150))))
        stats = together.step()
        counts["preempted"] += len(stats.preempted)
        counts["hits"] += stats.prefix_hits
        states = [together.request(request.id).state for request in requests]
        counts["parked"] += states.count("parked")
        counts["drafts"] += sum(len(verdict.drafts) for verdict in stats.verdicts)
        counts["accepted"] += sum(verdict.accepted for verdict in stats.verdicts)
    assert seen.keys() == alone.keys()
    return counts


def requests_for(vocab: int, lengths: list[int], tokens: int) -> list[Request]:
    """Half of them begin alike."""
    random = Random(1)
    base = [random.randrange(vocab) for _ in range(max(lengths))]
    return [
        Request(
            str(seed),
            (*base[: length - 2 * (seed % 2)], *([seed] * 2 * (seed % 2))),
            Sampling(max_tokens=tokens, temperature=0.8, seed=seed, ignore_eos=True),
        )
        for seed, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    ("toy", "page_size"),
    [
        (WIDE, 16),
        (replace(WIDE, heads=2, kv_heads=2, biases=QKV, tied=False), 5),
        (replace(WIDE, heads=10, qk_norms=True, architecture="Qwen3ForCausalLM", hidden=320), 32),
    ],
    ids=["three queries a head", "one, with biases", "five, with norms"],
)
@pytest.mark.usefixtures("one_thread")
def test_toys(tmp_path: Path, seen: Seen, toy: Toy, page_size: int) -> None:
    folder = toy.save(tmp_path)
    lengths = [3, 126, 127, 128, 129, 40, 41, 16, 15, 130, 1, 64]
    requests = requests_for(toy.vocab, lengths, 24)
    pages = -(-240 // page_size)

    def make() -> Engine:
        draft = toy, save_junior(toy, folder)
        return toy.load(folder, pages, page_size, None, draft, dtype="float32")

    totals: Counter[str] = Counter()
    for seed in range(2):
        totals += hold_alike(make, seen, requests, seed)
    assert totals["preempted"] > 0
    assert totals["hits"] > 0
    assert totals["parked"] > 0
    assert 0 < totals["accepted"] <= totals["drafts"]


@pytest.mark.skipif(not (CHIEF / "config.json").exists(), reason="the chief is not there")
def test_the_chief(seen: Seen) -> None:
    def make() -> Engine:
        config = EngineConfig(str(CHIEF), str(JUNIOR), kv_memory_mib=12, max_context=512)
        return Engine.load(config)

    with threads(1):
        lengths = [129, 130, 17, 3, 127, 128, 250, 40]
        requests = requests_for(make().info.vocab_size, lengths, 8)
        counts = hold_alike(make, seen, requests, 6)
        assert counts["hits"] > 0
        assert counts["accepted"] > 0
    seen.clear()
    with threads(2):
        few = requests_for(make().info.vocab_size, [129, 17, 33], 3)
        for group in (few[:1], few[1:2], few[2:], few):
            engine = make()
            for request in group:
                engine.submit(request)
            while engine.has_work:
                engine.step()  # `seen` compares with what it has seen before


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs"), [(24, 40), (128, 192), (1408, 128), (4096, 64)])
def test_a_packed_row_is_the_same_in_any_number_of_rows(
    count: int, inputs: int, outputs: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((outputs, inputs), generator=generator)
    bias = torch.randn(outputs, generator=generator)
    rows = torch.randn((300, inputs), generator=generator)
    with threads(count):
        for linear in (PackedLinear(Matrix(weight)), PackedLinear(Matrix(weight, bias))):
            whole = linear(rows)
            for number in (1, 2, 3, 4, 5, 8, 16, 20, 33, 256):
                assert torch.equal(linear(rows[:number]), whole[:number]), number
                assert torch.equal(linear(rows[-number:]), whole[-number:]), number
        expected = torch.nn.functional.linear(rows.double(), weight.double(), bias.double())
        torch.testing.assert_close(whole, expected.float(), rtol=1e-3, atol=1e-3)
        assert linear.nbytes == 4 * (weight.numel() + bias.numel())


@pytest.mark.parametrize(("count", "repeats"), [(1, 8), (2, 1)])
def test_any_cut_of_any_batch(tmp_path: Path, count: int, repeats: int) -> None:
    """Straight through the torch kernels: logits after every token, not only sampled ones."""
    with threads(count):
        hold_cuts_alike(tmp_path, repeats)


def hold_cuts_alike(tmp_path: Path, repeats: int) -> None:
    engine = WIDE.load(
        WIDE.save(tmp_path), 120, 16, Knobs(kernels="torch"), dtype="float32", max_context=512
    )
    decoder, random = engine._formats.get(engine.knobs), Random(2)
    texts = [[random.randrange(WIDE.vocab) for _ in range(n)] for n in (1, 130, 33, 280, 48, 5)]
    table = [range(20 * i, 20 * i + 20) for i in range(len(texts))]

    def row(i: int, start: int, end: int) -> Row:
        return Row(str(i), start, tuple(texts[i][start:end]), tuple(table[i]), None)

    alone = []
    for i, text in enumerate(texts):
        cache = engine._make_cache(20 * len(texts))
        alone.append(decoder.run(cache, [row(i, 0, len(text))], range(len(text))))
    for _ in range(repeats):
        cache = engine._make_cache(20 * len(texts))
        computed = [0] * len(texts)
        while any(done < len(text) for done, text in zip(computed, texts, strict=True)):
            rows = []
            for i in random.sample(range(len(texts)), random.randint(1, len(texts))):
                left = len(texts[i]) - computed[i]
                count = min(left, random.choice((1, 1, 2, 3, 17, 100, 300)))
                if count:
                    rows.append(row(i, computed[i], computed[i] + count))
            if not rows:
                continue
            lengths = [len(r.tokens) for r in rows]
            found = decoder.run(cache, rows, range(sum(lengths))).split(lengths)
            for r, logits in zip(rows, found, strict=True):
                i = int(r.id)
                assert torch.equal(logits, alone[i][r.start : r.end]), (r.id, r.start, r.end)
                computed[i] = r.end


@pytest.mark.usefixtures("one_thread")
def test_a_long_prompt_is_run_in_parts_without_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """Many whole prompts in one step go beyond what is run at once."""
    folder = WIDE.save(tmp_path)
    requests = requests_for(WIDE.vocab, [100, 60, 90, 30, 20], 2)
    engines = []
    for most in (10_000, 130):
        monkeypatch.setattr(runner, "MOST_TOKENS", most)
        engine = WIDE.load(
            folder, 64, 16, Knobs(prefill_chunk=0, prefix_cache="off"), dtype="float32"
        )
        for request in requests:
            engine.submit(request)
        assert engine.step().prefill_tokens == 300
        while engine.has_work:
            engine.step()
        engines.append(engine)
    for request in requests:
        assert engines[0].tokens(request.id) == engines[1].tokens(request.id)


def rows_beside(patch: pytest.MonkeyPatch) -> None:
    """A linear layer whose sums depend on how many rows it is given."""
    call = PackedLinear.__call__
    patch.setattr(PackedLinear, "__call__", lambda self, x: call(self, x) * (1 + 2**-22 * len(x)))


def contexts_beside(patch: pytest.MonkeyPatch) -> None:
    """Attention that depends on the longest context in its batch."""
    attend = kvcache.attend_pages

    def plant(q: Tensor, context: Tensor, starts: Tensor) -> Tensor:
        return attend(q, context, starts) * (1 + 2**-22 * (context.shape[1] // len(q)))

    patch.setattr(kvcache, "attend_pages", plant)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("plant", [rows_beside, contexts_beside])
def test_the_last_bit_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        hold_cuts_alike(tmp_path, 1)
