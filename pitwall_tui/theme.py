"""Colours: the themes of our own, and what their signs fall back to under any other theme."""

from textual.theme import BUILTIN_THEMES, Theme

# Names are the roles of pitwall_tui.draw with "-" for ".", values what stands for them.
_DARK = {
    "ink": "#0b0d12",
    "text": "#e3e6ed",
    "dim": "#858d9c",
    "title": "#f4f5f8",
    "title-back": "#1f2531",
    "accent": "#ff4d43",
    "badge": "#f0b429",
    "chip": "#1d222d",
    "track": "#7a8294",
    "tyre-S": "#ff5a4f",
    "tyre-M": "#ffd12e",
    "tyre-H": "#f0f0ec",
    "tyre-I": "#4cc238",
    "tyre-W": "#4aa3ff",
    "sector-none": "#858d9c",
    "sector-yellow": "#e8c547",
    "sector-green": "#3ddc84",
    "sector-purple": "#d18cff",
    "flag-lights": "#9aa2b1",
    "flag-green": "#34c981",
    "flag-yellow": "#f7c52e",
    "flag-safety": "#ff9f1c",
    "flag-red": "#ff5a4f",
    "flag-chequered": "#f4f5f8",
    "state-formation": "#4cd07d",
    "state-parked": "#e8c547",
    "state-pit": "#4aa3ff",
    "state-out": "#ff5a4f",
    "move-up": "#3ddc84",
    "move-down": "#ff6b61",
    "move-up-back": "#12301f",
    "move-down-back": "#351a1b",
    "follow-back": "#2c3a5c",
    "page-used": "#b9c0cc",
    "page-shared": "#ffffff",
    "page-cached": "#4d5564",
    "page-free": "#262c38",
    "chart-area": "#3fa7d6",
    "chart-mark": "#f0b429",
    "radio-control": "#f7c52e",
    "radio-knob": "#6cc5f0",
    "draft-accepted": "#3ddc84",
    "draft-overruled": "#ff6b61",
    "knob-key": "#ff4d43",
    "knob-usual": "#e3e6ed",
    "knob-changed": "#f0b429",
    "knob-pending": "#6cc5f0",
    "light-on": "#ff2b20",
    "light-dim": "#7d2320",
    "light-off": "#2b303c",
}
_LIGHT = {
    "ink": "#ffffff",
    "text": "#1a1e27",
    "dim": "#5a6270",
    "title": "#11141b",
    "title-back": "#d9dee7",
    "accent": "#c4082b",
    "badge": "#8a5a00",
    "chip": "#e6e9f0",
    "track": "#7b8494",
    "tyre-S": "#c8201a",
    "tyre-M": "#936e00",
    "tyre-H": "#3d4450",
    "tyre-I": "#2b7d1d",
    "tyre-W": "#0861b4",
    "sector-none": "#5a6270",
    "sector-yellow": "#8c6600",
    "sector-green": "#0b7a3d",
    "sector-purple": "#8a1fc4",
    "flag-lights": "#59606e",
    "flag-green": "#127a45",
    "flag-yellow": "#8f6a00",
    "flag-safety": "#b25400",
    "flag-red": "#c8102e",
    "flag-chequered": "#11141b",
    "state-formation": "#127a45",
    "state-parked": "#8c6600",
    "state-pit": "#0861b4",
    "state-out": "#c8102e",
    "move-up": "#0b7a3d",
    "move-down": "#c8102e",
    "move-up-back": "#d3eedd",
    "move-down-back": "#f6d9d9",
    "follow-back": "#c9d8f5",
    "page-used": "#565e6c",
    "page-shared": "#000000",
    "page-cached": "#aab1bd",
    "page-free": "#c6ccd6",
    "chart-area": "#247baa",
    "chart-mark": "#944f00",
    "radio-control": "#8a6400",
    "radio-knob": "#1b6a94",
    "draft-accepted": "#007135",
    "draft-overruled": "#c4082b",
    "knob-key": "#c4082b",
    "knob-usual": "#1a1e27",
    "knob-changed": "#944f00",
    "knob-pending": "#1b6a94",
    "light-on": "#e10600",
    "light-dim": "#e9a29d",
    "light-off": "#c6ccd6",
}

