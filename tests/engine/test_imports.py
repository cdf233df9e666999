"""What loads what, told by a fresh interpreter: linters do not see deferred imports."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = (
    "engine",
    "engine.config",
    "engine.stats",
    "engine.plan",
    "engine.pages",
    "engine.prefix",
    "engine.sequence",
    "engine.planner",
    "engine.academy",
    "engine.child",
    "engine.client",
    "engine.scheme",
    "engine.flops",
    "engine.footprint",
    "engine.studies",
    "tests.engine.course",
)


def loaded(code: str) -> set[str]:
    """Top-level modules in memory after running `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_planning_needs_no_torch(module: str) -> None:
    found = loaded(f"import {module}")
    assert "engine" in found
    assert not found & {"torch", "numpy", "safetensors", "textual", "rich", "pitwall_tui"}


def test_values_come_without_torch_and_the_engine_with_it() -> None:
    assert "torch" not in loaded(
        "from engine import EngineConfig, Knobs, Request, RequestError, Sampling, StepStats"
    )
    assert "torch" in loaded("from engine import Engine")


def test_the_whole_engine_knows_no_terminal_and_no_race() -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "engine").rglob("*.py")
        if path.name != "__init__.py"
    )
    assert {"engine.core", "engine.kernels.attention", "engine.training.run"} <= set(modules)
    code = "\n".join(f"import {module}" for module in modules)
    assert not loaded(code) & {"textual", "rich", "pitwall_tui"}


def test_names_that_do_not_exist_are_refused() -> None:
    import engine

    with pytest.raises(AttributeError, match="'engine' has no attribute 'Motor'"):
        engine.Motor  # noqa: B018
    for name in engine.__all__:
        assert getattr(engine, name).__name__ == name
