"""What docs/ shows is drawn from the app: the sketches are its layouts, the tour is its demo."""

from xml.etree import ElementTree

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region

from docs import layouts, tour
from docs.layouts import Box, sketch
from pitwall_tui.cli.replay import DEMO
from pitwall_tui.feed.replay import ReplayFeed

SVG = "{http://www.w3.org/2000/svg}"


async def test_the_sketches_are_what_the_app_does() -> None:
    """At the least and the largest size; the others are drawn by the same steps."""
    text = layouts.FILE.read_text(encoding="utf-8")
    sizes = layouts.SIZES[::4]
    drawn = [
        layouts.section(page, size, found)
        async for page, shown in layouts.walk(sizes)
        for size, found in shown.items()
    ]
    assert len(drawn) == len(sizes) * len(layouts.PAGES)
    stale = [section.partition("\n")[0] for section in drawn if section not in text]
    assert stale == [], "draw docs/layouts.md anew: make layouts"


def test_every_page_is_sketched_in_every_size() -> None:
    text = layouts.FILE.read_text(encoding="utf-8")
    for page, _ in layouts.PAGES:
        for wide, high in layouts.SIZES:
            assert text.count(f"### {page}, {wide}x{high}\n") == 1


def test_a_sketch_shares_lines_and_gives_gaps_to_the_box_before_them() -> None:
    boxes = [
        Box("head", Region(0, 0, 40, 1)),
        Box("LEFT", Region(0, 1, 19, 8)),
        Box("RIGHT", Region(20, 1, 20, 3)),
        Box("UNDER", Region(20, 5, 20, 4)),
    ]
    assert sketch(boxes, (40, 9)).splitlines() == [
        "┌───────────────────┐",
        "│ head 40x1         │",
        "├─────────┬─────────┤",
        "│ LEFT    │ RIGHT   │",
        "│ 19x8    ├─────────┤",
        "│         │ UNDER   │",
        "└─────────┴─────────┘",
    ]


def test_the_tour_is_one_small_picture_with_a_frame_for_every_stop() -> None:
    text = tour.FILE.read_text(encoding="utf-8")
    assert len(text.encode()) < 600_000
    root = ElementTree.fromstring(text)
    frames = [group for group in root.iter(f"{SVG}g") if "class" in group.attrib]
    assert [frame.attrib["class"] for frame in frames] == [
        f"f f{number}" for number in range(len(tour.STOPS))
    ]
    for frame, stop in zip(frames, tour.STOPS, strict=True):
        assert stop.said in "".join(frame.itertext())
    kept = {group.attrib["id"] for group in root.iter(f"{SVG}g") if "id" in group.attrib}
    used = {row.attrib["href"].removeprefix("#") for row in root.iter(f"{SVG}use")}
    assert kept == used
    assert not {element.tag for element in root.iter()} & {f"{SVG}script", f"{SVG}image"}


def test_the_demo_has_every_moment_that_the_tour_stops_at() -> None:
    feed = ReplayFeed(DEMO, lambda: 0.0)
    feed.start()
    feed.seek_share(1)
    while feed.turn() is None:
        pass
    marks = [mark.text for mark in feed.view().marks]
    for stop in tour.STOPS:
        assert sum(stop.mark in text for text in marks) > stop.nth, stop.mark


def test_rows_that_are_alike_are_kept_once_and_frames_follow_one_another() -> None:
    plain, red = Style.parse("#ffffff on #07090d"), Style.parse("bold #ff0000 on #112233")
    first = [[Segment("same  row", plain)], [Segment("a & b", red)]]
    second = [[Segment("same  row", plain)], [Segment("other", red)]]
    stops = [tour.Stop("", 0, (), "one", 1), tour.Stop("", 0, (), "two", 3)]
    text = tour.picture([first, second], stops)
    assert (text.count("same  row"), text.count("a &amp; b")) == (1, 1)
    assert "0.00%{visibility:hidden}25.00%{visibility:visible}100.00%{visibility:hidden}" in text
    assert "animation:k1 4s step-end infinite" in text
    root = ElementTree.fromstring(text)
    assert len(list(root.iter(f"{SVG}use"))) == 4
    assert len(list(root.iter(f"{SVG}rect"))) == 3  # the ground of all, and of two red rows
