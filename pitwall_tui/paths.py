"""Where the shipped files lie: beside the package in a wheel, beside the checkout otherwise."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def asset(name: str) -> Path:
    """Path of a shipped file or folder, e.g. `asset("models/chief")`; it may not exist."""
    installed = _PACKAGE / "assets"
    root = installed if installed.is_dir() else _PACKAGE.parent / "assets"
    return root / name
