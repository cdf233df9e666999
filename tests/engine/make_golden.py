"""Writes golden_transformers.json: what transformers computes on the toy models.

Run from the repository root with transformers installed, which the suite itself does not need:
python -m tests.engine.make_golden
"""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

from tests.engine.toy import QKV, Toy

GOLDEN = Path(__file__).with_name("golden_transformers.json")
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "factor": 2.5}
WIDER = Toy(hidden=48, heads=4, head_size=16, theta=500.0, style=5)
TOYS = {
    "llama": Toy(),
    "llama, untied": Toy(tied=False, style=5),
    "llama, biases": Toy(
        biases=(*QKV, "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
        extra={"attention_bias": True, "mlp_bias": True},
    ),
    "llama, one head shared by all": Toy(kv_heads=1, seed=4),
    "llama3 scaling": replace(WIDER, rotary=LLAMA3),
    "linear scaling": replace(WIDER, rotary=LINEAR, style=4),
    "qwen2": Toy("Qwen2ForCausalLM", biases=QKV),
    "qwen3": replace(WIDER, architecture="Qwen3ForCausalLM", qk_norms=True, tied=False),
}
_random = Random(1)
TOKENS = [_random.randrange(Toy().vocab) for _ in range(48)]
POSITIONS = (0, 5, 31, 47)


def main() -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers import __version__ as version

    logits = {}
    for name, toy in TOYS.items():
        with tempfile.TemporaryDirectory() as folder:
            toy.save(Path(folder))
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float64, attn_implementation="eager"
            )
        with torch.inference_mode():
            rows = model(torch.tensor([TOKENS])).logits[0, list(POSITIONS)]
        logits[name] = [[round(value, 6) for value in row] for row in rows.tolist()]
    golden = {
        "transformers": version,
        "tokens": TOKENS,
        "positions": POSITIONS,
        "toys": {name: asdict(toy) for name, toy in TOYS.items()},
        "logits": logits,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
