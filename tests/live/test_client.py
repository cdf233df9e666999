"""The engine in a process of its own, seen from outside."""

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engine.child import ProcessLostError
from engine.client import EngineClient
from engine.config import EngineConfig, Knobs, Request, Sampling
from engine.core import Engine
from engine.messages import (
    PHASES,
    Answer,
    Drafting,
    DraftRefusal,
    KnobsRefusal,
    Phase,
    Ready,
    Refusal,
    Snapshot,
    Unusable,
)
from engine.stats import EngineSnapshot
from tests.live.conftest import Start

PATIENCE = 120.0


def until(client: EngineClient, done: Callable[[Answer], bool]) -> list[Answer]:
    """All answers up to the first that is `done`, and those that came together with it."""
    answers: list[Answer] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        new = client.pull(timeout=0.2)
        answers += new
        if any(map(done, new)):
            return answers
    raise AssertionError(f"nothing came of it: {answers[-3:]}")


def is_ready(answer: Answer) -> bool:
    return isinstance(answer, Ready)


def finished(answer: Answer) -> bool:
    return (
        isinstance(answer, Snapshot)
        and bool(answer.snapshot.requests)
        and all(request.state == "finished" for request in answer.snapshot.requests)
    )


def why_unusable(client: EngineClient) -> str:
    told = until(client, lambda answer: isinstance(answer, Unusable))[-1]
    assert isinstance(told, Unusable)
    return told.reason


def refusals(answers: list[Answer]) -> list[Refusal]:
    return [answer for answer in answers if isinstance(answer, Refusal)]


def snapshots(answers: list[Answer]) -> list[EngineSnapshot]:
    return [answer.snapshot for answer in answers if isinstance(answer, Snapshot)]


