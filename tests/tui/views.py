"""Race views for the tests of the screens: one rich moment of a race, in plain values."""

from dataclasses import replace
from math import cos, pi, sin

from engine.draft_counts import DraftCounts
from engine.stats import PAGE_CACHED, PAGE_FREE, PAGE_RESERVED, PAGE_SHARED, PAGE_USED
from pitwall_tui.race.view import (
    CarView,
    ChartView,
    Kind,
    KnobView,
    LightView,
    MeasuredView,
    PagesView,
    QualityView,
    RaceView,
    RadioView,
    ResultRow,
    SectorColour,
    SectorView,
    SpeculationView,
    StatusView,
    TrafficView,
    WritingView,
)
from tests.drafters import drafter

TEAMS = (
    ("NOVA", "#e5383b"),
    ("ALTO", "#e8740c"),
    ("HELIX", "#b58900"),
    ("FJORD", "#4f9d1f"),
    ("TERRA", "#0f9d78"),
    ("ZEPHYR", "#1597b8"),
    ("ORCA", "#3d7be0"),
    ("VESPER", "#8b5fd6"),
    ("LUMEN", "#d64a9c"),
    ("GRANIT", "#8a8178"),
)
CODES = [
    "KES",
    "VAR",
    "OHL",
    "MBE",
    "DAL",
    "TAK",
    "QUI",
    "ASH",
    "LIN",
    "PET",
    "NAV",
    "BOU",
    "SOR",
    "HAL",
    "ZAM",
    "WEI",
    "CHE",
    "RUS",
    "FON",
    "GRE",
]
NUMBERS = (7, 28, 12, 51, 3, 36, 19, 64, 8, 45, 22, 71, 15, 58, 31, 82, 9, 40, 26, 93)
COLOURS: tuple[SectorColour, ...] = ("yellow", "green", "yellow", "purple", "yellow", "none")


def outline(points: int = 96) -> tuple[tuple[float, float], ...]:
    """A closed curve in the unit box with straights, a chicane and a hairpin; y upwards."""
    places = []
    for step in range(points):
        angle = 2 * pi * step / points - pi / 2
        reach = 0.36 + 0.08 * sin(3 * angle) + 0.05 * cos(5 * angle + 1)
        places.append((0.5 + 1.15 * reach * cos(angle), 0.5 + 0.85 * reach * sin(angle)))
    return tuple(places)