# On black: 7 to 1 for every text, 3 to 1 for every sign.
_CONTRAST = _DARK | {
    "ink": "#000000",
    "text": "#ffffff",
    "dim": "#c8cdd6",
    "title": "#ffffff",
    "title-back": "#1b2029",
    "accent": "#ff8f85",
    "track": "#c8cdd6",
    "tyre-S": "#ff7a70",
    "tyre-W": "#6cb8ff",
    "sector-none": "#c8cdd6",
    "flag-lights": "#c8cdd6",
    "flag-red": "#ff7a70",
    "state-pit": "#6cb8ff",
    "state-out": "#ff7a70",
    "move-down": "#ff8f85",
    "page-used": "#c8cdd6",
    "page-cached": "#8a93a3",
    "page-free": "#646c7a",
    "draft-overruled": "#ff8f85",
    "knob-key": "#ff8f85",
    "knob-usual": "#ffffff",
    "light-dim": "#b04a44",
    "light-off": "#646c7a",
}
# What is red against green elsewhere differs in blue or lightness too: told apart without cones
# for red (protanopia) or for green (deuteranopia).
_COLOUR_BLIND = _DARK | {
    "accent": "#ff7a45",
    "tyre-S": "#ff7a45",
    "tyre-M": "#fff07a",
    "tyre-H": "#ffffff",
    "tyre-I": "#33e6a6",
    "tyre-W": "#5aa9ff",
    "sector-yellow": "#f0e442",
    "sector-green": "#33e6a6",
    "sector-purple": "#c68cff",
    "flag-green": "#33e6a6",
    "flag-yellow": "#fff07a",
    "flag-safety": "#ffa600",
    "flag-red": "#ff6a3d",
    "state-formation": "#33e6a6",
    "state-parked": "#f0e442",
    "state-pit": "#5aa9ff",
    "state-out": "#ff7a45",
    "move-up": "#33e6a6",
    "move-down": "#ff7a45",
    "move-up-back": "#0b3a52",
    "move-down-back": "#4a2412",
    "page-cached": "#565f70",
    "chart-mark": "#ffa600",
    "radio-control": "#fff07a",
    "radio-knob": "#5aa9ff",
    "draft-accepted": "#33e6a6",
    "draft-overruled": "#ff7a45",
    "knob-key": "#ff7a45",
    "knob-changed": "#ffa600",
    "knob-pending": "#5aa9ff",
    "light-on": "#ff6a3d",
    "light-dim": "#7a3218",
}


def _theme(name: str, colours: dict[str, str], dark: bool, *grounds: str) -> Theme:
    """A theme of Textual's; `grounds` are the wall's, the panels' and the raised one."""
    background, surface, panel = grounds
    return Theme(
        name=name,
        primary=colours["accent"],
        secondary=colours["tyre-W"],
        accent=colours["accent"],
        foreground=colours["text"],
        background=background,
        surface=surface,
        panel=panel,
        success=colours["flag-green"],
        warning=colours["flag-yellow"],
        error=colours["flag-red"],
        dark=dark,
        variables=colours,
    )


PITWALL = _theme("pitwall", _DARK, True, "#07090d", "#11151c", "#1d222d")
PITWALL_LIGHT = _theme("pitwall-light", _LIGHT, False, "#e9ecf1", "#fbfcfd", "#e6e9f0")
PITWALL_CONTRAST = _theme("pitwall-contrast", _CONTRAST, True, "#000000", "#000000", "#1a1f29")
PITWALL_COLOUR_BLIND = _theme(
    "pitwall-colour-blind", _COLOUR_BLIND, True, "#07090d", "#11151c", "#1d222d"
)
OWN = (PITWALL, PITWALL_LIGHT, PITWALL_CONTRAST, PITWALL_COLOUR_BLIND)


def names() -> tuple[str, ...]:
    """All themes that the wall can have: its own, and Textual's."""
    return (*(theme.name for theme in OWN), *BUILTIN_THEMES)


def following(name: str) -> str:
    """The theme of our own after this one; the first after any other."""
    own = [theme.name for theme in OWN]
    return own[(own.index(name) + 1) % len(own)] if name in own else own[0]


def defaults(dark: bool) -> dict[str, str]:
    """What our variables are under a theme that does not know them."""
    return _DARK if dark else _LIGHT
