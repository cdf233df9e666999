"""The engine: a small LLM serving engine for the Llama family, in torch.

Names are loaded on first use, so that configuration, planner, statistics and the client of
the engine's process can be imported without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config import (
        EngineConfig,
        EngineError,
        KnobError,
        Knobs,
        ModelError,
        Request,
        RequestError,
        Sampling,
    )
    from engine.core import Engine
    from engine.stats import EngineSnapshot, StepStats

_HOME = {
    "Engine": "engine.core",
    "EngineConfig": "engine.config",
    "EngineError": "engine.config",
    "EngineSnapshot": "engine.stats",
    "KnobError": "engine.config",
    "Knobs": "engine.config",
    "ModelError": "engine.config",
    "Request": "engine.config",
    "RequestError": "engine.config",
    "Sampling": "engine.config",
    "StepStats": "engine.stats",
}

__all__ = [
    "Engine",
    "EngineConfig",
    "EngineError",
    "EngineSnapshot",
    "KnobError",
    "Knobs",
    "ModelError",
    "Request",
    "RequestError",
    "Sampling",
    "StepStats",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
