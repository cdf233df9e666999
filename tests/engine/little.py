"""What tests of training learn from: short documents, their tokenizer, a teacher of random weights.

Imported by processes of their own too, which find the documents here.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import torch

from engine.training.data import Source
from engine.training.folder import save_model
from engine.training.model import Llama
from engine.training.settings import RECIPES, Shape
from engine.training.tokenizer import train_tokenizer

SHAPE = Shape(vocab=300, hidden=64, ffn=128, layers=2, heads=2, kv_heads=1, head_size=32)
MICRO = replace(
    RECIPES["tiny"],
    name="micro",
    shape=SHAPE,
    row_length=256,
    rows_per_step=2,
    races_per_chunk=4,
    tokens=30_000,
    tokenizer_races=4,
    held_out_tokens=2_000,
    ngram_tokens=4_000,
    ngram_order=4,
)


def documents(seed: int, races: int) -> Iterator[tuple[str, str]]:
    """Five short 'cars' a race: lines that count up, with one digit of noise."""
    for race in range(races):
        rng = Random(f"{seed}/{race}")
        for car in range(5):
            laps = rng.randint(2, 6)
            lines = [f"L{lap:02d} M{lap:02d} 3{rng.randint(0, 9)}.50\n" for lap in range(1, laps)]
            yield f"RACE {seed % 7} LAPS {laps:02d}\nCAR {car:02d}\n", "".join(lines)


TOKENIZER = train_tokenizer((text for pair in documents(1, 8) for text in pair), SHAPE.vocab)
SOURCE = Source(documents, TOKENIZER.to_str(), seed=7, races=4, row_length=256, pad=1)


def silent(line: str) -> None:
    pass


def save_teacher(path: Path) -> Path:
    """Random, with sharp distributions."""
    model = Llama(SHAPE)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    save_model(model, TOKENIZER, path, None)
    return path
