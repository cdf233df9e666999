"""How a process beside us is ended: by itself where it is given the time, by force where not."""

import signal
from pathlib import Path

import pytest

from engine.child import Child
from engine.messages import Close

# Ends itself a while after it was told to, as one does that has a folder to finish.
LINGERING = """
import sys, time
from multiprocessing.connection import Connection

connection = Connection(int(sys.argv[1]))
connection.send("here")
connection.recv()
time.sleep(0.5)
"""


@pytest.mark.parametrize(("grace", "status"), [(0.05, -signal.SIGKILL), (60.0, 0)])
def test_it_is_waited_for_as_long_as_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: float, status: int
) -> None:
    (tmp_path / "lingering.py").write_text(LINGERING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child("lingering", grace)
    assert child.receive(60.0) == ["here"]
    child.close(Close())
    assert child.process.returncode == status
