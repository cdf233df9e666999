"""The built wheel carries what a race needs."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_installed_elsewhere_runs_a_race(tmp_path: Path) -> None:
    built = tmp_path / "dist"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = built.glob("pitwall_tui-*.whl")

    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, cwd=tmp_path)
    # Its dependencies are borrowed from the environment of the tests, as plain paths.
    env = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}

    where = [str(python), "-c", "import engine, pitwall_tui; print(engine.__file__)"]
    found = subprocess.run(where, check=True, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert str(home) in found.stdout
    race = [str(home / "bin" / "pitwall"), "race", "--headless", "--laps", "3", "--cars", "2"]
    done = subprocess.run(
        [*race, "--json", "-"], check=True, capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert json.loads(done.stdout)["model"] == "chief"
