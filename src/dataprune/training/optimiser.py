"""SGD, Adam and AdamW by torch's own functions: its classes import torch's compiler into every process, which takes a second. Muon
(Jordan et al. 2024) for kernels, as in airbench (Jordan 2024, arXiv:2404.00498), since torch's takes matrices alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from dataprune.training.recipes import Recipe

MUON_RATE, MUON_MOMENTUM = 0.5, 0.6  # the first times the recipe's rate
NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 3
TINY = 1e-7  # a length by which nothing is divided


class Optimiser:
    """A recipe's optimiser for the parameters of a network; only matrices and kernels decay. `rate` and `decay` may be changed.

    With `muon` kernels are held at the length √(outputs) and take orthogonalised steps; all else takes those of SGD.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.recipe, self.rate, self.decay = recipe, recipe.learning_rate, recipe.weight_decay or 0.0
        self.parameters = sorted(model.parameters(), key=lambda p: p.ndim <= 1)
        self.slots: list[dict[str, Tensor]] = [{} for _ in self.parameters]
        self.fused = self.parameters[0].device.type in ("cpu", "cuda")

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take a step down the gradients; a parameter without one stays."""
        trained = [(p, p.grad, slots) for p, slots in zip(self.parameters, self.slots, strict=True) if p.grad is not None]
        if self.recipe.optimiser == "muon":
            for p, grad, slots in trained:
                if p.ndim == 4:
                    self._muon(p, grad, slots)
            trained = [one for one in trained if one[0].ndim != 4]
        for decays in (True, False):
            some = [one for one in trained if (one[0].ndim > 1) == decays]
            if some:
                parameters, grads, slots_of = map(list, zip(*some, strict=True))
                same: dict[str, Any] = {"lr": self.rate, "weight_decay": self.decay if decays else 0.0}
                (self._adam if self.recipe.optimiser in ("adam", "adamw") else self._sgd)(parameters, grads, slots_of, same)

    def _sgd(self, parameters: list[Tensor], grads: list[Tensor], slots: list[dict[str, Tensor]], same: dict[str, Any]) -> None:
        momentum = self.recipe.momentum
        buffers = [one.get("momentum_buffer") for one in slots]
        same |= {"momentum": momentum, "nesterov": self.recipe.nesterov and momentum > 0, "dampening": 0.0, "maximize": False}
        sgd(parameters, grads, buffers, fused=self.fused, **same)
        for one, buffer in zip(slots, buffers, strict=True):
            if buffer is not None:
                one["momentum_buffer"] = buffer

    def _muon(self, p: Tensor, grad: Tensor, slots: dict[str, Tensor]) -> None:
        buffer = slots.setdefault("momentum_buffer", torch.zeros_like(p))
        buffer.mul_(MUON_MOMENTUM).add_(grad)
        step = orthogonalised((grad + MUON_MOMENTUM * buffer).flatten(1)).contiguous()
        p.mul_(len(p) ** 0.5 / p.norm().clamp_min(TINY))  # kernels of residual blocks may begin at zero
        p.sub_(step.view(p.shape) * (self.rate * MUON_RATE))

    def _adam(self, parameters: list[Tensor], grads: list[Tensor], slots: list[dict[str, Tensor]], same: dict[str, Any]) -> None:
        for p, one in zip(parameters, slots, strict=True):
            if not one:
                step = torch.zeros((), device=p.device if self.fused else None)
                one |= {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        means, squares, steps = ([one[name] for one in slots] for name in ("exp_avg", "exp_avg_sq", "step"))
        same |= {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False}
        same["decoupled_weight_decay"] = self.recipe.optimiser == "adamw"
        adam(parameters, grads, means, squares, [], steps, fused=self.fused, **same)

    def arrays(self) -> dict[str, np.ndarray]:
        every = enumerate(self.slots)
        return {f"optimiser.{n}.{slot}": value.cpu().numpy() for n, slots in every for slot, value in slots.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go back to the state that `arrays` gave. The fused step walks tensors in memory order: strides are the parameter's."""
        for name in arrays:
            if name.startswith("optimiser."):
                _, number, slot = name.split(".", 2)
                p, value = self.parameters[int(number)], torch.from_numpy(np.array(arrays[name]))
                place = torch.empty_like(p) if value.shape == p.shape else torch.empty_like(value, device=p.device)
                self.slots[int(number)][slot] = place.detach().copy_(value)


def orthogonalised(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Bring the singular values of a matrix near 1 by Newton–Schulz steps; zeros stay zeros.

    Source: Jordan et al. 2024, "Muon". Departs: three steps, as in airbench, where Muon takes five.
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = (matrix.T if is_tall else matrix) / (matrix.norm() + TINY)
    for _ in range(NEWTON_SCHULZ_STEPS):
        product = x @ x.T
        x = torch.addmm(x, b * product + c * product @ product, x, beta=a)
    return x.T if is_tall else x
