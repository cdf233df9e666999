"""The screen of `pitwall race` and `pitwall replay`: its options, and what settings make of it."""

import argparse
import codecs
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pitwall_tui.cli.loading import loading, settle
from pitwall_tui.memory import GUIDE, Memory, state_file
from pitwall_tui.race.errors import RaceError
from pitwall_tui.settings import Settings, Wall, frame_rate, known_theme

if TYPE_CHECKING:
    from pitwall_tui.app import PitWallApp
    from pitwall_tui.feed.academy import Academy
    from pitwall_tui.feed.base import Feed
    from pitwall_tui.feed.record import Recorder
    from pitwall_tui.feed.replay import ReplayFeed
    from pitwall_tui.player import PlayerApp
    from pitwall_tui.race.state import RaceState

_FPS, _FPS_THROUGH_SSH = 10.0, 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None stands for what the settings say."""
    parser.add_argument("--theme", metavar="NAME", help="pitwall, pitwall-light, nord, ...")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII signs alone")
    parser.add_argument("--fps", type=float, metavar="N", help="most frames a second (1 to 30)")


def open_wall(
    args: argparse.Namespace,
    settings: Settings,
    feed: "Feed",
    state: "RaceState",
    academy: "Academy | None" = None,
    recorder: "Recorder | None" = None,
) -> "PitWallApp":
    """The app, not yet running, as options, environment, settings and memory want it."""
    with loading():
        from pitwall_tui.app import PitWallApp
    settle()
    wall, fps = _wall(args, settings)
    return PitWallApp(feed, state, academy, recorder, fps=fps, wall=wall)


def open_player(args: argparse.Namespace, settings: Settings, player: "ReplayFeed") -> "PlayerApp":
    """The app over a recording, likewise."""
    with loading():
        from pitwall_tui.player import PlayerApp
    settle()
    wall, fps = _wall(args, settings)
    return PlayerApp(player, fps=fps, wall=wall)


def _wall(args: argparse.Namespace, settings: Settings) -> tuple[Wall, float]:
    """Habits, and most frames a second."""
    memory = Memory(state_file())
    wall = Wall(
        theme=pick_theme(getattr(args, "theme", None), settings, os.environ, memory),
        ascii=getattr(args, "ascii", False)
        or pick_ascii(settings, os.environ, getattr(sys.__stderr__, "encoding", "")),
        bell=settings.bell,
        keys=settings.keys,
        guide=not memory.recall(GUIDE),
        memory=memory,
    )
    return wall, pick_fps(getattr(args, "fps", None), settings, os.environ)


def pick_theme(
    given: str | None, settings: Settings, environ: Mapping[str, str], memory: Memory
) -> str:
    """Raises RaceError for an option that names none; environment and memory are not held to it."""
    if given is not None:
        return known_theme("--theme", given)
    for theme in (environ.get("TEXTUAL_THEME"), settings.theme, memory.recall("theme")):
        if theme and _is_theme(theme):
            return theme
    return Wall().theme


def _is_theme(name: str) -> bool:
    try:
        return bool(known_theme("", name))
    except RaceError:
        return False


def pick_ascii(settings: Settings, environ: Mapping[str, str], encoding: str) -> bool:
    """Whether to draw in ASCII, on a terminal that is written to in `encoding`."""
    if settings.glyphs != "auto":
        return settings.glyphs == "ascii"
    if "TEXTUAL_DRIVER" in environ:  # a browser, which gets UTF-8 in any locale
        return False
    return environ.get("TERM") == "linux" or codecs.lookup(encoding or "ascii").name != "utf-8"


def pick_fps(given: float | None, settings: Settings, environ: Mapping[str, str]) -> float:
    if given is not None:
        return frame_rate("--fps", given)
    if settings.fps is not None:
        return settings.fps
    return _FPS_THROUGH_SSH if "SSH_CONNECTION" in environ else _FPS
