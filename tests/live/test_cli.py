"""The command line as users and programs meet it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pitwall_tui import __version__
from pitwall_tui.paths import asset

RACE = ("race", "--headless", "--laps", "3", "--cars", "4", "--kv-memory-mib", "2")
KEYS = {
    *("schema", "circuit", "laps", "seed", "temperature", "model", "knobs", "seconds"),
    *("prompt_tokens", "output_tokens", "tokens_per_second", "ttft_ms", "tpot_ms", "e2e_ms"),
    *("weights", "kv", "speculation", "cars"),
}
KV_KEYS = {
    *("page_size", "pages_total", "pages_peak", "bytes_total", "bytes_peak"),
    *("waste_peak_percent", "preemptions"),
}

RECORDED = asset("races/monza.jsonl.gz")


def pitwall(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pitwall_tui.cli", *map(str, args)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


def race(folder: Path, *options: str) -> dict[str, Any]:
    done = pitwall(*RACE, "--model", folder, "--json", "-", *options)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def hashes(figures: dict[str, Any]) -> list[str]:
    return [car["tokens_sha256"] for car in figures["cars"]]


@pytest.fixture(scope="module")
def plain(folder: Path) -> dict[str, Any]:
    return race(folder)


def test_the_document_is_the_contract_s(plain: dict[str, Any]) -> None:
    assert plain.keys() >= KEYS
    assert plain["kv"].keys() >= KV_KEYS
    assert plain["speculation"] is None
    assert (plain["schema"], plain["circuit"], plain["laps"]) == (1, "monza", 3)
    assert (plain["seed"], plain["temperature"], plain["model"]) == (7, 0.8, "toy")
    assert plain["knobs"]["batching"] == "continuous"
    for spread in ("ttft_ms", "tpot_ms", "e2e_ms"):
        assert plain[spread].keys() == {"mean", "p50", "p99"}
    assert len(plain["cars"]) == 4
    for car in plain["cars"]:
        assert car["finish_reason"] in ("stop", "length")
        assert len(car["tokens_sha256"]) == 64
        assert 0 < car["ttft_ms"] <= car["e2e_ms"]
    assert plain["output_tokens"] == sum(car["output_tokens"] for car in plain["cars"])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--knobs", "kv_cache=off"),
        ("--knobs", "batching=static,static_batch=3"),
        ("--knobs", "batching=none"),
        ("--knobs", "paging=contiguous,prefix_cache=off"),
        ("--knobs", "prefill_chunk=7"),
        ("--kv-memory-mib", "0.1"),
    ],
)
def test_no_knob_changes_a_token(
    folder: Path, plain: dict[str, Any], options: tuple[str, ...]
) -> None:
    figures = race(folder, *options)
    assert hashes(figures) == hashes(plain)
    if "--kv-memory-mib" in options:
        assert figures["kv"]["preemptions"] > 0  # or the memory was not small enough


def test_no_knob_changes_a_token_of_another_precision(folder: Path, plain: dict[str, Any]) -> None:
    eight = race(folder, "--knobs", "weights=int8,kv_dtype=int8")
    others = "weights=int8,kv_dtype=int8,batching=static,prefix_cache=off,prefill_chunk=7"
    assert hashes(eight) == hashes(race(folder, "--knobs", others))
    assert set(hashes(eight)) != set(hashes(plain))
    assert eight["weights"]["format"] == "int8"
    assert eight["weights"]["bytes"] < plain["weights"]["bytes"]
    assert eight["kv"]["bytes_peak"] < plain["kv"]["bytes_peak"]


def test_another_seed_is_another_race(folder: Path, plain: dict[str, Any]) -> None:
    assert not set(hashes(race(folder, "--seed", "8"))) & set(hashes(plain))


def test_a_recording_replays_to_the_same_figures(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "race.jsonl.gz"
    live = race(folder, "--record", str(file))
    done = pitwall("replay", file, "--headless", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == live
    assert pitwall("replay", file, "--headless").stdout.startswith("monza, 3 laps, 4 cars")


def test_help_and_version_import_neither_torch_nor_textual() -> None:
    assert pitwall("--version").stdout == f"pitwall {__version__}\n"
    for args in (["--version"], ["--help"], ["race", "--help"]):
        code = (
            "import sys\nfrom pitwall_tui.cli import main\n"
            f"status = main({args!r})\n"
            "heavy = {'torch', 'textual', 'rich', 'numpy', 'tokenizers'} & set(sys.modules)\n"
            "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("fly",), ("fly", "race")),
        (("race", "--headless", "--wheels", "4"), ("--wheels",)),
        (("race", "--headless", "--laps", "many"), ("--laps", "many")),
        (("race", "--headless", "--circuit", "imola"), ("imola", "monza")),
        (("race", "--headless", "--laps", "99"), ("laps 99", "53")),
        (("race", "--headless", "--cars", "21"), ("cars 21", "20")),
        (("race", "--headless", "--knobs", "turbo=on"), ("turbo", "kv_cache")),
        (("race", "--headless", "--knobs", "batching=fast"), ("batching", "fast", "static")),
        (("race", "--headless", "--knobs", "draft_length=17"), ("draft_length", "17", "16")),
        (("race", "--headless", "--knobs", "weights=int3"), ("weights", "int3", "int4")),
        (("race", "--headless", "--knobs", "speculation=senior"), ("speculation", "junior")),
        (("race", "--headless", "--knobs", "max_batch=0"), ("max_batch", "0")),
        (("race", "--headless", "--knobs", "batching"), ("batching", "name=value")),
        (("race", "--headless", "--model", "/nowhere"), ("/nowhere", "folder")),
        (("race", "--headless", "--draft", "/nowhere"), ("/nowhere", "folder")),
        (("race", "--headless", "--kv-memory-mib", "-1"), ("kv_memory_mib", "-1")),
        (("race", "--headless", "--json", "/nowhere/x.json"), ("/nowhere/x.json",)),
        (("race", "--headless", "--record", "/nowhere/x.gz"), ("/nowhere/x.gz",)),
        (("race", "--json", "-"), ("--json", "--headless")),
        (("race", "--headless", "--academy", "x"), ("--academy", "screen")),
        (("race", "--headless", "--ghost", str(RECORDED)), ("--ghost", "screen")),
        (("race", "--ghost", "/nowhere/x.gz"), ("/nowhere/x.gz",)),
        (("race", "--ghost", str(RECORDED), "--laps", "5"), ("--ghost", "laps 24", "leave")),
        (("race", "--ghost", str(RECORDED)), ("terminal", "--headless")),
        (("race",), ("terminal", "--headless")),
        ((), ("terminal", "--headless")),
        (("replay", "/nowhere/x.gz"), ("/nowhere/x.gz",)),
        (("replay", "/nowhere/x.gz", "--headless"), ("/nowhere/x.gz",)),
        (("bench", "--laps", "1"), ("laps 1",)),
        (("bench", "--repeats", "0"), ("repeats 0",)),
        (("train", "--size", "tiny", "--out", "/proc/nowhere"), ("/proc/nowhere",)),
    ],
)
def test_bad_input_is_one_line_that_names_it(args: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = pitwall(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_truncated_model_file_is_named(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    done = pitwall(*RACE, "--model", tmp_path)
    assert done.returncode == 2
    assert "model.safetensors cannot be read" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("knobs", ["speculation=off", "speculation=junior"])
def test_a_named_draft_model_that_does_not_suit_is_one_line(
    folder: Path, tmp_path: Path, knobs: str
) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    done = pitwall(*RACE, "--model", folder, "--draft", tmp_path, "--knobs", knobs)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert lines == done.stderr.splitlines()[-1:]
    assert "has no tokenizer.json" in lines[0]


def test_kv_memory_for_less_than_one_car_is_named(folder: Path) -> None:
    done = pitwall(*RACE, "--model", folder, "--kv-memory-mib", "0.03")
    assert done.returncode == 2
    assert "give --kv-memory-mib 2 or more" in done.stderr.splitlines()[-1]


def test_figures_come_before_a_file_that_cannot_be_written(folder: Path) -> None:
    done = pitwall(*RACE, "--model", folder, "--json", "/dev/full")
    assert done.returncode == 2
    assert done.stdout.startswith("monza, 3 laps, 4 cars")
    assert "/dev/full" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "pitwall_tui.cli", *RACE, "--pace", "20", "--model", folder]
    with subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "race 1" not in (line := process.stderr.readline()):
            assert line, "it ended before the race began"
        workers = _children(process.pid)
        assert len(workers) == 1
        process.send_signal(number)
        assert process.wait(60) == 130
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children")
    if text.exists():
        return [int(child) for child in text.read_text().split()]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry))
    return found
