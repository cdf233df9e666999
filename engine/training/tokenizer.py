"""Byte-level BPE whose tokens never hold two digits and never cross a line end.

So numbers are read digit by digit, and a text that ends with a line end is a token-exact prefix
of every text that goes on after it: what the prefix cache relies on.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from engine.config import EngineError

BEGIN = "<|begin|>"
END = "<|end|>"

_PIECES = r"\n| ?\p{L}+(?:'\p{L}+)*| ?[0-9]| ?[^\s\p{L}0-9]+|\s"


def train_tokenizer(texts: Iterable[str], vocab: int) -> Tokenizer:
    """A tokenizer of exactly `vocab` entries; what the texts do not fill is reserved."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=2,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, token_id(tokenizer, BEGIN))]
    )
    size = tokenizer.get_vocab_size()
    if size > vocab:
        raise EngineError(f"vocabulary {vocab}: give at least {size}, one entry for every byte")
    tokenizer.add_special_tokens([f"<|reserved_{i}|>" for i in range(vocab - size)])
    return tokenizer


def encode(tokenizer: Tokenizer, prompt: str, body: str) -> tuple[list[int], list[int]]:
    """Token ids of a document: begin + prompt, and body + end."""
    head = tokenizer.encode(prompt, add_special_tokens=False).ids
    tail = tokenizer.encode(body, add_special_tokens=False).ids
    return [token_id(tokenizer, BEGIN), *head], [*tail, token_id(tokenizer, END)]


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Id of a special token; raises EngineError where the tokenizer lacks it."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise EngineError(f"the tokenizer has no token {token}")
    return int(found)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """tokenizer.json, and the configuration by which transformers reads it."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
