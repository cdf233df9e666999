"""Keys by name, other keys for commands and knobs, and that everything shows them."""

import pytest
from textual.keys import Keys as TextualKeys
from textual.keys import _character_to_key

from pitwall_tui.app import PitWallApp
from pitwall_tui.commands import COMMANDS, KEYS, KNOB_KEYS
from pitwall_tui.draw.cells import plain
from pitwall_tui.draw.help import help_rows
from pitwall_tui.keys import NAMED, key_name, shown
from pitwall_tui.player import player_keys
from pitwall_tui.race.errors import RaceError
from pitwall_tui.screens.results import ResultsScreen
from pitwall_tui.settings import Wall
from pitwall_tui.widgets.bars import KeyBar, KnobBar
from tests.tui import views
from tests.tui.fakes import FakeFeed, StillState
from tests.tui.test_app import feed_of, running, text_of

OTHER = {
    "results": "T",
    "pause": "ctrl+o,f9",
    "theme": "p",  # which was pause's
    "kv_cache": "K",
    "draft_length_up": "right_curly_bracket",
    "academy": "",
}


def remapped() -> PitWallApp:
    app = PitWallApp(
        FakeFeed(),
        StillState(views.racing()),
        clock=lambda: 10.0,
        fps=0,
        wall=Wall(keys=KEYS.remapped(OTHER)),
    )
    app._disable_notifications = True
    return app


def test_whatever_has_keys_has_an_id_of_its_own() -> None:
    for keys in (KEYS, player_keys(KEYS)):
        ids = [id for id, _, _ in keys.bound()]
        assert len(ids) == len(set(ids))
    moved = KEYS.remapped({"batching": "f9", "batching_knob": "B"})
    assert {id: keys for id, _, keys in moved.bound() if id.startswith("batching")} == {
        "batching": "f9",
        "batching_knob": "B",
        "batching_down": "",
        "batching_up": "",
    }


def test_names_are_those_of_textual() -> None:
    for code in range(0x21, 0x7F):
        name = _character_to_key(chr(code))
        assert key_name(chr(code)) == name
        assert shown(name) == chr(code)
        assert key_name(name) == name or len(name) == 1
    known = {key.value for key in TextualKeys}
    assert [name for name in NAMED if name not in known] == []


@pytest.mark.parametrize("text", ["Ctrl+S", "F5", "PageDown", "alt+shift+up", "ctrl+slash"])
def test_a_name_may_be_written_in_capitals(text: str) -> None:
    assert key_name(text) == text.lower()


def test_a_letter_and_its_capital_are_two_keys() -> None:
    assert (key_name("t"), key_name("T")) == ("t", "T")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("spacebar", "space"),
        ("questionmark", "question_mark"),
        ("ctlr+a", "ctrl"),
        ("ctrl+", "nearest"),
        ("", "nearest"),
        (" ", "nearest"),
        ("f25", "f2"),
    ],
)
def test_what_is_no_key_is_named_with_the_nearest(text: str, hint: str) -> None:
    with raises(f'no key is called "{text}"') as caught:
        key_name(text)
    assert hint in str(caught.value)


def raises(match: str) -> "pytest.RaisesExc[RaceError]":
    return pytest.raises(RaceError, match=match.replace("+", r"\+").replace("(", r"\("))


def test_what_commands_show_is_their_first_key() -> None:
    for command in COMMANDS:
        assert command.shown.lower() == shown(command.keys.partition(",")[0]).lower()
    for knob in KNOB_KEYS:
        assert knob.sign == knob.key


def test_without_other_keys_all_stays_as_it_is() -> None:
    assert KEYS.remapped({}) == KEYS
    own = {id: keys for id, _, keys in KEYS.bound()}
    assert KEYS.remapped(own).knobs == KEYS.knobs


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"theme": "p"}, 'keys.theme: "p" is the key of pause too'),
        ({"theme": "x,x"}, 'keys.theme: "x" is the key of theme too'),
        ({"copy": "x", "shot": "x"}, 'keys.shot: "x" is the key of copy too'),
        ({"copy": "1"}, 'keys.copy: "1" is the key of kv_cache too'),
        ({"copy": "ctrl+p"}, "the palette"),
        ({"themes": "x"}, "keys.themes is nothing that has keys; nearest is theme"),
        ({"copy": "foo"}, "keys.copy: no key is called"),
        ({"quit": ""}, "keys.quit"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, str], words: str) -> None:
    with raises(words):
        KEYS.remapped(given)


async def test_other_keys_do_what_the_old_ones_did() -> None:
    app = remapped()
    async with running(app) as pilot:
        await pilot.press("T")
        assert isinstance(app.screen, ResultsScreen)
        await pilot.press("escape", "f9", "ctrl+o")
        assert feed_of(app).sent("paused") == [True, False]
        await pilot.press("p")
        assert app.theme == "pitwall-light"
        await pilot.press("K", "right_curly_bracket")
        assert [knobs.kv_cache for knobs in feed_of(app).sent("knobs")] == ["off"] * 2  # type: ignore[attr-defined]
        assert feed_of(app).sent("knobs")[-1].draft_length == 5  # type: ignore[attr-defined]


async def test_the_old_keys_do_nothing_any_more() -> None:
    app = remapped()
    async with running(app) as pilot:
        before = app.screen
        await pilot.press("r", "1", "full_stop", "f6", "a", "t")
        assert app.screen is before
        assert feed_of(app).sent("knobs") == []
        assert app.theme == "pitwall"


async def test_footer_knob_bar_and_help_show_other_keys() -> None:
    app = remapped()
    async with running(app, (200, 60)) as pilot:
        await pilot.pause()
        footer, knobs = text_of(app, KeyBar), text_of(app, KnobBar)
        assert "T results" in footer
        assert "ctrl+o pause" in footer
        assert "academy" not in footer
        assert " K kv on" in knobs
        help_text = plain(help_rows(100, app.wall.keys))
        assert "  T         the classification" in help_text
        assert ", }" in help_text
        assert "  ctrl+o    pause the engine" in help_text
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"academy", "results"} <= titles
