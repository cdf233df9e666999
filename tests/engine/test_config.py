"""Knobs, configuration and requests: what they take, and how they refuse the rest."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import (
    KNOBS,
    EngineConfig,
    EngineError,
    KnobError,
    Knobs,
    Request,
    RequestError,
    Sampling,
)
from engine.core import Engine
from tests.engine.toy import Naive, Toy

pytestmark = pytest.mark.usefixtures("one_thread")
KNOB_VALUES = {
    "kv_cache": st.sampled_from(("on", "off")),
    "paging": st.sampled_from(("paged", "contiguous")),
    "prefix_cache": st.sampled_from(("on", "off")),
    "batching": st.sampled_from(("none", "static", "continuous")),
    "max_batch": st.integers(1, 10**6),
    "static_batch": st.integers(1, 10**6),
    "prefill_chunk": st.integers(0, 10**6),
    "speculation": st.sampled_from(("off", "junior", "ngram")),
    "draft_length": st.one_of(st.integers(1, 16), st.just("auto")),
    "acceptance": st.sampled_from(("equal", "ratio")),
}


# Knobs


def test_the_defaults_are_those_of_the_contract() -> None:
    assert Knobs().as_dict() == {
        "kv_cache": "on",
        "paging": "paged",
        "prefix_cache": "on",
        "batching": "continuous",
        "max_batch": 20,
        "static_batch": 4,
        "prefill_chunk": 256,
        "weights": "fp32",
        "kv_dtype": "fp32",
        "speculation": "off",
        "draft_length": 4,
        "acceptance": "equal",
        "kernels": "native",
        "quality": "on",
    }
    assert {knob.name: knob.default for knob in KNOBS} == Knobs().as_dict()
    assert all(knob.help for knob in KNOBS)


@given(st.fixed_dictionaries({}, optional=KNOB_VALUES))
def test_text_and_knobs_say_the_same(values: dict[str, Any]) -> None:
    text = " , ".join(f"{name} = {value}" for name, value in values.items())
    assert Knobs.parse(text) == Knobs(**values)
    assert Knobs.parse(text).as_dict() == Knobs().as_dict() | values
    assert Knobs.parse(f"{text},") == Knobs(**values)


@given(st.fixed_dictionaries(KNOB_VALUES), st.fixed_dictionaries(KNOB_VALUES))
def test_changes_lead_from_one_setting_to_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    changes = Knobs(**after).changes(Knobs(**before))
    assert replace(Knobs(**before), **dict(changes)) == Knobs(**after)
    assert {name for name, _ in changes} == {n for n in after if before[n] != after[n]}


def test_switches_take_true_and_false() -> None:
    assert Knobs(kv_cache=True, prefix_cache=False) == Knobs(kv_cache="on", prefix_cache="off")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kv_cache", "knobs: 'kv_cache' is not name=value"),
        ("kv_cache=maybe", "knob kv_cache: 'maybe' is not one of on, off"),
        ("batching=dynamic", "knob batching: 'dynamic' is not one of none, static, continuous"),
        ("max_batch=0", "knob max_batch: 0 is too small, from 1 up"),
        ("static_batch=-3", "knob static_batch: -3 is too small, from 1 up"),
        ("prefill_chunk=-1", "knob prefill_chunk: -1 is too small, from 0 up"),
        ("max_batch=many", "knob max_batch: 'many' is not a whole number"),
        ("max_batch=2.5", "knob max_batch: '2.5' is not a whole number"),
        ("max_batch=", "knob max_batch: '' is not a whole number"),
        ("draft_length=0", "knob draft_length: 0 is too small, from 1 up"),
        ("draft_length=17", "knob draft_length: 17 is too large, up to 16"),
        ("draft_length=long", "knob draft_length: 'long' is not a whole number, nor auto"),
        ("speculation=senior", "knob speculation: 'senior' is not one of off, junior, ngram"),
        ("turbo=on", "no knob is called 'turbo'; there are kv_cache, "),
        ("=on", "no knob is called ''"),
        ("Kv_Cache=on", "no knob is called 'Kv_Cache'"),
        ("paging=contiguous,kv_cache=2", "knob kv_cache: '2'"),
    ],
)
def test_refused_text(text: str, message: str) -> None:
    with pytest.raises(KnobError) as error:
        Knobs.parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"batching": "all"}, {"max_batch": 0}, {"max_batch": 1.5}])
def test_refused_values(change: dict[str, Any]) -> None:
    with pytest.raises(KnobError, match=next(iter(change))):
        Knobs(**change)
    with pytest.raises(KnobError, match=next(iter(change))):
        replace(Knobs(), **change)


@pytest.mark.parametrize("value", [Knobs(), Sampling(), Request("1", (1,)), EngineConfig("m")])
def test_values_are_frozen(value: Any) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, getattr(value, field.name))


# Configuration


@pytest.mark.parametrize(
    "change",
    [
        {"page_size": 0},
        {"max_context": 1},
        {"kv_memory_mib": 0},
        {"kv_memory_mib": float("nan")},
        {"kv_memory_mib": float("inf")},
        {"dtype": "float16"},
        {"threads": -1},
    ],
    ids=str,
)
def test_refused_configuration(change: dict[str, Any]) -> None:
    ((name, value),) = change.items()
    with pytest.raises(EngineError, match=f"{name.split('_')[0]}.*{value}") as error:
        EngineConfig("model", **change)
    assert "\n" not in str(error.value)


# Requests

BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "the prompt is empty": {"prompt": ()},
    "token 61 is outside the vocabulary of 61": {"prompt": (1, 61)},
    "token -1 is outside the vocabulary of 61": {"prompt": (-1,)},
    "token 99 is outside the vocabulary of 61": {"output": (99,)},
    "max_tokens 0 is not 1 or more": {"max_tokens": 0},
    "max_tokens 2.5 is not a whole number": {"max_tokens": 2.5},
    "temperature -0.1 is not 0 or more": {"temperature": -0.1},
    "temperature nan is not 0 or more": {"temperature": float("nan")},
    "temperature inf is not 0 or more": {"temperature": float("inf")},
    "temperature '1' is not a number": {"temperature": "1"},
    "top_k -1 is not 0 (off) or more": {"top_k": -1},
    "top_k 1.0 is not a whole number": {"top_k": 1.0},
    "top_p 0 is not above 0 and at most 1": {"top_p": 0},
    "top_p 1.1 is not above 0 and at most 1": {"top_p": 1.1},
    "top_p nan is not above 0 and at most 1": {"top_p": float("nan")},
    "top_p None is not a number": {"top_p": None},
    "seed -1 is not between 0 and 2^63 - 1": {"seed": -1},
    "seed 9223372036854775808 is not between 0 and 2^63 - 1": {"seed": 2**63},
    "seed 1.5 is not a whole number": {"seed": 1.5},
    "stop token 61 is outside the vocabulary of 61": {"stop_token_ids": (4, 61)},
    "3 prompt tokens and 254 new ones exceed the context of 256": {"max_tokens": 254},
    "needs 17 pages of KV memory, there are 16: raise kv_memory_mib": {"max_tokens": 62},
}


@pytest.mark.parametrize("message", BAD_REQUESTS)
def test_a_refused_request_touches_nothing(toy_folder: Path, message: str) -> None:
    change = dict(BAD_REQUESTS[message])
    prompt, output = change.pop("prompt", (1, 2, 3)), change.pop("output", ())
    bad = Request("bad", prompt, Sampling(**change), output)
    engine = Toy().load(toy_folder, pages=16)
    good = [Request(str(i), (7, 8, 9, i), Sampling(max_tokens=6)) for i in range(3)]
    for request in good:
        engine.submit(request)
    engine.step()
    before = engine.snapshot((), 0)
    with pytest.raises(RequestError) as error:
        engine.submit(bad)
    assert str(error.value) == f"request 'bad': {message}"
    assert engine.snapshot((), 0) == before
    with pytest.raises(RequestError, match="no request is called 'bad'"):
        engine.tokens("bad")
    while engine.has_work:
        engine.step()
        engine.check()
    for request in good:
        assert engine.tokens(request.id) == Naive(Toy()).generate(request)


@pytest.mark.parametrize("token", [1.0, None, "a", (1,)])
@pytest.mark.parametrize("role", ["prompt", "output", "stop"])
def test_tokens_are_whole_numbers(role: str, token: object) -> None:
    tokens: Any = [1, token]
    make: Callable[[], object] = {
        "prompt": lambda: Request("1", tokens),
        "output": lambda: Request("1", (1,), output=tokens),
        "stop": lambda: Sampling(stop_token_ids=tokens),
    }[role]
    with pytest.raises(RequestError) as error:
        make()
    assert str(error.value) == f"{role} token {token!r} is not a whole number"


def test_tokens_of_any_integer_type_are_taken(toy_folder: Path) -> None:
    numpy = pytest.importorskip("numpy")
    plain = Request("1", (5, 6, 7, 8, 9), Sampling(max_tokens=3, stop_token_ids=(4,)))
    typed = Request(
        "1", numpy.arange(5, 10), Sampling(max_tokens=3, stop_token_ids=[numpy.int32(4)])
    )
    assert typed == plain
    assert {type(token) for token in typed.prompt} == {int}
    engine = Toy().load(toy_folder)
    engine.submit(typed)
    while engine.has_work:
        engine.step()
    assert engine.tokens("1") == Naive(Toy()).generate(plain)


def test_ids(toy_folder: Path) -> None:
    engine = Toy().load(toy_folder)
    request = Request("7", (1, 2), Sampling(max_tokens=3))
    engine.submit(request)
    with pytest.raises(RequestError, match="request '7' is already being served"):
        engine.submit(request)
    for call in (engine.tokens, engine.abort, engine.discard, engine.request):
        with pytest.raises(RequestError, match="no request is called '8'"):
            call("8")
    with pytest.raises(RequestError, match="request '7' is still being served"):
        engine.discard("7")
    while engine.has_work:
        engine.step()
    first = engine.tokens("7")
    engine.submit(request)  # its name is free again
    assert engine.tokens("7") == []
    while engine.has_work:
        engine.step()
    assert engine.tokens("7") == first
    engine.discard("7")
    with pytest.raises(RequestError, match="no request is called '7'"):
        engine.tokens("7")


@pytest.mark.parametrize("tokens", [[], [1] * 257, [61], [-1]])
def test_logits_refuse_what_cannot_be_run(toy_folder: Path, tokens: list[int]) -> None:
    with pytest.raises(RequestError):
        Toy().load(toy_folder).logits(tokens)


def test_logits_are_their_own_affair(toy_folder: Path) -> None:
    """As long as the context allows, in however little memory, whatever is running."""
    engine: Engine = Toy().load(toy_folder, pages=4)
    engine.submit(Request("1", (1, 2, 3), Sampling(max_tokens=5)))
    engine.step()
    before = engine.snapshot((), 0)
    tokens = [(7 * i) % 61 for i in range(256)]
    found = engine.logits(tokens)
    assert found.shape == (256, 61)
    expected = Naive(Toy()).logits(tokens)
    assert (found.double() - expected).abs().max() < 1e-5
    assert engine.snapshot((), 0) == before
