"""Each engine in a process of its own, told when to run.

All but one are blocked reading their pipe, so that no pool of threads runs beside another's.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from os import environ
from pathlib import Path
from typing import Any

# Decode steps of each turn that are not timed: first ones plan graphs and fill caches.
WARM_STEPS = 4


class PeerError(Exception):
    """One line that says what an engine could not do."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Decode steps of one engine, all requests together.

    `kernel_seconds` are those inside the engine's own C or C++ where there is one such call a
    step; `stages`, seconds of each stage of a step, and `read_bytes` are our engine's own figures.
    `tokens` are all that the first request was given, untimed ones included.
    """

    seconds: float
    steps: int
    requests: int
    tokens: tuple[int, ...]
    kernel_seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    read_bytes: int = 0

    @property
    def tokens_per_second(self) -> float:
        return self.steps * self.requests / self.seconds


def apart(module: str, name: str, *args: Any) -> Any:
    """Call a function in a process that ends then: no torch and no pools are left in this one."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_call, module, name, args).result()


def _call(module: str, name: str, args: tuple[Any, ...]) -> Any:
    return getattr(import_module(module), name)(*args)


class Child:
    """An object of another process. `variables` are set there, unless the environment has them,
    before its module is imported."""

    def __init__(
        self, home: str, args: Sequence[Any], variables: Mapping[str, str] | None = None
    ) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._home = home
        self._process = context.Process(
            target=_serve, args=(theirs, home, tuple(args), dict(variables or {})), daemon=True
        )
        self._process.start()
        theirs.close()
        self._answer()

    def call(self, method: str, *args: Any) -> Any:
        """What the method returns there; raises PeerError where it failed."""
        self._connection.send((method, args))
        return self._answer()

    def cpu_seconds(self) -> tuple[float, float]:
        """What all its threads together have run so far, and have waited for a core to run on."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        found = [task.read_text().split() for task in tasks]
        return sum(int(ran) for ran, *_ in found) / 1e9, sum(int(w) for _, w, _ in found) / 1e9

    def close(self) -> None:
        self._connection.close()  # it ends when it reads no more
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self) -> Any:
        try:
            failed, answer = self._connection.recv()
        except EOFError:
            raise PeerError(f"{self._home}: its process ended") from None
        if failed:
            raise PeerError(f"{self._home}: {answer}")
        return answer


def _serve(
    connection: Connection, home: str, args: tuple[Any, ...], variables: dict[str, str]
) -> None:
    for variable, value in variables.items():
        environ.setdefault(variable, value)
    module, name = home.split(":")
    served: Any = None
    while True:
        try:
            if served is None:
                served = getattr(import_module(module), name)(*args)
                answer = None
            else:
                method, given = connection.recv()
                answer = getattr(served, method)(*given)
            connection.send((False, answer))
        except EOFError:
            return
        except Exception as error:  # whatever it is, the parent shows it and ends
            connection.send((True, f"{type(error).__name__}: {error}"))
