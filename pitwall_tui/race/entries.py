"""The invented entry list: 20 cars in 10 teams."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Team:
    """A team; ``short`` (at most 6 letters) is its name in an entry line."""

    name: str
    short: str
    colour: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One car. ``skill`` is its usual pace in s/lap relative to the base time: lower is faster."""

    number: int
    code: str
    name: str
    team: Team
    skill: float


# Hues are spread round the wheel at middling lightness: readable on dark and on light grounds.
NOVA = Team("Nova Meridian", "NOVA", "#e5383b")
ALTO = Team("Alto Corse", "ALTO", "#e8740c")
HELIX = Team("Helix Racing", "HELIX", "#b58900")
FJORD = Team("Fjordline", "FJORD", "#4f9d1f")
TERRA = Team("Terra Motorsport", "TERRA", "#0f9d78")
ZEPHYR = Team("Zephyr Works", "ZEPHYR", "#1597b8")
ORCA = Team("Orca Grand Prix", "ORCA", "#3d7be0")
VESPER = Team("Vesper", "VESPER", "#8b5fd6")
LUMEN = Team("Lumen Autosport", "LUMEN", "#d64a9c")
GRANIT = Team("Granit Engineering", "GRANIT", "#8a8178")

TEAMS: tuple[Team, ...] = (NOVA, ALTO, HELIX, FJORD, TERRA, ZEPHYR, ORCA, VESPER, LUMEN, GRANIT)

ENTRIES: tuple[Entry, ...] = (
    Entry(7, "KES", "Ilmar Kestrand", NOVA, -0.25),
    Entry(28, "VAR", "Tomas Varnholt", NOVA, -0.05),
    Entry(12, "OHL", "Edvin Ohlsrud", ORCA, -0.20),
    Entry(51, "MBE", "Kofi Mbessa", ORCA, 0.05),
    Entry(3, "DAL", "Rocco Dalmieri", ALTO, -0.10),
    Entry(36, "TAK", "Shun Takemori", ALTO, 0.15),
    Entry(19, "QUI", "Benicio Quirola", ZEPHYR, 0.10),
    Entry(64, "ASH", "Perry Ashdown", ZEPHYR, 0.25),
    Entry(8, "LIN", "Jasper Lindqvar", HELIX, 0.25),
    Entry(45, "PET", "Milos Petrazek", HELIX, 0.45),
    Entry(22, "NAV", "Arjun Navarkar", VESPER, 0.35),
    Entry(71, "BOU", "Remi Bouclard", VESPER, 0.55),
    Entry(15, "SOR", "Leif Sorvaag", FJORD, 0.50),
    Entry(58, "HAL", "Connor Halloway", FJORD, 0.70),
    Entry(31, "ZAM", "Iker Zamarrin", TERRA, 0.65),
    Entry(82, "WEI", "Lukas Weissbrod", TERRA, 0.80),
    Entry(9, "CHE", "Yuto Cheng", LUMEN, 0.80),
    Entry(40, "RUS", "Oleg Rusakin", LUMEN, 1.00),
    Entry(26, "FON", "Caio Fontanez", GRANIT, 0.95),
    Entry(93, "GRE", "Dane Greaves", GRANIT, 1.20),
)

BY_CODE: dict[str, Entry] = {entry.code: entry for entry in ENTRIES}
