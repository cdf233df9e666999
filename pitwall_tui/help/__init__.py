"""What `?` teaches on each screen, as plain text and signs.

In texts {name} stands for the key of a command or knob, whatever it is bound to.
"""

from collections.abc import Mapping

from pitwall_tui.help.models import ACADEMY, STRATEGY, WORKSHOP
from pitwall_tui.help.page import Page
from pitwall_tui.help.race import RACE, REPLAY, RESULTS
from pitwall_tui.help.serving import BATCHING, BOTTLENECK, DEBRIEF, MEMORY

PAGES: Mapping[str, Page] = {
    "RaceScreen": RACE,
    "ResultsScreen": RESULTS,
    "MemoryScreen": MEMORY,
    "BatchingScreen": BATCHING,
    "WorkshopScreen": WORKSHOP,
    "StrategyScreen": STRATEGY,
    "AcademyScreen": ACADEMY,
    "BottleneckScreen": BOTTLENECK,
    "DebriefScreen": DEBRIEF,
    "replay": REPLAY,
}
"""By the class name of the screen; "replay" is of whatever screen a recording is looked at on."""
