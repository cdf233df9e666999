"""What distillation minimizes."""

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.training.model import Decoder, Llama
from engine.training.trainer import (
    IGNORED,
    Loss,
    Objective,
    autocast,
    batch_loss,
    labelled_nats,
)


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    weights: Tensor,
    temperature: Tensor,
    alpha: Tensor,
) -> Loss:
    """alpha * T^2 * KL(teacher || student) + (1 - alpha) * cross-entropy, means per labelled
    token, of logits [slots, vocab].

    T^2 keeps the gradient's size the same at every temperature (Hinton, Vinyals and Dean, 2015).
    The weights are for the labels alone: where a label is one draw of much chance, a teacher's
    distribution is all of it.
    """
    counted = (labels != IGNORED).float()
    log_p = F.log_softmax(teacher / temperature, -1)
    log_q = F.log_softmax(student / temperature, -1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    soft = (divergence * counted).sum() / counted.sum()
    hard = labelled_nats(student, labels, weights)
    return Loss(alpha * temperature.square() * soft + (1 - alpha) * hard, hard)


def distillation(
    teacher: Decoder, device: torch.device, digest: str, temperature: float, alpha: float
) -> Objective:
    """What distillation minimizes; the teacher is left as it is."""
    identity = {"teacher": digest, "temperature": temperature, "alpha": alpha}
    if alpha == 0:
        return Objective(batch_loss, identity)
    # Tensors, so that one compiled program serves every temperature.
    heat, share = (torch.tensor(value, device=device) for value in (temperature, alpha))

    def loss(
        model: nn.Module,
        tokens: Tensor,
        positions: Tensor,
        labels: Tensor,
        weights: Tensor,
        bounds: Tensor,
    ) -> Loss:
        with autocast(tokens.device):
            with torch.no_grad():
                wanted = teacher(tokens, positions, bounds)
            logits = model(tokens, positions, bounds)
        return distillation_loss(
            logits.flatten(0, 1).float(),
            wanted.flatten(0, 1).float(),
            labels.flatten(),
            weights.flatten(),
            heat,
            share,
        )

    return Objective(loss, identity)


class Remembered:
    """A teacher that is asked about each batch once, and answers from memory ever after.

    All answers are of the memory's `dtype`, the first too.
    """

    def __init__(self, teacher: Decoder, dtype: torch.dtype) -> None:
        self._teacher = teacher
        self._dtype = dtype
        self._answers: dict[bytes, Tensor] = {}

    def __call__(self, tokens: Tensor, positions: Tensor, bounds: Tensor) -> Tensor:
        key = tokens.numpy().tobytes() + bounds.numpy().tobytes()
        if key not in self._answers:
            with torch.no_grad():
                self._answers[key] = self._teacher(tokens, positions, bounds).to(self._dtype)
        return self._answers[key]


def weights_digest(model: Llama) -> str:
    """SHA-256 of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
