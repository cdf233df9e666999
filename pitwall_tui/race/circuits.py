"""Circuits: public facts, base times for the simulator, and outlines drawn from the layouts."""

from dataclasses import dataclass

from pitwall_tui.race.errors import RaceError
from pitwall_tui.race.outlines import Point, outline


@dataclass(frozen=True, slots=True)
class Circuit:
    """One circuit.

    ``base`` are sector times in s of a race lap without fuel or wear, ``pit_loss`` the seconds
    a stop costs, ``wear`` its tyre wear factor; ``sectors`` are the fractions of the lap at
    which the first two sectors end.
    """

    name: str
    title: str
    country: str
    laps: int
    length_km: float
    corners: int
    base: tuple[float, float, float]
    pit_loss: float
    wear: float
    sectors: tuple[float, float]

    @property
    def outline(self) -> tuple[Point, ...]:
        """The closed curve in the unit box, y upwards, start line first, in driving direction."""
        return outline(self.name)


_ALL = (
    Circuit(
        name="monza",
        title="Autodromo Nazionale Monza",
        country="Italy",
        laps=53,
        length_km=5.793,
        corners=11,
        base=(27.20, 28.30, 27.60),
        pit_loss=23.5,
        wear=0.85,
        sectors=(0.35, 0.67),
    ),
    Circuit(
        name="spa",
        title="Circuit de Spa-Francorchamps",
        country="Belgium",
        laps=44,
        length_km=7.004,
        corners=19,
        base=(31.80, 48.60, 29.60),
        pit_loss=19.5,
        wear=1.10,
        sectors=(0.32, 0.73),
    ),
    Circuit(
        name="monaco",
        title="Circuit de Monaco",
        country="Monaco",
        laps=78,
        length_km=3.337,
        corners=19,
        base=(20.10, 35.60, 20.10),
        pit_loss=20.5,
        wear=0.60,
        sectors=(0.31, 0.74),
    ),
    Circuit(
        name="silverstone",
        title="Silverstone Circuit",
        country="United Kingdom",
        laps=52,
        length_km=5.891,
        corners=18,
        base=(28.90, 36.40, 24.80),
        pit_loss=20.0,
        wear=1.20,
        sectors=(0.33, 0.73),
    ),
    Circuit(
        name="suzuka",
        title="Suzuka International Racing Course",
        country="Japan",
        laps=53,
        length_km=5.807,
        corners=18,
        base=(33.40, 41.90, 18.60),
        pit_loss=22.5,
        wear=1.25,
        sectors=(0.36, 0.80),
    ),
    Circuit(
        name="interlagos",
        title="Autodromo Jose Carlos Pace",
        country="Brazil",
        laps=71,
        length_km=4.309,
        corners=15,
        base=(18.50, 38.20, 17.70),
        pit_loss=21.0,
        wear=1.00,
        sectors=(0.30, 0.72),
    ),
    Circuit(
        name="zandvoort",
        title="Circuit Zandvoort",
        country="Netherlands",
        laps=72,
        length_km=4.259,
        corners=14,
        base=(25.80, 26.10, 22.60),
        pit_loss=21.5,
        wear=1.05,
        sectors=(0.36, 0.70),
    ),
    Circuit(
        name="montreal",
        title="Circuit Gilles Villeneuve",
        country="Canada",
        laps=70,
        length_km=4.361,
        corners=14,
        base=(21.10, 24.30, 29.60),
        pit_loss=18.5,
        wear=0.80,
        sectors=(0.29, 0.58),
    ),
    Circuit(
        name="hungaroring",
        title="Hungaroring",
        country="Hungary",
        laps=70,
        length_km=4.381,
        corners=14,
        base=(29.30, 29.50, 23.60),
        pit_loss=20.5,
        wear=1.00,
        sectors=(0.38, 0.73),
    ),
    Circuit(
        name="spielberg",
        title="Red Bull Ring",
        country="Austria",
        laps=71,
        length_km=4.318,
        corners=10,
        base=(17.40, 30.60, 21.40),
        pit_loss=20.5,
        wear=0.95,
        sectors=(0.27, 0.70),
    ),
)

CIRCUITS: dict[str, Circuit] = {each.name: each for each in _ALL}


def circuit(name: str) -> Circuit:
    """The circuit of a lower-case name. Raises RaceError, which lists the names there are."""
    try:
        return CIRCUITS[name]
    except KeyError:
        raise RaceError(
            f"no circuit is called {name!r}: choose one of {', '.join(CIRCUITS)}"
        ) from None
