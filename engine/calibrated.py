"""Calibrated 4-bit weights beside the model that they were made from.

`int4.safetensors` holds codes and scales, `int4.json` says what they are.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from engine.config import EngineError, ModelError
from engine.quantize import Quantized
from engine.scheme import GROUP, INT4
from engine.spec import read_spec

MOST = INT4.levels[1]
VERSION = 1
CODES, FACTS = "int4.safetensors", "int4.json"


def save_int4(source: Path, out: Path, codes: Mapping[str, Quantized]) -> None:
    """Codes and scales beside the model that they were made from: `out` becomes a copy of it with
    two files more, or is the model's own folder. `load_int4` reads them.

    Raises EngineError where the disk refuses.
    """
    held = {}
    for name, code in codes.items():
        held[f"{name}.codes"] = code.codes.contiguous()
        held[f"{name}.scales"] = code.scales.contiguous()
    facts = {
        "version": VERSION,
        "method": "gptq",
        "scheme": asdict(INT4),
        "source_sha256": source_hash(source),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / FACTS).unlink(missing_ok=True)  # written last: without it the codes do not count
        if not out.samefile(source):
            for path in out.glob("model*.safetensors*"):
                path.unlink()  # an older copy's, perhaps in other shards
            for pattern in ("*.json", "model*.safetensors", "tokenizer.model"):
                for path in source.glob(pattern):
                    if path.name != FACTS:
                        copyfile(path, out / path.name)
        # Not save_file: it would be readable by one user. Put in place whole: whoever serves the
        # file before keeps it as it was.
        part = out / f"{CODES}.part"
        part.write_bytes(save(held))
        part.replace(out / CODES)
        (out / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise EngineError(f"cannot write the quantized model to {out}: {error}") from None


def has_int4(folder: Path) -> bool:
    """Whether a model folder says that it has codes for `load_int4`."""
    return (folder / FACTS).is_file()


def load_int4(folder: Path) -> dict[str, Quantized]:
    """What `save_int4` wrote, by the spec's names, for the model in the same folder.

    Raises ModelError, naming what is wrong: a file missing or unreadable, another version or
    scheme, codes made from other weights, tensors of other names, shapes or dtypes, scales that
    are not finite.
    """
    spec = read_spec(folder)
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(facts, dict) or facts.get("version") != VERSION:
        found = facts.get("version") if isinstance(facts, dict) else None
        raise ModelError(f"{path}: version {found!r} is not {VERSION}: run pitwall quantize again")
    if facts.get("scheme") != asdict(INT4):
        raise ModelError(f"{path}: scheme {facts.get('scheme')} is not {asdict(INT4)}")
    if facts.get("source_sha256") != source_hash(folder):
        raise ModelError(f"{path}: made from other weights than this folder's: quantize it again")
    path = folder / CODES
    try:
        held = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    found = {name: _take(path, held, name, *shape) for name, shape in spec.linears.items()}
    if held:
        raise ModelError(f"{path}: tensor {min(held)} is not part of this model")
    return found


def source_hash(folder: Path) -> str:
    """SHA-256 of a model folder's weight files. Raises ModelError where one cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in sorted(folder.glob("model*.safetensors")):
            with path.open("rb") as file:
                while part := file.read(2**20):
                    digest.update(part)
    except OSError as error:
        raise ModelError(f"{folder}: its weights cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _take(path: Path, held: dict[str, Tensor], name: str, rows: int, columns: int) -> Quantized:
    """One layer's codes and scales, taken out of `held`."""
    expected = {
        "codes": ((rows, -(-columns // 2)), torch.uint8),
        "scales": ((rows, -(-columns // GROUP)), torch.float32),
    }
    parts = []
    for part, (shape, dtype) in expected.items():
        tensor = held.pop(f"{name}.{part}", None)
        if tensor is None:
            raise ModelError(f"{path}: tensor {name}.{part} is missing")
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise ModelError(
                f"{path}: tensor {name}.{part} is {tensor.dtype} {list(tensor.shape)}, "
                f"not {dtype} {list(shape)}"
            )
        parts.append(tensor)
    codes, scales = parts
    if not bool((torch.isfinite(scales) & (scales >= 0)).all()):
        raise ModelError(f"{path}: tensor {name}.scales holds NaN, Inf or numbers below 0")
    if not bool(((codes & 15 > 0) & (codes >> 4 > 0)).all()):
        raise ModelError(f"{path}: tensor {name}.codes holds a code below {-MOST}")
    return Quantized(INT4, (rows, columns), codes, scales, None)
