"""The academy as the wall has it: a course beside the race, and its junior's way into the race."""

from pathlib import Path

from pitwall_tui.feed.academy import Academy
from pitwall_tui.race.academy import AcademyState, AcademyView
from pitwall_tui.race.view import RaceView


class School:
    """Asks the academy for what can be asked for now, and folds in what it tells."""

    def __init__(self, academy: Academy) -> None:
        self._academy = academy
        self._state = AcademyState()
        self._coming = ""  # the junior that was asked into the race

    def pull(self) -> None:
        for told in self._academy.pull():
            self._state.apply(told)

    def view(self) -> AcademyView:
        return self._state.view()

    def start(self) -> None:
        """Begin a course where none is running."""
        if not self.view().running:
            self._state.begin()
            self._academy.start()

    def hold(self) -> None:
        """Hold the course between two steps, or let it go on."""
        view = self.view()
        if view.running:
            self._state.ask_pause(not view.asked)
            self._academy.pause(not view.asked)

    def cancel(self) -> None:
        if self.view().running:
            self._academy.cancel()

    def close(self) -> None:
        self._academy.close()

    def sent(self, junior: str) -> str:
        """The junior in this folder was asked into the race; what is to be said of that."""
        self._coming = Path(junior).name
        return f"{self._coming} is being prepared beside the race"

    def arrived(self, race: RaceView) -> str:
        """What is to be said once that junior is the one in the race; "" before and after."""
        if not self._coming or race.draft != self._coming:
            return ""
        name, self._coming = self._coming, ""
        drafts = any((knob.name, knob.value) == ("speculation", "junior") for knob in race.knobs)
        return f"{name} drafts now" if drafts else f"{name} is ready: turn speculation to junior"
