"""The wall in a terminal: everything pressed, every size, and nothing left behind at any end."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pitwall_tui.commands import DEFAULTS, KNOB_KEY, KNOB_KEYS, turned
from pitwall_tui.feed.reading import events_of
from pitwall_tui.race.events import Progress
from tests.engine.compiled import CC, SMALL
from tests.live.conftest import VOCAB
from tests.live.terminal import Terminal

pytestmark = pytest.mark.terminal

MOUSE = (1000, 1003, 1006, 1015)
ON_WHILE_IT_RUNS = (1049, 2004, 1004, *MOUSE)
# By the key that opens it, a word that stands on each page alone.
PAGES = {
    "f2": "BLOCK TABLES",
    "f3": "BY MODE",
    "f4": "LAYERS",
    "f5": "BY DRAFT LENGTH",
    "f6": "HELD OUT",
    "f7": "ROOFLINE",
    "f8": "SPEED OVER MEMORY",
    "r": "CLASSIFICATION",
    "?": "PANELS",
}

Open = Callable[..., Terminal]


@pytest.fixture(scope="module")
def folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy that the native kernels take, and whose texts have no end but their longest."""
    path = tmp_path_factory.mktemp("wide") / "toy"
    replace(SMALL, vocab=VOCAB, eos=None).save(path)
    shutil.copy(folder / "tokenizer.json", path)
    return path


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Terminals of a user who has left the guide, and who keeps nothing of what is tried here."""
    state = tmp_path / "state" / "pitwall" / "wall.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"guide": "left"}')
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "COLORTERM": "truecolor"}
    terminals: list[Terminal] = []

    def start(*args: object) -> Terminal:
        terminals.append(Terminal(("-m", "pitwall_tui.cli", *args), environment=environment))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.kill()


def race(folder: Path, *options: object) -> tuple[object, ...]:
    """One that goes on for as long as a test does."""
    settings = ("--laps", 50, "--cars", 4, "--kv-memory-mib", 16, "--pace", 60, "--seed", 3)
    return ("race", "--model", folder, "--draft", folder, *settings, *options)


def racing(terminal: Terminal) -> None:
    """Until cars are on the track, and all of it is on the screen."""
    terminal.until(lambda: "TRACK" in terminal.picture.text, "the race")
    terminal.until(lambda: "GREEN" in terminal.picture.rows[0], "the green flag")
    assert terminal.picture.painted
    assert all(terminal.picture.modes[mode] for mode in ON_WHILE_IT_RUNS)
    assert not terminal.picture.modes[25]


def taught(terminal: Terminal) -> None:
    """Until the process of a course is at work beside the race."""
    terminal.press("f6", "enter")
    terminal.until(lambda: "LOADING" in terminal.picture.text, "a course")
    terminal.until(lambda: len(modules(terminal)) == 3, "its process")
    assert sorted(modules(terminal)) == ["engine.training.academy", "engine.worker", "pitwall_tui"]


def modules(terminal: Terminal) -> list[str]:
    return [command.split()[2].removesuffix(".cli") for command in terminal.processes().values()]


def restored(terminal: Terminal) -> None:
    """As it was before: the usual screen, the cursor, no mouse, and a line that echoes."""
    modes = terminal.picture.modes
    assert not any(modes[mode] for mode in ON_WHILE_IT_RUNS)
    assert modes[25]
    assert terminal.attributes() == terminal.before
    assert "Traceback" not in terminal.written


def test_every_knob_every_page_every_size(opened: Open, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "race.jsonl.gz"
    terminal = opened(*race(folder, "--record", file))
    picture = terminal.picture
    racing(terminal)
    turnable = [knob.name for knob in KNOB_KEYS if CC or knob.name != "kernels"]
    for knob in (KNOB_KEY[name] for name in turnable):
        before = picture.rows[-2]
        terminal.press(knob.key)
        terminal.until(
            lambda before=before: picture.rows[-2] != before and "→" not in picture.rows[-2],
            f"a step with another {knob.name}",
        )
    for key, word in PAGES.items():
        terminal.press(key)
        terminal.until(lambda word=word: word in picture.text, key)
    terminal.press("q")  # closes help, and nothing else
    terminal.until(lambda: PAGES["?"] not in picture.text, "the end of help")
    # At 80x24 the classification has all rows, and no foot that says how to quit.
    for size, word in (((80, 24), PAGES["r"]), ((60, 10), "needs 80x24"), ((200, 60), "quit")):
        terminal.resize(*size)
        terminal.until(
            lambda word=word: picture.painted and word in picture.text, f"a whole picture of {size}"
        )
    terminal.press("f1")
    terminal.until(lambda: "TRACK" in picture.text, "the race")
    terminal.press("q")
    assert terminal.ends() == 0
    restored(terminal)
    assert terminal.processes() == {}
    told = [event.snapshot for event in events_of(file) if isinstance(event, Progress)]
    used = [step.knobs.as_dict() for snapshot in told for step in snapshot.steps]
    for name in turnable:
        values = [str(knobs[name]) for knobs in used]
        assert values[0] == DEFAULTS[name]
        assert values[-1] == turned(name, DEFAULTS[name])


def test_all_of_a_race_with_a_course_ends_with_its_key(opened: Open, folder: Path) -> None:
    terminal = opened(*race(folder))
    racing(terminal)
    taught(terminal)
    terminal.press("q")
    assert terminal.ends() == 0
    restored(terminal)
    assert terminal.processes() == {}


def test_a_race_with_a_course_ends_when_it_is_told_to(opened: Open, folder: Path) -> None:
    terminal = opened(*race(folder))
    racing(terminal)
    taught(terminal)
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.ends() == 130
    restored(terminal)
    assert terminal.processes() == {}


def test_a_race_with_a_course_ends_with_its_terminal(opened: Open, folder: Path) -> None:
    terminal = opened(*race(folder))
    racing(terminal)
    taught(terminal)
    terminal.close()
    terminal.ends()
    assert terminal.processes() == {}


def test_a_terminal_that_goes_while_the_race_ends_leaves_nothing(
    opened: Open, folder: Path
) -> None:
    terminal = opened(*race(folder))
    racing(terminal)
    terminal.press("q")
    terminal.until(lambda: not terminal.picture.modes[1049], "the usual screen")
    terminal.close()
    terminal.ends()
    assert terminal.processes() == {}


def test_the_demo_is_played_gone_to_and_fro_in_and_left(opened: Open) -> None:
    terminal = opened("--demo")
    picture = terminal.picture
    terminal.until(lambda: "REPLAY" in picture.text and picture.painted, "the demo")
    places = []
    for key in ("8", "2", "right", "end", "0"):
        before = picture.rows[-3]
        terminal.press(key)
        terminal.until(lambda before=before: picture.rows[-3] != before, f"the place after {key}")
        places.append(picture.rows[-3])
    assert len(set(places)) == len(places)
    assert modules(terminal) == ["pitwall_tui"]
    terminal.press("q")
    assert terminal.ends() == 0
    restored(terminal)
    assert terminal.processes() == {}
