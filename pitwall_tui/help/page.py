"""A page of help."""

from dataclasses import dataclass

from pitwall_tui.draw.cells import Span

# A sign as it is drawn, where it stands or what goes with it, what it means.
Sign = tuple[Span, str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """What a screen shows, and why anybody would want to know.

    `about` says what it is, `panels` what each panel by its title; `technique` how that works in
    this engine, `price` what it costs, `parallel` what it is on a real pit wall.
    """

    title: str
    about: str
    panels: tuple[tuple[str, str], ...]
    technique: str
    price: str
    parallel: str
    signs: tuple[Sign, ...] = ()
