"""Debriefs as files, without a screen: of races, and of recordings."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pitwall_tui.cli import main
from pitwall_tui.cli.output import check_exports, check_json_target, write_exports
from pitwall_tui.export import WRITERS
from pitwall_tui.race.errors import RaceError
from pitwall_tui.report import summary
from tests.live.test_cli import RACE, RECORDED, pitwall
from tests.scripted import Script
from tests.tui.debriefs import NONE, VIEW


def files(folder: Path) -> list[Path]:
    return [folder / f"x.{end}" for end in WRITERS]


def test_a_race_and_its_recording_leave_the_same_debrief(folder: Path, tmp_path: Path) -> None:
    tape, of_tape = tmp_path / "race.jsonl.gz", tmp_path / "tape.json"
    options = ("--knobs", "weights=int8,batching=static", "--record", tape)
    done = pitwall(*RACE, "--model", folder, *options, "--debrief", *files(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("monza, 3 laps, 4 cars")
    document = json.loads((tmp_path / "x.json").read_text())
    [setting] = document["settings"]
    assert (document["circuit"], document["laps"], document["cars"]) == ("monza", 3, 4)
    # On a machine without native kernels it says so too.
    assert setting["name"].startswith("batching static, weights int8")
    assert not setting["exact"]
    assert setting["ttft_ms"]["count"] == 4
    assert setting["output_tokens"] > 0
    with (tmp_path / "x.csv").open() as file:
        [line] = csv.DictReader(file)
    assert int(line["output_tokens"]) == setting["output_tokens"]
    assert "| batching static, weights int8" in (tmp_path / "x.md").read_text()
    assert ElementTree.parse(tmp_path / "x.svg").getroot().tag.endswith("svg")
    done = pitwall("replay", tape, "--headless", "--debrief", of_tape)
    assert done.returncode == 0, done.stderr
    assert json.loads(of_tape.read_text()) == document


def test_of_several_races_it_is_the_one_that_the_figures_are_of() -> None:
    whole, broken = list(Script("monza", 4, 8, 3).events()), list(Script("spa", 3, 8, 5).events())
    for events in ([*whole, *broken[:12]], [*whole, *broken], broken[:12]):
        found = summary(events)
        told = dict(found.debrief.facts)
        assert (told["circuit"], told["laps"]) == (
            found.figures["circuit"],
            found.figures["laps"],
        )
        tokens = sum(s.output_tokens for s in found.debrief.settings)
        assert tokens == found.figures["output_tokens"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("race", "--debrief", "x.md"), ("--debrief", "--headless")),
        (("replay", RECORDED, "--debrief", "x.md"), ("--debrief", "--headless")),
        (("race", "--headless", "--debrief", "x.pdf"), ("x.pdf", ".json, .csv, .md or .svg")),
        (("race", "--headless", "--debrief", "x"), ("--debrief x:", ".svg")),
        (("race", "--headless", "--debrief", "x.md", "/nowhere/x.md"), ("/nowhere/x.md",)),
        (("race", "--headless", "--debrief", "a.md", "--debrief", "b.pdf"), ("b.pdf",)),
        (("replay", RECORDED, "--headless", "--debrief", "x.pdf"), ("x.pdf", ".md")),
        (("replay", RECORDED, "--headless", "--debrief"), ("--debrief", "argument")),
        (("bench", "--export", "x.pdf"), ("--export x.pdf", ".csv")),
        (("bench", "--export", "/nowhere/x.md"), ("/nowhere/x.md",)),
    ],
)
def test_what_cannot_be_written_is_one_line_before_anything_is_run(
    args: tuple[str | Path, ...],
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("something was run")

    monkeypatch.setattr("subprocess.Popen", start)
    monkeypatch.setattr("pitwall_tui.cli.replay.events_of", start)
    assert main([str(arg) for arg in args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    "check",
    [lambda file: check_exports("--debrief", [file]), check_json_target],
    ids=["debrief", "json"],
)
def test_a_folder_or_file_that_is_read_only_is_told_before(
    check: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.json"
    check(str(target))
    refused = {tmp_path}
    monkeypatch.setattr(os, "access", lambda path, mode: path not in refused)
    with pytest.raises(RaceError, match=r"x\.json: it cannot be written"):
        check(str(target))
    target.write_text("there")
    check(str(target))  # it can be written although its folder cannot
    refused.add(target)
    with pytest.raises(RaceError, match=r"x\.json: it cannot be written"):
        check(str(target))
    assert target.read_text() == "there"


def test_files_that_are_there_are_written_over(tmp_path: Path) -> None:
    for file in files(tmp_path):
        file.write_text("old")
    write_exports(VIEW, "--debrief", list(map(str, files(tmp_path))))
    for file in files(tmp_path):
        assert file.read_text() == WRITERS[file.suffix[1:]](VIEW)


def test_one_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    targets = [str(gone / "x.md"), str(tmp_path / "x.md"), str(gone / "x.csv")]
    with pytest.raises(RaceError, match=r"^--debrief .*gone/x\.md: No such file") as raised:
        write_exports(VIEW, "--debrief", targets)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "x.md").exists()


def test_json_that_cannot_be_written_costs_no_debrief(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "x.md"
    args = ["replay", str(RECORDED), "--headless", "--json", "/dev/full", "--debrief", str(made)]
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out.startswith("monza")
    assert "/dev/full" in err.splitlines()[-1]
    assert made.read_text().startswith("# pitwall debrief: race 1, circuit monza")


def test_of_nothing_there_is_no_debrief(tmp_path: Path) -> None:
    with pytest.raises(RaceError, match="--debrief: nothing to write"):
        write_exports(NONE, "--debrief", [str(tmp_path / "x.md")])
    assert not list(tmp_path.iterdir())
    write_exports(NONE, "--debrief", [])
