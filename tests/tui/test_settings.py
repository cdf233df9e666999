"""config.toml: what may stand in it, what is refused and how, and who has the last word."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs import user_config_path
from textual.theme import BUILTIN_THEMES

from engine.config import Knobs
from pitwall_tui.cli import main
from pitwall_tui.cli.race import race_settings
from pitwall_tui.cli.wall import open_wall, pick_ascii, pick_fps, pick_theme
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.memory import Memory, state_file
from pitwall_tui.race.errors import RaceError
from pitwall_tui.settings import _RACE, _WALL, Settings, config_file, parse_settings, read_settings
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState

ROOT = Path(__file__).parents[2]
FULL = """
[wall]
theme = "pitwall-light"
fps = 4
glyphs = "ascii"
bell = true

[race]
circuit = "spa"
laps = 20
cars = 12
seed = 3
temperature = 1
kv_memory_mib = 64.5
pace = 200
knobs = { batching = "static", max_batch = 8, kv_cache = false }

[keys]
theme = "T"
"""


def asked(**options: object) -> argparse.Namespace:
    return argparse.Namespace(**options)


def test_everything_that_may_be_set_is_taken() -> None:
    settings = parse_settings(FULL)
    assert (settings.theme, settings.fps) == ("pitwall-light", 4)
    assert (settings.glyphs, settings.bell) == ("ascii", True)
    assert {command.id: command.keys for command in settings.keys.commands}["theme"] == "T"
    race = race_settings(asked(), settings)
    assert (race.circuit, race.laps, race.cars, race.seed) == ("spa", 20, 12, 3)
    assert (race.temperature, race.kv_memory_mib, race.pace) == (1, 64.5, 200)
    assert race.knobs == Knobs(batching="static", max_batch=8, kv_cache="off")


def test_an_empty_file_sets_nothing() -> None:
    assert parse_settings("") == Settings()
    assert race_settings(asked(), Settings()) == RaceSettings()


@pytest.mark.parametrize("theme", [*BUILTIN_THEMES, "pitwall-contrast"])
def test_every_theme_can_be_had(theme: str) -> None:
    assert parse_settings(f'[wall]\ntheme = "{theme}"').theme == theme


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[wal]", "there is no table [wal]; nearest is wall"),
        ("wall = 1", "wall is a table"),
        ("fps = 5", "there is no table [fps]; nearest is"),
        ("[wall]\nthem = 1", "wall.them is no setting; nearest is theme"),
        ('[wall]\ntheme = "pitwall-ligth"', 'wall.theme = "pitwall-ligth": there is none; nearest'),
        ("[wall]\ntheme = 3", "wall.theme = 3: give text in quotes"),
        ("[wall]\nbell = 1", "wall.bell = 1: give true or false"),
        ("[wall]\nfps = 0", "wall.fps = 0: give 1 to 30"),
        ("[wall]\nfps = nan", "wall.fps = nan: give 1 to 30"),
        ("[wall]\nfps = true", "wall.fps = true: give a number"),
        ('[wall]\nglyphs = "asci"', 'wall.glyphs = "asci": there is none; nearest is ascii'),
        ("[race]\nlap = 5", "race.lap is no setting; nearest is laps"),
        ('[race]\nlaps = "5"', 'race.laps = "5": give a whole number'),
        ("[race]\nlaps = true", "race.laps = true: give a whole number"),
        ("[race]\nlaps = 500", "laps 500: monza takes"),
        ("[race]\ncars = 21", "cars 21"),
        ('[race]\ncircuit = "monca"', "monca"),
        ('[race]\nknobs = "kv_cache=off"', "race.knobs is a table"),
        ("[race.knobs]\nkvcache = false", "race.knobs.kvcache is no knob; nearest is kv_cache"),
        ('[race.knobs]\nbatching = "never"', "'never' is not one of none, static, continuous"),
        ("[race.knobs]\nmax_batch = 0", "0 is too small"),
        ("[keys]\nthemes = 't'", "keys.themes is no setting; nearest is theme"),
        ("[keys]\ntheme = 5", "keys.theme = 5: give text in quotes"),
        ("[keys]\ntheme = 'p'", 'keys.theme: "p" is the key of pause too'),
        ("[wall", "no TOML"),
        ("[wall]\nbell = true\nbell = false", "no TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_name_in_one_line(
    text: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    monkeypatch.setenv("PITWALL_CONFIG", str(file))
    assert main(["race", "--headless", "--laps", "3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pitwall: {file}: ")
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", ["missing", "folder", "latin-1"])
def test_a_file_that_cannot_be_read_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.toml"
    if kind == "folder":
        file.mkdir()
    if kind == "latin-1":
        file.write_bytes(b'[wall]\ntheme = "caf\xe9"\n')
    monkeypatch.setenv("PITWALL_CONFIG", str(file))
    assert main([]) == 2
    said = capsys.readouterr().err
    assert str(file) in said
    assert said.count("\n") == 1


def test_where_there_is_no_file_nothing_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PITWALL_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_file() == user_config_path("pitwall", appauthor=False) / "config.toml"
    assert read_settings() == Settings()


def test_help_says_where_the_settings_lie(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("PITWALL_CONFIG", str(tmp_path / "mine.toml"))
    assert main(["--help"]) == 0
    assert f"Settings: {tmp_path / 'mine.toml'}" in capsys.readouterr().out


def test_the_readme_names_every_setting() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Settings")[2].partition("\n## ")[0]
    assert [name for name in (*_WALL, *_RACE, "keys") if f"`{name}`" not in table] == []


# The last word


def test_the_command_line_wins_over_settings() -> None:
    settings = parse_settings(FULL)
    race = race_settings(asked(circuit="monza", laps=30, knobs="max_batch=4"), settings)
    assert (race.circuit, race.laps, race.cars) == ("monza", 30, 12)
    assert race.knobs == Knobs(batching="static", max_batch=4, kv_cache="off")


def test_habitual_laps_are_no_more_than_the_circuit_has() -> None:
    settings = parse_settings('[race]\ncircuit = "monaco"\nlaps = 78')
    assert race_settings(asked(), settings).laps == 78
    assert race_settings(asked(circuit="spa"), settings).laps == 44
    with pytest.raises(RaceError, match="laps 78"):
        race_settings(asked(circuit="spa", laps=78), settings)


def test_another_model_does_not_take_the_habitual_junior() -> None:
    settings = parse_settings('[race]\nmodel = "~/mine"\ndraft = "~/its-junior"')
    assert race_settings(asked(), settings).model == str(Path.home() / "mine")
    assert race_settings(asked(), settings).draft == str(Path.home() / "its-junior")
    assert race_settings(asked(model="other"), settings).draft is None


def test_a_theme_comes_from_option_environment_settings_memory_or_nowhere(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "wall.json")
    memory.keep("theme", "dracula")
    settings, environ = Settings(theme="gruvbox"), {"TEXTUAL_THEME": "monokai"}
    assert pick_theme("nord", settings, environ, memory) == "nord"
    assert pick_theme(None, settings, environ, memory) == "monokai"
    assert pick_theme(None, settings, {}, memory) == "gruvbox"
    assert pick_theme(None, Settings(), {}, memory) == "dracula"
    assert pick_theme(None, Settings(), {}, Memory()) == "pitwall"


def test_an_unknown_theme_is_refused_where_it_was_asked_for_alone(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "wall.json")
    memory.keep("theme", "of-a-later-version")
    with pytest.raises(RaceError, match=r"--theme nrod: there is none; nearest is nord"):
        pick_theme("nrod", Settings(), {}, memory)
    assert pick_theme(None, Settings(), {"TEXTUAL_THEME": "my-own"}, memory) == "pitwall"


@pytest.mark.parametrize(
    ("glyphs", "environ", "encoding", "ascii"),
    [
        ("auto", {"TERM": "xterm-256color"}, "utf-8", False),
        ("auto", {"TERM": "xterm-256color"}, "UTF8", False),
        ("auto", {"TERM": "linux"}, "utf-8", True),
        ("auto", {"TERM": "xterm"}, "iso8859-1", True),
        ("auto", {"TERM": "xterm"}, "ascii", True),
        ("auto", {"TEXTUAL_DRIVER": "x"}, "ascii", False),
        ("unicode", {"TERM": "linux"}, "ascii", False),
        ("ascii", {"TERM": "xterm"}, "utf-8", True),
    ],
)
def test_ascii_is_for_who_asks_or_has_no_more(
    glyphs: str, environ: dict[str, str], encoding: str, ascii: bool
) -> None:
    assert pick_ascii(Settings(glyphs=glyphs), environ, encoding) is ascii


def test_frames_are_fewer_through_ssh_unless_said_otherwise() -> None:
    ssh = {"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22"}
    assert pick_fps(None, Settings(), {}) == 10
    assert pick_fps(None, Settings(), ssh) == 5
    assert pick_fps(None, Settings(fps=20), ssh) == 20
    assert pick_fps(30, Settings(fps=20), ssh) == 30
    with pytest.raises(RaceError, match="--fps"):
        pick_fps(0, Settings(), {})


def test_the_wall_is_opened_as_all_that_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = parse_settings(FULL)
    state = StillState(views.racing())
    app = open_wall(asked(), settings, FakeFeed(), state)
    assert (app.theme, app.fps, app.wall.ascii) == ("pitwall-light", 4, True)
    assert (app.wall.bell, app.wall.keys) == (True, settings.keys)
    app = open_wall(asked(theme="nord", ascii=True, fps=2.0), Settings(), FakeFeed(), state)
    assert (app.theme, app.fps, app.wall.ascii, app.wall.bell) == ("nord", 2, True, False)


# What is remembered


def test_what_is_kept_is_there_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "new" / "wall.json"
    Memory(file).keep("theme", "nord")
    Memory(file).keep("layout", "wide")
    Memory(file).keep("theme", "dracula")
    assert (Memory(file).recall("theme"), Memory(file).recall("layout")) == ("dracula", "wide")
    assert [path.name for path in file.parent.iterdir()] == ["wall.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"theme": 3}', "\udcff"])
def test_a_file_of_something_else_is_as_good_as_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "wall.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Memory(file).recall("theme") == ""
    Memory(file).keep("theme", "nord")
    assert Memory(file).recall("theme") == "nord"


def test_the_place_is_the_platform_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert state_file() == tmp_path / "pitwall" / "wall.json"


def test_settings_need_no_screen() -> None:
    """A headless race with settings loads no terminal library."""
    code = (
        "import sys\nfrom pitwall_tui.settings import parse_settings\n"
        "parse_settings('[race]\\nlaps = 5\\n[keys]\\ntheme = \"T\"')\n"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "textual", "rich"}