def car(index: int, **changes: object) -> CarView:
    """The car at place `index` + 1 in the middle of a race."""
    done = index % 4
    sectors = tuple(
        SectorView(
            f"{27 + 0.9 * s + index * 0.07:.2f}" if s < done else "",
            COLOURS[(index * 3 + s) % 6] if s < done else "none",
        )
        for s in range(3)
    )
    view = CarView(
        position=index + 1,
        number=NUMBERS[index],
        code=CODES[index],
        team=(index * 3) % 10,
        state="track",
        lap=18 if index < 15 else 17,
        fraction=(0.93 - 0.041 * index) % 1.0,
        gap=None if index == 0 else 0.732 * index + 0.041 * index * index,
        interval=None if index == 0 else 0.691 + 0.083 * index,
        laps_down=0 if index < 17 else 1,
        interval_laps=1 if index == 17 else 0,
        sectors=(sectors[0], sectors[1], sectors[2]),
        last_lap=84.21 + index * 0.137,
        last_lap_colour=COLOURS[index % 6],
        best_lap=83.64 + (index * 7 % 20) * 0.11,
        tyre="MHSMHMSHIW"[index % 10],
        tyre_age=3 + index * 5 % 19,
        stops=index % 3,
        tokens=640 - 11 * index,
        tokens_per_second=15.4 - index * 0.13,
        pages=46 - index,
        note="",
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def cars() -> tuple[CarView, ...]:
    """Twenty cars, some of them in each state of a running race."""
    field = [car(index) for index in range(20)]
    field[9] = replace(field[9], state="pit", pages=0, tokens_per_second=0.0)
    field[13] = replace(field[13], state="parked")
    field[16] = replace(field[16], state="formation", sectors=(SectorView("", "none"),) * 3)
    field[18] = replace(field[18], state="grid", last_lap=None, pages=0)
    field[19] = replace(field[19], state="out", note="gearbox", pages=0)
    return tuple(field)


def pages(total: int = 512) -> PagesView:
    """A pool in which teams hold runs of pages, some shared, cached, reserved and free."""
    kinds, teams, owners = bytearray(), bytearray(), bytearray()
    for page in range(total):
        run = page // 9
        kind, team, owner = PAGE_USED, run * 3 % 10, run % 20
        if page < total // 16:
            kind = PAGE_SHARED
        elif run % 11 == 10:
            kind, team, owner = PAGE_CACHED, 255, 255
        elif page > total * 3 // 4:
            kind, team, owner = PAGE_FREE, 255, 255
        elif page % 9 > 6:
            kind = PAGE_RESERVED
        kinds.append(kind)
        teams.append(team)
        owners.append(owner)
    held = (PAGE_USED, PAGE_SHARED, PAGE_RESERVED)
    used = sum(kind in held for kind in kinds)
    cached = sum(kind == PAGE_CACHED for kind in kinds)
    return PagesView(
        kinds=bytes(kinds),
        teams=bytes(teams),
        cars=bytes(owners),
        total=total,
        used=used,
        cached=cached,
        free=total - used - cached,
        reserved=sum(kind == PAGE_RESERVED for kind in kinds),
        waste_percent=11.8,
        page_bytes=256 * 1024,
    )


def chart() -> ChartView:
    """Half a minute in which the KV cache was off for a while."""
    values = tuple(
        (60.0 if 22 <= step < 34 else 290.0) + 24 * sin(step * 1.3) + 9 * cos(step * 3.1)
        for step in range(60)
    )
    return ChartView(
        bucket=0.5,
        values=values,
        marks=((22, "kv_cache off"), (34, "kv_cache on"), (50, "max_batch 8")),
        peak=max(values),
        mean=sum(values) / len(values),
    )


RADIO = (
    RadioView(2.1, "control", "", 255, 1, "lights out, 20 cars"),
    RadioView(8.0, "radio", "VAR", 3, 12, "box box, medium tyres ready"),
    RadioView(9.2, "knob", "", 255, 14, "kv_cache off"),
    RadioView(11.0, "radio", "KES", 0, 16, "rears are gone, box this lap"),
    RadioView(12.4, "knob", "", 255, 16, "kv_cache on"),
    RadioView(12.9, "radio", "TAK", 5, 16, "purple in the middle sector, keep it coming"),
    RadioView(13.1, "control", "", 255, 17, "PET pits: pages taken, 412 tokens to recompute"),
    RadioView(14.8, "radio", "MBE", 9, 17, "rain in three laps, think about intermediates"),
    RadioView(15.5, "control", "", 255, 17, "GRE out: gearbox"),
    RadioView(16.2, "radio", "OHL", 6, 18, "car behind is one second back, push now"),
    RadioView(16.9, "radio", "QUI", 8, 18, "understeer through every slow corner since the stop"),
    RadioView(17.3, "knob", "", 255, 18, "max_batch 8"),
)
KNOBS = (
    KnobView("kv_cache", "on", None, "keep each token's keys and values"),
    KnobView("paging", "paged", None, "pages on demand, or all reserved"),
    KnobView("prefix_cache", "on", None, "share pages of equal beginnings"),
    KnobView("batching", "continuous", None, "who runs together"),
    KnobView("max_batch", "8", None, "most requests running at once"),
    KnobView("static_batch", "4", None, "size of a static batch"),
    KnobView("prefill_chunk", "256", None, "prefill tokens a step, 0 for whole prompts"),
    KnobView("weights", "fp32", None, "how weights are held"),
    KnobView("kv_dtype", "fp32", None, "how keys and values are held"),
    KnobView("speculation", "off", None, "who drafts for the chief"),
    KnobView("draft_length", "4", None, "tokens drafted at a time"),
    KnobView("acceptance", "equal", None, "when a draft is kept"),
    KnobView("kernels", "native", None, "our own kernels, or torch's"),
    KnobView("quality", "on", None, "score a sample of the steps with fp32 too"),
)
LIGHTS = (
    LightView("import", "torch 2.13.0", 1.38),
    LightView("chief", "25.2 M parameters", 0.61),
    LightView("tokenizer", "2048 entries", 0.04),
    LightView("warm-up", "linear layers measured", None),
    LightView("grid", "20 briefings", None),
)
STATUS = StatusView(
    flag="green",
    reason="",
    tokens_per_second=287.4,
    step_ms=26.3,
    running=17,
    waiting=2,
    parked=1,
    paused=False,
    pace=0.0,
    preemptions=3,
    prefix_hit_percent=61.7,
    source="live cpu",
)


def results() -> tuple[ResultRow, ...]:
    return tuple(
        ResultRow(
            position=index + 1,
            number=NUMBERS[index],
            code=CODES[index],
            team=(index * 3) % 10,
            laps=53 if index < 19 else 31,
            reason="flag" if index < 19 else "gearbox",
            race_time=61.27 + index * 0.61 if index < 19 else None,
            best_lap=83.64 + (index * 7 % 20) * 0.11,
            output_tokens=1890 - index * 7,
            ttft_ms=412.0 + index * 37.5,
            tpot_ms=31.2 + index * 0.11,
            e2e_ms=61270.0 + index * 610,
            preemptions=index % 4 // 3,
        )
        for index in range(20)
    )


def kind(cars: int, length: int, proposer: str = "junior", rule: str = "equal") -> Kind:
    return Kind(proposer, "junior" if proposer == "junior" else "", rule, cars, length)


def measured(kind: Kind, **changes: object) -> MeasuredView:
    """Steps that make a little more than those without drafts."""
    row = MeasuredView(
        kind=kind,
        rounds=1840,
        acceptance=0.712,
        tokens=2.64,
        verified=kind.cars * (1 + kind.length),
        tokens_per_second=262.4,
        plain_tokens_per_second=183.1,
        draft_cost=0.31,
        verify_cost=1.53,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


SPECULATION = SpeculationView(
    kind=kind(1, 4),
    draft=drafter(),
    on=True,
    auto=False,
    since=DraftCounts(1840, 7360, 4214, (1380, 1104, 920, 810), 5920, 4214),
    recent=DraftCounts(212, 848, 487, (166, 128, 104, 89), 684, 487),
    draft_ms=1.72,
    verify_ms=8.31,
    cost=0.0518,
    projection=2.31,
    now=measured(kind(1, 4)),
    measured=(
        measured(kind(1, 2), rounds=310, tokens_per_second=241.0),
        measured(kind(1, 4)),
        measured(kind(1, 8), rounds=96, acceptance=0.704, tokens_per_second=238.9),
        measured(
            kind(12, 4), rounds=960, tokens_per_second=1190.0,
            plain_tokens_per_second=None, verify_cost=None, draft_cost=None,
        ),
        measured(
            kind(20, 4), rounds=5210, acceptance=0.708, tokens_per_second=1402.0,
            plain_tokens_per_second=1680.5, verify_cost=2.71, draft_cost=0.46,
        ),
        measured(
            kind(1, 4, "ngram"), rounds=640, acceptance=0.331, tokens_per_second=201.7,
            verify_cost=1.21, draft_cost=0.01,
        ),
    ),
    word="pays with 1 car: verifying 5 tokens costs 1.5 plain steps, drafting 0.3, for 2.6 a car",
)  # fmt: skip
WRITING = WritingView(
    "KES", 0, 18,
    (
        ("chief", "\n"), ("accepted", "L"), ("accepted", "1"), ("accepted", "8"),
        ("chief", " "), ("accepted", "M"), ("overruled", "1"), ("chief", "0"),
        ("accepted", "9"), ("accepted", " "), ("accepted", "2"), ("accepted", "7"), ("chief", "."),
        ("overruled", "5"), ("chief", "4"), ("accepted", "1"), ("accepted", " "),
    ),
)  # fmt: skip


def drafting(**changes: object) -> RaceView:
    """The same moment, with a junior at work."""
    knobs = tuple(replace(k, value="junior") if k.name == "speculation" else k for k in KNOBS)
    return racing(speculation=SPECULATION, writing=WRITING, knobs=knobs, **changes)


TOTALS = (
    ("tokens", "36 470"),
    ("seconds", "72.9"),
    ("tok/s", "500.3"),
    ("TTFT p50", "768 ms"),
    ("TPOT p50", "32.2 ms"),
    ("E2E p99", "72.7 s"),
    ("pages peak", "488 of 512"),
    ("preemptions", "5"),
)


def racing(**changes: object) -> RaceView:
    """Lap 18 of 53 at full swing."""
    view = RaceView(
        time=17.4,
        race_number=1,
        circuit="monza",
        title="Autodromo Nazionale Monza",
        laps=53,
        leader_lap=18,
        outline=outline(),
        teams=TEAMS,
        cars=cars(),
        status=STATUS,
        lights=tuple(replace(light, seconds=light.seconds or 0.4) for light in LIGHTS),
        pages=pages(),
        chart=chart(),
        traffic=(
            TrafficView("decode", 5.1e6, 1.2e6, 20.14, 71.9),
            TrafficView("prefill", 3e5, 1e4, 3.3, None),
        ),
        quality=QualityView("int8", 640, 0.00041, 94.53, 99.82, 4.8),
        draft="junior",
        speculation=None,
        writing=None,
        radio=RADIO,
        knobs=KNOBS,
        results=(),
        totals=(),
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def empty() -> RaceView:
    """Before anything is known."""
    return racing(
        race_number=0, circuit="", title="", laps=0, leader_lap=0, outline=(), teams=(), cars=(),
        status=replace(STATUS, flag="lights", tokens_per_second=0.0, step_ms=0.0, running=0,
                       waiting=0, parked=0, preemptions=0, prefix_hit_percent=None),
        lights=(), pages=PagesView(b"", b"", b"", 0, 0, 0, 0, 0, 0.0, 0),
        chart=ChartView(0.5, (), (), 0.0, 0.0), traffic=(), quality=None, radio=(),
        knobs=(),
    )  # fmt: skip


def loading() -> RaceView:
    """Three of the five lights are lit."""
    grid = tuple(
        car(index, state="grid", lap=1, fraction=0.0, gap=None, interval=None, laps_down=0,
            interval_laps=0,
            sectors=(SectorView("", "none"),) * 3, last_lap=None, best_lap=None, tyre_age=0,
            stops=0, tokens=0, tokens_per_second=0.0, pages=0)
        for index in range(20)
    )  # fmt: skip
    view = empty()
    return replace(
        view, race_number=1, circuit="monza", title="Autodromo Nazionale Monza", laps=53,
        leader_lap=1, outline=outline(), teams=TEAMS, cars=grid, lights=LIGHTS,
        knobs=tuple(replace(k, value="20") if k.name == "max_batch" else k for k in KNOBS),
    )  # fmt: skip


def finished() -> RaceView:
    """After the chequered flag."""
    field = tuple(
        replace(c, state="finished" if c.position < 20 else "out", note="gearbox", lap=53)
        for c in cars()
    )
    return racing(
        leader_lap=53, cars=field, results=results(), totals=TOTALS,
        status=replace(STATUS, flag="chequered", running=0, waiting=0, parked=0),
    )  # fmt: skip
