"""Draws docs/tour.svg: a tour of the wall over the shipped demo, as one animated picture.

`python -m docs.tour` writes it. The moments are found by what is turned in the recording, so that a
demo that is recorded anew needs no other script. Rows that are alike are kept once, in whichever
frames they are; a viewer without animation shows the first frame.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.color import Color, blend_rgb
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from textual.pilot import Pilot

from pitwall_tui.cli.replay import DEMO
from pitwall_tui.feed.replay import ReplayFeed
from pitwall_tui.player import PlayerApp

FILE = Path(__file__).with_name("tour.svg")
SIZE = (120, 36)


@dataclass(frozen=True, slots=True)
class Stop:
    """A frame: so many s after the `nth` mark with this text in the recording, some keys, what is
    said of it, and how long it stays in s."""

    mark: str
    after: float
    keys: tuple[str, ...]
    said: str
    stays: float = 3.0
    nth: int = 0


STOPS = (
    Stop("batching static", -0.5, (), "every car is a request that is being served", 2.5),
    Stop("batching static", 1.8, (), "a knob is turned: cars in fixed groups", 2.5),
    Stop("batching continuous", 2.5, (), "whoever is there, in every step: the ghost falls back"),
    Stop("batching continuous", 2.5, ("f3",), "F3: who ran when, and what each mode gave", 4),
    Stop("safety car", 1.0, ("f1",), "pages are short: the safety car, and pit stops"),
    Stop("safety car", 1.0, ("f2",), "F2: every car's block table, and the pool", 4),
    Stop("weights int8", 2.5, ("f1",), "weights in 8 bits: what it did, measured"),
    Stop("speculation junior", 3.0, ("down",), "a small model drafts; one car is followed"),
    Stop("speculation junior", 6.0, ("escape", "f5"), "F5: drafts, by theory and as measured", 4),
    Stop("weights int4", 3.0, ("f7",), "F7: what bounds each kind of step on this machine", 4),
    Stop("chequered flag", -0.5, ("f8",), "F8: what each setting of the knobs gave", 4, nth=1),
    Stop("chequered flag", 0.5, ("f1", "r"), "the classification, with latencies", nth=1),
)


# From the app to frames


class Clock:
    """Stands, until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


Frame = list[list[Segment]]


async def film() -> list[Frame]:
    """The screen at every stop."""
    clock = Clock()
    feed = ReplayFeed(DEMO, clock)
    app = PlayerApp(feed, clock=clock, fps=0)
    app.animation_level = "none"
    app._disable_notifications = True  # one that lies over the picture leaves by a timer
    frames = []
    async with app.run_test(size=SIZE) as pilot:
        await _reach(app, pilot, sys.float_info.max)
        for stop in STOPS:
            marks = [mark.time for mark in feed.view().marks if stop.mark in mark.text]
            if len(marks) <= stop.nth:
                raise SystemExit(f"{DEMO}: nothing is marked {stop.mark!r} {stop.nth + 1} times")
            await _reach(app, pilot, marks[stop.nth] + stop.after)
            await pilot.press(*stop.keys)
            app.tick()
            await pilot.pause()
            frames.append([list(strip) for strip in app.screen._compositor.render_strips()])
    return frames


async def _reach(app: PlayerApp, pilot: Pilot[None], time: float) -> None:
    """Goes to a time a little before, and plays up to it, so that what moves is seen to move."""
    clock, feed = app.clock, app.player
    assert isinstance(clock, Clock)
    feed.seek(time - 1.0)
    while True:
        app.tick()
        if not feed.view().seeking:
            break
    for _ in range(10):
        clock.now += 0.1
        app.tick()
    await pilot.pause()


# From frames to a picture

# Pixels of a cell, of the margin, and of the line over the screen.
_WIDE, _HIGH, _MARGIN, _TOP = 8.4, 18.0, 10, 34
_FONT = "Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
_BACK, _INK, _DIM = "#07090d", "#e3e6ed", "#858d9c"


class Sheet:
    """Classes of styles and rows, each kept once under a short name."""

    def __init__(self) -> None:
        self.styles: dict[str, str] = {}
        self.rows: dict[str, str] = {}

    def style(self, css: str) -> str:
        return self.styles.setdefault(css, f"s{len(self.styles)}")

    def row(self, drawn: str) -> str:
        return self.rows.setdefault(drawn, f"r{len(self.rows)}")


