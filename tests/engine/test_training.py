"""Training: tokenizer, packing, chunks, model, loop, checkpoints, folders."""

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from engine.config import EngineError
from engine.training import data
from engine.training.card import write_card
from engine.training.data import Position, Stream, batches, chunk_reader, document_seed
from engine.training.folder import INDEX, WEIGHTS, join_shards, save_model
from engine.training.model import Llama
from engine.training.optimizer import orthogonalized
from engine.training.run import choose_device, train
from engine.training.settings import RECIPES, TrainSettings
from engine.training.tokenizer import BEGIN, END, encode, token_id, train_tokenizer
from engine.training.trainer import Batch, Noise, Progress, fit, rate_share
from pitwall_tui import cli
from tests.engine.little import MICRO, SHAPE, SOURCE, TOKENIZER, documents, silent

pytestmark = pytest.mark.usefixtures("one_thread")

LINES = st.text(st.characters(codec="utf-8")).map(lambda text: text + "\n")


def micro_settings(out: Path, **changes: Any) -> TrainSettings:
    return replace(TrainSettings(MICRO, out, workers=0, device="cpu"), **changes)


# --- tokenizer


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


@given(LINES, st.text(st.characters(codec="utf-8")))
def test_whole_lines_are_a_token_prefix(lines: str, rest: str) -> None:
    def ids(text: str) -> list[int]:
        return list(TOKENIZER.encode(text, add_special_tokens=False).ids)

    assert ids(lines + rest) == ids(lines) + ids(rest)


def test_no_token_holds_two_digits_or_crosses_a_line() -> None:
    for token in TOKENIZER.get_vocab():
        text = TOKENIZER.decode([token_id(TOKENIZER, token)], skip_special_tokens=False)
        if not text.startswith("<|"):
            assert sum(letter.isdigit() for letter in text) <= 1
            assert text == "\n" or "\n" not in text


def test_vocabulary_is_exact_and_training_repeats() -> None:
    again = train_tokenizer((text for pair in documents(1, 8) for text in pair), SHAPE.vocab)
    assert again.to_str() == TOKENIZER.to_str()
    assert TOKENIZER.get_vocab_size() == SHAPE.vocab
    with pytest.raises(EngineError, match="vocabulary 100"):
        train_tokenizer(["text"], 100)


def test_documents_begin_and_end() -> None:
    prompt, body = encode(TOKENIZER, "CAR 07\n", "L01\n")
    assert prompt[0] == token_id(TOKENIZER, BEGIN)
    assert body[-1] == token_id(TOKENIZER, END)
    assert TOKENIZER.decode(prompt + body) == "CAR 07\nL01\n"


# --- packing and batches

LENGTHS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 30)), min_size=1, max_size=30)


@given(LENGTHS, st.integers(20, 60))
def test_packing_keeps_documents_whole_and_marks_bodies(
    lengths: list[tuple[int, int]], row_length: int
) -> None:
    # Every token is its own number, so a document can be told wherever it lies.
    numbers = iter(range(10, 10_000))
    pairs = [
        ([next(numbers) for _ in range(head)], [next(numbers) for _ in range(tail)])
        for head, tail in lengths
    ]
    rows = data.pack(pairs, row_length, pad=1)
    expected = Counter(
        (tuple(head), tuple((head + tail)[:row_length][len(head) :])) for head, tail in pairs
    )
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for tokens, positions, trained in zip(rows.tokens, rows.positions, rows.trained, strict=True):
        starts = [*np.flatnonzero(positions == 0), row_length]
        for start, end in pairwise(starts):
            assert positions[start:end].tolist() == list(range(end - start))
            ids, marks = tokens[start:end], trained[start:end]
            if ids[0] == 1:
                assert (ids == 1).all()
                assert not marks.any()
            else:
                found[tuple(ids[~marks].tolist()), tuple(ids[marks].tolist())] += 1
    assert found == expected


