"""The whole of `pitwall distill`: a small student learns a teacher's distributions."""

import time
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer

from engine.config import EngineError
from engine.training.acceptance import TEMPERATURE, Acceptance, measure
from engine.training.card import FACTS
from engine.training.data import Encoded, Rows, Source, Stream, chunk_reader
from engine.training.evaluate import HeldOut, held_out_loss
from engine.training.folder import load_model, read_tokenizer, replacing, save_model, write_json
from engine.training.junior import DistillSettings, junior_shape
from engine.training.junior_card import render_card, write_card
from engine.training.model import Attend, Llama, choose_attention
from engine.training.objective import distillation, weights_digest
from engine.training.raced import CARS, raced
from engine.training.run import (
    HELD_OUT_EVERY,
    choose_device,
    count,
    device_name,
    line_end,
    loss_facts,
    prepare,
    round_weights,
    run_facts,
    source_of,
    write_facts,
)
from engine.training.settings import Documents
from engine.training.trainer import Progress, Reader, Say, fit
from engine.training.writing import Writing, kept, repeating

_DRAFTS_RATE = 0.1  # of the learning rates, in the pass on the student's own drafts


def first(documents: list[Encoded], body_tokens: int) -> list[Encoded]:
    """The first documents, with this many body tokens or just more."""
    ends = accumulate(len(body) for _, body in documents)
    return documents[: 1 + sum(end < body_tokens for end in ends)]


def make_student(
    settings: DistillSettings, teacher: Llama, tokenizer: Tokenizer, attend: Attend
) -> Llama:
    """A new student, or the folder's; raises EngineError where it could not draft for its teacher.

    That is with another vocabulary, or a shorter context.
    """
    if settings.student is None:
        student = Llama(junior_shape(teacher.shape, settings.layers, settings.hidden), attend)
        student.initialize(settings.seed)
        return student
    student = load_model(settings.student, attend)
    other = read_tokenizer(settings.student)
    if student.shape.vocab != teacher.shape.vocab or other.get_vocab() != tokenizer.get_vocab():
        raise EngineError(
            f"student {str(settings.student)!r} and teacher {str(settings.teacher)!r} have "
            "different vocabularies: the student must be made with the teacher's tokenizer"
        )
    if student.shape.context < teacher.shape.context:
        raise EngineError(
            f"student {str(settings.student)!r} has a context of {student.shape.context}, shorter "
            f"than the teacher's of {teacher.shape.context}: give another"
        )
    return student


def distill(documents: Documents, settings: DistillSettings, say: Say) -> dict[str, Any]:
    """Trains the student, saves it to `settings.out`, returns what was done and measured.

    Raises EngineError for bad options or folders, or a diverged loss.
    """
    device = choose_device(settings.device)
    attend, attention = choose_attention(device)
    teacher = load_model(settings.teacher, attend)
    tokenizer = read_tokenizer(settings.teacher)
    student = make_student(settings, teacher, tokenizer, attend)
    run = settings.training(student.shape)
    recipe = run.recipe
    prepare(run, device)
    began = time.perf_counter()
    source = source_of(documents, tokenizer, run)
    digest, started = weights_digest(teacher), weights_digest(student)
    teacher.to(device).eval().requires_grad_(False)
    student.to(device)
    say(
        f"{student.shape.layers} x {student.shape.hidden}: {count(student):,} parameters, "
        f"temperature {settings.temperature:g}, alpha {settings.alpha:g}, "
        f"on {device_name(device)}, {attention} attention"
    )
    aim = distillation(teacher, device, digest, settings.temperature, settings.alpha)
    if settings.student is not None:
        aim.identity["student"] = started
    reader: Reader = chunk_reader
    if settings.data == "teacher":
        writing = Writing(Stream.WRITTEN, settings.written_tokens, TEMPERATURE)
        name = writing.name(digest, settings.seed)
        aim.identity["data"] = name
        rows = kept(
            settings.checkpoint,
            name,
            lambda: writing.rows(settings.teacher, source, device.type, say),
        )
        reader = repeating(rows, settings.seed)
    progress = fit(student, source, run, say, objective=aim, reader=reader)
    round_weights(student)
    drafted = None
    if settings.drafts:
        drafted = drafts_pass(student, teacher, digest, tokenizer, source, settings, say)
        round_weights(student)

    examined = examine(student, teacher, tokenizer, source, recipe.held_out_tokens)
    acceptance, losses = examined.acceptance, (examined.student, examined.teacher)
    say(
        f"held out: {losses[0].nats_per_token:.4f} nats per token (teacher "
        f"{losses[1].nats_per_token:.4f}), top-1 agreement {acceptance.top1_agreement:.4f}, "
        f"1 - TV {acceptance.overlap:.4f}, accepted {acceptance.coupled:.4f}"
    )
    facts = {
        **junior_facts(settings, digest, examined),
        "race": None,
        **run_facts(student, run, progress, attention),
        "drafts": None if drafted is None else {"tokens": drafted.tokens, "steps": drafted.step},
    }
    # Before it is raced: whatever the race meets, what was learnt is kept.
    save_junior(student, tokenizer, settings.out, facts)
    say(f"saved to {settings.out}")
    prompts = [prompt for prompt, _ in source.at_least(Stream.HELD_OUT, 1, HELD_OUT_EVERY)]
    race = raced(settings.teacher, settings.out, prompts[:CARS])
    say(
        f"in a race of {race.requests}: {race.counts.accepted_tokens:,} of "
        f"{race.counts.draft_tokens:,} drafts accepted in {race.counts.drafts:,} rounds of "
        f"{race.draft_length}"
    )
    facts["race"] = race.facts
    write_facts(settings.out, facts, write_card)
    say(f"done in {time.perf_counter() - began:.0f} s")
    return facts


