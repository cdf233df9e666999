"""Garbage is not looked for where there is none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations between two looks: a frame makes thousands of values and hardly a cycle.
_ALLOCATIONS = 10_000


@contextmanager
def loading() -> Iterator[None]:
    """While modules are loaded nothing becomes garbage; afterwards they are there to stay, and a
    look through all that lives does not hold up a frame for a tenth of a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_ALLOCATIONS)
        gc.enable()
