"""Keys and values held as int8, and the switch between that and floats in the middle of a run."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine import kvcache
from engine.config import EngineConfig, Knobs, Request, RequestError, Sampling
from engine.core import Engine
from engine.decoder import Decoder
from engine.formats import Formats
from engine.kernels.native import NativeDecoder
from engine.kvcache import KVCache, PagedAttention
from engine.model import TorchDecoder
from engine.plan import Row
from engine.planner import Planner
from engine.stats import StepStats
from engine.tensors import DecoderTensors, read_tensors
from tests.engine.compiled import compiled, kernels_for
from tests.engine.cuts import CPU, all_logits, hold_cuts_alike, make_cache, read_toy
from tests.engine.drive import check_moved, fill_unused, held_by
from tests.engine.toy import WIDE, Naive, Toy

# As many as the engine's kernels get: more only wait for each other here.
pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = [pytest.param("native", marks=compiled), "torch"]
PAGE_SIZES = (1, 5, 16)
# Widths that torch's packed linears and native kernels take alike.
TOY = WIDE


def make_decoder(tensors: DecoderTensors, kind: str, weights: str = "fp32") -> Decoder:
    if kind == "native":
        return NativeDecoder(tensors, weights, kernels_for("native"))
    return TorchDecoder(tensors, weights)


def text(vocab: int, length: int, seed: int = 0) -> list[int]:
    random = Random(seed)
    return [random.randrange(vocab) for _ in range(length)]


def as_int8(x: Tensor) -> Tensor:
    """What int8 pages hold of vectors, told in float64: a scale each, kept as a float32."""
    largest = x.double().abs().amax(-1, keepdim=True)
    codes = (x.double() * 127 / largest).round()
    found = codes * (largest / 127).float().double()
    return torch.where(largest > 0, found, torch.zeros_like(found))


class NaiveInt8(Naive):
    """The naive decoder, whose keys and values are rounded to int8 as soon as they are there."""

    def _rope(self, x: Tensor) -> Tensor:
        turned = super()._rope(x)
        return as_int8(turned) if x.shape[1] == self.toy.kv_heads else turned

    def _linear(self, h: Tensor, name: str) -> Tensor:
        y = super()._linear(h, name)
        if not name.endswith("v_proj"):
            return y
        return as_int8(y.unflatten(-1, (-1, self.toy.head_size))).flatten(-2)


# Bytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_page_bytes_are_those_of_the_storages(
    toy_folder: Path, dtype: torch.dtype, page_size: int
) -> None:
    spec = read_tensors(toy_folder, dtype, CPU, 64).spec
    for kv_dtype in ("fp32", "int8"):
        made = KVCache(spec, 7, page_size, dtype, CPU, kv_dtype)
        held = [made.data] if made.scale is None else [made.data, made.scale]
        assert (len(held) == 2) == (kv_dtype == "int8")
        size = KVCache.page_bytes(spec, page_size, dtype, kv_dtype)
        assert 7 * size == sum(tensor.untyped_storage().nbytes() for tensor in held)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_memory_holds_more_int8_pages(tmp_path: Path, dtype: str) -> None:
    config = EngineConfig(
        str(TOY.save(tmp_path)), kv_memory_mib=1, page_size=8, dtype=dtype, max_context=256
    )
    formats, pages = Formats(config, Knobs()), {}
    for kv_dtype in ("fp32", "int8"):
        engine = Engine(formats, config, Knobs(kv_dtype=kv_dtype))
        pages[kv_dtype] = engine.info.pages_total
        assert engine.info.page_bytes * pages[kv_dtype] <= 2**20
        assert engine.info.page_bytes * (pages[kv_dtype] + 1) > 2**20
        # Switched to, it has the same.
        other = Engine(formats, config, Knobs(kv_dtype="int8" if kv_dtype == "fp32" else "fp32"))
        other.set_knobs(engine.knobs)
        stats = other.step()
        for counts in (stats.pages, other.snapshot((), 0).pages):
            assert (counts.total, counts.page_bytes) == (pages[kv_dtype], engine.info.page_bytes)
        assert other.info.pages_total == pages[kv_dtype]
    # 32 floats against 32 bytes and a scale.
    width = {"float32": 4, "float64": 8}[dtype]
    assert pages["int8"] / pages["fp32"] == pytest.approx(32 * width / 36, rel=0.02)


# What is computed


def plain_attention(q: Tensor, k: Tensor, v: Tensor, groups: int) -> Tensor:
    """float64 attention of all tokens over themselves [tokens, heads, head]."""
    k, v = (x.double().repeat_interleave(groups, 1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q.double(), k) / math.sqrt(q.shape[-1])
    future = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -math.inf).softmax(-1), v)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_torch_attends_over_the_rounded_vectors(
    tmp_path: Path, dtype: torch.dtype, bound: float, page_size: int
) -> None:
    """To a part in the size of the values that is the dtype's own: nothing else is lost."""
    spec = read_toy(TOY, tmp_path).spec
    generator, length = torch.Generator().manual_seed(0), 150
    q, k, v = (
        torch.randn((length, heads, spec.head_size), generator=generator, dtype=dtype)
        for heads in (spec.heads, spec.kv_heads, spec.kv_heads)
    )
    # Vectors of very unlike sizes, one of them nothing.
    v *= 10.0 ** torch.randint(-3, 3, (length, spec.kv_heads, 1), generator=generator)
    v[length // 2], k[length // 3] = 0, 0
    expected = plain_attention(q, as_int8(k), as_int8(v), spec.groups)
    made = KVCache(spec, 160, page_size, dtype, CPU, "int8")
    table = tuple(Random(0).sample(range(160), 160))
    found = []
    for start in (0, 3, 4, 140):
        end = {0: 3, 3: 4, 4: 140, 140: length}[start]
        row = Row("0", start, (0,) * (end - start), table, None)
        attention = PagedAttention(made, [row], spec.groups)
        found.append(attention(1, q[start:end], k[start:end], v[start:end]))
    assert bool(((torch.cat(found) - expected).abs() <= bound * v.abs().max()).all())
    # And rounding is no small matter.
    exact = plain_attention(q, k, v, spec.groups)
    assert float((exact - expected).abs().max()) > 100 * bound


@pytest.mark.parametrize("page_size", [3, 4, 16])
@pytest.mark.parametrize("kv_cache", ["on", "off"])
@pytest.mark.parametrize("paging", ["paged", "contiguous"])
def test_a_float64_engine_says_what_the_naive_decoder_says(
    toy_folder: Path, paging: str, kv_cache: str, page_size: int
) -> None:
    """With and without a KV cache: what is kept and what is computed anew are rounded alike."""
    toy = Toy()
    knobs = Knobs(kv_dtype="int8", paging=paging, kv_cache=kv_cache, prefill_chunk=7)
    engine = toy.load(toy_folder, 12, page_size, knobs)
    oracle, shared = NaiveInt8(toy), text(61, 20, 1)
    requests = [
        Request(str(i), (*shared[: 4 * i + 1], i), Sampling(9, temperature=0.9, seed=i))
        for i in range(4)
    ]
    for request in requests:
        engine.submit(request)
    run_out(engine)
    for request in requests:
        assert engine.tokens(request.id) == oracle.generate(request)
    assert engine.snapshot((), 0).pages.used == 0
    made = engine._make_cache(-(-20 // page_size), "int8")
    logits = all_logits(engine._formats.get(engine.knobs), made, shared)
    torch.testing.assert_close(logits, oracle.logits(shared), rtol=0, atol=1e-9)
    assert float((logits - Naive(toy).logits(shared)).abs().max()) > 1e-3


@compiled
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_native_writes_the_very_codes_and_scales_of_torch(
    tmp_path: Path, page_size: int, target: str
) -> None:
    """Of the same vectors: attention reaches no later layer here, so that all get the inputs that
    float pages show. Vectors are of unlike sizes, and a head's values are nothing."""
    folder = TOY.save(tmp_path)
    tensors = TOY.tensors()
    for layer in range(TOY.layers):
        root = f"model.layers.{layer}.self_attn."
        tensors[root + "o_proj.weight"] *= 0
        tensors[root + "v_proj.weight"][:32] *= 1e-4
        tensors[root + "k_proj.weight"][:32] *= 1e3
    tensors["model.layers.1.self_attn.v_proj.weight"][32:] = 0
    save_file(tensors, folder / "model.safetensors")
    read = read_tensors(folder, torch.float32, CPU, 512)
    decoder = NativeDecoder(read, "fp32", kernels_for(target))
    tokens, pages = text(TOY.vocab, 130), -(-130 // page_size)
    floats, codes = (make_cache(read, pages, page_size, kind) for kind in ("fp32", "int8"))
    for made in (floats, codes):
        all_logits(decoder, made, tokens)
    expected = make_cache(read, pages, page_size, "int8")
    expected.take(floats, list(range(pages)))
    assert torch.equal(codes.data, expected.data)
    assert torch.equal(codes.scale, expected.scale)
    # And both are what the definition says.
    assert int((codes.data.abs().amax(-1) == 127).sum()) == int((codes.scale > 0).sum())
    assert float(codes.scale[1, 3].max()) == 0
    for layer in range(TOY.layers):
        kv = floats.read(layer, torch.arange(pages))
        check_moved(kv, codes.read(layer, torch.arange(pages)), "int8")


@compiled
@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_native_logits_are_near_torchs(tmp_path: Path, page_size: int, weights: str) -> None:
    """A last bit can move a key or value to the next code: held, as the norm of all logits, to a
    tenth of what int8 pages themselves cost (a fifth where activations have codes too)."""
    read = read_toy(TOY, tmp_path)
    tokens, pages = text(TOY.vocab, 130), -(-130 // page_size)
    found = {
        (kind, kv_dtype): all_logits(
            make_decoder(read, kind, weights), make_cache(read, pages, page_size, kv_dtype), tokens
        )
        for kind in ("native", "torch")
        for kv_dtype in ("fp32", "int8")
    }
    cost = (found["torch", "int8"] - found["torch", "fp32"]).norm()
    apart = (found["native", "int8"] - found["torch", "int8"]).norm()
    assert 0 < cost < 0.2 * found["torch", "fp32"].norm()
    assert apart < {"fp32": 0.1, "int8": 0.2}[weights] * cost


# To the bit


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("weights", ["fp32", "int8"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_of_any_batch(tmp_path: Path, kind: str, weights: str, page_size: int) -> None:
    read = read_toy(TOY, tmp_path)
    hold_cuts_alike(make_decoder(read, kind, weights), read, page_size, kv_dtype="int8")


@compiled
def test_targets_and_threads_change_no_bit(tmp_path: Path) -> None:
    read, found = read_toy(TOY, tmp_path), []
    for target in ("native", "x86-64-v3"):
        for threads in (1, 2, 3):
            decoder = NativeDecoder(read, "fp32", kernels_for(target, threads))
            made = make_cache(read, 14, 5, "int8")
            found.append((all_logits(decoder, made, text(TOY.vocab, 70)), made))
    for logits, made in found:
        assert torch.equal(logits, found[0][0])
        assert torch.equal(made.data, found[0][1].data)
        assert torch.equal(made.scale, found[0][1].scale)


# The switch


def run_out(engine: Engine) -> None:
    while engine.has_work:
        engine.step()
        engine.check()


def turn(engine: Engine, kv_dtype: str) -> None:
    engine.set_knobs(replace(engine.knobs, kv_dtype=kv_dtype))


def submit_all(engine: Engine, count: int = 5, tokens: int = 20) -> list[str]:
    shared = text(77, 40, 4)
    for seed in range(count):
        prompt = (*shared[: 7 * seed + 3], seed, seed)
        sampling = Sampling(tokens, temperature=0.8, seed=seed, ignore_eos=True)
        engine.submit(Request(str(seed), prompt, sampling))
    return [str(seed) for seed in range(count)]


def switch(engine: Engine, kv_dtype: str) -> StepStats:
    """A step that begins with it: what requests hold is moved, and nobody loses a token."""
    turn(engine, kv_dtype)
    running = {id: held_by(engine, id) for id in ids(engine) if engine.request(id).pages}
    tokens = {id: engine.tokens(id) for id in ids(engine)}
    stats = engine.step()
    engine.check()
    assert stats.knobs.kv_dtype == kv_dtype
    gone = {id for id, _ in stats.preempted}
    for id, before in running.items():
        if id not in gone and engine.request(id).pages:
            check_moved(before, held_by(engine, id)[:, :, : before.shape[2]], kv_dtype)
    for id, said in tokens.items():
        assert engine.tokens(id)[: len(said)] == said
    return stats


def ids(engine: Engine) -> list[str]:
    return [found.id for found in engine.snapshot((), 0).requests]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_switch_loses_no_token(tmp_path: Path, kind: str, dtype: str) -> None:
    """What was said before it stays, and two runs that switch alike say the same, whatever
    unused pages hold."""
    folder = TOY.save(tmp_path)

    def run(switches: dict[int, str], fill: bool = False) -> tuple[dict[str, list[int]], int]:
        knobs = Knobs(kernels=kind, prefill_chunk=16)
        engine = TOY.load(folder, 34, 4, knobs, dtype=dtype)
        if fill:
            fill_unused(engine)
        said: dict[str, list[int]] = {id: [] for id in submit_all(engine)}
        preempted = number = 0
        while engine.has_work:
            stats = switch(engine, switches.get(number, engine.knobs.kv_dtype))
            preempted += len(stats.preempted)
            for id, tokens in stats.tokens:
                said[id] += tokens
            number += 1
        assert number > max(switches, default=0)
        for id, tokens in said.items():
            assert tokens == engine.tokens(id)
            assert len(tokens) == 20
            assert engine.request(id).finish_reason == "length"
        return said, preempted

    plain, _ = run({})
    switches = {6: "int8", 12: "fp32", 15: "int8", 18: "fp32"}
    first, preempted = run(switches)
    assert preempted > 0
    assert first == run(switches)[0] == run(switches, fill=True)[0]
    early, _ = run({2: "int8"})
    assert early != plain
    # The first request decodes from step 1 on, a token a step: twelve at most before the switch.
    late, _ = run({12: "int8"})
    assert late["0"][:10] == plain["0"][:10]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_only_pages_in_use_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    taken: list[list[int]] = []
    take = KVCache.take

    def note(self: KVCache, other: KVCache, pages: list[int]) -> None:
        taken.append(pages)
        take(self, other, pages)

    monkeypatch.setattr(KVCache, "take", note)
    engine = TOY.load(TOY.save(tmp_path), 60, 4, dtype=dtype)
    engine.submit(Request("gone", tuple(text(192, 21)), Sampling(1)))
    run_out(engine)
    assert engine.snapshot((), 0).pages.cached == 5
    submit_all(engine, 3)
    for _ in range(3):
        engine.step()
    used = sorted({page for s in engine._planner.running for page in s.pages})
    assert 0 not in used  # the first ones lie in the cache: numbers change
    held = {layer: engine._cache.read(layer, torch.tensor(used)) for layer in range(TOY.layers)}
    full = {page for s in engine._planner.running for page in s.pages[: s.computed // 4]}
    turn(engine, "int8")
    stats = engine.step()
    assert taken == [used]
    assert stats.preempted == ()
    assert stats.pages.cached == 0
    for layer, before in held.items():
        after = engine._cache.read(layer, torch.arange(len(used)))
        # The pages that the step did not go on writing to.
        same = [number for number, page in enumerate(used) if page in full]
        assert len(same) > 3
        check_moved(before[:, same], after[:, same], "int8")
        assert not torch.equal(before[:, same], after[:, same])
    # Back again: what they hold now, to the bit.
    switch(engine, "fp32")
    # The other knobs move nothing.
    engine.set_knobs(replace(engine.knobs, weights="int8", kernels="torch"))
    engine.step()
    engine.set_knobs(replace(engine.knobs, prefill_chunk=3))
    engine.step()
    assert len(taken) == 2
    run_out(engine)


def crowded(folder: Path, kind: str = "torch", dtype: str = "float32") -> Engine:
    """Four requests of two to three pages each, as int8; there are six pages of floats."""
    knobs = Knobs(kv_dtype="int8", kernels=kind)
    engine = TOY.load(folder, 6, 8, knobs, dtype=dtype)
    for seed in range(4):
        prompt = tuple(text(192, 14, seed))
        sampling = Sampling(20, temperature=0.8, seed=seed, ignore_eos=True)
        engine.submit(Request("ABCD"[seed], prompt, sampling))
    for _ in range(4):
        engine.step()
    assert engine.snapshot((), 0).pages.used == 12
    return engine


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_pages_preempt_the_youngest_only(tmp_path: Path, kind: str) -> None:
    engine = crowded(TOY.save(tmp_path), kind)
    computed = {id: engine._sequences[id].computed for id in "ABCD"}
    stats = switch(engine, "fp32")
    # Twelve pages into six.
    assert stats.preempted == (("D", computed["D"]), ("C", computed["C"]))
    assert stats.admitted == ()
    assert [id for id, _ in stats.tokens] == ["A", "B"]
    for id in "CD":
        found = engine.request(id)
        assert (found.state, found.pages, found.preemptions) == ("waiting", 0, 1)
    assert [s.id for s in engine._planner.waiting] == ["C", "D"]
    assert engine.step().preempted == ()
    run_out(engine)
    for id in "ABCD":
        assert len(engine.tokens(id)) == 20
        assert engine.request(id).finish_reason == "length"
    assert engine.snapshot((), 0).pages.used == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kv_dtype", ["fp32", "int8"])
def test_pages_are_never_shared_across_a_switch(tmp_path: Path, kind: str, kv_dtype: str) -> None:
    other = {"fp32": "int8", "int8": "fp32"}[kv_dtype]
    engine = TOY.load(
        TOY.save(tmp_path), 80, 4, Knobs(kv_dtype=kv_dtype, kernels=kind), dtype="float32"
    )
    prompt, long = tuple(text(192, 30, 1)), tuple(text(192, 21, 2))
    engine.submit(Request("long", long, Sampling(60, ignore_eos=True)))

    def ask(id: str, tokens: tuple[int, ...]) -> int:
        engine.submit(Request(id, tokens, Sampling(3, ignore_eos=True)))
        while engine.request(id).finish_reason is None:
            engine.step()
            engine.check()
        return engine.request(id).hit_tokens

    assert ask("first", prompt) == 0
    assert ask("second", prompt) == 28
    assert ask("beside", long) == 20
    # There and back too: what is found is what the present format has computed.
    for number, now in enumerate((other, kv_dtype)):
        turn(engine, now)
        assert ask(f"{number} first", prompt) == 0
        assert ask(f"{number} second", prompt) == 28
        assert engine.tokens(f"{number} first") == engine.tokens(f"{number} second")
        if now == kv_dtype:
            assert engine.tokens(f"{number} first") == engine.tokens("first")
        # Nor those of a request that runs on, neither old ones nor what it has computed since.
        follower = (*long, *engine.tokens("long"))
        assert ask(f"{number} after", follower) == 0
        assert ask(f"{number} after that", follower) > 20
    assert engine.request("long").finish_reason is None


def test_a_request_too_long_for_float_pages_is_refused_under_int8(tmp_path: Path) -> None:
    """It could not go on after a switch."""
    engine = TOY.load(TOY.save(tmp_path), 6, 8, Knobs(kv_dtype="int8"), dtype="float32")
    assert engine.info.pages_total > 12
    for length, fits in ((48 - 10, True), (49 - 10, False)):
        request = Request(str(length), tuple(text(192, length)), Sampling(10, ignore_eos=True))
        if fits:
            engine.submit(request)
        else:
            with pytest.raises(RequestError, match="needs 7 pages of KV memory, there are 6"):
                engine.submit(request)
    engine.step()
    switch(engine, "fp32")
    run_out(engine)
    assert len(engine.tokens("38")) == 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("knobs", ["kv_cache=off", "paging=contiguous", "batching=static"])
def test_a_switch_under_other_knobs(tmp_path: Path, kind: str, knobs: str) -> None:
    found = []
    for _ in range(2):
        engine = TOY.load(
            TOY.save(tmp_path), 20, 4, replace(Knobs.parse(knobs), kernels=kind), dtype="float32"
        )
        names = submit_all(engine, 4, 12)
        for kv_dtype in ("fp32", "int8", "int8", "fp32", "int8", "fp32"):
            stats = switch(engine, kv_dtype)
            counts = stats.pages
            assert counts.used + counts.cached + counts.free == counts.total
            if "contiguous" in knobs:
                assert counts.reserved > 0
        run_out(engine)
        found.append([engine.tokens(id) for id in names])
        assert all(len(tokens) == 12 for tokens in found[0])
    assert found[0] == found[1]


@pytest.mark.parametrize("kv_dtype", ["fp32", "int8"])
def test_without_a_cache_a_switch_is_as_if_it_had_always_been(
    toy_folder: Path, kv_dtype: str
) -> None:
    """Every step computes everything: what is said after a switch is what the naive decoder says
    after the same tokens."""
    toy = Toy()
    oracle: Naive = NaiveInt8(toy) if kv_dtype == "int8" else Naive(toy)
    other = {"fp32": "int8", "int8": "fp32"}[kv_dtype]
    engine = toy.load(toy_folder, 20, 4, Knobs(kv_cache="off", kv_dtype=other))
    prompt = tuple(text(61, 9, 3))
    engine.submit(Request("A", prompt, Sampling(12, ignore_eos=True)))
    for _ in range(4):
        engine.step()
    turn(engine, kv_dtype)
    said = engine.tokens("A")
    run_out(engine)
    rest = Request("A", (*prompt, *said), Sampling(8, ignore_eos=True))
    assert engine.tokens("A") == [*said, *oracle.generate(rest)]


def test_a_switch_there_and_back_between_two_steps_is_none(tmp_path: Path) -> None:
    engine = TOY.load(TOY.save(tmp_path), 40, 4, dtype="float32")
    submit_all(engine, 2)
    engine.step()
    held = engine._cache
    turn(engine, "int8")
    turn(engine, "fp32")
    engine.step()
    assert engine._cache is held
    assert not any(s.tainted for s in engine._planner.running)


def test_an_idle_engine_switches_too(tmp_path: Path) -> None:
    engine = TOY.load(TOY.save(tmp_path), 40, 4, dtype="float32")
    engine.submit(Request("A", tuple(text(192, 9)), Sampling(1)))
    run_out(engine)
    for kv_dtype in ("int8", "fp32", "int8"):
        turn(engine, kv_dtype)
        stats = engine.step()
        engine.check()
        assert (stats.tokens, stats.preempted) == ((), ())
        assert (stats.pages.used, stats.pages.cached) == (0, 0)
        assert stats.pages.total == engine._cache.data.shape[2]


# Planted bugs


def scales_a_page_late(patch: pytest.MonkeyPatch) -> None:
    """Scales are read from the page before."""
    read = KVCache.read

    def plant(self: KVCache, layer: int, pages: Tensor) -> Tensor:
        kept = self.scale
        self.scale = None if kept is None else kept.roll(1, 2)
        try:
            return read(self, layer, pages)
        finally:
            self.scale = kept

    patch.setattr(KVCache, "read", plant)


def rounded_down(patch: pytest.MonkeyPatch) -> None:
    """Codes are cut, not rounded: a whole step off instead of half a one."""
    quantize = kvcache.quantize_rows

    def plant(x: Tensor) -> tuple[Tensor, Tensor]:
        _, scales = quantize(x)
        return (x / scales.clamp_min(1e-30)).to(torch.int8), scales

    patch.setattr(kvcache, "quantize_rows", plant)


def free_pages_moved_too(patch: pytest.MonkeyPatch) -> None:
    """The first pages are converted, in use or not."""
    take = KVCache.take
    patch.setattr(
        KVCache, "take", lambda self, other, pages: take(self, other, list(range(len(pages))))
    )


def evicted_in_silence(patch: pytest.MonkeyPatch) -> None:
    """Who loses its pages to a switch is not reported."""
    resize = Planner.resize
    patch.setattr(Planner, "resize", lambda self, total: (resize(self, total)[0], []))


def still_published(patch: pytest.MonkeyPatch) -> None:
    """A running request lends on what it holds of the other format."""

    def plant(self: Planner) -> None:
        self.pool.forget_published()
        for sequence in self.running:
            sequence.published = 0

    patch.setattr(Planner, "taint", plant)


def int8_pages_promised(patch: pytest.MonkeyPatch) -> None:
    """A request is let in that only int8 pages can hold."""
    pages = Engine._pages
    patch.setattr(Engine, "_pages", lambda self, _: pages(self, self.knobs.kv_dtype))


def attends(folder: Path, _: pytest.MonkeyPatch) -> None:
    test_torch_attends_over_the_rounded_vectors(folder, torch.float32, 2e-5, 5)


def moves(folder: Path, patch: pytest.MonkeyPatch) -> None:
    # In torch, where the plants are: float32 pages are moved by native kernels.
    test_only_pages_in_use_are_converted(folder, patch, "float64")


def shrinks(folder: Path, _: pytest.MonkeyPatch) -> None:
    test_too_many_pages_preempt_the_youngest_only(folder, "torch")


def shares(folder: Path, _: pytest.MonkeyPatch) -> None:
    test_pages_are_never_shared_across_a_switch(folder, "torch", "int8")


def refuses(folder: Path, _: pytest.MonkeyPatch) -> None:
    test_a_request_too_long_for_float_pages_is_refused_under_int8(folder)


@pytest.mark.parametrize(
    ("plant", "test"),
    [
        (scales_a_page_late, attends),
        (rounded_down, attends),
        (rounded_down, moves),
        (free_pages_moved_too, moves),
        (evicted_in_silence, shrinks),
        (still_published, shares),
        (int8_pages_promised, refuses),
    ],
)
def test_planted_bugs_are_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    test: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(tmp_path, monkeypatch)
