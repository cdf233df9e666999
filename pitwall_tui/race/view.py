"""What screens draw: one frozen picture of the race at one moment, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engine.draft_counts import DraftCounts
from engine.stats import DraftInfo
from pitwall_tui.race.details import NO_DETAILS, Details
from pitwall_tui.race.ghost import GhostView

Flag = Literal["lights", "green", "yellow", "safety", "red", "chequered"]
CarState = Literal["grid", "formation", "track", "parked", "pit", "out", "finished"]
SectorColour = Literal["none", "yellow", "green", "purple"]

NOBODY = 255
"""The team, or the car, of what has none."""


@dataclass(frozen=True, slots=True)
class SectorView:
    """A sector time as generated; "" while it is not complete."""

    text: str
    colour: SectorColour


@dataclass(frozen=True, slots=True)
class CarView:
    """A car as a row of the tower and a dot on the map.

    `gap` and `interval` are seconds of engine time behind the leader and behind the car ahead,
    at the last timing point or since they passed the next; None where there is none yet.
    `laps_down` and `interval_laps` are whole laps behind them. `fraction` is its place on the lap,
    0 to 1. `tokens_per_second` is over the last seconds.
    """

    position: int
    number: int
    code: str
    team: int
    state: CarState
    lap: int
    fraction: float
    gap: float | None
    interval: float | None
    laps_down: int
    interval_laps: int
    sectors: tuple[SectorView, SectorView, SectorView]
    last_lap: float | None
    last_lap_colour: SectorColour
    best_lap: float | None
    tyre: str
    tyre_age: int
    stops: int
    tokens: int
    tokens_per_second: float
    pages: int
    note: str


@dataclass(frozen=True, slots=True)
class RadioView:
    """A line of the feed. `kind` says who speaks; `text` is shown as it is, never interpreted.

    `ratio` is what a knob did to tokens/s, where the line tells of that.
    """

    time: float
    kind: Literal["radio", "control", "knob"]
    car: str
    team: int
    lap: int
    text: str
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class PagesView:
    """The page pool. `kinds` and `teams` hold one byte a page (see engine.stats.PageMap):
    `teams[p]` is the owner's team, `cars[p]` its index in RaceView.cars, NOBODY where none."""

    kinds: bytes
    teams: bytes
    cars: bytes
    total: int
    used: int
    cached: int
    free: int
    reserved: int
    waste_percent: float
    page_bytes: int


@dataclass(frozen=True, slots=True)
class ChartView:
    """Output tokens/s in buckets of `bucket` seconds, oldest first, the newest last.

    `marks` holds (bucket index, label) where a knob changed.
    """

    bucket: float
    values: tuple[float, ...]
    marks: tuple[tuple[int, str], ...]
    peak: float
    mean: float


@dataclass(frozen=True, slots=True)
class TrafficView:
    """What steps of a phase read from memory: bytes a token, 10^9 bytes a second, and the share
    of what this machine's memory was measured to give (None where it was not)."""

    phase: Literal["decode", "prefill"]
    weight_bytes: float
    kv_bytes: float
    gbs: float
    share_percent: float | None


@dataclass(frozen=True, slots=True)
class QualityView:
    """What is served, scored by fp32 on the last `tokens` sampled places: see QualitySample.

    `kl` is in nats a token, `clear_top1_percent` None where no place was clear; `cost_percent` is
    the share of the engine's time that went into it. `tokens` 0: nothing has been scored yet.
    """

    form: str
    tokens: int
    kl: float
    top1_percent: float
    clear_top1_percent: float | None
    cost_percent: float


class Kind(NamedTuple):
    """What makes steps with drafts comparable: who drafts and by which rule they are accepted, the
    cars in the step, and how many drafts each may have.

    `proposer` is the knob's value; `draft` names the draft model, "" where it is none that drafts.
    """

    proposer: str
    draft: str
    rule: str
    cars: int
    length: int

    @property
    def who(self) -> str:
        """The name of whoever drafts."""
        return self.draft or self.proposer


@dataclass(frozen=True, slots=True)
class MeasuredView:
    """Decode-only steps with drafts of one kind, as measured in this race.

    `tokens` are those a car gets of a step, `verified` those that run in one;
    `plain_tokens_per_second` is of steps with as many cars and no drafts, and costs are in times
    of such a step, all None until some were made.
    """

    kind: Kind
    rounds: int
    acceptance: float | None
    tokens: float
    verified: float
    tokens_per_second: float
    plain_tokens_per_second: float | None
    draft_cost: float | None
    verify_cost: float | None

    @property
    def speedup(self) -> float | None:
        """Output tokens/s with drafts over those without."""
        plain = self.plain_tokens_per_second
        return self.tokens_per_second / plain if plain else None


