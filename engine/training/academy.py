"""The academy's own process: `python -m engine.training.academy FD` runs the course that comes.

It pauses between two steps, and ends when it is told to or when the other side is gone, whatever it
is computing: a thread listens from the start. Only a folder that is being written is waited for.
"""

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Lock, Thread

from engine.academy import AcademyNews, Course, Held
from engine.clock import PausableClock
from engine.config import EngineError
from engine.messages import Close, Pause, Unusable


class Reins:
    """What holds the course: pauses and the end. `saving` is held while a folder is written."""

    def __init__(self, connection: Connection) -> None:
        self.saving = Lock()
        self.clock = PausableClock()
        self._connection = connection
        self._going = Event()
        self._going.set()
        Thread(target=self._listen, daemon=True).start()

    def tell(self, news: AcademyNews) -> None:
        self._connection.send(news)

    def rest(self) -> None:
        """Between two steps: nothing, or a pause for as long as it takes."""
        if self._going.is_set():
            return
        self.clock.pause(True)
        self.tell(Held(True))
        self._going.wait()
        self.clock.pause(False)
        self.tell(Held(False))

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while not isinstance(message := self._connection.recv(), Close):
                if isinstance(message, Pause):
                    (self._going.clear if message.paused else self._going.set)()
        with self.saving:
            os._exit(0)


def _yield_to_others(nice: int) -> None:
    os.nice(nice)
    # Sessions may be scheduled as groups, each with a niceness of its own.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def main(descriptor: int) -> None:
    """Serve the socket `descriptor`: first comes a Course, then Pause and Close."""
    # The terminal's Ctrl-C is the client's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        course: Course = connection.recv()
        _yield_to_others(course.nice)
        reins = Reins(connection)
        try:
            from engine.training.lessons import run

            run(course, reins)
        except EngineError as error:
            reins.tell(Unusable(str(error)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
