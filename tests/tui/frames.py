"""Frames of every kind for all panels at once, and the same with odd texts and figures in them."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

from engine.draft_counts import DraftCounts
from engine.stats import DraftInfo, QualitySample
from pitwall_tui.draw.status import Notice
from pitwall_tui.race.academy import AcademyState, AcademyView
from pitwall_tui.race.details import Details
from pitwall_tui.race.ghost import GhostView
from pitwall_tui.race.guide import GuideView
from pitwall_tui.race.playback import Mark, PlaybackView
from pitwall_tui.race.view import FollowView, GapView, RaceView
from pitwall_tui.race.whatif import WhatIf
from pitwall_tui.race.workshop import WorkshopState, WorkshopView
from pitwall_tui.widgets.panel import Frame
from tests.batched import toured
from tests.tui import bottlenecks, debriefs, memories, views
from tests.tui.studied import LAYER, stored
from tests.tui.taught import STEPS, lessons, sweep

FOLLOWED = views.NUMBERS[2]


@cache
def details() -> Details:
    """What all screens of their own show, at once."""
    return Details(
        memory=memories.MEMORY,
        batching=toured(100, 26).details.batching,
        bottleneck=bottlenecks.view(),
        debrief=debriefs.VIEW,
    )


@cache
def taught() -> AcademyView:
    state = AcademyState()
    state.begin()
    for news in [*lessons(STEPS), *sweep(2, 0.4)]:
        state.apply(news)
    return state.view()


@cache
def studied() -> WorkshopView:
    state = WorkshopState()
    state.choose_layer(LAYER)
    for news in stored():
        state.apply(news)
    return state.view()


GUIDE = GuideView("The cache", 3, 14, ("A line.", "Another."), ("cars: 12",), "press 1", "skip")
PLAYED = PlaybackView(
    31.0, 93.0, 0.6, True, 2.0, True, False,
    (Mark(0.0, "race", "monza"), Mark(30.0, "knob", "max_batch 8"), Mark(80.0, "red", "lost")),
)  # fmt: skip


def frame(view: RaceView, **changes: Any) -> Frame:
    """Nothing but the race: no followed car, no guide, nothing studied or taught."""
    bare = Frame(
        view=view, live=view, now=12.3, notice=Notice(), moves={}, fresh={}, followed=None,
        active=frozenset(), countdown=None, workshop=WorkshopView(), supposed=None,
        academy=AcademyView(), what_if=WhatIf(),
    )  # fmt: skip
    return replace(bare, **changes)


def rich(view: RaceView, **changes: Any) -> Frame:
    """All that can be on a frame is on it."""
    codes = [car.code for car in view.cars]
    gaps = tuple(GapView(0.3 * place, place // 7) for place in range(len(codes)))
    following = FollowView(412.4, 31.24, 28.06, 612, 640, 320, 1, gaps, views.WRITING)
    view = replace(
        view,
        details=details(),
        ghost=GhostView("weights fp32", -1.4, False, dict.fromkeys(codes, 0.4)),
        followed={FOLLOWED: following},
    )
    return frame(
        view,
        moves={views.NUMBERS[0]: 1, views.NUMBERS[1]: -1},
        fresh={views.NUMBERS[0]: frozenset({"s1", "last"})},
        followed=FOLLOWED,
        active=frozenset({"freeze", "pause"}),
        workshop=studied(),
        supposed=70,
        academy=taught(),
        what_if=WhatIf(hardware="H100 SXM"),
        **{"guide": GUIDE, "countdown": 7.2, "notice": Notice(True, False, 10**7), **changes},
    )


def _red() -> Frame:
    lost = replace(views.STATUS, flag="red", reason="killed by SIGKILL", paused=True, pace=40.0)
    return rich(views.drafting(status=lost))


def _untold() -> Frame:
    """Of a recording of before there was what screens of their own show."""
    old = rich(memories.untold())
    view = replace(memories.untold(), quality=None, traffic=())
    return replace(old, view=view, live=view)


KINDS: dict[str, Callable[[], Frame]] = {
    "empty": lambda: frame(views.empty()),
    "loading": lambda: frame(replace(memories.unbegun(), details=Details(debrief=debriefs.NONE))),
    "unseen": lambda: frame(views.racing()),
    "racing": lambda: rich(views.drafting()),
    "finished": lambda: rich(views.finished()),
    "red": _red,
    "replay": lambda: rich(views.racing(), playback=PLAYED, notice=Notice(replay=True)),
    "untold": _untold,
    "reserved": lambda: rich(memories.contiguous()),
    "many settings": lambda: rich(debriefs.race(debriefs.many())),
}

# Texts that a model writes, or that stand in files of users. All others are ours.
_WRITTEN = {
    *("circuit", "title", "code", "text", "note", "reason", "label", "detail", "car", "source"),
    *("draft", "word", "lines", "figures", "wanted", "name", "teacher", "junior", "failure"),
    *("team", "why", "sharers", "help", "enter", "tyre"),
}
# Places, numbers of something and shares: what is off there is no moment of a race.
_PLACES = {
    *("position", "number", "team", "fraction", "row", "car", "page", "pages", "holders", "cars"),
    *("marks", "teams", "kinds", "slots", "runs", "outline", "share", "read", "buckets", "pairs"),
    *("layers", "counts", "parts", "sizes", "kind", "mixed", "supposed", "acceptance", "cost"),
    *("top1", "overlap", "coupled", "budget", "sweep_tokens", "temperature"),
}
_OURS = (WhatIf, DraftInfo, DraftCounts, QualitySample)


def odd(value: Any, text: str, scale: float, name: str = "") -> Any:
    """The same, with `text` for what a model or a user wrote, and all measured figures scaled."""
    match value:
        case bool() | bytes() | None:
            return value
        case str():
            return text if name in _WRITTEN else value
        case float():
            return value if name in _PLACES else value * scale
        case int():
            # What there is one of at least is never none: that is another kind of frame.
            return value if name in _PLACES or value < 1 else max(1, round(value * scale))
        case Mapping():
            return {key: odd(each, text, scale, name) for key, each in value.items()}
        case tuple() if name == "pieces":
            return tuple((author, text) for author, _ in value)
        case tuple() if hasattr(value, "_replace"):
            changed = {f: odd(getattr(value, f), text, scale, f) for f in value._fields}
            return value._replace(**changed)
        case tuple():
            return tuple(odd(each, text, scale, name) for each in value)
    if is_dataclass(value):
        changed = {
            f.name: odd(getattr(value, f.name), text, scale, f.name)
            for f in fields(value)
            if f.name not in ("keys", "knobs", "what_if")
        }
        return replace(value, **changed)
    return value
