"""Garbage is not looked for where there is none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations between two looks, and how many of those come before one at older things: a frame
# makes thousands of values and hardly a cycle, but a page that is closed is one.
_LOOKS = 10_000, 5, 4


@contextmanager
def loading() -> Iterator[None]:
    """While modules are loaded nothing becomes garbage."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def settle() -> None:
    """What is loaded by now stays: a look through all of it would hold up a frame for a tenth of a
    second."""
    gc.freeze()
    gc.set_threshold(*_LOOKS)
