"""`pitwall bench`: its plan, its figures against one another, and what ends it in one line."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.child import ProcessLostError
from engine.config import EngineError, Knobs, Request
from engine.messages import (
    Answer,
    DraftRefusal,
    KnobsRefusal,
    Phase,
    Ready,
    RequestRefusal,
    Unusable,
)
from engine.stats import QualitySample
from pitwall_tui.cli import bench, main
from pitwall_tui.cli.bench import engine
from pitwall_tui.cli.bench.engine import Run
from pitwall_tui.cli.bench.figures import debrief, document
from pitwall_tui.cli.bench.measure import Results, Row, middle
from pitwall_tui.cli.bench.settings import FIRST_TOKENS, Plan, Ratio, Setting, knobs, usual
from pitwall_tui.cli.bench.table import table
from pitwall_tui.export import WRITERS
from pitwall_tui.feed.settings import RaceSettings
from pitwall_tui.race.debrief import MOST
from pitwall_tui.race.errors import EngineGoneError
from pitwall_tui.race.latency import latencies
from tests.scripted import MODEL
from tests.tui.debriefs import FIRST

# Rows, figures and ratios that have been published; more may come, none may go.
NAMES = (
    "no KV cache, 1 car at 500 tokens",
    "KV cache, 1 car at 500 tokens",
    "batching none",
    "batching static",
    "batching continuous",
    "paging contiguous",
    "prefix cache off",
    "whole prompts (prefill_chunk 0)",
    "weights bf16, 1 car",
    "weights int8, 1 car",
    "weights int4, 1 car",
    "weights bf16",
    "weights int8",
    "weights int4",
    "weights int8, kv_dtype int8",
    "weights int8, quality meter",
    "torch kernels, 1 car",
    "torch kernels",
    "speculation off, 1 car",
    "speculation junior, 1 car",
    "speculation ngram, 1 car",
    "speculation junior",
    "speculation ngram",
)
KEYS = {
    *("schema", "circuit", "laps", "seed", "temperature", "model", "device", "threads"),
    *("repeats", "settings", "ratios", "stacked"),
}
FIGURES = {
    *("name", "group", "cars", "knobs", "seconds", "output_tokens", "tokens_per_second"),
    *("ttft_ms", "ttft_percentiles_ms", "itl_ms", "weights_bytes", "kv_bytes_peak"),
    *("kv_bytes_mean", "waste_percent", "prefill_tokens", "preemptions", "quality"),
}
PERCENTILES = {"count", "p50", "p90", "p99"}
OFF = knobs(kv_cache="off", batching="none", paging="contiguous", prefix_cache="off")
LITTLE = Plan(
    settings=(
        Setting("lone", 1, knobs(), "long context"),
        Setting("none", 3, knobs(batching="none")),
        Setting("plain", 3, knobs()),
        Setting("eight", 3, knobs(weights="int8")),
        Setting("ngram", 3, knobs(speculation="ngram")),
    ),
    ratios=(Ratio("plain / none", "plain", "none"),),
    stacked=(
        Setting("all off", 3, OFF, "first tokens"),
        Setting("+ KV cache", 3, replace(OFF, kv_cache="on"), "first tokens"),
        Setting("+ the rest", 3, knobs(), "first tokens"),
    ),
)


# The plan


def test_what_was_measured_before_is_measured_still() -> None:
    assert tuple(setting.name for setting in usual(drafted=True).settings) == NAMES
    assert tuple(setting.name for setting in usual(drafted=False).settings) == NAMES[:-5]
    assert len(usual(drafted=True).ratios) == 18


@pytest.mark.parametrize("drafted", [True, False])
def test_every_row_can_be_told_and_every_ratio_has_its_rows(drafted: bool) -> None:
    plan = usual(drafted)
    every = (*plan.settings, *plan.stacked)
    names = [setting.name for setting in every]
    assert len(set(names)) == len(names) <= MOST
    by_name = {setting.name: setting for setting in every}
    for ratio in plan.ratios:
        above, below = by_name[ratio.above], by_name[ratio.below]
        assert above.group == below.group
        assert above.knobs != below.knobs
    asks = {setting.knobs.speculation for setting in every}
    assert ("junior" in asks) == drafted


@pytest.mark.parametrize("drafted", [True, False])
def test_the_stack_goes_from_nothing_to_everything_and_takes_nothing_back(drafted: bool) -> None:
    stacked = usual(drafted).stacked
    assert stacked[0].knobs == OFF
    assert len({setting.group for setting in stacked}) == 1
    turned: dict[str, object] = {}
    for before, after in pairwise(stacked):
        changes = dict(after.knobs.changes(since=before.knobs))
        assert changes
        assert not changes.keys() & turned.keys()
        turned |= changes
    last = {"kv_cache": "on", "batching": "continuous", "paging": "paged", "prefix_cache": "on"}
    last |= {"weights": "int8", "kv_dtype": "int8"}
    junior = {"speculation": "junior", "draft_length": "auto"}
    assert turned == (last | junior if drafted else last)


# A little one on a real engine


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Its files and its document, of a race of three cars."""
    out = tmp_path_factory.mktemp("bench")
    files = [str(out / f"x.{end}") for end in WRITERS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "usual", lambda drafted: LITTLE)
        patch.setattr(engine, "QUALITY_TOKENS", 32)
        options = ("--model", str(folder), "--laps", "3", "--repeats", "1")
        args = ["bench", *options, "--json", str(out / "all.json"), "--export", *files]
        assert main(args) == 0
    return out, json.loads((out / "all.json").read_text())


