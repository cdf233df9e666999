"""The engine from another process: starts it, talks to it, ends it. Imports no torch."""

from engine.child import Child
from engine.config import EngineConfig, Knobs, Request
from engine.messages import (
    Answer,
    Close,
    Pace,
    Pause,
    Pull,
    Ready,
    Reset,
    SetDraft,
    SetKnobs,
    Snapshot,
    Study,
    Submit,
)


class EngineClient:
    """An engine in a process of its own.

    Nothing here blocks but `close`, and `pull` while it finds out how a lost engine ended.
    """

    def __init__(self, config: EngineConfig, knobs: Knobs) -> None:
        self._child = Child("engine.worker")
        self._child.send((config, knobs))
        self._asked = False
        self._loading = True

    @property
    def pid(self) -> int:
        return self._child.process.pid

    def submit(self, requests: tuple[Request, ...]) -> None:
        self._child.send(Submit(requests))

    def reset(self) -> None:
        """Abort and forget every request."""
        self._child.send(Reset())

    def set_knobs(self, knobs: Knobs) -> None:
        self._child.send(SetKnobs(knobs))

    def set_draft(self, folder: str) -> None:
        """Have the model in this folder draft: Drafting comes once it does, DraftRefusal where it
        cannot."""
        self._child.send(SetDraft(folder))

    def pause(self, paused: bool) -> None:
        self._child.send(Pause(paused))

    def pace(self, tokens_per_second: float) -> None:
        self._child.send(Pace(tokens_per_second))

    def study(self, layer: str, scheme: str) -> None:
        self._child.send(Study(layer, scheme))

    def pull(self, timeout: float = 0.0) -> tuple[Answer, ...]:
        """What has come in since the last call; asks for the next snapshot.

        One request is under way at most, so the engine is never flooded. `timeout` seconds are
        waited for something to come. Raises ProcessLostError.
        """
        if not self._asked:
            self._child.send(Pull())
            self._asked = True
        answers: list[Answer] = self._child.receive(timeout)
        for answer in answers:
            self._loading &= not isinstance(answer, Ready)
            if isinstance(answer, Snapshot):
                self._asked = False
        return tuple(answers)

    def close(self) -> None:
        """End the process, by force if it does not end by itself; can be called twice.

        One that still loads listens to nobody, and has nothing to finish.
        """
        self._child.close(Close(), at_once=self._loading)
