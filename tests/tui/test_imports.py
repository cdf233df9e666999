"""What the rooms of the wall pull in when they are imported, deferred imports aside."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("pitwall_tui.app", {"torch", "numpy", "tokenizers"}),
        ("pitwall_tui.commands", {"torch", "numpy", "textual", "rich"}),
        ("pitwall_tui.settings", {"torch", "numpy", "textual", "rich"}),
        *[
            (f"pitwall_tui.draw.{name}", {"torch", "numpy", "textual", "rich"})
            for name in (
                "tower",
                "track",
                "pages",
                "chart",
                "results",
                "help",
                "knobs",
                "status",
                "workshop",
                "spread",
                "speculation",
                "strategy",
                "plot",
                "keys",
                "academy",
                "ascii",
                "bottleneck",
                "roofline",
                "whatif",
            )
        ],
    ],
)
def test_a_module_pulls_in_nothing_heavy(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & forbidden == set()


def test_the_first_frame_waits_for_no_page_but_its_own() -> None:
    code = "import sys, pitwall_tui.app; print(*(m for m in sys.modules if '.screens.' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"pitwall_tui.screens.race", "pitwall_tui.screens.wall"}
