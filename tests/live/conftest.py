"""A toy model that speaks the race's tokens, in a folder as users have them."""

from pathlib import Path

import pytest

from engine.training.tokenizer import save_tokenizer, train_tokenizer
from pitwall_tui.race.simulator import documents
from tests.engine.toy import Toy

VOCAB = 384


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: its races are gibberish, its engine is the real one."""
    path = tmp_path_factory.mktemp("toy") / "toy"
    Toy(vocab=VOCAB, eos=1).save(path)
    texts = [text for pair in documents(1, 2) for text in pair]
    save_tokenizer(train_tokenizer(texts, VOCAB), path, 4096)
    return path
