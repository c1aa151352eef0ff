"""SGD, Adam and AdamW by torch's own functions: its classes import torch's compiler into every process, which takes a second."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from dataprune.training.recipes import Recipe


class Optimiser:
    """A recipe's optimiser for the parameters of a network; only matrices and kernels decay. `rate` and `decay` may be changed."""

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
        for decays in (True, False):
            trained = [(p, p.grad, s) for p, s in zip(self.parameters, self.slots, strict=True) if (p.ndim > 1) == decays]
            some = [(p, grad, slots) for p, grad, slots in trained if grad is not None]
            if some:
                parameters, grads, slots = map(list, zip(*some, strict=True))
                same: dict[str, Any] = {"lr": self.rate, "weight_decay": self.decay if decays else 0.0}
                (self._sgd if self.recipe.optimiser == "sgd" else self._adam)(parameters, grads, slots, same)

    def _sgd(self, parameters: list[Tensor], grads: list[Tensor], slots: list[dict[str, Tensor]], same: dict[str, Any]) -> None:
        momentum = self.recipe.momentum
        buffers = [one.get("momentum_buffer") for one in slots]
        same |= {"momentum": momentum, "nesterov": self.recipe.nesterov and momentum > 0, "dampening": 0.0, "maximize": False}
        sgd(parameters, grads, buffers, fused=self.fused, **same)
        for one, buffer in zip(slots, buffers, strict=True):
            if buffer is not None:
                one["momentum_buffer"] = buffer

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