@given(LENGTHS, st.integers(60, 100))
def test_labels_are_the_next_body_tokens_and_bounds_the_documents(
    lengths: list[tuple[int, int]], row_length: int
) -> None:
    pairs = [([5] * head, [7 + index] * tail) for index, (head, tail) in enumerate(lengths)]
    rows = data.pack(pairs, row_length, pad=1)
    batch = Batch.of(rows, torch.device("cpu"))
    counts = Counter(batch.labels.flatten().tolist())
    del counts[-100]
    assert counts == {7 + index: tail for index, (_, tail) in enumerate(lengths)}
    labelled = batch.labels >= 0
    follows = torch.zeros_like(labelled)
    follows[:, :-1] = batch.positions[:, 1:] == batch.positions[:, :-1] + 1
    assert bool(follows[labelled].all())  # never the first token of another document
    bounds = batch.bounds.tolist()
    assert bounds == sorted(bounds)
    assert bounds[-1] == rows.tokens.size
    assert set(bounds[:-1]) - {rows.tokens.size} == set(np.flatnonzero(rows.positions == 0))


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.integers(1, 4))
def test_labels_after_a_mark_weigh_less(tokens: list[int], count: int) -> None:
    weights = Noise(mark=0, count=count, weight=0.25).weights(np.array([tokens]))
    for slot, weight in enumerate(weights[0].tolist()):
        after = 0 in tokens[max(0, slot - count + 1) : slot + 1]
        assert weight == (0.25 if after else 1.0)


CHUNKS = st.tuples(
    st.integers(0, 2**16 - 1), st.sampled_from(list(Stream)), st.integers(0, 2**26 - 1)
)


@given(CHUNKS, CHUNKS)
def test_document_seeds_are_disjoint_and_fit_63_bits(
    one: tuple[int, Stream, int], other: tuple[int, Stream, int]
) -> None:
    first, second = document_seed(*one), document_seed(*other)
    assert 0 <= first < 2**63
    assert one == other or abs(first - second) >= 2**16


def test_chunks_are_the_same_from_a_worker_process_and_from_any_position() -> None:
    with chunk_reader(SOURCE, workers=0, start=0) as read:
        supply = batches(read, Position(), rows=3)
        alone = [next(supply) for _ in range(6)]
    assert len({position.chunk for _, position in alone}) > 1
    with chunk_reader(SOURCE, workers=1, start=0) as read:
        supply = batches(read, Position(), rows=3)
        for rows, position in alone:
            other, at = next(supply)
            assert (other.tokens == rows.tokens).all()
            assert at == position
    start = alone[3][1]
    with chunk_reader(SOURCE, workers=0, start=start.chunk) as read:
        supply = batches(read, start, rows=3)
        for rows, position in alone[4:]:
            other, at = next(supply)
            assert (other.tokens == rows.tokens).all()
            assert (other.trained == rows.trained).all()
            assert at == position


# --- model and optimizer


def fresh_model(seed: int = 3) -> Llama:
    model = Llama(SHAPE)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def test_packed_documents_do_not_see_each_other() -> None:
    model = fresh_model()
    pairs = [encode(TOKENIZER, *pair) for pair in documents(5, 2)]
    batch = Batch.of(data.pack(pairs, 256, pad=1), torch.device("cpu"))
    logits = model(batch.tokens, batch.positions, batch.bounds).flatten(0, 1)
    for start, end in pairwise(batch.bounds.tolist()):
        if start < end:
            ids = batch.tokens.flatten()[None, start:end]
            length = torch.arange(end - start)
            alone = model(ids, length[None], torch.tensor([0, end - start], dtype=torch.int32))
            torch.testing.assert_close(logits[start:end], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 48, 16), (1, 16, 48), (3, 32, 32)])
def test_orthogonalized_singular_values_are_about_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalized(matrices))
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.4


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_rates_warm_up_and_down(step: int, early: float, late: float) -> None:
    recipe = RECIPES["chief"]
    early, late = sorted((early, late))
    assert 0 <= rate_share(step, late, recipe) <= rate_share(step, early, recipe) <= 1
    assert rate_share(step, early, recipe) <= rate_share(step + 1, early, recipe)
    assert rate_share(step, 1.0, recipe) == 0
    assert rate_share(recipe.warmup_steps, 1 - recipe.warmdown, recipe) == 1


# --- the loop


def test_training_learns_far_more_than_frequencies(tmp_path: Path) -> None:
    facts = train(documents, micro_settings(tmp_path / "model"), silent)
    bodies = [encode(TOKENIZER, *pair)[1] for pair in documents(999, 60)]
    counts = Counter(token for body in bodies for token in body)
    total = sum(counts.values())
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    held_out = facts["held_out"]
    assert isinstance(held_out, dict)
    assert held_out["nats_per_token"] < 0.5 * entropy
    assert held_out["accuracy"] > 0.7
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        *("config.json", "generation_config.json", WEIGHTS, "tokenizer.json"),
        *("tokenizer_config.json", "training.json", "README.md"),
    }
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{held_out['nats_per_token']:.4f}" in card
    assert "Not measured yet." in card
    quality = tmp_path / "quality.json"
    quality.write_text(json.dumps({"legal_lines": 0.998, "lap_time": {"worst_gap_s": 0.12}}))
    write_card(tmp_path / "model", quality)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| legal lines | 0.998 |" in card
    assert "| lap time worst gap s | 0.12 |" in card


