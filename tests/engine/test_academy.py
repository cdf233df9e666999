"""The academy in a process of its own, seen from outside."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engine.academy import (
    AcademyClient,
    AcademyNews,
    Cancelled,
    Done,
    Enrolled,
    Held,
    Lesson,
    Lost,
    Saved,
)
from engine.messages import Unusable
from tests.engine.test_lessons import course
from tests.live.test_client import PATIENCE, alive

Begin = Callable[..., AcademyClient]


@pytest.fixture
def begin(teacher: Path, tmp_path: Path) -> Iterator[Begin]:
    clients: list[AcademyClient] = []

    def starter(**changes: object) -> AcademyClient:
        clients.append(AcademyClient())
        run = course(teacher, tmp_path / "junior")
        clients[-1].start(replace(run, **{"nice": 0, **changes}))  # type: ignore[arg-type]
        return clients[-1]

    yield starter
    for client in clients:
        client.close()


def until(client: AcademyClient, *kinds: type) -> list[AcademyNews]:
    """All news up to the first of these kinds, and what came together with it."""
    found: list[AcademyNews] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        new = client.pull()
        found += new
        if any(isinstance(one, kinds) for one in new):
            return found
        time.sleep(0.005)
    raise AssertionError(f"nothing came of it: {found[-3:]}")


def gone(pid: int) -> bool:
    """Whether the process ends, however long that takes."""
    deadline = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    return not alive(pid)


def test_a_course_is_run_to_its_end_beside_us(begin: Begin, tmp_path: Path) -> None:
    client = begin()
    pid = client.pid
    assert pid is not None
    told = until(client, Done, Lost)
    assert isinstance(told[0], Enrolled)
    assert told[-1] == Done()
    assert Saved(str(tmp_path / "junior")) in told
    assert gone(pid)
    while client.pid is not None:  # the end is all that is left to hear of
        assert client.pull() == ()


def test_a_pause_loses_no_step_and_cancelling_leaves_no_file(begin: Begin, tmp_path: Path) -> None:
    client = begin(passes=4000, nice=5)
    pid = client.pid
    assert pid is not None
    until(client, Lesson)
    client.pause(True)
    held = until(client, Held)
    assert held[-1] == Held(True)  # nothing is told behind it
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 5
    client.pause(False)
    after = until(client, Lesson)
    assert after[0] == Held(False)
    last = [one.step for one in held if isinstance(one, Lesson)][-1:]
    following = [one.step for one in after if isinstance(one, Lesson)]
    assert not last or following[0] == last[0] + 1
    client.cancel()
    assert until(client, Cancelled, Lost)[-1] == Cancelled()
    assert gone(pid)
    assert list((tmp_path / "junior").glob("**/*")) == []
    assert client.pull() == ()


def test_a_paused_course_and_one_that_loads_end_when_they_are_told_to(begin: Begin) -> None:
    loading, paused = begin(), begin(passes=4000)
    loading.cancel()
    assert until(loading, Cancelled, Lost) == [Cancelled()]
    paused.pause(True)
    until(paused, Held)
    paused.cancel()
    assert until(paused, Cancelled, Lost)[-1] == Cancelled()


def test_a_killed_course_says_why_and_one_without_a_client_ends(begin: Begin) -> None:
    killed, left = begin(passes=4000), begin(passes=4000)
    assert killed.pid is not None
    assert left.pid is not None
    assert left._child is not None
    until(left, Lesson)
    left._child.connection.close()
    os.kill(killed.pid, signal.SIGKILL)
    assert until(killed, Lost)[-1] == Lost("killed by SIGKILL")
    assert killed.pid is None
    assert gone(left.pid)


def test_a_folder_that_cannot_be_written_is_one_line(
    begin: Begin, teacher: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    client = begin(out=str(tmp_path / "file" / "junior"))
    refused = until(client, Unusable, Lost)[-1]
    assert isinstance(refused, Unusable)
    assert refused.reason.startswith("cannot write to folder")
    assert "\n" not in refused.reason
