import pytest

from pitwall_tui.race.simulator import documents


@pytest.fixture(scope="session")
def season() -> list[tuple[str, str]]:
    """The documents of 120 random races, 20 cars each."""
    return list(documents(seed=11, races=120))