def test_the_document_has_every_figure(made: tuple[Path, dict[str, Any]]) -> None:
    _, figures = made
    assert figures.keys() == KEYS
    assert (figures["circuit"], figures["laps"], figures["model"]) == ("monza", 3, "toy")
    rows = {row["name"]: row for row in (*figures["settings"], *figures["stacked"])}
    assert list(rows) == [s.name for s in (*LITTLE.settings, *LITTLE.stacked)]
    for name, row in rows.items():
        assert row.keys() >= FIGURES
        assert ("decode_tokens_per_second" in row) == (row["cars"] == 1)
        assert ("mean_acceptance_length" in row) == (name == "ngram")
        assert row["itl_ms"].keys() == PERCENTILES
        assert row["ttft_percentiles_ms"].keys() == PERCENTILES | {"mean"}
        assert 0 < row["itl_ms"]["p50"] <= row["itl_ms"]["p90"] <= row["itl_ms"]["p99"]
        ttft = row["ttft_percentiles_ms"]
        assert 0 < ttft["p50"] <= ttft["p90"] <= ttft["p99"]
        assert 0 < row["kv_bytes_mean"] <= row["kv_bytes_peak"]
        assert 0 <= row["waste_percent"] < 100
        assert row["tokens_per_second"] == pytest.approx(row["output_tokens"] / row["seconds"])


def test_rows_show_what_their_knobs_do(made: tuple[Path, dict[str, Any]]) -> None:
    _, figures = made
    rows = {row["name"]: row for row in (*figures["settings"], *figures["stacked"])}
    assert rows["none"]["output_tokens"] == rows["plain"]["output_tokens"]
    assert rows["eight"]["weights_bytes"] < rows["plain"]["weights_bytes"]
    assert rows["none"]["kv_bytes_peak"] < rows["plain"]["kv_bytes_peak"]
    assert rows["none"]["ttft_percentiles_ms"]["p99"] > rows["plain"]["ttft_percentiles_ms"]["p99"]
    for name in ("all off", "+ KV cache", "+ the rest"):
        assert rows[name]["output_tokens"] == 3 * FIRST_TOKENS
    assert rows["all off"]["prefill_tokens"] > 10 * rows["+ KV cache"]["prefill_tokens"]
    assert rows["+ the rest"]["prefill_tokens"] < rows["+ KV cache"]["prefill_tokens"]


