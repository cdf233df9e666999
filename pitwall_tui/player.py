"""The wall over a recording: it is played, and can be gone to and fro in."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType

from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import Command, Keys
from pitwall_tui.draw.moves import Fresh, Moves
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.race.playback import PlaybackView
from pitwall_tui.race.state import RaceState
from pitwall_tui.race.view import RaceView
from pitwall_tui.settings import WALL, Wall

_OF_AN_ENGINE = {
    *("freeze", "pause", "slower", "faster", "next", "again", "record"),
    *("workshop", "academy", "guide"),
}
PLAYER: tuple[Command, ...] = (
    Command("pause", "space,p", "space", "pause", "play, or stand still", "pause", "play"),
    Command("step_back", "comma", ",", "step(-1)", "one snapshot of the engine back", "step"),
    Command("step_on", "full_stop", ".", "step(1)", "one snapshot further", "step"),
    Command("back", "left", "←", "seek_by(-5)", "5 s back", "5 s"),
    Command("on", "right", "→", "seek_by(5)", "5 s further", "5 s"),
    Command("far_back", "shift+left", "⇧←", "seek_by(-30)", "30 s back", "30 s"),
    Command("far_on", "shift+right", "⇧→", "seek_by(30)", "30 s further", "30 s"),
    Command("tenths", "0", "0-9", "seek_share(0)", "to so many tenths of the recording", "tenths"),
    Command("start", "home", "home", "seek_share(0)", "to the start"),
    Command("end", "end", "end", "seek_share(1)", "to the end"),
    Command("slower", "minus", "-", "speed(-1)", "play slower, down to 0.25x", "speed"),
    Command("faster", "plus,equals_sign", "+", "speed(1)", "play faster, up to 8x", "speed"),
    Command("loop", "o", "o", "loop", "begin again at the end, or do not", "loop", "once"),
    Command("last", "b", "b", "last_race", "back to the race's start, or to the one before",
            "races"),
    Command("next", "n", "n", "next_race", "on to the next race", "races"),
)  # fmt: skip


def player_keys(keys: Keys) -> Keys:
    """The player's in the place of the engine's."""
    others = (command for command in keys.commands if command.id not in _OF_AN_ENGINE)
    return Keys((*PLAYER, *others), keys.knobs)


class PlayerApp(PitWallApp, inherit_bindings=False):
    """The pit wall over a recording, with the player's keys in the place of the engine's."""

    # Digits are knobs elsewhere.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(str(tenth), f"seek_share({tenth / 10})", "tenths", show=False)
        for tenth in range(1, 10)
    ]

    def __init__(
        self,
        player: ReplayFeed,
        *,
        clock: Callable[[], float] = time.monotonic,
        fps: float = 10,
        wall: Wall = WALL,
    ) -> None:
        self.player = player
        wall = replace(wall, keys=player_keys(wall.keys))
        super().__init__(player, RaceState(player.source), clock=clock, fps=fps, wall=wall)
        self.add_class("-replay")

    def take(self) -> None:
        elsewhere = self.player.turn()
        if elsewhere is not None:
            self.state = elsewhere
            self.ended = None
            self._moves, self._fresh = Moves(), Fresh()
        super().take()

    def _playback(self) -> PlaybackView:
        return self.player.view()

    def _make_live(self, details: Collection[str], followed: Collection[int]) -> RaceView:
        live = super()._make_live(details, followed)
        at = self._playback()
        if at.playing or at.position >= at.length:
            return live
        still = replace(live.status, paused=True, tokens_per_second=0.0, step_ms=0.0)
        return replace(live, status=still)

    def _active(self, live: RaceView) -> set[str]:
        at = self._playback()
        return ({"loop"} if at.loop else set()) | (set() if at.playing else {"pause"})

    def action_pause(self) -> None:
        self.player.set_paused(self._playback().playing)
        self.tick()

    def action_step(self, by: int) -> None:
        self.player.step(by)
        self.tick()

    def action_seek_by(self, seconds: float) -> None:
        self.player.seek_by(seconds)
        self.tick()

    def action_seek_share(self, share: float) -> None:
        self.player.seek_share(share)
        self.tick()

    def action_next_race(self) -> None:
        self.player.next_race()
        self.tick()

    def action_last_race(self) -> None:
        self.player.last_race()
        self.tick()

    def action_speed(self, step: int) -> None:
        self.player.change_speed(step)
        self._redraw()

    def action_loop(self) -> None:
        self.player.switch_loop()
        self._redraw()
