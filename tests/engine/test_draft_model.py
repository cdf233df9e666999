"""The draft model apart from the steps: read once, and let in only where requests keep room."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import draft_model
from engine.config import EngineConfig, EngineError, Knobs, ModelError, Request, Sampling
from engine.core import Engine
from engine.draft_model import DraftModel, check_room
from engine.formats import Formats
from tests.engine.toy import Toy

KNOBS = Knobs(kernels="torch")
PAGE = 4


@pytest.fixture(scope="module")
def target(toy_folder: Path) -> tuple[EngineConfig, Formats]:
    config = EngineConfig(str(toy_folder), page_size=PAGE, max_context=256)
    return config, Formats(config, KNOBS)


@pytest.fixture
def draft(target: tuple[EngineConfig, Formats]) -> DraftModel:
    config, formats = target
    return DraftModel(config, config.model, formats)


def test_two_threads_that_ask_at_once_read_it_once(
    draft: DraftModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step and what is built beside it: both find one and the same decoder."""
    read: list[EngineConfig] = []

    def reading(config: EngineConfig, knobs: Knobs) -> Formats:
        read.append(config)
        if len(read) == 1:
            second.start()  # it asks while this one reads
            second.join(0.2)
        return Formats(config, knobs)

    monkeypatch.setattr(draft_model, "Formats", reading)
    found = []
    second = Thread(target=lambda: found.append(draft.decoder(KNOBS)))
    found.append(draft.decoder(KNOBS))
    second.join()
    assert len(read) == 1
    assert found[0] is found[1]


def test_broken_weights_name_the_folder(
    target: tuple[EngineConfig, Formats], toy_folder: Path, tmp_path: Path
) -> None:
    config, formats = target
    (tmp_path / "config.json").write_bytes((toy_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    draft = DraftModel(config, str(tmp_path), formats)
    for _ in range(2):  # asked for again, it says so again
        with pytest.raises(ModelError, match="cannot be read") as error:
            draft.prepare(KNOBS)
        assert repr(str(tmp_path)) in str(error.value)
        assert not draft.ready(KNOBS)


@given(
    pages=st.integers(1, 40),
    lengths=st.lists(st.integers(2, 120), max_size=4),
    kv_dtype=st.sampled_from(["fp32", "int8"]),
)
def test_there_is_room_just_where_an_engine_that_starts_with_it_takes_the_requests(
    target: tuple[EngineConfig, Formats], pages: int, lengths: list[int], kv_dtype: str
) -> None:
    config, formats = target
    width = 4 * 2 * Toy().token_numbers * PAGE  # of the target's and the draft model's
    config = replace(config, kv_memory_mib=(pages + 0.5) * width / 2**20)
    engine = Engine(formats, replace(config, draft=config.model), KNOBS)
    taken = True
    for number, length in enumerate(lengths):
        try:
            engine.submit(Request(str(number), (5,), Sampling(length - 1)))
        except EngineError:
            taken = False
    draft = DraftModel(config, config.model, formats)
    if taken:
        check_room(draft, formats, config, kv_dtype, lengths)
    else:
        with pytest.raises(EngineError, match=f"there are {pages} of them"):
            check_room(draft, formats, config, kv_dtype, lengths)