def test_quality_is_exact_or_measured_beside_the_timed_runs(
    made: tuple[Path, dict[str, Any]],
) -> None:
    _, figures = made
    for row in (*figures["settings"], *figures["stacked"]):
        assert row["knobs"]["quality"] == "off"
        if row["name"] == "eight":
            assert row["quality"]["tokens"] >= 32
            assert row["quality"]["mean_kl"] > 0
            assert 0 < row["quality"]["top1_percent"] <= 100
        else:
            assert row["quality"] == "exact"


def test_ratios_are_those_of_the_rows(made: tuple[Path, dict[str, Any]]) -> None:
    _, figures = made
    rates = {row["name"]: row["tokens_per_second"] for row in figures["settings"]}
    assert figures["ratios"] == {"plain / none": rates["plain"] / rates["none"]}
    stacked = [row["tokens_per_second"] for row in figures["stacked"]]
    assert [row["to_first"] for row in figures["stacked"]] == [r / stacked[0] for r in stacked]
    assert [row["to_before"] for row in figures["stacked"]] == [
        1.0,
        stacked[1] / stacked[0],
        stacked[2] / stacked[1],
    ]


def test_every_file_holds_the_same_rows(made: tuple[Path, dict[str, Any]]) -> None:
    out, figures = made
    rows = [*figures["settings"], *figures["stacked"]]
    exported = json.loads((out / "x.json").read_text())
    assert [s["name"] for s in exported["settings"]] == [row["name"] for row in rows]
    for setting, row in zip(exported["settings"], rows, strict=True):
        for name in ("group", "weights_bytes", "kv_bytes_peak", "kv_bytes_mean", "knobs"):
            assert setting[name] == row[name], name
        assert setting["itl_ms"]["p99"] == row["itl_ms"]["p99"]
        assert setting["exact"] == (row["quality"] == "exact")
    assert exported["ratios"]["plain / none"] == figures["ratios"]["plain / none"]
    with (out / "x.csv").open() as file:
        assert [line["name"] for line in csv.DictReader(file)] == [row["name"] for row in rows]
    text = (out / "x.md").read_text()
    assert all(f"| {row['name']} | {row['group']} |" in text for row in rows)
    assert text.startswith("# pitwall debrief: circuit monza, laps 3")
    drawn = " ".join(ElementTree.parse(out / "x.svg").getroot().itertext())
    assert all(row["name"] in drawn for row in rows)


# Without an engine


def results(*rates: float) -> Results:
    """Rows of the little plan with such rates, the lossy one not measured."""
    every = (*LITTLE.settings, *LITTLE.stacked)
    rows = []
    for setting, rate in zip(every, rates, strict=True):
        exact = setting.knobs.weights == "fp32"
        view = replace(FIRST, knobs=setting.knobs, tokens_per_second=rate, exact=exact)
        rows.append(Row(setting, Run(100 / rate, rate, None, view)))
    alone = len(LITTLE.settings)
    race = RaceSettings(laps=5)
    return Results(race, MODEL, 3, LITTLE, tuple(rows[:alone]), tuple(rows[alone:]))


def test_the_table_tells_rows_ratios_and_what_the_stack_ran() -> None:
    text = table(document(results(50, 100, 300, 600, 330, 10, 40, 120)))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[0] == "monza, 5 laps, chief on cpu, 2 threads, medians of 3 runs"
    assert f"{'plain / none':44}   3.00 x" in lines
    assert any("Stacked: 3 cars, their first 32 tokens" in line for line in lines)
    speed = {line[:34].strip(): line for line in reversed(lines) if " x" in line}
    assert speed["+ KV cache"].endswith("4.00 x    4.00 x")
    assert speed["+ the rest"].endswith("12.00 x    3.00 x")
    [eight] = [line for line in lines if line.startswith("eight") and "measured" in line]
    assert eight.endswith("not measured")
    assert "tok/round" not in text


def test_quality_that_was_not_measured_is_null() -> None:
    rows = {row["name"]: row for row in document(results(*[100.0] * 8))["settings"]}
    assert rows["eight"]["quality"] is None
    assert rows["plain"]["quality"] == "exact"


