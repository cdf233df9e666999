"""The radio can be gone back in, and stands still meanwhile."""

from dataclasses import replace

from pitwall_tui.race.view import RadioView
from pitwall_tui.screens.race import Radio
from tests.tui import views
from tests.tui.conftest import Build
from tests.tui.wall import running, state_of, step, text_of


def said(*numbers: int) -> tuple[RadioView, ...]:
    return tuple(
        RadioView(float(number), "control", "", 255, 0, f"entry {number:03}") for number in numbers
    )


def entries(text: str) -> list[int]:
    return [int(line.partition("entry ")[2][:3]) for line in text.splitlines() if "entry " in line]


async def test_pages_and_the_wheel_go_back_and_what_is_read_stays(build: Build) -> None:
    racing = replace(views.racing(), radio=said(*range(100)))
    app = build(racing)
    async with running(app, (160, 45)) as pilot:
        await step(app, pilot)
        newest = entries(text_of(app, Radio))
        assert newest[-1] == 99
        await pilot.press("pageup")
        await step(app, pilot)
        earlier = entries(text_of(app, Radio))
        back = 99 - earlier[-1]
        (radio,) = (found for found in app.screen.query(Radio) if found.is_on_screen)
        assert back == radio.size.height // 2
        assert f"{back} newer" in text_of(app, Radio)
        radio.on_mouse_scroll_up()
        state_of(app).at = replace(racing, radio=said(*range(120)))
        await step(app, pilot)
        assert entries(text_of(app, Radio))[-1] == earlier[-1] - 1
        await pilot.press(*["pagedown"] * 20)
        await step(app, pilot)
        assert entries(text_of(app, Radio))[-1] == 119
        assert "newer" not in text_of(app, Radio)


async def test_what_has_been_forgotten_is_left(build: Build) -> None:
    racing = replace(views.racing(), radio=said(*range(100)))
    app = build(racing)
    async with running(app, (160, 45)) as pilot:
        await step(app, pilot)
        await pilot.press(*["pageup"] * 40)
        await step(app, pilot)
        assert entries(text_of(app, Radio)) == [0]
        state_of(app).at = replace(racing, radio=said(*range(50, 250)))
        await step(app, pilot)
        assert entries(text_of(app, Radio))[-1] == 249
        state_of(app).at = replace(racing, radio=())
        await step(app, pilot)
        await pilot.press("pageup")
        assert entries(text_of(app, Radio)) == []
