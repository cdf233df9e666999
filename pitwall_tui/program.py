"""A program in a terminal: from its first frame at a steady rate, until whatever end it has."""

import asyncio
import signal
import time
from contextlib import suppress
from typing import Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from pitwall_tui.cadence import Cadence

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 130


class Program(App[None], inherit_bindings=False):
    """Begins once the first frame is up, and closes exactly once, however it ends.

    Where `fps` is not 0, `take` is called so many times a second, and `draw` as often as the
    terminal and the machine keep up with.
    """

    def __init__(self, fps: float) -> None:
        super().__init__()
        self.fps = fps
        self._cadence = Cadence()
        self._ticked_at = 0.0
        self._interrupted = False
        self._has_closed = False

    def begin(self) -> None:
        """Start what is shown."""
        raise NotImplementedError

    def take(self) -> None:
        """Take what has been brought, little by little also where frames are few."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw one frame."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was begun."""
        raise NotImplementedError

    def tick(self) -> None:
        """Take what has been brought, and draw one frame."""
        self.take()
        self.draw()

    def on_ready(self) -> None:
        driver = self._driver
        if isinstance(driver, LinuxDriver):
            resume = driver._sigcont_application

            def resume_if_suspended(*_: Any) -> None:
                """A terminal that disappears continues its processes, too: whoever took the
                terminal again then would read from nothing, and wait for it for ever."""
                if driver._must_signal_resume:
                    resume()

            signal.signal(signal.SIGCONT, resume_if_suspended)
        self.call_after_refresh(self._begin)
        if self._interrupted:
            self.action_interrupt()

    def _begin(self) -> None:
        self.begin()
        if self.fps > 0:
            self._ticked_at = time.monotonic()
            self.set_interval(1 / self.fps, self._on_interval)

    def _on_interval(self) -> None:
        now = time.monotonic()
        lateness = now - self._ticked_at - 1 / self.fps
        self._ticked_at = now
        self.take()
        if self._cadence.due(lateness, self._is_writing()):
            self.draw()

    def _is_writing(self) -> bool:
        """Whether the terminal has yet to take a part of what was drawn last."""
        writer = getattr(self._driver, "_writer_thread", None)
        return writer is not None and not writer._queue.empty()

    def _on_signal(self) -> None:
        """At any moment: one that comes before the app is up is answered when it is."""
        self._interrupted = True
        if self.is_running:
            self.action_interrupt()

    def action_interrupt(self) -> None:
        self.exit(return_code=_INTERRUPTED)

    async def run_async(self, *args: Any, headless: bool = False, **kwargs: Any) -> None:
        if not headless:
            loop = asyncio.get_running_loop()
            for number in _SIGNALS:
                with suppress(NotImplementedError, RuntimeError, ValueError):
                    loop.add_signal_handler(number, self._on_signal)
        try:
            return await super().run_async(*args, headless=headless, **kwargs)
        finally:
            self._close_once()

    def on_unmount(self) -> None:
        self._close_once()

    def _close_once(self) -> None:
        if not self._has_closed:
            self._has_closed = True
            self.close()
