"""The academy's feed: which course it asks for, and what becomes of its junior."""

from pathlib import Path

import pytest

from engine.academy import AcademyNews, Course, Done
from engine.messages import Unusable
from pitwall_tui.feed import academy
from pitwall_tui.feed.academy import LiveAcademy


class Client:
    """Runs no course; keeps what it was asked for."""

    asked: list[object]

    def __init__(self) -> None:
        Client.asked = []

    def start(self, course: Course) -> None:
        self.asked.append(course)

    def pull(self) -> tuple[AcademyNews, ...]:
        return (Done(),)

    def pause(self, paused: bool) -> None:
        self.asked.append(paused)

    def cancel(self) -> None:
        self.asked.append("cancel")

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture(autouse=True)
def _without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(academy, "AcademyClient", Client)


def course() -> Course:
    found = Client.asked[-1]
    assert isinstance(found, Course)
    return found


def saved(folder: str) -> Path:
    """What a course leaves."""
    path = Path(folder)
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


def test_juniors_without_a_folder_end_with_the_wall() -> None:
    school = LiveAcademy("models/chief")
    school.start()
    assert course().teacher == "models/chief"
    out = saved(course().out)
    school.start()
    assert Path(course().out).parent == out.parent
    school.close()
    assert not out.parent.exists()
    assert Client.asked[-1] == "close"
    school.close()


def test_each_course_has_a_folder_of_its_own(tmp_path: Path) -> None:
    for folder in (None, str(tmp_path)):
        school = LiveAcademy("models/chief", folder)
        school.start()
        first = saved(course().out)
        school.start()
        second = Path(course().out)
        assert second.parent == first.parent
        assert (first.name, second.name) == ("academy-1", "academy-2")
        school.start()  # the second was cancelled and has left nothing
        assert Path(course().out) == second
        school.close()


def test_juniors_with_a_folder_stay_and_are_written_over_by_none(tmp_path: Path) -> None:
    for number in (1, 2):
        school = LiveAcademy("models/chief", str(tmp_path))
        school.start()
        assert saved(course().out) == tmp_path / f"academy-{number}"
        school.close()
        assert (tmp_path / f"academy-{number}").is_dir()


def test_commands_are_passed_on() -> None:
    school = LiveAcademy("models/chief", "mine")
    school.pause(True)
    school.cancel()
    assert Client.asked == [True, "cancel"]
    assert school.pull() == (Done(),)


def test_a_disk_without_room_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(academy.tempfile, "TemporaryDirectory", full)
    school = LiveAcademy("models/chief")
    school.start()
    refused, *_ = school.pull()
    assert isinstance(refused, Unusable)
    assert refused.reason == "cannot start the academy: [Errno 28] No space left on device"
    assert school.pull() == (Done(),)
    school.close()
