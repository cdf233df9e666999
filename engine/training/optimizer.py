"""Muon for the hidden matrices, AdamW for embeddings and norms.

Muon: momentum, then each update's matrix is replaced by a nearly orthogonal one through a
Newton-Schulz iteration (K. Jordan et al., "Muon: An optimizer for hidden layers in neural
networks", 2024).
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engine.training.settings import Recipe

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalized(matrices: Tensor) -> Tensor:
    """Nearly orthogonal versions of matrices [n, rows, columns]: singular values about 1."""
    a, b, c = _COEFFICIENTS
    x: Tensor = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """One group per matrix shape, so that a group is one batch of matrix products."""

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.shape].append(parameter)
        groups = [{"params": same} for same in by_shape.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            gradients = [p.grad for p in parameters if p.grad is not None]
            for p in parameters:
                if not self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            buffers = [self.state[p]["momentum"] for p in parameters]
            torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, buffers, group["momentum"])
            rows, columns = parameters[0].shape
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            directions = orthogonalized(torch.stack(updates)).to(parameters[0].dtype)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, list(directions.unbind()), alpha=-rate)


class Optimizers:
    """Both optimizers behind one step; rates are given as a share of the recipe's."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        named = list(model.named_parameters())
        matrices = [p for name, p in named if name.startswith("layers.") and p.dim() == 2]
        others = [p for name, p in named if not name.startswith("layers.") or p.dim() != 2]
        self._parameters = [p for _, p in named]
        self._parts: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(matrices, recipe.muon_rate, recipe.weight_decay), recipe.muon_rate),
            (
                torch.optim.AdamW(
                    others,
                    recipe.adam_rate,
                    betas=(0.9, 0.95),
                    weight_decay=0.0,
                    fused=others[0].is_cuda,
                ),
                recipe.adam_rate,
            ),
        ]

    def step(self, share: float) -> None:
        """One clipped update at `share` of the full rates; clears the gradients."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer, _ in self._parts]

    def restore(self, states: list[dict[str, Any]]) -> None:
        for (optimizer, _), state in zip(self._parts, states, strict=True):
            optimizer.load_state_dict(state)
