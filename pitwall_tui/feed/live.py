"""A race on an engine of our own, in a process beside this one."""

import time
from dataclasses import replace
from math import ceil

from engine.child import ProcessLostError
from engine.client import EngineClient
from engine.config import EngineError, Knobs, Request
from engine.messages import (
    PHASES,
    Answer,
    Drafting,
    DraftRefusal,
    KnobsRefusal,
    Phase,
    Ready,
    RequestRefusal,
    Snapshot,
    Studied,
    Unusable,
)
from engine.stats import EngineSnapshot, StepStats, Verdict
from engine.studies import StudyNews
from pitwall_tui.feed.grid import line_up
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.feed.text import PieceDecoder, Vocabulary
from pitwall_tui.race.circuits import CIRCUITS
from pitwall_tui.race.events import (
    EngineReady,
    FeedEnded,
    FeedEvent,
    Loading,
    Progress,
    RaceStarted,
    RedFlag,
    Refused,
)

GRID = len(PHASES)
# An engine that is lost this often without a token in between is not coming back.
MOST_RESTARTS = 3


class LiveFeed:
    """Starts the engine, sends it one race after another, and tells what becomes of them.

    An engine that is lost is replaced, and every car goes on from the tokens it has.
    """

    live = True
    source = "engine"

    def __init__(self, settings: RaceSettings) -> None:
        self._settings = settings
        self._knobs = settings.knobs
        self._pace = settings.pace
        self._paused = False
        self._draft = settings.draft_folder
        self._asked_draft: str | None = None  # that the engine has yet to answer for
        self._client: EngineClient | None = None
        self._vocabulary: Vocabulary | None = None
        self._max_context = 0
        self._page_size = 1
        self._kv_tokens = 0
        self._token_bytes = 0.0
        self._ready = False
        self._number = 0  # of the season's race that is on
        self._begun = 0
        self._cars: dict[str, Request] = {}
        self._output: dict[str, list[int]] = {}
        self._decoders: dict[str, PieceDecoder] = {}
        self._over: set[str] = set()
        self._grid_since: float | None = None
        self._restarts = 0
        self._pending: list[FeedEvent] = []
        self._question: tuple[str, str] | None = None
        self._studies: list[StudyNews] = []

    def start(self) -> None:
        """Start the engine; the first race begins when it is ready."""
        config = replace(self._settings.engine_config(), draft=self._draft)
        self._client = EngineClient(config, self._knobs)
        # Read after loading and before anything is asked: no snapshot shows it without them.
        self._client.pace(self._pace)
        self._client.pause(self._paused)
        if self._asked_draft is not None:
            self._client.set_draft(self._asked_draft)
        if self._question is not None:  # an engine that was lost may not have answered it
            self._client.study(*self._question)

    def pull(self) -> tuple[FeedEvent, ...]:
        events, self._pending = self._pending, []
        if self._client is not None:
            try:
                for answer in self._client.pull():
                    told = self._translate(answer)
                    events += told
                    if any(isinstance(event, FeedEnded) for event in told):
                        break
            except ProcessLostError as error:
                events += self._restart(str(error))
        return tuple(events)

    def set_knobs(self, knobs: Knobs) -> None:
        self._knobs = knobs
        if self._client is not None:
            self._client.set_knobs(knobs)

    def set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._client is not None:
            self._client.pause(paused)

    def set_pace(self, tokens_per_second: float) -> None:
        self._pace = tokens_per_second
        if self._client is not None:
            self._client.pace(tokens_per_second)

    def set_draft(self, folder: str) -> None:
        """Have the model in this folder draft as soon as it can, after a loss of the engine too."""
        self._asked_draft = folder
        if self._client is not None:
            self._client.set_draft(folder)

    def next_race(self) -> None:
        """Leave this race, finished or not, for the season's next that there is memory for."""
        if self._ready:
            later = range(self._number + 1, self._number + 1 + len(CIRCUITS))
            number = next((n for n in later if not self._too_long(n)), None)
            if number is None:
                self._pending.append(Refused(self._too_long(self._number + 1)))
            else:
                self._pending += self._begin(number)

    def again(self) -> None:
        """Leave this race, finished or not, and run the very same once more."""
        if self._ready:
            self._pending += self._begin(self._number)

    def study(self, layer: str, scheme: str) -> None:
        self._question = (layer, scheme)
        self._studies.clear()
        if self._client is not None:
            self._client.study(layer, scheme)

    def studies(self) -> tuple[StudyNews, ...]:
        found, self._studies = tuple(self._studies), []
        return found

    def close(self) -> None:
        self._ready = False
        if self._client is not None:
            self._client.close()
            self._client = None

    # The engine's answers

    def _translate(self, answer: Answer) -> list[FeedEvent]:
        match answer:
            case Phase(index, detail, seconds):
                return [Loading(index, PHASES[index], detail, seconds)]
            case Ready(info):
                self._ready = True
                self._max_context = info.max_context
                self._page_size = info.page_size
                self._know_pages(info.pages_total, info.page_bytes)
                return [EngineReady(info), *self._on_ready()]
            case Snapshot(snapshot):
                return self._progress(snapshot)
            case RequestRefusal(reason, id):
                self._over.add(id)
                return [Refused(reason, id)]
            case KnobsRefusal(reason, asked, instead):
                if self._knobs == asked:  # and nothing else since
                    self._knobs = instead
                return [Refused(reason)]
            case DraftRefusal(reason, folder):
                return self._without_draft(reason, folder)
            case Drafting(folder):
                self._draft, self._asked_draft = folder, None
                return []
            case Unusable(reason):
                self.close()
                return [FeedEnded(reason)]
            case Studied(news):
                self._studies.append(news)
                return []

    def _on_ready(self) -> list[FeedEvent]:
        if self._cars:
            self._resubmit()
            return [*self._grid(len(self._cars) - len(self._over))]
        try:
            self._vocabulary = Vocabulary.load(self._settings.model)
        except EngineError as error:
            self.close()
            return [FeedEnded(str(error))]
        if reason := self._too_long(1):
            self.close()
            return [FeedEnded(reason)]
        return self._begin(1)

    def _without_draft(self, reason: str, folder: str) -> list[FeedEvent]:
        """Bad input where it was named and nothing has begun. A race that runs goes on, and so does
        one that never asked for the shipped junior: its Loading says that it is passed over."""
        if self._ready:
            self._asked_draft = None
            return [Refused(reason)]
        if folder == self._settings.draft and not self._cars:
            self.close()
            return [FeedEnded(reason)]
        return []

    def _progress(self, snapshot: EngineSnapshot) -> list[FeedEvent]:
        if any(request.id not in self._cars for request in snapshot.requests):
            return []  # of the race before: it was on its way when this one began
        pieces: dict[str, list[str]] = {}
        overruled: dict[str, list[str]] = {}
        for step in snapshot.steps:
            ended = {id for id, _ in step.finished}
            for verdict in step.verdicts:
                overruled.setdefault(verdict.id, []).append(self._overruled(verdict, step))
            for id, tokens in step.tokens:
                if id in self._cars:
                    self._output[id] += tokens
                    found = self._decoders[id].pieces(tokens, last=id in ended)
                    pieces.setdefault(id, []).extend(found)
            self._over |= ended
        # A draft model that has come since then may have made pages larger, and fewer.
        self._know_pages(snapshot.pages.total, snapshot.pages.page_bytes)
        events: list[FeedEvent] = [Progress(snapshot, _frozen(pieces), _frozen(overruled))]
        if pieces and self._grid_since is not None:
            seconds = time.monotonic() - self._grid_since
            self._grid_since = None
            self._restarts = 0
            events.insert(0, Loading(GRID, "grid", "formation lap done", seconds))
        return events

    def _know_pages(self, total: int, page_bytes: int) -> None:
        self._kv_tokens = total * self._page_size
        self._token_bytes = page_bytes / self._page_size

    def _overruled(self, verdict: Verdict, step: StepStats) -> str:
        """The text of the draft that gave way to the model's own token, "" where none did."""
        assert self._vocabulary is not None
        tokens = dict(step.tokens).get(verdict.id, ())
        kept = verdict.accepted
        gave_way = kept < min(len(verdict.drafts), len(tokens))
        return self._vocabulary.decode(verdict.drafts[kept : kept + 1]) if gave_way else ""

    # Races

    def _begin(self, number: int) -> list[FeedEvent]:
        """Clear the track and send the cars of the season's race `number` to the grid.

        Races are told apart by how many have begun, as one may be run again.
        """
        assert self._client is not None
        assert self._vocabulary is not None
        self._number = number
        self._begun += 1
        started, requests = self._line_up(number)
        self._cars = {request.id: request for request in requests}
        self._output = {request.id: [] for request in requests}
        self._decoders = {request.id: self._vocabulary.decoder() for request in requests}
        self._over = set()
        self._client.reset()
        self._client.submit(requests)
        return [started, *self._grid(len(requests))]

    def _line_up(self, number: int) -> tuple[RaceStarted, tuple[Request, ...]]:
        assert self._vocabulary is not None
        race = replace(self._settings.race(number), number=self._begun)
        return line_up(race, self._settings, self._vocabulary, self._max_context)

    def _too_long(self, number: int) -> str:
        """Why not one car of a race could be sure to finish; "" where there is room for one."""
        started, requests = self._line_up(number)
        most = max(request.max_length for request in requests)
        if most <= self._kv_tokens:
            return ""
        need = ceil(most * self._token_bytes / 2**20) + 1
        return (
            f"a car at {started.circuit} may need {most} tokens of KV memory, there is room"
            f" for {self._kv_tokens}: give --kv-memory-mib {need} or more"
        )

    def _grid(self, cars: int) -> list[FeedEvent]:
        self._grid_since = time.monotonic()
        return [Loading(GRID, "grid", f"{cars} cars read their briefing", None)]

    # Losing the engine

    def _restart(self, reason: str) -> list[FeedEvent]:
        """Put a new engine in the place of the lost one."""
        self.close()
        self._ready = False
        self._restarts += 1
        if self._restarts > MOST_RESTARTS:
            lost = f"the engine was lost {self._restarts} times in a row and is given up: {reason}"
            return [FeedEnded(lost, fault=True)]
        self.start()
        return [RedFlag(reason)]

    def _resubmit(self) -> None:
        """Every car that still runs, with the tokens it has."""
        assert self._client is not None
        self._client.submit(
            tuple(
                replace(request, output=tuple(self._output[id]))
                for id, request in self._cars.items()
                if id not in self._over
            )
        )


def _frozen(texts: dict[str, list[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((id, tuple(found)) for id, found in texts.items())
