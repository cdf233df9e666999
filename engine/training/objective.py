"""What distillation minimizes."""

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.training.model import Llama
from engine.training.trainer import IGNORED, Objective, autocast, batch_loss


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    weights: Tensor,
    temperature: Tensor,
    alpha: Tensor,
) -> Tensor:
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
    nats = F.cross_entropy(student, labels, ignore_index=IGNORED, reduction="none")
    weighed = weights * counted
    hard = (nats * weighed).sum() / weighed.sum()
    return alpha * temperature.square() * soft + (1 - alpha) * hard


def distillation(teacher: Llama, digest: str, temperature: float, alpha: float) -> Objective:
    """What distillation minimizes; the teacher is left as it is."""
    identity = {"teacher": digest, "temperature": temperature, "alpha": alpha}
    if alpha == 0:
        return Objective(batch_loss, identity)
    device = teacher.embed_tokens.weight.device
    # Tensors, so that one compiled program serves every temperature.
    heat, share = (torch.tensor(value, device=device) for value in (temperature, alpha))

    def loss(
        model: nn.Module,
        tokens: Tensor,
        positions: Tensor,
        labels: Tensor,
        weights: Tensor,
        bounds: Tensor,
    ) -> Tensor:
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


def weights_digest(model: Llama) -> str:
    """SHA-256 of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
