"""`pitwall quantize` on a toy model: its figures, its folder, its refusals."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.calibrated import load_int4
from engine.compare import read_model, served
from engine.tensors import with_codes
from tests.live.test_cli import pitwall

FORMATS = ["fp32", "bf16", "int8", "int4", "int4 GPTQ"]


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("made") / "int4"
    done = pitwall("quantize", folder, "--races", "1", "--out", out, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert "calibrating on" in done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return out, figures


def test_the_figures_are_complete(made: tuple[Path, dict[str, Any]]) -> None:
    _, figures = made
    assert (figures["schema"], figures["model"], figures["races"]) == (1, "toy", 1)
    assert len(figures["schemes"]) == 13
    for row in figures["schemes"]:
        assert row["mse"] > 0
        assert row["compression"] > 1
        assert math.isfinite(row["snr_db"])
    assert [row["format"] for row in figures["formats"]] == FORMATS
    found = {row["format"]: row for row in figures["formats"]}
    assert found["fp32"]["mean_kl"] == 0
    assert found["fp32"]["top1_percent"] == found["fp32"]["clear_top1_percent"] == 100
    assert found["int4 GPTQ"]["mean_kl"] < found["int4"]["mean_kl"]
    assert found["int8"]["mean_kl"] < found["int4"]["mean_kl"]
    sizes = [found[name]["bytes"] for name in ("fp32", "bf16", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert found["int4 GPTQ"]["bytes"] == found["int4"]["bytes"]
    assert figures["held_out"]["tokens"] > 100


def test_the_folder_loads_again(made: tuple[Path, dict[str, Any]], folder: Path) -> None:
    out, figures = made
    tensors = read_model(out, 64)
    codes = load_int4(out)
    gptq = served(with_codes(tensors, codes), "int4")
    held = {row["format"]: row["bytes"] for row in figures["formats"]}
    assert gptq.nbytes == held["int4 GPTQ"] == served(tensors, "int4").nbytes
    for name in ("config.json", "tokenizer.json"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    again = pitwall("quantize", out, "--races", "1", "--out", out)  # its own folder, in place
    assert again.returncode == 0, again.stderr
    assert "int4 absmax, per group 128" in again.stdout
    assert "perplexity" in again.stdout
    assert load_int4(out).keys() == codes.keys()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("/nowhere",), ("/nowhere", "folder")),
        (("--races", "0"), ("races 0", "1 or more")),
        (("--races", "many"), ("--races", "many")),
        (("--seed", "-1"), ("seed -1",)),
        (("--json", "/nowhere/x.json"), ("/nowhere/x.json",)),
        (("--out", "/proc/nowhere"), ("/proc/nowhere",)),
        (("--out", "/dev/null"), ("/dev/null", "no folder")),
        (("--out", "/usr"), ("/usr", "other files")),
    ],
)
def test_bad_input_is_one_line(folder: Path, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = pitwall("quantize", *(args if args[0][0] == "/" else (folder, *args)))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_weight_that_is_not_a_number_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "model.safetensors")
    done = pitwall("quantize", tmp_path, "--races", "1")
    assert done.returncode == 2
    assert "layers.1.down" in done.stderr.splitlines()[-1]
    assert "NaN" in done.stderr.splitlines()[-1]


def test_help_imports_neither_torch_nor_textual() -> None:
    code = (
        "import sys\nfrom pitwall_tui.cli import main\n"
        "status = main(['quantize', '--help'])\n"
        "heavy = {'torch', 'textual', 'rich', 'numpy', 'tokenizers'} & set(sys.modules)\n"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
