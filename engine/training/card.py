"""The model card: README.md of a model folder, from the run's facts and a quality file.

`python -m engine.training.card FOLDER [--quality FILE]` writes it again, with the quality table.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.config import EngineError

FACTS = "training.json"

_HEAD = """\
---
license: mit
library_name: transformers
pipeline_tag: text-generation
tags: [{tags}]
---

# {title}"""

_SHAPE = """\
| | |
|---|---|
| hidden size, layers | {hidden}, {layers} |
| heads, key/value heads, head size | {heads}, {kv_heads}, {head_size} |
| feed-forward size | {ffn} |
| vocabulary | {vocab}, {tokenizer} |
| longest context | {context} tokens |
| stored as | bf16 safetensors |"""

_RUN = (
    *("parameters", "command", "tokens", "trained_tokens", "steps", "seed", "seconds"),
    *("device", "tokens_per_second", "torch", "noise_weight"),
)

_CARD = """\
{head}

A Llama-architecture language model of {parameters:,} parameters that writes motor races: given a
briefing and a car's entry, one line a lap. It was trained from scratch on simulated races. It is
made for Pitwall, where every car of a live race is one generation request.

{shape}

## Data

Races written by Pitwall's own race simulator, made while training ran and never repeated; no
text of people, no real drivers or teams. Whole documents are packed into rows, attention stays
inside a document, and the loss counts body tokens only. Held-out documents come from simulator
seeds that training, tokenizer and baseline never use.

## Training

```
{command}
```

{tokens:,} tokens ({trained_tokens:,} of them in the loss) in {steps:,} steps, seed {seed}:
{seconds:.0f} s on {device}, {tokens_per_second:,} tokens/s, torch {torch}.
Muon for the hidden matrices, AdamW for embeddings and norms; warm-up, constant rate, linear
warm-down. The two tokens after each decimal point, mostly chance, weigh {noise_weight:g} in the
training loss; the held-out loss below counts every body token alike.

## Held-out loss

{held_tokens:,} body tokens of {documents:,} documents; the weights as they are stored.

| | nats per token | bits per lap line | perplexity |
|---|---|---|---|
| **this model** | **{nats:.4f}** | **{bits:.1f}** | **{perplexity:.3f}** |
| n-grams, order {ngram_order}, {ngram_kind}, {ngram_training:,} training tokens \
| {ngram_nats:.4f} | {ngram_bits:.1f} | {ngram_perplexity:.3f} |

The model's likeliest token is the right one in {accuracy:.1%} of places. The n-gram order and
kind are the best of all up to the model's longest, chosen on documents of their own.

## Quality of sampled races

{quality}

## Use

The prompt is `<|begin|>`, which the tokenizer puts first, then briefing and entry line; the text
ends with `<|end|>`. Sample at temperature 0.8.

Intended for the Pitwall race and for measuring inference engines. It knows nothing but these
races: it is no assistant, and its times and positions are fiction. Cars are written one by one,
so two cars may claim the same position in a lap. A safety car may come or go a lap too
early or too late (see above). Lap counts beyond 78 were never seen.

License: MIT.
"""


def flattened(value: object, name: str = "") -> list[tuple[str, str]]:
    """(name, text) of every plain value in nested objects; lists are left out."""
    if isinstance(value, dict):
        return [
            row
            for key, part in value.items()
            for row in flattened(part, f"{name} {key}".strip().replace("_", " "))
        ]
    if isinstance(value, list):
        return []
    if isinstance(value, float):
        return [(name, f"{value:.4g}")]
    return [(name, str(value))]


def shared_fields(facts: dict[str, Any], title: str, tags: str, tokenizer: str) -> dict[str, Any]:
    """What every card's text takes: its `head`, the model's `shape`, and the run's facts."""
    return {
        "head": _HEAD.format(title=title, tags=tags),
        "shape": _SHAPE.format(**facts["shape"], tokenizer=tokenizer),
        **{name: facts[name] for name in _RUN},
    }


def render_card(facts: dict[str, Any], quality: dict[str, Any] | None) -> str:
    """README.md's text."""
    held_out, ngram = facts["held_out"], facts["ngram"]
    table = "Not measured yet."
    if quality is not None:
        rows = [f"| {name} | {text} |" for name, text in flattened(quality)]
        table = "\n".join(["| measure | value |", "|---|---|", *rows])
    return _CARD.format(
        **shared_fields(
            facts,
            title=f"Pitwall {facts['size']}",
            tags="llama, racing, simulation",
            tokenizer="byte-level BPE, digits one by one",
        ),
        held_tokens=held_out["tokens"],
        documents=held_out["documents"],
        nats=held_out["nats_per_token"],
        bits=held_out["bits_per_line"],
        perplexity=held_out["perplexity"],
        accuracy=held_out["accuracy"],
        ngram_order=ngram["order"],
        ngram_kind=ngram["kind"],
        ngram_training=ngram["training_tokens"],
        ngram_nats=ngram["nats_per_token"],
        ngram_bits=held_out["bits_per_line"] * ngram["nats_per_token"] / held_out["nats_per_token"],
        ngram_perplexity=ngram["perplexity"],
        quality=table,
    )


def write_card(folder: Path, quality: Path | None = None) -> None:
    """Writes README.md into a folder that `run.train` has made."""
    write_rendered(folder, quality, render_card)


def write_rendered(
    folder: Path,
    beside: Path | None,
    render: Callable[[dict[str, Any], dict[str, Any] | None], str],
) -> None:
    """README.md from the folder's facts and what a JSON file beside them holds."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if beside is not None:
            path = beside
        found = None if beside is None else json.loads(path.read_text(encoding="utf-8"))
        text = render(facts, found)
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"cannot make a model card from {path}: {error}") from error
    (folder / "README.md").write_text(text, encoding="utf-8")


def rewrite(write: Callable[[Path, Path | None], None], name: str, holds: str) -> None:
    """The command line that writes a folder's card again; option --`name` is a JSON file."""
    parser = argparse.ArgumentParser(description="Write a model folder's card again.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(f"--{name}", type=Path, help=holds, dest="beside")
    args = parser.parse_args()
    try:
        write(args.folder, args.beside)
    except EngineError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    rewrite(write_card, "quality", "JSON of a quality benchmark")
