"""The five start lights: one a phase of loading, lit when the phase is done."""

from functools import lru_cache

from pitwall_tui.draw.cells import Row, Rows, Span, clean, cut, fit, fit_box, heading, width
from pitwall_tui.race.view import LightView

_BLINK = 0.5  # seconds that the light of the current phase stays as it is
_SPINNER = "▖▘▝▗"


@lru_cache(32)
def disc(cells: int, height: int) -> tuple[str, ...]:
    """A filled disc of half blocks in a box of cells."""

    def inside(x: int, half: int) -> bool:
        across = (x + 0.5) / cells * 2 - 1
        down = (half + 0.5) / (height * 2) * 2 - 1
        return across * across + down * down <= 1.0

    glyphs = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
    return tuple(
        "".join(glyphs[inside(x, 2 * y), inside(x, 2 * y + 1)] for x in range(cells))
        for y in range(height)
    )


def _current(lights: tuple[LightView, ...]) -> int:
    """Index of the phase under way; the number of lights when all are done."""
    return next((i for i, light in enumerate(lights) if light.seconds is None), len(lights))


def _roles(lights: tuple[LightView, ...], now: float) -> list[str]:
    current = _current(lights)
    blinks = int(now / _BLINK) % 2 == 0
    roles = ["light.on" if light.seconds is not None else "light.off" for light in lights]
    if current < len(lights) and blinks:
        roles[current] = "light.dim"
    return roles


def _gantry(lights: tuple[LightView, ...], now: float, cells: int, height: int) -> list[Row]:
    high = min(height, 6, (cells // max(1, len(lights)) - 1) // 2)
    wide = high * 2
    if high < 1:
        return []
    shape = disc(wide, high)
    gap = max(1, min(4, (cells - wide * len(lights)) // max(1, len(lights))))
    left = max(0, (cells - (wide + gap) * len(lights) + gap) // 2)
    roles = _roles(lights, now)
    return [
        (
            Span(" " * left),
            *(part for role in roles for part in (Span(line, role), Span(" " * gap))),
        )
        for line in shape
    ]


def _phase(index: int, lights: tuple[LightView, ...], now: float, cells: int) -> Row:
    light, current = lights[index], _current(lights)
    done = light.seconds is not None
    if done:
        sign, role = "●", "light.on"
    elif index == current:
        sign, role = _SPINNER[int(now / _BLINK) % len(_SPINNER)], "text bold"
    else:
        sign, role = "○", "dim"
    time = f"{light.seconds:.2f} s" if light.seconds is not None else ""
    name = fit(light.title, min(14, max(width(clean(each.title)) for each in lights)))
    detail = cut(light.detail, max(0, cells - width(name) - 4 - len(time) - 2))
    start = (Span(f" {sign} ", role), Span(name + " ", "text" if done else role))
    used = 4 + width(name) + width(detail)
    end = Span(fit(time, max(0, cells - used - 1), "right"), "dim")
    return (*start, Span(detail, "dim"), end)


def draw_lights(lights: tuple[LightView, ...], now: float, cells: int, height: int) -> Rows:
    """Five big lights over the list of phases; the list yields no row to the lights."""
    done = sum(light.seconds is not None for light in lights)
    head = heading("START", (Span(f"{done} of {len(lights)}", "dim"),), cells)
    phases = [_phase(i, lights, now, cells) for i in range(len(lights))]
    if height < len(phases) + 4:
        return fit_box((head, *phases), cells, height)
    gantry = _gantry(lights, now, cells, height - len(phases) - 3)
    spare = height - 1 - len(gantry) - len(phases)
    above = min(4, spare // 3)
    between = min(3, max(1, spare // 3))
    return fit_box((head, *[()] * above, *gantry, *[()] * between, *phases), cells, height)
