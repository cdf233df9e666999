"""A toy model that speaks the race's tokens, in a folder as users have them, and its engines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.config import EngineConfig, Knobs
from engine.training.tokenizer import save_tokenizer, train_tokenizer
from pitwall_tui.race.simulator import documents
from tests.engine.toy import Toy

VOCAB = 384

Start = Callable[..., EngineClient]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: its races are gibberish, its engine is the real one."""
    path = tmp_path_factory.mktemp("toy") / "toy"
    Toy(vocab=VOCAB, eos=1).save(path)
    texts = [text for pair in documents(1, 2) for text in pair]
    save_tokenizer(train_tokenizer(texts, VOCAB), path, 4096)
    return path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    clients: list[EngineClient] = []

    def starter(knobs: Knobs | None = None, **changes: object) -> EngineClient:
        config = EngineConfig(**{"model": str(folder), "kv_memory_mib": 1, **changes})  # type: ignore[arg-type]
        clients.append(EngineClient(config, knobs or Knobs()))
        return clients[-1]

    yield starter
    for client in clients:
        client.close()
