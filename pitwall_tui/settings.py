"""The user's settings: `config.toml`, read once at the start and never written.

Where the same thing is said in several places, the first of these counts:

1. options of the command line (`--theme`, `--ascii`, `--fps`, `--laps`, ...);
2. the environment: `TEXTUAL_THEME`; `NO_COLOR` leaves greys of any theme;
3. `config.toml`;
4. what the wall remembers by itself (see `memory`);
5. defaults, where the terminal has a say: ASCII signs if it has no UTF-8 or is Linux's own
   console, half the frames through ssh.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config import EngineError, Knobs
from pitwall_tui.commands import KEYS, Keys
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.memory import Memory
from pitwall_tui.race.errors import RaceError
from pitwall_tui.words import nearest

GLYPHS = ("auto", "unicode", "ascii")
FPS = (1, 30)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a config file says, checked; None and "" where it is silent.

    `race` holds arguments of RaceSettings, but for knobs: those are text for Knobs.parse.
    """

    theme: str = ""
    fps: float | None = None
    glyphs: str = "auto"
    bell: bool = False
    race: Mapping[str, Any] = field(default_factory=dict)
    knobs: str = ""
    keys: Keys = KEYS


@dataclass(frozen=True, slots=True)
class Wall:
    """How the screen is to be, once everybody has had a say."""

    theme: str = "pitwall"
    ascii: bool = False
    bell: bool = False
    keys: Keys = KEYS
    guide: bool = False
    memory: Memory = field(default_factory=Memory)


WALL = Wall()


def config_file() -> Path:
    """Where the settings are read from: $PITWALL_CONFIG, or the platform's config folder."""
    if given := os.environ.get("PITWALL_CONFIG"):
        return Path(given)
    from platformdirs import user_config_path

    return user_config_path("pitwall", appauthor=False) / "config.toml"


def read_settings() -> Settings:
    """The settings; raises RaceError in one line that names the file and what is wrong in it."""
    file = config_file()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if "PITWALL_CONFIG" in os.environ:
            raise RaceError(f"{file}: no such file (PITWALL_CONFIG names it)") from None
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise RaceError(f"{file}: {getattr(error, 'strerror', None) or 'no UTF-8'}") from None
    try:
        return parse_settings(text)
    except (RaceError, EngineError) as error:
        raise RaceError(f"{file}: {error}") from None


def parse_settings(text: str) -> Settings:
    """The settings in a file's text; raises RaceError or EngineError that names what is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RaceError(f"no TOML: {error}") from None
    for name, table in tables.items():
        if name not in _TABLES:
            raise RaceError(f"there is no table [{name}]; {nearest(name, _TABLES)}")
        if not isinstance(table, dict):
            raise RaceError(f"{name} is a table: write [{name}], and its settings under it")
    wall = _checked("wall", tables.get("wall", {}), _WALL)
    race = _checked("race", tables.get("race", {}), _RACE)
    keys = _checked("keys", tables.get("keys", {}), {id: _text for id, _, _ in KEYS.bound()})
    knobs = race.pop("knobs", "")
    RaceSettings(**race, knobs=Knobs.parse(knobs))
    return Settings(**wall, race=race, knobs=knobs, keys=KEYS.remapped(keys))


# A check has the setting's name and value, and gives what is kept of it.
_Check = Callable[[str, Any], Any]


def _checked(table: str, given: Mapping[str, Any], known: Mapping[str, _Check]) -> dict[str, Any]:
    kept = {}
    for name, value in given.items():
        if name not in known:
            raise RaceError(f"{table}.{name} is no setting; {nearest(name, known)}")
        kept[name] = known[name](f"{table}.{name}", value)
    return kept


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RaceError(f"{name} = {_toml(value)}: give text in quotes")
    return value


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RaceError(f"{name} = {_toml(value)}: give a whole number")
    return value


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RaceError(f"{name} = {_toml(value)}: give a number")
    return value


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RaceError(f"{name} = {_toml(value)}: give true or false")
    return value


def _folder(name: str, value: Any) -> str:
    return str(Path(_text(name, value)).expanduser())


def _glyphs(name: str, value: Any) -> str:
    return _one_of(name, value, GLYPHS)


def known_theme(name: str, value: Any) -> str:
    """A theme of ours or of Textual's; raises RaceError."""
    from pitwall_tui.theme import names  # Textual's, and so as late as can be

    return _one_of(name, value, names())


def frame_rate(name: str, value: Any) -> float:
    """Frames a second; raises RaceError."""
    low, high = FPS
    if not low <= _number(name, value) <= high:
        raise RaceError(f"{_said(name, value)}: give {low} to {high} frames a second")
    return float(value)


def _knobs(name: str, value: Any) -> str:
    """A table of knobs as text for Knobs.parse."""
    if not isinstance(value, dict):
        raise RaceError(f"{name} is a table: write [{name}], and the knobs under it")
    known = Knobs().as_dict()
    for knob in value:
        if knob not in known:
            raise RaceError(f"{name}.{knob} is no knob; {nearest(knob, known)}")
    return ",".join(
        f"{knob}={('off', 'on')[setting] if isinstance(setting, bool) else setting}"
        for knob, setting in value.items()
    )


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    if _text(name, value) not in known:
        raise RaceError(f"{_said(name, value)}: there is none; {nearest(value, known)}")
    return str(value)


def _said(name: str, value: Any) -> str:
    """A setting as it stands in the file, or an option as it was typed."""
    return f"{name} {value}" if name.startswith("--") else f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    """A value about as it stands in the file."""
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


_TABLES = ("wall", "race", "keys")
_WALL: dict[str, _Check] = {
    "theme": known_theme,
    "fps": frame_rate,
    "glyphs": _glyphs,
    "bell": _switch,
}
_RACE: dict[str, _Check] = {
    "circuit": _text,
    "laps": _whole,
    "cars": _whole,
    "seed": _whole,
    "temperature": _number,
    "model": _folder,
    "draft": _folder,
    "kv_memory_mib": _number,
    "pace": _number,
    "knobs": _knobs,
}
