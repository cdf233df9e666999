"""Every page that opens over the race. The first frame needs none of them, and waits for none."""

from collections.abc import Callable

from pitwall_tui.screens.academy import AcademyScreen
from pitwall_tui.screens.batching import BatchingScreen
from pitwall_tui.screens.bottleneck import BottleneckScreen
from pitwall_tui.screens.debrief import DebriefScreen
from pitwall_tui.screens.help import HelpScreen
from pitwall_tui.screens.memory import MemoryScreen
from pitwall_tui.screens.results import ResultsScreen
from pitwall_tui.screens.strategy import StrategyScreen
from pitwall_tui.screens.wall import Latest, WallScreen
from pitwall_tui.screens.workshop import WorkshopScreen

__all__ = [
    "PLAIN",
    "AcademyScreen",
    "BottleneckScreen",
    "HelpScreen",
    "StrategyScreen",
    "WorkshopScreen",
]
PLAIN: dict[str, Callable[[Latest], WallScreen]] = {
    "results": ResultsScreen,
    "memory": MemoryScreen,
    "batching": BatchingScreen,
    "debrief": DebriefScreen,
}
"""Those that need no more than the newest frame, by their names."""