def tokens(answers: list[Answer]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for snapshot in snapshots(answers):
        for step in snapshot.steps:
            for id, new in step.tokens:
                found.setdefault(id, []).extend(new)
    return found


def requests(count: int, most: int = 30) -> tuple[Request, ...]:
    sampling = [Sampling(most, 0.8, seed, ignore_eos=True) for seed in range(count)]
    return tuple(Request(str(i), (7, 8, 9 + i), sampling[i]) for i in range(count))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_every_phase_is_told_and_the_tokens_are_the_engine_s(start: Start, folder: Path) -> None:
    client = start()
    told = until(client, is_ready)
    phases = [answer for answer in told if isinstance(answer, Phase)]
    assert [(phase.index, phase.seconds is not None) for phase in phases] == [
        (index, done) for index in range(len(PHASES)) for done in (False, True)
    ]
    client.submit(requests(3))
    answers = until(client, finished)
    engine = Engine.load(EngineConfig(model=str(folder), kv_memory_mib=1))
    for request in requests(3):
        engine.submit(request)
    while engine.has_work:
        engine.step()
    assert tokens(answers) == {str(i): engine.tokens(str(i)) for i in range(3)}
    numbers = [step.step for snapshot in snapshots(answers) for step in snapshot.steps]
    assert numbers == list(range(1, len(numbers) + 1))  # every step is told once


def test_pause_stops_the_clock_and_loses_nothing(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.pause(True)
    client.submit(requests(2))
    until(client, lambda answer: isinstance(answer, Snapshot) and answer.snapshot.paused)
    held = until(client, lambda answer: isinstance(answer, Snapshot))
    later = until(client, lambda answer: isinstance(answer, Snapshot))
    assert snapshots(held)[-1].time == snapshots(later)[-1].time
    assert not tokens(held + later)
    client.pause(False)
    assert {id: len(found) for id, found in tokens(until(client, finished)).items()} == {
        "0": 30,
        "1": 30,
    }


def test_pace_holds_the_engine_back(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.pace(200.0)
    client.submit(requests(2, most=40))
    last = snapshots(until(client, finished))[-1]
    assert last.pace == 200.0
    submitted = min(request.submitted for request in last.requests)
    ended = max(request.finished or 0.0 for request in last.requests)
    # 80 tokens at 200 a second; the last two need not wait for their turn to be over.
    assert ended - submitted >= 78 / 200 - 0.02


def test_knobs_are_those_of_the_next_step(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.set_knobs(Knobs(batching="none"))
    client.submit(requests(3))
    steps = [step for snapshot in snapshots(until(client, finished)) for step in snapshot.steps]
    assert {step.knobs.batching for step in steps} == {"none"}
    assert max(len(step.tokens) for step in steps) == 1


def test_weights_are_built_beside_the_race_and_used_when_they_are_there(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.submit(requests(3, most=2000))
    until(client, lambda answer: bool(tokens([answer])))
    client.set_knobs(Knobs(weights="int8", kv_dtype="int8", max_batch=2))
    answers = until(
        client,
        lambda answer: any(s.knobs.weights == "int8" for x in snapshots([answer]) for s in x.steps),
    )
    found = snapshots(answers)
    assert any(s.knobs.weights == "int8" for s in (found[-1],))
    assert found[-1].weights_bytes < found[0].weights_bytes < found[-1].weights_held
    # What needs no building was used at once.
    steps = [step for snapshot in found for step in snapshot.steps]
    waited = [step for step in steps if step.knobs.max_batch == 2 and step.knobs.weights == "fp32"]
    assert all(step.knobs.kv_dtype == "int8" for step in waited)
    assert sum(len(new) for new in tokens(answers).values()) > 0


def speculated(answer: Answer) -> bool:
    return any(step.verdicts for x in snapshots([answer]) for step in x.steps)


def test_a_draft_model_comes_into_the_race_and_bad_ones_do_not(
    start: Start, folder: Path, tmp_path: Path
) -> None:
    """Built beside the race; the texts are those of an engine that never drafted."""
    client = start()
    until(client, is_ready)
    told: list[Answer] = []
    client.submit(requests(3, most=1500))
    client.set_knobs(Knobs(speculation="junior"))
    told += until(client, lambda answer: isinstance(answer, Refusal))
    client.set_draft(str(tmp_path))  # an empty folder
    told += until(client, lambda answer: isinstance(answer, Refusal))
    reasons = [answer.reason for answer in told if isinstance(answer, Refusal)]
    assert "needs a draft model" in reasons[0]
    assert str(tmp_path) in reasons[1]
    assert snapshots(told)[-1].draft is None
    client.set_draft(str(folder))
    told += until(client, lambda answer: isinstance(answer, Drafting))
    client.set_knobs(Knobs(speculation="junior", draft_length=3))
    told += until(client, speculated)
    draft = snapshots(told)[-1].draft
    assert draft is not None
    assert (draft.name, draft.layers) == (folder.name, 2)
    assert draft.weights_bytes > 0
    told += until(client, finished)
    verdicts = [v for x in snapshots(told) for step in x.steps for v in step.verdicts]
    assert sum(verdict.accepted for verdict in verdicts) > 0
    plain = Engine.load(EngineConfig(str(folder), kv_memory_mib=1))
    for request in requests(3, most=1500):
        plain.submit(request)
    while plain.has_work:
        plain.step()
    assert tokens(told) == {str(i): plain.tokens(str(i)) for i in range(3)}


def test_a_draft_model_that_leaves_too_few_pages_is_refused_untouched(
    start: Start, folder: Path
) -> None:
    """Its keys and values lie in the same pages: half as many as before cannot hold the request."""
    (request,) = requests(1, most=400)
    client = start(kv_memory_mib=0.1)
    until(client, is_ready)
    client.pause(True)
    client.submit((request,))
    client.set_draft(str(folder))
    (refusal,) = refusals(until(client, lambda answer: isinstance(answer, Refusal)))
    assert isinstance(refusal, DraftRefusal)
    assert refusal.folder == str(folder)
    for words in (repr(str(folder)), "17 of them", "may need 26", "raise kv_memory_mib"):
        assert words in refusal.reason
    client.pause(False)
    answers = until(client, finished)
    assert len(tokens(answers)["0"]) == 400
    assert {snapshot.pages.total for snapshot in snapshots(answers)} == {34}
    client.set_draft(str(folder))  # nobody needs those pages any more
    until(client, lambda answer: isinstance(answer, Drafting))


def test_a_draft_model_that_there_is_no_memory_for_is_refused(start: Start, folder: Path) -> None:
    client = start(kv_memory_mib=512, page_size=256)
    until(client, is_ready)
    client.submit(requests(2, most=300))
    until(client, lambda answer: bool(tokens([answer])))
    # Enough for a thread and the toy's weights, not for other caches beside those that there are.
    held = int(Path(f"/proc/{client.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(client.pid, resource.RLIMIT_AS, (held + 200 * 2**20, resource.RLIM_INFINITY))
    client.set_draft(str(folder))
    told = until(client, lambda answer: isinstance(answer, Refusal))
    (refusal,) = refusals(told)
    assert isinstance(refusal, DraftRefusal)
    assert "bytes" in refusal.reason
    last = snapshots(until(client, finished))[-1]
    assert last.draft is None


def test_a_junior_that_is_asked_for_at_the_start_is_built_before_the_first_step(
    start: Start, folder: Path
) -> None:
    client = start(Knobs(speculation="junior"), draft=str(folder))
    until(client, is_ready)
    first = snapshots(until(client, lambda answer: isinstance(answer, Snapshot)))[0]
    assert first.draft is not None
    assert first.draft.weights_bytes > 0


def broken(folder: Path, path: Path) -> Path:
    """A model folder that looks whole until its weights are read."""
    path.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (path / name).write_bytes((folder / name).read_bytes())
    weights = (folder / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    return path


@pytest.mark.parametrize("gone", ["weights", "folder", "everything"])
def test_without_the_junior_that_was_asked_for_the_engine_goes_on(
    start: Start, folder: Path, tmp_path: Path, gone: str
) -> None:
    drafts = {
        "weights": str(broken(folder, tmp_path / "junior")),
        "folder": str(tmp_path / "nowhere"),
        "everything": None,
    }
    asked = Knobs(speculation="junior", max_batch=2, kernels="torch")
    client = start(asked, draft=drafts[gone])
    told = until(client, is_ready)
    found = {type(refusal): refusal for refusal in refusals(told)}
    knobs = found.pop(KnobsRefusal)
    assert isinstance(knobs, KnobsRefusal)
    assert (knobs.asked, knobs.instead) == (asked, replace(asked, speculation="off"))
    if drafts[gone] is None:
        assert "needs a draft model" in knobs.reason
    else:
        assert found.pop(DraftRefusal).reason == knobs.reason
        assert repr(drafts[gone]) in knobs.reason
    assert not found
    assert "\n" not in knobs.reason
    client.submit(requests(3))
    answers = until(client, finished)
    assert {step.knobs for x in snapshots(answers) for step in x.steps} == {knobs.instead}


def test_a_junior_that_nobody_asked_for_is_not_missed(start: Start, tmp_path: Path) -> None:
    client = start(draft=str(tmp_path / "nowhere"))
    told = until(client, is_ready)
    assert [type(refusal) for refusal in refusals(told)] == [DraftRefusal]
    assert any("nowhere" in answer.detail for answer in told if isinstance(answer, Phase))
    client.submit(requests(1))
    until(client, finished)


def test_what_cannot_be_built_is_what_is_refused(
    start: Start, folder: Path, tmp_path: Path
) -> None:
    """Of knobs that were turned together, and not what has been taken back meanwhile."""
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    client = start(model=str(model), draft=str(broken(folder, tmp_path / "junior")))
    until(client, is_ready)
    asked = Knobs(weights="int8", kernels="torch", speculation="junior", quality="off")
    client.set_knobs(asked)
    (first,) = refusals(until(client, lambda answer: isinstance(answer, Refusal)))
    assert first.reason.startswith("speculation junior: draft model")
    assert first == KnobsRefusal(first.reason, asked, replace(asked, speculation="off"))
    (model / "model.safetensors").unlink()
    client.set_knobs(replace(asked, speculation="off", weights="bf16"))
    (second,) = refusals(until(client, lambda answer: isinstance(answer, Refusal)))
    assert second.reason.startswith("weights bf16 with torch kernels: model")
    assert isinstance(second, KnobsRefusal)
    assert second.instead == replace(asked, speculation="off")


def test_a_draft_model_is_built_when_it_is_first_asked_for(start: Start, folder: Path) -> None:
    client = start(draft=str(folder))
    until(client, is_ready)
    client.submit(requests(2, most=1500))
    before = snapshots(until(client, lambda answer: isinstance(answer, Snapshot)))[-1]
    assert before.draft is not None
    assert before.draft.weights_bytes == 0
    client.set_knobs(Knobs(speculation="junior", max_batch=5))
    found = snapshots(until(client, speculated))
    assert found[-1].draft is not None
    assert found[-1].draft.weights_bytes > 0
    steps = [step for x in found for step in x.steps if not step.verdicts]
    assert all(len(new) <= 1 for step in steps for _, new in step.tokens)


def test_bad_requests_are_refused_and_the_rest_goes_on(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.submit((Request("bad", ()), *requests(1)))
    answers = until(client, finished)
    reasons = [answer.reason for answer in answers if isinstance(answer, Refusal)]
    assert len(reasons) == 1
    assert "empty" in reasons[0]
    assert len(tokens(answers)["0"]) == 30


def test_reset_forgets_requests_and_published_prefixes(start: Start) -> None:
    client = start(page_size=2)
    until(client, is_ready)
    client.submit(requests(2, most=3000))
    until(client, lambda answer: bool(tokens([answer])))
    client.reset()
    client.submit(requests(1))
    answers = until(
        client,
        lambda answer: finished(answer) and len(snapshots([answer])[0].requests) == 1,
    )
    assert snapshots(answers)[-1].requests[0].hit_tokens == 0


def test_an_unusable_folder_is_told_as_bad_input(start: Start, tmp_path: Path) -> None:
    assert "is not a folder" in why_unusable(start(model=str(tmp_path / "none")))


def test_a_killed_engine_is_an_error_that_names_the_signal(start: Start) -> None:
    client = start()
    until(client, is_ready)
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(ProcessLostError, match="killed by SIGKILL"):
        until(client, lambda answer: False)


def test_closing_leaves_no_process_even_while_loading(start: Start) -> None:
    loading, serving = start(), start()
    until(serving, is_ready)
    serving.submit(requests(2, most=3000))
    for client in (loading, serving):
        client.close()
        client.close()
        assert not alive(client.pid)


def test_an_engine_that_still_loads_is_closed_at_once(start: Start) -> None:
    client = start()
    client._child._grace = 600.0
    begun = time.monotonic()
    client.close()
    assert time.monotonic() - begun < PATIENCE
    assert not alive(client.pid)
    assert client._child.process.returncode == -signal.SIGKILL


def test_kv_memory_that_cannot_be_had_is_bad_input(start: Start) -> None:
    assert "kv_memory_mib" in why_unusable(start(kv_memory_mib=2**34))


def test_an_engine_whose_client_is_gone_ends_by_itself(start: Start) -> None:
    client = start()
    until(client, is_ready)
    client.submit(requests(2, most=3000))
    client._child.connection.close()
    deadline = time.monotonic() + PATIENCE
    while alive(client.pid) and time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(client.pid, os.WNOHANG)
        time.sleep(0.02)
    assert not alive(client.pid)


def test_the_clock_starts_when_the_engine_is_ready(start: Start) -> None:
    client = start()
    told = until(client, is_ready)
    loading = sum(phase.seconds or 0.0 for phase in told if isinstance(phase, Phase))
    first = snapshots(until(client, lambda answer: isinstance(answer, Snapshot)))[0]
    assert 0 <= first.time < loading
