"""Real studies of the shipped model, stored: what the workshop's pictures show.

A test of the engine holds them to what it finds today; `python -m tests.engine.make_studied`
writes them anew.
"""

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from engine.studies import CALIBRATED, Inventory, LayerRow, LayerStudy, StudyNews
from pitwall_tui.feed.codec import _decoder, _encode

FILE = Path(__file__).with_name("studied.json")
LAYER = "layers.3.down"
TENSOR, GROUP = "int4 absmax, per tensor", "int4 absmax, per group 128"
ASKED = (TENSOR, GROUP, CALIBRATED)
KINDS = {kind.__name__: kind for kind in (Inventory, LayerStudy, LayerRow)}


def stored() -> list[StudyNews]:
    """The answers to LAYER in each scheme of ASKED."""
    return [_decoder(KINDS[name])(values) for name, *values in json.loads(FILE.read_text())]


def store(found: Iterable[StudyNews]) -> None:
    rows = [[type(news).__name__, *_encode(news)] for news in found]
    FILE.write_text("[\n" + ",\n".join(map(_line, rows)) + "\n]\n")


def _line(row: list[Any]) -> str:
    assert len(row) == 1 + len(fields(KINDS[row[0]]))
    return json.dumps(row, separators=(",", ":"))