class StopError(Exception):
    """Stands for the power cut."""


def test_a_resumed_run_is_equal_to_the_bit(tmp_path: Path) -> None:
    def trained(settings: TrainSettings, stop_after: int | None = None) -> tuple[Llama, Progress]:
        model = Llama(SHAPE)
        model.initialize(1)
        readings = iter(range(10_000))

        def clock() -> float:
            now = next(readings)
            if now == stop_after:
                raise StopError
            return float(now)

        return model, fit(model, SOURCE, settings, silent, clock)

    budget = 12 * MICRO.rows_per_step * MICRO.row_length
    whole, end = trained(micro_settings(tmp_path, tokens=budget))
    assert end.step == 12
    cut = micro_settings(
        tmp_path, tokens=budget, checkpoint=tmp_path / "saved", checkpoint_minutes=0
    )
    with pytest.raises(StopError):
        trained(cut, stop_after=6)
    resumed, again = trained(cut)
    assert (again.step, again.tokens, again.position) == (end.step, end.tokens, end.position)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name

    with pytest.raises(EngineError, match="another run"):
        trained(replace(cut, seed=8))
    (tmp_path / "saved" / "training.pt").write_bytes(b"no checkpoint")
    with pytest.raises(EngineError, match="cannot read checkpoint"):
        trained(cut)


def test_a_budget_in_minutes_ends_on_time(tmp_path: Path) -> None:
    model = Llama(SHAPE)
    model.initialize(1)
    seconds = iter(range(0, 10_000, 10))
    run = micro_settings(tmp_path, minutes=1.0)
    progress = fit(model, SOURCE, run, silent, lambda: float(next(seconds)))
    assert progress.step == 6
    assert progress.seconds == 60


def test_divergence_is_an_error(tmp_path: Path) -> None:
    model = Llama(SHAPE)
    model.initialize(1)
    with torch.no_grad():
        model.norm.weight.fill_(math.nan)
    with pytest.raises(EngineError, match="diverged"):
        fit(model, SOURCE, micro_settings(tmp_path), silent)


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": 5, "minutes": 1.0},
        {"tokens": 0},
        {"minutes": 0.0},
        {"minutes": math.nan},
        {"seed": -1},
        {"workers": -1},
        {"shard_mib": 0},
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EngineError):
        micro_settings(Path("unused"), **changes)


def test_bad_places_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="cannot write to folder"):
        train(documents, micro_settings(tmp_path / "file" / "model"), silent)
    with pytest.raises(EngineError, match="choose auto, cpu or cuda"):
        choose_device("tpu")


@pytest.mark.parametrize(
    "options", [["--seed", "-1"], ["--minutes", "0"], ["--tokens", "0"], ["--workers", "-2"]]
)
def test_the_command_says_in_one_line_what_is_wrong(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = cli.main(["train", "--size", "tiny", "--out", str(tmp_path / "new"), *options])
    said = capsys.readouterr().err
    assert status == 2
    assert said.count("\n") == 1
    assert options[0].strip("-") in said
    assert not (tmp_path / "new").exists()


# --- folders


@pytest.mark.parametrize("sharded", [False, True])
def test_a_saved_folder_gives_the_same_logits(tmp_path: Path, sharded: bool) -> None:
    shape = replace(SHAPE, ffn=4096) if sharded else SHAPE
    model = Llama(shape)
    model.initialize(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    save_model(model, TOKENIZER, tmp_path, 1 if sharded else None)
    if sharded:
        shards = list(tmp_path.glob("model-*.safetensors"))
        assert len(shards) > 1
        assert all(path.stat().st_size < 1.1 * 2**20 for path in shards)
        join_shards(tmp_path)
    assert not (tmp_path / INDEX).exists()
    assert [path.name for path in tmp_path.glob("model*")] == [WEIGHTS]
    weights = load_file(tmp_path / WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    other = Llama(shape)
    other.load_state_dict({name.removeprefix("model."): w for name, w in weights.items()})
    ids = torch.arange(20)[None]
    bounds = torch.tensor([0, 20], dtype=torch.int32)
    assert torch.equal(model(ids, ids, bounds), other(ids, ids, bounds))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["vocab_size"] == shape.vocab == TOKENIZER.get_vocab_size()
    assert config["eos_token_id"] == token_id(TOKENIZER, END)
