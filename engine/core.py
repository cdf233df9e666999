"""The engine: plan, run, commit, one step at a time."""

import time
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from engine.config import (
    KV_FORMATS,
    EngineConfig,
    EngineError,
    Knobs,
    Request,
    RequestError,
    Sampling,
)
from engine.draft_model import Draft, DraftModel, NoDraft
from engine.figures import page_counts, page_map, request_stats
from engine.flops import step_flops
from engine.formats import Formats
from engine.kvcache import KVCache
from engine.machine import Machine, measured
from engine.meter import Meter, reference
from engine.pages import InvariantError, PagePool, pages_for
from engine.plan import Row, StepPlan, StepResult
from engine.planner import Planner
from engine.propose import Proposal
from engine.runner import Runner, passes
from engine.sequence import Sequence
from engine.speculation import Speculation, verdicts
from engine.stats import (
    EngineSnapshot,
    FinishReason,
    KVFormat,
    ModelInfo,
    PageCounts,
    RequestStats,
    StepStats,
    StepTimes,
)

# Batches up to this size are warmed up; larger ones build their kernels when they first run.
WARM_BATCH = 32


class Engine:
    """Serves requests in steps. One thread owns it; nothing here waits for anybody.

    `clock` gives seconds; only differences of it are used.
    """

    def __init__(
        self,
        formats: Formats,
        config: EngineConfig,
        knobs: Knobs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._formats = formats
        self._clock = clock
        self._knobs = formats.effective(knobs)
        self._served = self._knobs  # those of the last step
        self._machine = Machine()
        self._draft: Draft = NoDraft()
        if config.draft is not None:
            self._draft = self.open_draft(config.draft)
        self._asked_draft = self._draft
        self._speculation = Speculation(self._draft)
        self._speculation.check(self._knobs)
        total = self._pages(self._knobs.kv_dtype)
        if self._pages("fp32") < 1:  # it may be switched to
            size, given = self._page_bytes("fp32"), config.kv_memory_mib
            raise EngineError(f"kv_memory_mib {given:g} holds no page of {size} bytes")
        try:
            self._cache = self._make_cache(total, self._knobs.kv_dtype)
            self._draft.use(self._draft.make_cache(total, self._knobs.kv_dtype))
        except (MemoryError, RuntimeError) as error:  # torch has no name of its own for it
            reason = str(error).splitlines()[0]
            raise EngineError(
                f"kv_memory_mib {config.kv_memory_mib:g} cannot be had: {reason}"
            ) from None
        self._meter = Meter(formats, self._make_cache)
        self._runner = Runner(self._cache, self._meter)
        self._pool = PagePool(total)
        self._planner = Planner(self._pool, config.page_size)
        self._sequences: dict[str, Sequence] = {}
        self._step = 0
        # Ended between two steps: the next one reports them.
        self._ended: list[tuple[str, FinishReason]] = []

    @classmethod
    def load(
        cls,
        config: EngineConfig,
        knobs: Knobs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Engine":
        """Load a Hugging Face folder. Raises ModelError, or EngineError for a bad device."""
        knobs = knobs or Knobs()
        return cls(Formats(config, knobs), config, knobs, clock)

    def _make_cache(self, pages: int, kv_dtype: str = "fp32") -> KVCache:
        formats = self._formats
        return KVCache(
            formats.spec,
            pages,
            self.config.page_size,
            formats.dtype,
            formats.device,
            kv_dtype,
            formats.native,
        )

    def _page_bytes(self, kv_dtype: str) -> int:
        """Of a page with the draft model's share of it."""
        return self._own_bytes(kv_dtype) + self._draft.page_bytes(kv_dtype)

    def _own_bytes(self, kv_dtype: str) -> int:
        formats = self._formats
        return KVCache.page_bytes(formats.spec, self.config.page_size, formats.dtype, kv_dtype)

    def _pages(self, kv_dtype: str) -> int:
        """How many pages of a format the KV memory holds."""
        return self._pages_of(self._page_bytes(kv_dtype))

    def _pages_of(self, size: int) -> int:
        return int(self.config.kv_memory_mib * 2**20) // size

    # Requests

    def submit(self, request: Request) -> None:
        """Queue a request; raises RequestError, naming what is wrong, and changes nothing then."""
        known = self._sequences.get(request.id)
        if known is not None and known.finish_reason is None:
            raise RequestError(f"request {request.id!r} is already being served")
        try:
            self._check_tokens((*request.prompt, *request.output))
            request.sampling.check(self._formats.spec.vocab_size)
        except RequestError as error:
            raise RequestError(f"request {request.id!r}: {error}") from None
        if not request.prompt:
            raise RequestError(f"request {request.id!r}: the prompt is empty")
        self._check_size(request)
        self._ended = [ended for ended in self._ended if ended[0] != request.id]
        sequence = Sequence(request, self._clock())
        self._sequences[request.id] = sequence
        reason = self._end_of(sequence)
        if reason is None:
            self._planner.waiting.append(sequence)
        else:
            self._finish(sequence, reason)
            self._ended.append((request.id, reason))

    def _check_tokens(self, tokens: Tokens[int]) -> None:
        vocab = self._formats.spec.vocab_size
        for token in tokens:
            if not 0 <= token < vocab:
                raise RequestError(f"token {token} is outside the vocabulary of {vocab}")

    def _check_size(self, request: Request) -> None:
        if request.max_length > self._formats.max_context:
            raise RequestError(
                f"request {request.id!r}: {len(request.prompt)} prompt tokens and "
                f"{request.sampling.max_tokens} new ones exceed the context of "
                f"{self._formats.max_context}"
            )
        need = pages_for(request.max_length, self.config.page_size)
        # Of the largest kind, so that it can go on whatever kv_dtype is switched to.
        most = self._pages("fp32")
        if need > most:
            raise RequestError(
                f"request {request.id!r}: needs {need} pages of KV memory, there are "
                f"{most}: raise kv_memory_mib"
            )

    def abort(self, id: str) -> None:
        """End a request now; ended ones stay as they are. Raises RequestError if unknown."""
        sequence = self._known(id)
        if sequence.finish_reason is None:
            self._finish(sequence, "abort")
            self._ended.append((id, "abort"))

    def discard(self, id: str) -> None:
        """Forget an ended request and its tokens; raises RequestError if it still runs."""
        if self._known(id).finish_reason is None:
            raise RequestError(f"request {id!r} is still being served")
        del self._sequences[id]
        self._ended = [ended for ended in self._ended if ended[0] != id]

    def reset(self) -> None:
        """Abort and forget every request and every published prefix."""
        for sequence in self._sequences.values():
            if sequence.finish_reason is None:
                self._finish(sequence, "abort")
        self._sequences.clear()
        self._ended.clear()
        self._pool.forget_published()

    def tokens(self, id: str) -> list[int]:
        """Output token ids so far. Raises RequestError if unknown."""
        return self._known(id).output

    def request(self, id: str) -> RequestStats:
        """How a request stands. Raises RequestError if unknown."""
        return request_stats(self._known(id))

    def _known(self, id: str) -> Sequence:
        if id not in self._sequences:
            raise RequestError(f"no request is called {id!r}")
        return self._sequences[id]

    # Steps

    @property
    def has_work(self) -> bool:
        return bool(self._planner.waiting or self._planner.running)

    @property
    def knobs(self) -> Knobs:
        return self._knobs

    def set_knobs(self, knobs: Knobs) -> None:
        """Takes effect at the start of the next step, which builds what they need and is not there.

        Native kernels that cannot be had here are torch ones. Raises KnobError where there is no
        draft model to speculate with.
        """
        self.check_knobs(knobs)
        self._knobs = self.effective(knobs)

    def check_knobs(self, knobs: Knobs) -> None:
        """Raises KnobError for knobs that cannot be had here at all."""
        self._speculation.check(knobs)

    def effective(self, knobs: Knobs) -> Knobs:
        """The knobs as they can be had on this machine."""
        return self._formats.effective(knobs)

    def prepared(self, knobs: Knobs) -> bool:
        """Whether a step with these knobs has to build nothing."""
        knobs = self.effective(knobs)
        drafted = knobs.speculation != "junior" or self._asked_draft.ready(knobs)
        return drafted and self._formats.ready(knobs)

    def measured_by(self, knobs: Knobs) -> Knobs:
        """Knobs of the decoder that these are measured by, once it is prepared: with quality off,
        these themselves."""
        return reference(self.effective(knobs)) if knobs.quality == "on" else knobs

    def prepare(self, knobs: Knobs) -> None:
        """Build what a step with these knobs needs; in any thread, while steps are run."""
        knobs = self.effective(knobs)
        self._formats.prepare(knobs)
        if knobs.speculation == "junior":
            self._asked_draft.prepare(knobs)

    def open_draft(self, folder: str) -> Draft:
        """A draft model for `use_draft`; in any thread. Raises ModelError where it does not suit
        the target."""
        return DraftModel(self.config, folder, self._formats)

    def use_draft(self, draft: Draft) -> None:
        """From the next step on this one drafts."""
        self._asked_draft = draft
        self._speculation.use(draft)

    def step(self) -> StepStats:
        """Plan, run, commit. Without work it does nothing and says so."""
        decoder = self._formats.get(self._knobs)
        start = time.perf_counter()
        preempted = self._adopt()
        ration = partial(self._speculation.ration, self._knobs)
        plan = self._planner.plan(self._knobs, preempted, ration)
        if self.has_work and not plan.rows:
            raise InvariantError("there is work, but the plan runs none of it")
        planned = time.perf_counter()
        plan, proposal = self._speculation.propose(plan, self._sequences)
        proposed = time.perf_counter()
        result = StepResult((), 0.0, 0.0)
        if plan.rows:
            result = self._runner.run(decoder, plan, proposal.logits)
        ran = time.perf_counter()
        quality = self._meter.score(self._cache)
        scored = time.perf_counter()
        now = self._clock()
        for row, found in zip(plan.rows, result.tokens, strict=True):
            # Keys and values of drafts that were not kept are left to be written over.
            self._sequences[row.id].computed = row.length + max(len(found) - 1, 0)
        counts = self._page_counts()
        judged = verdicts(plan, result)
        tokens, finished = self._commit(plan, proposal, result, now)
        self._step += 1
        ended, self._ended = self._ended, []
        decodes = sum(row.length - row.start == 1 and row.sampling is not None for row in plan.rows)
        drafts = sum(row.drafts for row in plan.rows)
        ms = StepTimes.of(
            plan=(planned - start) * 1e3,
            draft=(proposed - planned) * 1e3,
            forward=result.forward_ms,
            sample=result.sample_ms,
            commit=(time.perf_counter() - scored) * 1e3,
            score=(scored - ran) * 1e3,
        )
        self._speculation.note(plan, proposal, judged, ms)
        return StepStats(
            step=self._step,
            time=now,
            knobs=plan.knobs,
            tokens=tokens,
            prefill_tokens=sum(len(row.tokens) for row in plan.rows) - decodes - drafts,
            decode_rows=decodes,
            admitted=plan.admitted,
            preempted=plan.preempted,
            finished=(*ended, *finished),
            waiting=len(self._planner.waiting),
            running=len(self._planner.running),
            held=plan.held,
            prefix_queries=plan.prefix_queries,
            prefix_hits=plan.prefix_hits,
            pages=counts,
            weight_bytes=decoder.read_bytes * passes(plan.rows),
            kv_bytes=sum(row.end for row in plan.rows)
            * self._own_bytes(plan.knobs.kv_dtype)
            // self.config.page_size,
            ms=ms,
            quality=quality,
            verdicts=judged,
            draft_length=plan.draft_length,
            caught_up=proposal.caught_up,
            trial=plan.trial,
            flops=step_flops(self._formats.spec, plan.rows),
        )

    def _adopt(self) -> list[tuple[str, int]]:
        """Go over to weights or a kv_dtype that the last step did not have; who was preempted.

        Requests keep the keys and values that they have: those of other weights as they are, those
        of another kv_dtype converted, page by page. Nobody else is given them any more.
        """
        before, now = self._served, self._knobs
        old, draft = self._draft, self._asked_draft
        if now.kv_dtype == before.kv_dtype and draft is old:
            self._served = now
            if now.weights != before.weights:
                self._planner.taint()
            return []
        # Beside the old ones, and first: where there is no memory for both nothing has changed yet.
        size = self._own_bytes(now.kv_dtype) + draft.page_bytes(now.kv_dtype)
        total = self._pages_of(size)
        cache, own = self._make_cache(total, now.kv_dtype), draft.make_cache(total, now.kv_dtype)
        self._served, self._draft = now, draft
        if (now.weights, now.kv_dtype) == (before.weights, before.kv_dtype):
            self._planner.unpublish()
        else:
            self._planner.taint()
        kept, preempted = self._planner.resize(total)
        cache.take(self._cache, kept)
        if draft is not old:
            self._planner.forget_drafted()
        elif own is not None:
            own.take(old.cache, kept)
        draft.use(own)
        self._cache, self._runner = cache, Runner(cache, self._meter)
        return preempted

    def _commit(
        self, plan: StepPlan, proposal: Proposal, result: StepResult, now: float
    ) -> tuple[tuple[tuple[str, tuple[int, ...]], ...], list[tuple[str, FinishReason]]]:
        """The only place where a request's tokens grow."""
        tokens: list[tuple[str, tuple[int, ...]]] = []
        finished: list[tuple[str, FinishReason]] = []
        index = self._planner.prefix_index(plan.knobs)
        for row, found in zip(plan.rows, result.tokens, strict=True):
            sequence = self._sequences[row.id]
            first, reason = len(sequence.tokens), None
            for token in found:
                sequence.tokens.append(token)
                reason = self._end_of(sequence)
                if reason is not None:
                    break
            # Of what an end has cut short, keys and values go with their pages.
            sequence.computed = min(sequence.computed, len(sequence.tokens))
            index.publish(sequence)
            if row.id in proposal.reached:
                self._planner.note_drafted(sequence, proposal.reached[row.id])
            if found:
                sequence.state = "decode"
                tokens.append((row.id, tuple(sequence.tokens[first:])))
                if sequence.first_token is None:
                    sequence.first_token = now
            if reason is not None:
                self._finish(sequence, reason, now)
                finished.append((row.id, reason))
            elif plan.knobs.kv_cache == "off":
                self._planner.forget(sequence)
            elif row.lent:
                self._planner.give_back(sequence, row.lent)
        return tuple(tokens), finished

    def _end_of(self, sequence: Sequence) -> FinishReason | None:
        """Why its last token ends it, if that does."""
        if not sequence.output_length:
            return None
        sampling, token = sequence.request.sampling, sequence.tokens[-1]
        ends = not sampling.ignore_eos and token in self._formats.spec.eos_token_ids
        if ends or token in sampling.stop_token_ids:
            return "stop"
        if sequence.output_length >= sampling.max_tokens:
            return "length"
        return None

    def _finish(self, sequence: Sequence, reason: FinishReason, now: float | None = None) -> None:
        self._planner.drop(sequence)
        sequence.state = "finished"
        sequence.finish_reason = reason
        self._meter.forget(sequence.id)
        self._speculation.forget(sequence.id)
        sequence.finished = self._clock() if now is None else now

    def warm_up(self) -> None:
        """Run the usual batch sizes once, so that no step of a race pays for building kernels, and
        measure what this machine can do."""
        self._machine = measured(self._formats.device, self._formats.native)
        # As many as can run: each holds a page at least.
        most = min(self._knobs.max_batch, self._pool.total, WARM_BATCH)
        size = min(self.config.page_size, self._formats.max_context - 1)
        decoder = self._formats.get(self._knobs)
        runner = Runner(self._make_cache(2 * most, self._knobs.kv_dtype), self._meter)
        knobs = replace(self._knobs, quality="off")  # nothing here is served
        rows = [Row(str(i), 0, (0,) * size, (i,), None) for i in range(most)]
        runner.run(decoder, StepPlan(knobs, tuple(rows), (), (), "", 0, 0))
        for count in range(1, len(rows) + 1):
            batch = [
                Row(row.id, size, (0,), (*row.pages, row.pages[0] + len(rows)), Sampling())
                for row in rows[:count]
            ]
            runner.run(decoder, StepPlan(knobs, tuple(batch), (), (), "", 0, 0))

    # Looking in

    def logits(self, tokens: Tokens[int]) -> torch.Tensor:
        """float32 [len(tokens), vocab]: logits after each of these tokens, on their own, by the
        fp32 model.

        Raises RequestError for an empty or too long list or a token outside the vocabulary.
        """
        if not 0 < len(tokens) <= self._formats.max_context:
            raise RequestError(f"{len(tokens)} tokens are not 1 to {self._formats.max_context}")
        self._check_tokens(tokens)
        pages = pages_for(len(tokens), self.config.page_size)
        decoder = self._formats.get(replace(self._knobs, weights="fp32"))
        row = Row("logits", 0, tuple(tokens), tuple(range(pages)), None)
        with torch.inference_mode():
            logits = decoder.run(self._make_cache(pages), [row], range(len(tokens)))
        return logits.to(torch.float32)

    def check(self) -> None:
        """Raises InvariantError where queues, page tables or the prefix index contradict."""
        self._planner.check(list(self._sequences.values()))

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return ModelInfo(
            name=Path(self.config.model).name,
            parameters=self._formats.parameters,
            layers=self._formats.spec.layers,
            vocab_size=self._formats.spec.vocab_size,
            weights_format=self._served.weights,
            weights_bytes=self._formats.get(self._served).nbytes,
            page_size=self.config.page_size,
            page_bytes=self._page_bytes(self._served.kv_dtype),
            pages_total=self._pool.total,
            max_context=self._formats.max_context,
            device=str(self._formats.device),
            threads=torch.get_num_threads(),
            read_gbs=self._machine.read_gbs,
            why_torch=self._formats.why_torch,
            float_gflops=self._machine.float_gflops,
            int8_gops=self._machine.int8_gops,
            memory_bytes=self._machine.memory_bytes,
        )

    def snapshot(
        self,
        steps: tuple[StepStats, ...],
        now: float,
        paused: bool = False,
        pace: float = 0.0,
        asked: Knobs | None = None,
    ) -> EngineSnapshot:
        """All there is to see between two steps; `steps` are those since the snapshot before.

        `asked` are knobs that have been asked for and wait for something to be built.
        """
        sequences = list(self._sequences.values())
        return EngineSnapshot(
            time=now,
            knobs=self.effective(asked or self._knobs),
            paused=paused,
            pace=pace,
            steps=steps,
            requests=tuple(map(request_stats, sequences)),
            page_map=page_map(self._pool, sequences, self.config.page_size),
            pages=self._page_counts(),
            weights_bytes=self._formats.get(self._served).nbytes,
            weights_held=self._formats.nbytes,
            draft=self._draft.info(self._served),
            kv_formats=tuple(map(self._kv_format, KV_FORMATS)),
        )

    def _kv_format(self, kv_dtype: str) -> KVFormat:
        share = self._draft.page_bytes(kv_dtype)
        return KVFormat(kv_dtype, self._own_bytes(kv_dtype), share, self._pages(kv_dtype))

    def _page_counts(self) -> PageCounts:
        size = self._page_bytes(self._served.kv_dtype)
        return page_counts(self._pool, self._planner.running, self.config.page_size, size)
