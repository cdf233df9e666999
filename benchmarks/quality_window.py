"""What the quality meter leaves out: `python -m benchmarks.quality_window`.

The meter has fp32 score a window of tokens over keys and values that were served (see
engine/meter.py). Here the same windows are scored over keys and values of fp32's own as well, on
held-out cars: the mean KL of both, in nats a token.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.config import EngineConfig, Knobs
from engine.decoder import Decoder
from engine.divergence import divergence
from engine.formats import Formats
from engine.kvcache import KVCache
from engine.meter import WINDOW
from engine.plan import Row
from pitwall_tui.cli.quantize import HELD_OUT, simulated_cars
from pitwall_tui.paths import asset

PAGE = 16
RACES, TOKENS, EVERY = 4, 1200, 97  # of each car so many tokens, a window every so many
FORMS = (("int8", "fp32"), ("int4", "fp32"), ("fp32", "int8"), ("int8", "int8"), ("int4", "int8"))


def main() -> None:
    folder = asset("models/chief")
    formats = Formats(EngineConfig(str(folder)), Knobs())
    cars = simulated_cars(Path(folder), formats.spec, HELD_OUT, RACES)
    exact = formats.get(formats.effective(Knobs()))
    print(f"{'weights':9}{'kv_dtype':10}{'windows':>8}{'own KV':>11}{'served KV':>11}")
    for weights, kv_dtype in FORMS:
        served = formats.get(formats.effective(Knobs(weights=weights)))
        sums, windows = torch.zeros(2), 0
        for prompt, body in cars:
            tokens = (*prompt, *body)[:TOKENS]
            for found in _windows(formats, exact, served, kv_dtype, tokens, len(prompt)):
                sums += found
                windows += 1
        own, taken = (sums / windows).tolist()
        print(f"{weights:9}{kv_dtype:10}{windows:8}{own:11.6f}{taken:11.6f}")


def _windows(
    formats: Formats,
    exact: Decoder,
    served: Decoder,
    kv_dtype: str,
    tokens: Sequence[int],
    prompt: int,
) -> list[Tensor]:
    """Mean KL over own and over served KV, [2], of windows in a car's text."""
    pages = tuple(range(-(-len(tokens) // PAGE)))

    def cache(kind: str = "fp32") -> KVCache:
        return KVCache(formats.spec, len(pages), PAGE, formats.dtype, formats.device, kind)

    def run(decoder: Decoder, cache: KVCache, start: int, end: int) -> Tensor:
        row = Row("car", start, tuple(tokens[start:end]), pages, None)
        return decoder.run(cache, [row], range(end - start)).log_softmax(-1)

    with torch.inference_mode():
        kept = cache(kv_dtype)
        found = run(served, kept, 0, len(tokens))
        whole = run(exact, cache(), 0, len(tokens))
        result = []
        for start in range(prompt + EVERY, len(tokens) - WINDOW, EVERY):
            window = slice(start, start + WINDOW)
            before = cache()
            before.take(kept, list(pages))
            again = run(exact, before, start, start + WINDOW)
            pair = [divergence(p, found[window]).kl.mean() for p in (whole[window], again)]
            result.append(torch.stack(pair))
    return result


if __name__ == "__main__":
    main()
