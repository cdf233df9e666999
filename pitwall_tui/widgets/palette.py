"""From the roles of a drawing to terminal styles, by the colours of the theme and the teams."""

from collections.abc import Mapping

from rich.style import Style
from textual.color import Color, ColorParseError

from pitwall_tui.draw.cells import Paint

_RESERVED = 0.45  # how much of a team's colour a reserved, still empty page has


class Palette:
    """Styles for spans; one palette for a theme and a set of teams.

    `variables` are the theme's, `teams` colours as "#rrggbb".
    """

    def __init__(self, variables: Mapping[str, str], teams: tuple[str, ...] = ()) -> None:
        self._variables = variables
        self._teams = teams
        self._ground = self._variable("surface") or Color(0, 0, 0)
        self._styles: dict[Paint, Style] = {}

    def style(self, paint: Paint) -> Style:
        """The style of a span with this paint, without the panel's own."""
        if paint not in self._styles:
            self._styles[paint] = self._make(*paint)
        return self._styles[paint]

    def _make(self, role: str, back: str, action: str) -> Style:
        name, *attributes = role.split() or [""]
        colour, ground = self._colour(name), self._colour(back)
        return Style(
            color=colour.rich_color if colour else None,
            bgcolor=ground.rich_color if ground else None,
            bold="bold" in attributes or None,
            underline="underline" in attributes or None,
            strike="strike" in attributes or None,
            meta={"@click": action} if action else None,
        )

    def _colour(self, name: str) -> Color | None:
        kind, _, index = name.partition(".")
        if kind in ("team", "reserve"):
            colour = self._team(index)
            return self._ground.blend(colour, _RESERVED) if kind == "reserve" else colour
        return self._variable(name.replace(".", "-")) if name else None

    def _team(self, index: str) -> Color:
        number = int(index)
        text = self._teams[number] if number < len(self._teams) else ""
        return _parsed(text) or self._variable("dim") or Color(128, 128, 128)

    def _variable(self, name: str) -> Color | None:
        return _parsed(self._variables.get(name, ""))


def _parsed(text: str) -> Color | None:
    try:
        return Color.parse(text)
    except ColorParseError:
        return None
