"""One engine for all settings: one run at a time, and nothing waits for what cannot come."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.child import ProcessLostError
from engine.client import EngineClient
from engine.config import EngineError, Knobs, Request
from engine.messages import Answer, Ready, Refusal, Snapshot, Unusable
from engine.stats import EngineSnapshot, ModelInfo, QualitySample, RequestStats, StepStats
from pitwall_tui.race.debrief import Debrief, SettingView
from pitwall_tui.race.errors import EngineGoneError
from pitwall_tui.race.samples import summed

POLL_SECONDS = 0.02
# A sample of quality is to be of so many tokens, if they come in so many seconds of steps.
QUALITY_TOKENS = 256
QUALITY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a setting: its seconds from the first submission to the last token, output
    tokens/s over them, those of a car alone after its first one, and what its steps were."""

    seconds: float
    tokens_per_second: float
    decode_tokens_per_second: float | None
    view: SettingView


def ready(client: EngineClient) -> ModelInfo:
    """Wait for the engine. Raises EngineError, EngineGoneError."""
    return next(answer.info for answer in _answers(client) if isinstance(answer, Ready))


def run(client: EngineClient, requests: tuple[Request, ...], knobs: Knobs, info: ModelInfo) -> Run:
    """Run them with these knobs alone: again where what they need was still being built.

    Raises EngineError, EngineGoneError.
    """
    wanted = replace(knobs, kernels="torch") if info.why_torch else knobs
    while True:
        steps: list[StepStats] = []
        debrief = Debrief()
        for snapshot in _snapshots(client, requests, knobs):
            for step in snapshot.steps:
                debrief.add_step(step, step.time)
            debrief.add_snapshot(snapshot, snapshot.time)
            steps += snapshot.steps
        if all(step.knobs == wanted for step in steps):
            [view] = debrief.settings(info.page_size)
            return _run(snapshot.requests, view)


def quality(
    client: EngineClient, requests: tuple[Request, ...], knobs: Knobs
) -> QualitySample | None:
    """What these knobs' weights and KV make of the fp32 model's text, by the quality meter; None
    where it never came to score any. The requests are run as often as it takes.

    Raises EngineError, EngineGoneError.
    """
    metered = replace(knobs, quality="on")
    samples: list[QualitySample] = []
    seconds = 0.0
    while True:
        for snapshot in _snapshots(client, requests, metered):
            for step in snapshot.steps:
                seconds += step.ms.total / 1e3
                served = (step.knobs.weights, step.knobs.kv_dtype)
                if step.quality and served == (knobs.weights, knobs.kv_dtype):
                    samples.append(step.quality)
            total = summed(samples)
            if total.tokens >= QUALITY_TOKENS or seconds >= QUALITY_SECONDS:
                return total if total.tokens else None


def _snapshots(
    client: EngineClient, requests: tuple[Request, ...], knobs: Knobs
) -> Iterator[EngineSnapshot]:
    """Of these requests alone, from their first step to the last token of all."""
    client.reset()
    client.set_knobs(knobs)
    client.submit(requests)
    ids = {request.id for request in requests}
    for answer in _answers(client):
        if not isinstance(answer, Snapshot):
            continue
        snapshot = answer.snapshot
        if {request.id for request in snapshot.requests} != ids:
            continue  # it was on its way when the engine was reset
        yield snapshot
        if all(request.finish_reason is not None for request in snapshot.requests):
            return


def _answers(client: EngineClient) -> Iterator[Answer]:
    """Whatever is refused here is the end: a table without a part of it would say nothing of it."""
    while True:
        try:
            answers = client.pull()
        except ProcessLostError as error:
            raise EngineGoneError(f"the engine was lost: {error}") from None
        for answer in answers:
            if isinstance(answer, Refusal | Unusable):
                raise EngineError(answer.reason)
            yield answer
        time.sleep(POLL_SECONDS)


def _run(requests: tuple[RequestStats, ...], view: SettingView) -> Run:
    start = min(request.submitted for request in requests)
    seconds = max(request.finished or start for request in requests) - start
    output = sum(request.output_tokens for request in requests)
    return Run(seconds, output / seconds, _decoding(requests), view)


def _decoding(requests: tuple[RequestStats, ...]) -> float | None:
    """Of a car that is alone, for others come and go meanwhile."""
    if len(requests) > 1:
        return None
    (lone,) = requests
    seconds = (lone.finished or 0.0) - (lone.first_token or 0.0)
    return (lone.output_tokens - 1) / max(seconds, 1e-9)
