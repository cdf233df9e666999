"""The classification and the race's totals, from the ledger."""

from collections.abc import Iterable, Sequence

from engine.stats import ModelInfo
from pitwall_tui.race.car import Car
from pitwall_tui.race.latency import percentile
from pitwall_tui.race.ledger import Ledger
from pitwall_tui.race.view import ResultRow


def clock_time(seconds: float) -> str:
    """A lap time as it is written on a timing screen: 83.456 s is "1:23.46"."""
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    return f"{minutes}:{hundredths / 100:05.2f}"


def results(cars: Sequence[Car], ledger: Ledger, lights_out: float | None) -> tuple[ResultRow, ...]:
    """A row for each car, in the order given.

    A finisher's `race_time` is in seconds of engine time from lights out to its chequered flag.
    """
    rows = []
    for position, car in enumerate(cars, start=1):
        account = ledger.accounts[car.start.id]
        flag_time = car.marks[-1] if car.finished and car.marks else None
        rows.append(
            ResultRow(
                position=position,
                number=car.start.number,
                code=car.start.code,
                team=car.team,
                laps=car.completed,
                reason="finished" if car.finished else car.retired,
                race_time=None if flag_time is None else flag_time - (lights_out or 0.0),
                best_lap=car.best_lap,
                output_tokens=account.output_tokens,
                ttft_ms=account.ttft_ms,
                tpot_ms=account.tpot_ms,
                e2e_ms=account.e2e_ms,
                preemptions=account.preemptions,
            )
        )
    return tuple(rows)


def totals(ledger: Ledger, model: ModelInfo | None, red_flags: int) -> tuple[tuple[str, str], ...]:
    """(label, value) pairs of what is known so far; TPOT and E2E are of cars that have
    finished, TTFT of all that have written."""
    served = ledger.served()
    rows = [
        ("output tokens", f"{ledger.output_tokens:,}"),
        ("seconds", f"{ledger.seconds:.1f}"),
        ("tokens/s", f"{ledger.tokens_per_second:.0f}"),
        ("TTFT p50 / p99", _latency(account.ttft_ms for account in ledger.accounts.values())),
        ("TPOT p50 / p99", _latency(account.tpot_ms for account in served)),
        ("E2E p50 / p99", _latency(account.e2e_ms for account in served)),
    ]
    if model is not None:
        peak = ledger.peak.used * ledger.peak.page_bytes / 2**20
        rows += [
            ("KV pages at peak", f"{ledger.peak.used} of {ledger.peak.total}, {peak:.1f} MiB"),
            ("empty slots at peak", f"{ledger.waste_peak_percent(model.page_size):.1f} %"),
        ]
    rows.append(("preemptions", str(ledger.preemptions)))
    if ledger.prefix_hit_percent is not None:
        rows.append(("prefix cache hits", f"{ledger.prefix_hit_percent:.0f} %"))
    if ledger.paces:
        paces = " ".join(f"{pace:g}/s" if pace else "free" for _, pace in ledger.paces)
        rows.append(("pace held", paces))
    if red_flags:
        rows.append(("engine lost", f"{red_flags}x, its absence is not in the seconds"))
    return tuple(rows)


def _latency(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    middle, worst = percentile(known, 50), percentile(known, 99)
    if middle is None or worst is None:
        return "-"
    return f"{middle:,.1f} / {worst:,.1f} ms"
