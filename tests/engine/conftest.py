"""Toy models that many tests share, loaded once."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default toy's folder."""
    from tests.engine.toy import Toy

    return Toy().save(tmp_path_factory.mktemp("toys") / "default")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Products this small only wait for each other on two threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can be distilled from, and speaks the little documents' tokens."""
    from tests.engine.little import save_teacher

    return save_teacher(tmp_path_factory.mktemp("models") / "teacher")