@dataclass(frozen=True, slots=True)
class Examined:
    """A student and its teacher on the same held-out documents."""

    documents: int
    student: HeldOut
    teacher: HeldOut
    acceptance: Acceptance


def held_out_documents(source: Source, body_tokens: int) -> list[Encoded]:
    """With this many body tokens or just more, none of which anything is trained on."""
    return first(source.at_least(Stream.HELD_OUT, body_tokens, HELD_OUT_EVERY), body_tokens)


def examine(
    student: Llama, teacher: Llama, tokenizer: Tokenizer, source: Source, body_tokens: int
) -> Examined:
    """On about `body_tokens` tokens."""
    held_out = held_out_documents(source, body_tokens)
    newline, length, pad = line_end(tokenizer), source.row_length, source.pad
    return Examined(
        documents=len(held_out),
        student=held_out_loss(student, held_out, length, newline, pad),
        teacher=held_out_loss(teacher, held_out, length, newline, pad),
        acceptance=measure(student, teacher, held_out, length, pad),
    )


def junior_facts(settings: DistillSettings, digest: str, examined: Examined) -> dict[str, Any]:
    """What is stated of a distilled model, beside what is stated of every trained one."""
    return {
        "schema": 1,
        "command": settings.command,
        "teacher": {
            "name": settings.teacher.resolve().name,
            "sha256": digest,
            **loss_facts(examined.teacher),
        },
        "temperature": settings.temperature,
        "alpha": settings.alpha,
        "data": settings.data,
        "written_tokens": settings.written_tokens if settings.data == "teacher" else 0,
        "held_out": {"documents": examined.documents, **loss_facts(examined.student)},
        "acceptance": asdict(examined.acceptance),
    }


def save_junior(student: Llama, tokenizer: Tokenizer, out: Path, facts: dict[str, Any]) -> None:
    """A model folder with its card; raises EngineError, and leaves what was there whole."""
    with replacing(out) as part:
        save_model(student, tokenizer, part, None)
        write_json(part / FACTS, facts)
        (part / "README.md").write_text(render_card(facts), encoding="utf-8")


def drafts_pass(
    student: Llama,
    teacher: Llama,
    digest: str,
    tokenizer: Tokenizer,
    source: Source,
    settings: DistillSettings,
    say: Say,
) -> Progress:
    """The student writes, and learns what the teacher would have: once through, at low rates.

    Only the divergence counts here: its own tokens are nothing to imitate. `digest` is the
    teacher's.
    """
    device = student.embed_tokens.weight.device
    writing = Writing(Stream.DRAFTS, settings.drafts, TEMPERATURE)
    name = writing.name(weights_digest(student), settings.seed)

    def write() -> Rows:
        with TemporaryDirectory() as scratch:
            save_model(student, tokenizer, Path(scratch), None)
            return writing.rows(Path(scratch), source, device.type, say)

    rows = kept(settings.checkpoint, name, write)
    run = settings.training(student.shape)
    recipe = replace(
        run.recipe,
        rows_per_step=min(4, len(rows)),
        warmup_steps=5,
        warmdown=1.0,
        muon_rate=run.recipe.muon_rate * _DRAFTS_RATE,
        adam_rate=run.recipe.adam_rate * _DRAFTS_RATE,
    )
    run = replace(
        run,
        recipe=recipe,
        tokens=rows.tokens.size,
        minutes=None,
        checkpoint=None if settings.checkpoint is None else settings.checkpoint / "drafts",
    )
    aim = distillation(teacher, device, digest, settings.temperature, alpha=1.0)
    aim.identity["data"] = name
    return fit(student, source, run, say, objective=aim, reader=repeating(rows, settings.seed))
