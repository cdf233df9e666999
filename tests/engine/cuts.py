"""Toy decoders run straight, without an engine: texts whole, and cut and batched at random."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from engine.decoder import Decoder
from engine.kvcache import KVCache
from engine.plan import Row
from engine.tensors import DecoderTensors, read_tensors
from tests.engine.toy import Toy

CPU = torch.device("cpu")


def read_toy(toy: Toy, folder: Path) -> DecoderTensors:
    return read_tensors(toy.save(folder), torch.float32, CPU, 512)


def make_cache(
    tensors: DecoderTensors, pages: int, page_size: int, kv_dtype: str = "fp32"
) -> KVCache:
    return KVCache(tensors.spec, pages, page_size, torch.float32, CPU, kv_dtype)


def all_logits(decoder: Decoder, cache: KVCache, tokens: Sequence[int]) -> Tensor:
    pages = tuple(range(cache.data.shape[2]))
    return decoder.run(cache, [Row("0", 0, tuple(tokens), pages, None)], range(len(tokens)))


def hold_cuts_alike(
    decoder: Decoder,
    tensors: DecoderTensors,
    page_size: int,
    repeats: int = 1,
    kv_dtype: str = "fp32",
) -> None:
    """Logits after every token, of texts cut and batched at random, and alone in one piece."""
    random, vocab = Random(2), tensors.spec.vocab_size
    texts = [[random.randrange(vocab) for _ in range(n)] for n in (1, 130, 33, 200, 48, 5)]
    most = -(-200 // page_size)
    alone = [
        all_logits(decoder, make_cache(tensors, most, page_size, kv_dtype), text) for text in texts
    ]
    for _ in range(repeats):
        cache = make_cache(tensors, most * len(texts), page_size, kv_dtype)
        pages = random.sample(range(most * len(texts)), most * len(texts))
        computed = [0] * len(texts)
        while any(done < len(text) for done, text in zip(computed, texts, strict=True)):
            rows = []
            for i in random.sample(range(len(texts)), random.randint(1, len(texts))):
                start = computed[i]
                tokens = texts[i][start : start + random.choice((1, 1, 2, 3, 17, 100, 300))]
                if tokens:
                    table = tuple(pages[most * i : most * (i + 1)])
                    rows.append(Row(str(i), start, tuple(tokens), table, None))
            if not rows:
                continue
            lengths = [len(row.tokens) for row in rows]
            # Now and then few are asked for, as an engine does.
            wanted = sorted(random.sample(range(sum(lengths)), random.randint(0, sum(lengths))))
            if random.random() < 0.7:
                wanted = list(range(sum(lengths)))
            expected = torch.cat([alone[int(row.id)][row.start : row.end] for row in rows])
            found = decoder.run(cache, rows, wanted)
            assert torch.equal(found, expected[wanted]), [(r.id, r.start, r.end) for r in rows]
            for row in rows:
                computed[int(row.id)] = row.end
