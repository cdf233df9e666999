"""The whole of `pitwall train`: tokenizer, training, saving, held-out losses, model card."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from engine.config import EngineError
from engine.training.card import FACTS, write_card
from engine.training.data import Encoded, Source, Stream, document_seed
from engine.training.evaluate import HeldOut, held_out_loss
from engine.training.folder import check_writable, replacing, save_model, write_json
from engine.training.model import Llama, choose_attention
from engine.training.ngram import Baseline, baseline
from engine.training.settings import Documents, TrainSettings
from engine.training.tokenizer import END, token_id, train_tokenizer
from engine.training.trainer import Progress, Say, fit

HELD_OUT_EVERY = 5  # documents: the cars of a race have much in common


def choose_device(name: str) -> torch.device:
    """auto, cpu or cuda; raises EngineError where there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise EngineError(f"device {name!r}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise EngineError("device cuda: this torch sees no CUDA GPU; choose cpu")
    return torch.device(name)


def make_tokenizer(documents: Documents, settings: TrainSettings) -> Tokenizer:
    """The run's tokenizer, from documents of their own."""
    recipe = settings.recipe
    seed = document_seed(settings.seed, Stream.TOKENIZER, 0)
    # A race's cars share most of their words: a quarter of them is enough.
    pairs = list(documents(seed, recipe.tokenizer_races))[::4]
    return train_tokenizer((text for pair in pairs for text in pair), recipe.shape.vocab)


def train(documents: Documents, settings: TrainSettings, say: Say) -> dict[str, object]:
    """Trains, saves to `settings.out`, and returns what was done and measured.

    Raises EngineError for bad options, a folder that cannot be written or a diverged loss.
    """
    recipe = settings.recipe
    device = choose_device(settings.device)
    prepare(settings, device)
    began = time.perf_counter()

    tokenizer = make_tokenizer(documents, settings)
    say(f"tokenizer of {tokenizer.get_vocab_size()} entries: {time.perf_counter() - began:.1f} s")
    source = source_of(documents, tokenizer, settings)
    held_out = source.at_least(Stream.HELD_OUT, recipe.held_out_tokens, HELD_OUT_EVERY)

    attend, attention = choose_attention(device)
    model = Llama(recipe.shape, attend)
    model.initialize(settings.seed)
    model.to(device)
    parameters = count(model)
    say(f"{recipe.name}: {parameters:,} parameters on {device_name(device)}, {attention} attention")

    with _beside(source, held_out, settings) as ngrams:
        progress = fit(model, source, settings, say)
        round_weights(model)
        with replacing(settings.out) as part:
            save_model(model, tokenizer, part, settings.shard_mib)
        say(f"saved to {settings.out}")
        newline = line_end(tokenizer)
        measured = held_out_loss(model, held_out, recipe.row_length, newline, source.pad)
        say(f"held out: {measured.nats_per_token:.4f} nats per token")
        beside = ngrams()
        say(f"n-grams:  {beside.nats_per_token:.4f} nats per token (order {beside.order})")

    facts: dict[str, object] = {
        "schema": 1,
        "size": recipe.name,
        "command": settings.command,
        **run_facts(model, settings, progress, attention),
        "held_out": {"documents": len(held_out), **loss_facts(measured)},
        "ngram": {**asdict(beside), "perplexity": beside.perplexity},
    }
    write_facts(settings.out, facts, write_card)
    say(f"done in {time.perf_counter() - began:.0f} s")
    return facts


def write_facts(folder: Path, facts: dict[str, Any], write_card: Callable[[Path], None]) -> None:
    """A model folder's facts, and the card that is made of them; raises EngineError."""
    try:
        write_json(folder / FACTS, facts)
        write_card(folder)
    except OSError as error:
        raise EngineError(f"cannot write the model card to {folder}: {error}") from error


def prepare(settings: TrainSettings, device: torch.device) -> None:
    """Sets torch up; raises EngineError where a folder of the run cannot be written to."""
    check_writable(settings.out)
    if settings.checkpoint is not None:
        check_writable(settings.checkpoint)
    torch.set_float32_matmul_precision("high")
    if device.type == "cpu":
        # Threads that wait for a core a data worker holds make every product wait.
        spare = (os.cpu_count() or 1) - settings.workers
        torch.set_num_threads(max(1, min(torch.get_num_threads(), spare)))


def source_of(documents: Documents, tokenizer: Tokenizer, settings: TrainSettings) -> Source:
    """Where a run's rows come from."""
    return Source(
        documents=documents,
        tokenizer=tokenizer.to_str(),
        seed=settings.seed,
        races=settings.recipe.races_per_chunk,
        row_length=settings.recipe.row_length,
        pad=token_id(tokenizer, END),
    )


def line_end(tokenizer: Tokenizer) -> int:
    """Its id."""
    return int(tokenizer.encode("\n", add_special_tokens=False).ids[0])


def count(model: Llama) -> int:
    """Its parameters."""
    return sum(p.numel() for p in model.parameters())


def run_facts(
    model: Llama, settings: TrainSettings, progress: Progress, attention: str
) -> dict[str, object]:
    """What is stated of every trained model."""
    device = model.embed_tokens.weight.device
    return {
        "seed": settings.seed,
        "parameters": count(model),
        "shape": asdict(model.shape),
        "noise_weight": settings.recipe.noise_weight,
        "steps": progress.step,
        "tokens": progress.tokens,
        "trained_tokens": progress.trained,
        "seconds": round(progress.seconds, 1),
        "tokens_per_second": round(progress.tokens / progress.seconds),
        "device": device_name(device),
        "attention": attention,
        "torch": torch.__version__,
    }


def loss_facts(measured: HeldOut) -> dict[str, float]:
    """A held-out loss, with what follows from it."""
    extra = {"bits_per_line": measured.bits_per_line, "perplexity": measured.perplexity}
    return asdict(measured) | extra


def round_weights(model: Llama) -> None:
    """From here on the model is the one that is shipped, in bf16."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


@contextmanager
def _beside(
    source: Source, held_out: list[Encoded], settings: TrainSettings
) -> Iterator[Callable[[], Baseline]]:
    """A function that returns the n-gram baseline, made beside the training where it may be."""
    recipe = settings.recipe
    work = (source, held_out, recipe.shape.vocab, recipe.ngram_order, recipe.ngram_tokens)
    if settings.workers == 0:
        yield lambda: baseline(*work)
        return
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_baseline, args=(sender, *work), daemon=True)
    process.start()
    sender.close()  # so that the end of the process ends the waiting for it

    def receive() -> Baseline:
        try:
            result: Baseline = receiver.recv()
        except EOFError:
            raise EngineError("the n-gram baseline's process was lost: memory?") from None
        return result

    try:
        yield receive
    finally:
        process.terminate()
        process.join()


def _send_baseline(
    sender: Connection,
    source: Source,
    held_out: list[Encoded],
    vocab: int,
    order: int,
    training_tokens: int,
) -> None:
    sender.send(baseline(source, held_out, vocab, order, training_tokens))
