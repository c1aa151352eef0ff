"""Softmax regression with L2 on several folds of the same rows at once, from one strength to the next: L-BFGS in float32."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dataprune.streams import generator

Folds = Sequence[tuple[np.ndarray, np.ndarray]]  # for each fold which rows are fitted, and which are asked
MEMORY, MOST_STEPS = 8, 100
NEAR = 1e-4  # nats a row that a step still promises: the strengths are half a decade apart and differ by a hundred times as much
DIRECTIONS, ROUNDS = 32, 2  # main directions of the rows, along which curvature differs most
ENOUGH, HALVINGS, ROUNDING = 1e-4, 20, 1e-6  # of a step's promise that must come true; times it is cut; what float32 leaves open


@dataclass
class _Point:
    """Weights of all folds, what they cost, and how that changes."""

    weights: Float[Tensor, "folds classes columns"]
    cost: Float[Tensor, " folds"]
    gradient: Float[Tensor, "folds classes columns"]
    errors: Float[Tensor, "folds rows"]  # cross-entropies of each row, in nats
    doubt: Float[Tensor, " folds"]  # the mean curvature of a logit


class FoldedRegression:
    """The folds' weights and a constant; a class that a fold does not fit has no say in it."""

    def __init__(self, x: Float[np.ndarray, "rows features"], labels: Int64[np.ndarray, " rows"], folds: Folds) -> None:
        names, truth = np.unique(labels, return_inverse=True)
        self.n_rows, self.n_classes, self.n_folds = len(x), len(names), len(folds)
        self.x = torch.cat([torch.from_numpy(np.asarray(x, np.float32)), torch.ones(len(x), 1)], 1)
        self.truth, self.rows = torch.from_numpy(truth), torch.arange(len(x))
        self.fitted, self.asked = (torch.from_numpy(np.stack(masks)).float() for masks in zip(*folds, strict=True))
        present = [np.bincount(truth[kept], minlength=len(names)) > 0 for kept, _ in folds]
        self.absent = torch.where(torch.from_numpy(np.stack(present)), 0.0, -1e9)[:, :, None]
        self.penalised = torch.ones(self.x.shape[1])
        self.penalised[-1] = 0.0
        self.weights = torch.zeros(self.n_folds, self.n_classes, self.x.shape[1])
        start = generator(0, "directions").normal(size=(self.x.shape[1], min(DIRECTIONS, *self.x.shape)))
        self.main = torch.from_numpy(start.astype(np.float32))
        for _ in range(ROUNDS):
            self.main = torch.linalg.qr(self.x.T @ (self.x @ self.main))[0]
        self.along = (self.x @ self.main).square().sum(0)
        others = self.x.shape[1] - self.main.shape[1]
        self.across = max(0.0, float(self.x.square().sum() - self.along.sum())) / max(1, others)

    def held_out_loss(self, strength: float) -> float:
        """Go on to the optimum of a strength (scikit-learn's C), and return the cross-entropy of all asked rows, in nats."""
        at = self._at(self.weights, strength)
        curvature = strength * (at.doubt * self.fitted.mean(1))[:, None, None]
        rest = 1 / (1 + curvature * self.across)
        main = 1 / (1 + curvature * self.along) - rest
        memory: list[tuple[Tensor, Tensor, Tensor]] = []
        scale: Tensor | float = 1.0
        n_fitted = strength * self.fitted.sum(1)

        def towards(gradient: Tensor) -> Tensor:
            return rest * gradient + ((gradient @ self.main) * main) @ self.main.T

        for _ in range(MOST_STEPS):
            step, parts = at.gradient.clone(), []
            for moved, bent, inverse in reversed(memory):
                parts.append(inverse * _dot(moved, step))
                step -= parts[-1] * bent
            step = towards(step) * scale
            for (moved, bent, inverse), part in zip(memory, reversed(parts), strict=True):
                step += moved * (part - inverse * _dot(bent, step))
            promise = _dot(at.gradient, step)[:, 0, 0]
            if float((promise / n_fitted).max()) / 2 < NEAR:
                break
            new = self._down(at, step, promise, strength)
            moved, bent = new.weights - at.weights, new.gradient - at.gradient
            product = _dot(moved, bent).clamp_min(1e-30)
            memory = [*memory, (moved, bent, 1 / product)][-MEMORY:]
            scale, at = product / _dot(bent, towards(bent)).clamp_min(1e-30), new
        self.weights = at.weights
        return float((at.errors * self.asked).double().sum())

    def _down(self, at: _Point, step: Tensor, promise: Tensor, strength: float) -> _Point:
        """Return where a step leads, shorter in those folds where it would not keep a part of its promise."""
        length = torch.ones(self.n_folds)
        for _ in range(HALVINGS):
            new = self._at(at.weights - length[:, None, None] * step, strength)
            broken = new.cost > at.cost - ENOUGH * length * promise + ROUNDING * at.cost.abs()
            if not broken.any():
                break
            length = torch.where(broken, length / 4, length)
        return new

    def _at(self, weights: Tensor, strength: float) -> _Point:
        flat = weights.view(self.n_folds * self.n_classes, -1)
        log_p = ((flat @ self.x.T).view(self.n_folds, self.n_classes, -1) + self.absent).log_softmax(1)
        errors = -log_p[:, self.truth, self.rows]
        p = log_p.exp_()
        doubt = ((1 - p.square().sum(1)) * self.fitted).sum(1) / self.fitted.sum(1) / self.n_classes
        p[:, self.truth, self.rows] -= 1
        p *= strength * self.fitted[:, None]
        shrunk = weights * self.penalised
        gradient = (p.view(self.n_folds * self.n_classes, -1) @ self.x).view(weights.shape) + shrunk
        cost = strength * (errors * self.fitted).double().sum(1) + shrunk.double().square().sum((1, 2)) / 2
        return _Point(weights, cost, gradient, errors, doubt)


def _dot(one: Tensor, other: Tensor) -> Float[Tensor, "folds 1 1"]:
    return (one * other).sum((1, 2), keepdim=True)