def picture(frames: Sequence[Frame], stops: Sequence[Stop] = STOPS) -> str:
    """The whole document."""
    wide = SIZE[0] * _WIDE + 2 * _MARGIN
    high = SIZE[1] * _HIGH + _TOP + _MARGIN
    sheet = Sheet()
    shown = enumerate(zip(frames, stops, strict=True))
    scenes = [_scene(number, frame, stop, sheet) for number, (frame, stop) in shown]
    length, start, rules = sum(stop.stays for stop in stops), 0.0, []
    for number, stop in enumerate(stops):
        end = start + stop.stays
        rules.append(_shown(number, start / length, end / length, length))
        start = end
    styles = [f".{name}{{{css}}}" for css, name in sheet.styles.items()]
    defs = [f'<g id="{name}">{drawn}</g>' for drawn, name in sheet.rows.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" role="img"'
            f' aria-label="A tour of the pit wall" font-family="{_FONT}" font-size="14"'
            ' xml:space="preserve">',
            "<style>",
            ".f{visibility:hidden}.f0{visibility:visible}",
            *styles,
            "@media (prefers-reduced-motion:no-preference){",
            *rules,
            "}",
            "</style>",
            f'<rect width="{wide:g}" height="{high:g}" rx="8" fill="{_BACK}"/>',
            f"<defs>{''.join(defs)}</defs>",
            *scenes,
            "</svg>\n",
        ]
    )


def _shown(number: int, start: float, end: float, length: float) -> str:
    """A frame that is visible for its part of the whole time alone."""
    stays = [(0.0, number == 0), (start, True), (end, False)]
    keys = "".join(
        f"{100 * at:.2f}%{{visibility:{'visible' if on else 'hidden'}}}" for at, on in stays
    )
    return (
        f"@keyframes k{number}{{{keys}}}"
        f".f{number}{{animation:k{number} {length:g}s step-end infinite}}"
    )


def _scene(number: int, frame: Frame, stop: Stop, sheet: Sheet) -> str:
    """What is said, over the rows of the frame by their names."""
    said = (
        f'<text x="{_MARGIN}" y="22" fill="{_INK}" font-weight="bold">pitwall --demo</text>'
        f'<text x="{_MARGIN + 16 * _WIDE:g}" y="22" fill="{_DIM}">{escape(stop.said)}</text>'
    )
    used = []
    for line, segments in enumerate(frame):
        drawn = _row(segments, sheet)
        if drawn:
            y = _TOP + line * _HIGH
            used.append(f'<use href="#{sheet.row(drawn)}" x="{_MARGIN}" y="{y:g}"/>')
    return f'<g class="f f{number}">{said}{"".join(used)}</g>'


@dataclass(frozen=True, slots=True)
class Run:
    """Cells of one style; colours are those that are seen, with dim ones mixed."""

    start: int
    text: str
    fore: str
    back: str
    extra: str


def _row(segments: list[Segment], sheet: Sheet) -> str:
    """Grounds, then texts, from the row's own left upper corner on."""
    runs = _runs(segments)
    parts = []
    for back, group in groupby(runs, key=lambda run: run.back):
        alike = list(group)
        if back != _BACK:
            x, cells = alike[0].start, sum(cell_len(run.text) for run in alike)
            name = sheet.style(f"fill:{back}")
            parts.append(
                f'<rect class="{name}" x="{_at(x)}" width="{_at(cells)}" height="{_HIGH:g}"/>'
            )
    for run in runs:
        text = run.text.rstrip()
        indent = len(text) - len(text.lstrip())
        text = text.lstrip()
        if text:
            name = sheet.style(f"fill:{run.fore}{run.extra}")
            x, cells = run.start + indent, cell_len(text)
            length = f' textLength="{_at(cells)}" lengthAdjust="spacingAndGlyphs"'
            parts.append(
                f'<text class="{name}" x="{_at(x)}" y="13.5"{length}>{escape(text)}</text>'
            )
    return "".join(parts)


def _at(cells: int) -> str:
    return f"{cells * _WIDE:.1f}".removesuffix(".0")


def _runs(segments: list[Segment]) -> list[Run]:
    runs: list[Run] = []
    start = 0
    for segment in segments:
        style, text = segment.style, segment.text
        if segment.control or not text:
            continue
        fore = _colour(style.color if style else None, _INK)
        back = _colour(style.bgcolor if style else None, _BACK)
        extra = ""
        if style is not None:
            if style.reverse:
                fore, back = back, fore
            if style.dim:
                fore = blend_rgb(_triplet(back), _triplet(fore), 0.6).hex
            lines = [
                name
                for name, on in (("underline", style.underline), ("line-through", style.strike))
                if on
            ]
            extra = ";font-weight:bold" if style.bold else ""
            extra += f";text-decoration:{' '.join(lines)}" if lines else ""
        runs.append(Run(start, text, fore, back, extra))
        start += cell_len(text)
    return runs


def _colour(colour: Color | None, otherwise: str) -> str:
    return otherwise if colour is None or colour.is_default else colour.get_truecolor().hex


def _triplet(colour: str) -> ColorTriplet:
    return Color.parse(colour).get_truecolor()


def main() -> int:
    FILE.write_text(picture(asyncio.run(film())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
