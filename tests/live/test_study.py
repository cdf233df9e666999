"""Studies of the weights by an engine that serves at the same time."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from engine.client import EngineClient
from engine.compare import matrices, read_model
from engine.config import EngineConfig
from engine.core import Engine
from engine.messages import Answer, Snapshot, Studied
from engine.quantize import errors, quantize
from engine.scheme import INT4, INT8
from engine.studies import Inventory, LayerRow, LayerStudy, StudyFailed, StudyNews
from engine.study import study
from pitwall_tui.feed.live import LiveFeed
from pitwall_tui.feed.settings import RaceSettings
from tests.live.conftest import Start
from tests.live.test_client import (
    PATIENCE,
    finished,
    is_ready,
    requests,
    tokens,
    until,
)

LAYERS = 9  # linear layers of the toy


def news(answers: list[Answer]) -> list[StudyNews]:
    return [answer.news for answer in answers if isinstance(answer, Studied)]


def table_of(scheme: str) -> Callable[[Answer], bool]:
    """Whether the last row of this scheme's table has come."""

    def done(answer: Answer) -> bool:
        row = answer.news if isinstance(answer, Studied) else None
        return isinstance(row, LayerRow) and (row.layer, row.scheme) == ("head", scheme)

    return done


def test_a_study_comes_beside_the_race_and_costs_no_token(start: Start, folder: Path) -> None:
    client = start()
    until(client, is_ready)
    client.submit(requests(3, most=400))
    begun = until(client, lambda answer: bool(tokens([answer])))
    client.study("layers.1.down", INT4.name)
    during = until(client, table_of(INT4.name))
    assert any(isinstance(answer, Snapshot) for answer in during)
    stock, asked, *rows = news(during)
    weights = {name: matrix.weight for name, matrix in matrices(read_model(folder, 64)).items()}
    assert isinstance(stock, Inventory)
    assert stock.model == folder.name
    weight = weights["layers.1.down"]
    assert asked == study("layers.1.down", INT4.name, weight, quantize(weight, INT4))
    assert rows == [
        LayerRow(name, INT4.name, errors(weight, quantize(weight, INT4)))
        for name, weight in weights.items()
    ]
    found = tokens([*begun, *during, *until(client, finished)])
    engine = Engine.load(EngineConfig(model=str(folder), kv_memory_mib=1))
    for request in requests(3, most=400):
        engine.submit(request)
    while engine.has_work:
        engine.step()
    assert found == {str(i): engine.tokens(str(i)) for i in range(3)}


def test_an_engine_that_rests_or_is_paused_studies_too(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.study("head", INT8.name)
    assert len(news(until(client, table_of(INT8.name)))) == 2 + LAYERS
    client.pause(True)
    client.study("head", INT4.name)
    assert len(news(until(client, table_of(INT4.name)))) == 2 + LAYERS


def test_the_newest_question_is_answered_to_its_end(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.study("layers.0.qkv", INT8.name)
    client.study("layers.1.out", INT4.name)
    found = news(until(client, table_of(INT4.name)))
    studied = [one for one in found if isinstance(one, LayerStudy)]
    assert (studied[-1].layer, studied[-1].scheme) == ("layers.1.out", INT4.name)
    rows = [one.scheme for one in found if isinstance(one, LayerRow)]
    assert rows.count(INT4.name) == LAYERS
    assert rows == sorted(rows, key=[INT8.name, INT4.name].index)  # none of the first comes late


def test_a_question_that_fails_leaves_the_engine_serving(start: Start) -> None:
    client: EngineClient = start()
    until(client, is_ready)
    client.study("layers.7.qkv", INT8.name)
    client.submit(requests(2))
    found = until(client, finished)
    while not any(isinstance(one, StudyFailed) for one in news(found)):
        found += until(client, lambda answer: isinstance(answer, Studied))
    failed = next(one for one in news(found) if isinstance(one, StudyFailed))
    assert "layers.7.qkv" in failed.reason
    assert {len(output) for output in tokens(found).values()} == {30}


def test_a_question_survives_the_engine_that_was_asked(folder: Path) -> None:
    feed = LiveFeed(RaceSettings(model=str(folder), laps=3, cars=4, kv_memory_mib=2))
    try:
        feed.start()
        feed.study("head", INT8.name)  # while it loads
        assert feed._client is not None
        os.kill(feed._client.pid, signal.SIGKILL)
        found: list[StudyNews] = []
        deadline = time.monotonic() + PATIENCE
        while not any(isinstance(one, LayerStudy) for one in found):
            assert time.monotonic() < deadline
            feed.pull()
            found += feed.studies()
            time.sleep(0.01)
    finally:
        feed.close()