def test_in_files_rates_are_set_against_rows_that_ran_the_same() -> None:
    view = debrief(results(50, 100, 300, 600, 330, 10, 40, 120))
    assert [s.letter for s in view.settings] == list("ABCDEFGH")
    assert [view.first(s).letter for s in view.settings] == list("ABBBBFFF")
    text = WRITERS["md"](view)
    assert "vs a" not in text
    line = next(line for line in text.splitlines() if "| + the rest |" in line)
    assert "| 12.00x |" in line
    ratios = dict(view.ratios)
    assert ratios["stacked: + the rest / all off"] == 12
    assert ratios["stacked: + the rest / the row before"] == 3


@given(st.lists(st.tuples(st.floats(1, 1e6), st.none() | st.floats(1, 9)), min_size=1, max_size=5))
def test_medians_are_of_each_figure_in_the_runs_that_have_it(
    found: list[tuple[float, float | None]],
) -> None:
    runs = [
        Run(
            rate,
            rate,
            length,
            replace(FIRST, kv_peak=int(rate), itl=latencies("ITL", "race", [rate]),
                    tokens_a_round=length, quality=QualitySample(32, 0.1, 31, 30, 30)),
        )
        for rate, length in found
    ]  # fmt: skip
    rates = [rate for rate, _ in found]
    lengths = [length for _, length in found if length is not None]
    got = middle(runs)
    assert got.seconds == median(rates)
    assert got.view.kv_peak == round(median(map(int, rates)))
    assert got.view.itl.p50 == median(rates)
    assert got.view.tokens_a_round == (median(lengths) if lengths else None)
    assert got.decode_tokens_per_second == got.view.tokens_a_round
    assert (got.view.name, got.view.knobs) == (FIRST.name, FIRST.knobs)


# What ends it


@dataclass
class Scripted:
    """A client whose answers are known; it has nothing more to say after them."""

    answers: list[Answer | Exception]

    def pull(self, timeout: float = 0.0) -> Sequence[Answer]:
        assert self.answers, "it would hang here"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return (answer,)

    def reset(self) -> None: ...
    def set_knobs(self, knobs: Knobs) -> None: ...
    def submit(self, requests: tuple[Request, ...]) -> None: ...


PHASE = Phase(0, "importing torch", None)
REFUSED = (
    Unusable("the folder has no model"),
    DraftRefusal("the junior speaks another language", "junior"),
    KnobsRefusal("speculation junior: no memory", Knobs(speculation="junior"), Knobs()),
    RequestRefusal("1-HOL: too long", "1-HOL"),
)


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda answer: type(answer).__name__)
def test_what_is_refused_is_said_and_not_waited_for(refusal: Answer) -> None:
    reason = refusal.reason  # type: ignore[union-attr]
    with pytest.raises(EngineError) as raised:
        engine.ready(Scripted([PHASE, refusal]))  # type: ignore[arg-type]
    assert str(raised.value) == reason
    asked = (Request("1-HOL", (1,)),)
    for wait in (
        lambda client: engine.run(client, asked, Knobs(), MODEL),
        lambda client: engine.quality(client, asked, Knobs()),
    ):
        with pytest.raises(EngineError) as raised:
            wait(Scripted([PHASE, refusal]))
        assert str(raised.value) == reason


def test_a_lost_engine_is_said_and_not_waited_for() -> None:
    lost = ProcessLostError("killed by SIGKILL")
    with pytest.raises(EngineGoneError, match="the engine was lost: killed by SIGKILL"):
        engine.ready(Scripted([PHASE, lost]))  # type: ignore[arg-type]
    with pytest.raises(EngineGoneError, match="the engine was lost: killed by SIGKILL"):
        engine.run(Scripted([lost]), (Request("a", (1,)),), Knobs(), MODEL)  # type: ignore[arg-type]


def test_an_engine_that_is_ready_is_told() -> None:
    assert engine.ready(Scripted([PHASE, Ready(MODEL)])) is MODEL  # type: ignore[arg-type]