@dataclass(frozen=True, slots=True)
class SpeculationView:
    """Drafting: `since` its knobs last changed, and in the `recent` seconds.

    `kind` is the usual one of the last seconds, its length 0 where `auto` found that no drafts pay;
    `draft` the draft model, None where it is none that drafts. Times are of a typical recent step;
    `cost` is what a pass of the draft model takes, of a verification. `now` is what was measured of
    this kind, None where too little was; `projection` the speed-up by theory, from recent
    acceptance and cost. `word` says whether it pays.
    """

    kind: Kind
    draft: DraftInfo | None
    on: bool
    auto: bool
    since: DraftCounts
    recent: DraftCounts
    draft_ms: float | None
    verify_ms: float | None
    cost: float | None
    projection: float | None
    now: MeasuredView | None
    measured: tuple[MeasuredView, ...]
    word: str


Author = Literal["chief", "accepted", "overruled"]


@dataclass(frozen=True, slots=True)
class WritingView:
    """The newest of one car's text, by who wrote it: the chief, the draft model with the chief's
    consent (`accepted`), or the draft model where it was `overruled`, before what the chief wrote
    instead."""

    car: str
    team: int
    lap: int
    pieces: tuple[tuple[Author, str], ...]


class GapView(NamedTuple):
    """A car against another: s of engine time and whole laps behind it, less than 0 ahead of it;
    `seconds` None before they have passed a timing mark in common, and of cars that are out."""

    seconds: float | None
    laps: int


@dataclass(frozen=True, slots=True)
class FollowView:
    """A car that somebody follows: its latencies in ms of engine time, None until they are known.

    `tpot_ms` is up to now while it runs, `itl_ms` the mean time between its tokens of the last
    seconds. `hit_tokens` it took from the prefix index. `gaps` are of all cars against it, in the
    order of RaceView.cars.
    """

    ttft_ms: float | None
    tpot_ms: float | None
    itl_ms: float | None
    prompt_tokens: int
    output_tokens: int
    hit_tokens: int
    preemptions: int
    gaps: tuple[GapView, ...]
    writing: WritingView


@dataclass(frozen=True, slots=True)
class LightView:
    """One of the five start lights: a phase of loading, done when `seconds` is set."""

    title: str
    detail: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class KnobView:
    """A knob as the last plan used it; `pending` where a change has been asked for since."""

    name: str
    value: str
    pending: str | None
    help: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """The line of the moment."""

    flag: Flag
    reason: str
    tokens_per_second: float
    step_ms: float
    running: int
    waiting: int
    parked: int
    paused: bool
    pace: float
    preemptions: int
    prefix_hit_percent: float | None
    source: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A line of the classification: latencies in milliseconds of engine time."""

    position: int
    number: int
    code: str
    team: int
    laps: int
    reason: str
    race_time: float | None
    best_lap: float | None
    output_tokens: int
    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None
    preemptions: int


@dataclass(frozen=True, slots=True)
class RaceView:
    """Everything on the wall at one moment. `teams` holds (short name, colour "#rrggbb").

    `draft` names the draft model that stands ready, "" where none does; `speculation` is None
    where it was never on, `writing` where nobody drafts. `details` are for screens of their own;
    `ghost` is None where no other running of this race is known, and no knob was turned;
    `followed` holds the cars that somebody follows, by their numbers.
    """

    time: float
    race_number: int
    circuit: str
    title: str
    laps: int
    leader_lap: int
    outline: tuple[tuple[float, float], ...]
    teams: tuple[tuple[str, str], ...]
    cars: tuple[CarView, ...]
    status: StatusView
    lights: tuple[LightView, ...]
    pages: PagesView
    chart: ChartView
    traffic: tuple[TrafficView, ...]
    quality: QualityView | None
    draft: str
    speculation: SpeculationView | None
    writing: WritingView | None
    radio: tuple[RadioView, ...]
    knobs: tuple[KnobView, ...]
    results: tuple[ResultRow, ...]
    totals: tuple[tuple[str, str], ...]
    details: Details = NO_DETAILS
    ghost: GhostView | None = None
    followed: Mapping[int, FollowView] = field(default_factory=dict)
