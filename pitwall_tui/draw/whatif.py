"""Other models on other machines: dials, and what arithmetic makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from pitwall_tui.draw.bottleneck import NOTHING, UNMEASURED, figure, portions
from pitwall_tui.draw.cells import Row, Rows, Span, fit, fit_box, heading, row_width, wrap
from pitwall_tui.race.bottleneck import BottleneckView
from pitwall_tui.race.whatif import (
    CONTEXTS,
    MODELS,
    THIS,
    Calibration,
    Dial,
    Hardware,
    Projection,
    Share,
    WhatIf,
    calibration,
    hardware,
    project,
)

_NAMES: tuple[tuple[tuple[Dial, str], ...], ...] = (
    (("hardware", "on"), ("model", "model")),
    (("weights", "weights"), ("kv", "kv")),
    (("context", "context"), ("batch", "batch")),
)
_COLUMNS = (("WEIGHTS", 8), ("KV GiB", 7), ("TTFT", 7), ("TOK/S", 6), ("BOUND", 8))
_MODEL = 6
ANSWER = 256  # tokens of the answers whose times are drawn
_KV_BATCHES = (1, 4, 16)
_LEAST_CONTEXTS = 3
_BLOCK = 38  # cells of a block beside another


def draw_whatif(view: BottleneckView | None, case: WhatIf, cells: int, height: int) -> Rows:
    """Dials, a table of all models, the chosen one in detail, and by what it was projected; where
    there is room, times of an answer and KV by context."""
    head = heading("WHAT IF", (Span("projection", "chart.mark"),), cells)
    if view is None:
        return fit_box((head, (Span(f" {NOTHING}", "dim"),)), cells, height)
    machine, shares = hardware(view, case.hardware), calibration(view, case.weights)
    found = {name: project(replace(case, model=name), machine, shares) for name in MODELS}
    rows: list[Row] = [head, *_dials(case, cells)]
    if not (machine.gbs and all(machine.gflops)):
        said = wrap(f"{UNMEASURED}: choose another", max(2, cells - 2))
        rows += [(Span(f" {line}", "chart.mark"),) for line in said]
        return fit_box(rows, cells, height)
    rows += _table(found, case, cells)
    rows += _detail(found[case.model], case, machine, shares)
    small = [*_sources(shares), *_assumed(case, cells)]
    if len(rows) + len(small) > height:
        small = _sources(shares)  # what is assumed the help says too
    blocks = _blocks(found, case, machine, shares, cells, height - len(rows) - len(small))
    return fit_box((*rows, *small, *blocks), cells, height)


def _blocks(
    found: dict[str, Projection],
    case: WhatIf,
    machine: Hardware,
    shares: Calibration,
    cells: int,
    height: int,
) -> list[Row]:
    """Times of an answer, and KV by context: beside each other where there is room, or below."""
    if cells >= 2 * _BLOCK:
        half = cells // 2
        left = _answers(found, case, half - 1)
        right = _kv(case, machine, shares, min(height - 1, 2 + len(CONTEXTS)))
        lines = max(len(left), len(right)) if len(left) < height else 0
        pairs = zip(fit_box(left, half, lines), fit_box(right, cells - half, lines), strict=True)
        return [(), *[(*a, *b) for a, b in pairs]]
    rows: list[Row] = []
    answers = _answers(found, case, cells)
    if len(answers) <= height:
        rows += [()] * (len(answers) < height) + answers
    kv = _kv(case, machine, shares, height - len(rows) - 1)
    return [*rows, (), *kv] if kv else rows


def _dials(case: WhatIf, cells: int) -> list[Row]:
    """Two in a row; a click on a mark turns its dial."""
    half = cells // 2
    rows: list[Row] = []
    for pair in _NAMES:
        row: list[Span] = []
        for place, (dial, name) in enumerate(pair):
            row.append(Span(" " * max(0, place * half - row_width(row))))
            row += _dial(case, dial, name)
        rows.append(tuple(row))
    return rows


def _dial(case: WhatIf, dial: Dial, name: str) -> Row:
    on = case.dial == dial
    back, ahead = f"screen.turn_dial('{dial}', -1)", f"screen.turn_dial('{dial}', 1)"
    return (
        Span("▸" if on else " ", "knob.key bold"),
        Span(f"{name} ", "text bold" if on else "dim", "", ahead),
        Span("‹", "knob.key bold", "", back),
        Span(str(getattr(case, dial)), "text bold", "", ahead),
        Span("›", "knob.key bold", "", ahead),
    )


def seconds(value: float) -> str:
    """A time in few cells."""
    if not isfinite(value):
        return "-"
    if value < 1:
        return f"{figure(1e3 * value)}ms"
    return f"{figure(value)}s" if value < 1000 else f"{value / 60:.0f}min"


def _gib(nbytes: float) -> str:
    return figure(nbytes / 2**30)


def _table(found: dict[str, Projection], case: WhatIf, cells: int) -> list[Row]:
    titles = [Span(fit(title, wide, "right"), "dim") for title, wide in _COLUMNS]
    rows: list[Row] = [(Span(fit(" MODEL", _MODEL), "dim"), *titles)]
    for name, result in found.items():
        fits = result.fits is not False
        texts = (
            _gib(result.weights_bytes),
            _gib(result.batch * result.kv_bytes),
            seconds(result.ttft) if fits else "-",
            f"{figure(result.tokens_per_second)}" if fits else "-",
            result.decode.bound if fits else "no room",
        )
        chosen = name == case.model
        role = "text bold" if chosen else "text" if fits else "dim"
        action = f"screen.set_dial('model', '{name}')"
        rows.append(
            (
                Span("▸" if chosen else " ", "knob.key bold"),
                Span(fit(name, _MODEL - 1), role, "", action),
                *[
                    Span(fit(text, wide, "right"), role, "", action)
                    for text, (_, wide) in zip(texts, _COLUMNS, strict=True)
                ],
            )
        )
    return rows


def _detail(result: Projection, case: WhatIf, machine: Hardware, shares: Calibration) -> list[Row]:
    """Whether it fits, by what it was projected, and what takes the time of the chosen model's
    passes: what is most worth reading first."""
    rows: list[Row] = []
    most = result.most_batch
    if most is None:
        rows.append((Span(f" {machine.name}: memory not known", "dim"),))
    else:
        whole = _gib(result.memory_bytes)
        if result.fits:
            said = f" fits in {whole} GiB, up to {most} requests"
        elif most:
            said = f" weights fit in {whole} GiB, KV for {most} of {result.batch}"
        else:
            over = result.weights_bytes + result.kv_bytes - result.memory_bytes
            said = f" {_gib(over)} GiB too large for {whole} GiB"
        rows.append((Span(said, "text" if result.fits else "state.out bold"),))
    at = [
        f"{name} {100 * share.share:.0f}% {'here' if share.by else 'unmeasured'}"
        for name, share in _named(shares)
    ]
    rows.append((Span(f" at {', '.join(at)}", "text"),))
    for name, step in (("decode", result.decode), ("prefill", result.prefill)):
        line = f" {name}: memory {seconds(step.memory)}, arithmetic {seconds(step.compute)}"
        rows.append((Span(line, "text"),))
    if case.context > MODELS[case.model].max_context:
        trained = MODELS[case.model].max_context
        rows.append((Span(f" {case.model} was made for {trained} tokens", "chart.mark"),))
    return rows


def _named(shares: Calibration) -> tuple[tuple[str, Share], tuple[str, Share]]:
    return (("MBU", shares.memory), ("MFU", shares.compute))


def _by(name: str, share: Share) -> str:
    """Where a share of a peak comes from."""
    where = f"best here, {share.by}" if share.by else "none measured yet: the peak itself"
    return f"{name} {100 * share.share:.0f}%: {where}"


def _sources(shares: Calibration) -> list[Row]:
    """What it is a projection from."""
    return [(Span(f" {_by(name, share)}", "dim"),) for name, share in _named(shares)]


def _assumed(case: WhatIf, cells: int) -> list[Row]:
    """What has to be so for it to come true."""
    peaks = "" if case.hardware == THIS else "its maker's peaks; "
    said = (
        f"assumed: {peaks}the same shares of them; the shorter of memory and arithmetic hidden;"
        " nothing outside the forward"
    )
    return [(Span(f" {line}", "dim"),) for line in wrap(said, max(2, cells - 2))]


def _answers(found: dict[str, Projection], case: WhatIf, cells: int) -> list[Row]:
    """Prompt and answer of one request by model, on one scale."""
    times = {
        name: (result.ttft, ANSWER * result.decode.seconds)
        for name, result in found.items()
        if result.fits is not False and isfinite(result.ttft + result.decode.seconds)
    }
    longest = max((sum(pair) for pair in times.values()), default=0.0)
    if not longest:
        return []
    rows: list[Row] = [
        (
            Span(" AN ANSWER", "title bold"),
            Span(f" p {case.context} prompt, d {ANSWER} more", "dim"),
        ),
    ]
    room = max(1, cells - _MODEL - 9)
    for name in found:
        if name not in times:
            rows.append((Span(f" {fit(name, _MODEL - 1)}"), Span("no room", "dim")))
            continue
        whole = sum(times[name])
        length = max(1, round(whole / longest * room))
        prompt, answer = portions(times[name], length)
        rows.append(
            (
                Span(f" {fit(name, _MODEL - 1)}"),
                Span("p" * prompt, "ink", "sector.purple"),
                Span("d" * answer, "ink", "chart.area"),
                Span(f" {seconds(whole)}", "text bold"),
            )
        )
    return rows


def _kv(case: WhatIf, machine: Hardware, shares: Calibration, height: int) -> list[Row]:
    """GiB of the chosen model's keys and values by context and batch; × where they have no room.

    Contexts around the chosen one where not all have room, nothing where hardly any has.
    """
    lines = min(height - 2, len(CONTEXTS))
    if lines < _LEAST_CONTEXTS:
        return []
    first = min(max(0, CONTEXTS.index(case.context) - lines // 2), len(CONTEXTS) - lines)
    wide = 9
    titles: Sequence[Row] = [
        (Span(fit(f"batch {batch}", wide, "right"), "dim"),) for batch in _KV_BATCHES
    ]
    rows: list[Row] = [
        (
            Span(f" KV OF {case.model}", "title bold"),
            Span(f" {case.kv}, GiB; × has no room", "dim"),
        ),
        (Span(fit(" context", wide), "dim"), *[span for title in titles for span in title]),
    ]
    for context in CONTEXTS[first : first + lines]:
        texts = []
        for batch in _KV_BATCHES:
            result = project(replace(case, context=context, batch=batch), machine, shares)
            texts.append(f"{_gib(batch * result.kv_bytes)}{'×' if result.fits is False else ' '}")
        chosen = context == case.context
        action = f"screen.set_dial('context', {context})"
        role = "text bold" if chosen else "text"
        rows.append(
            (
                Span("▸" if chosen else " ", "knob.key bold"),
                Span(fit(str(context), wide - 1), role, "", action),
                *[Span(fit(text, wide, "right"), role, "", action) for text in texts],
            )
        )
    return rows
