"""Which model drafts for which."""

from pathlib import Path

import pytest

from pitwall_tui.feed import settings as module
from pitwall_tui.feed.settings import CHIEF, RaceSettings


@pytest.fixture
def junior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "JUNIOR", tmp_path)
    return tmp_path


def test_the_chief_has_a_junior_where_there_is_one(
    junior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RaceSettings().engine_config().draft == str(junior)
    monkeypatch.chdir(CHIEF.parent)
    assert RaceSettings(model="chief").engine_config().draft == str(junior)
    monkeypatch.setattr(module, "JUNIOR", junior / "gone")
    assert RaceSettings().engine_config().draft is None


def test_another_model_drafts_only_with_what_it_is_given(junior: Path) -> None:
    assert RaceSettings(model="other").engine_config().draft is None
    assert RaceSettings(model="other", draft="small").engine_config().draft == "small"
    assert RaceSettings(draft="small").engine_config().draft == "small"
