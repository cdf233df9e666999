"""The debrief's table of settings, and how it is looked at."""

from dataclasses import replace
from typing import Any

from pitwall_tui.draw.cells import Rows
from pitwall_tui.draw.debrief import SettingLook, draw_settings, shown
from pitwall_tui.widgets.panel import Frame, Panel


class SettingsTable(Panel):
    hz = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.look = SettingLook()

    def picture(self, frame: Frame, cells: int, height: int) -> Rows:
        return draw_settings(frame.view.details.debrief, self.look, cells, height)

    def turn(self) -> None:
        """From figures of speed to those of memory and quality, or back."""
        self._change(memory=not self.look.memory)

    def scroll_settings(self, step: int) -> None:
        """So many settings on; at the end, new ones are followed again."""
        view = self._frame.view.details.debrief if self._frame else None
        count = len(view.settings) if view else 0
        now = shown(count, self.look.first, self.size.height - 2)
        start = max(0, now.start + step)
        self._change(first=start if shown(count, start, len(now)).stop < count else None)

    def _change(self, **changes: Any) -> None:
        self.look = replace(self.look, **changes)
        self._drawn = None
        self.refresh()
