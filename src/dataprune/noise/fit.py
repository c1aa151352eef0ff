"""Expectation maximisation of the model of noise, of several sets of examples at once, in single precision."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dataprune.noise.evidence import Labels, Probabilities

ITERATIONS = 25
LOWEST = 1e-4  # half precision, in which probabilities are stored, knows little below
LEAK = 0.2  # so a logarithm below it counts by this only, but it counts: examples stay apart
MIXED_FLOOR = 0.02  # of a probability at least this is left when noise is taken out of it
TINY = np.float32(1e-37)
SURE_PRIOR = 5.0  # examples' worth of the start, beside those that are sure
SUREST = 3  # one in so many
MOST_NOISE = 0.9  # of what no label would tell
RIDGE = 1.0  # standard deviation of the logarithm of the sharpness, and of the bias, before anything is seen
FREE_RIDGE = 0.3  # the same of each entry of the scale by class
MOST_MOVED = 0.5  # in logits, by a step of the scale by class
CACHED = 250_000  # numbers worked on at once, so that they stay near the processor

Stack = Float32[np.ndarray, "fits examples classes"]


@dataclass(frozen=True, eq=False)
class Noise:
    """A fitted model of how given labels come about, or several of one kind; `transition[..., i, j]` is P(given = j | true = i), of
    all labels together."""

    scale: Float64[np.ndarray, "*fits classes classes"]  # what log-probabilities are multiplied by
    bias: Float64[np.ndarray, "*fits classes"]  # what is then added
    transition: Float64[np.ndarray, "*fits classes classes"]
    learned: float  # the share of the noise that was taken out of the probabilities first
    strength: float  # how strongly the matrix was drawn to noise into all classes alike
    by_class: bool = False  # whether each entry of the scale is free, or it is one number on the diagonal
    by_looks: float = 0.0  # the share of labels that was given by how the example looks

    def __getitem__(self, which: int | slice) -> "Noise":
        """Return one of several, or some."""
        return replace(self, scale=self.scale[which], bias=self.bias[which], transition=self.transition[which])

    @cached_property
    def unmixing(self) -> Float64[np.ndarray, "*fits classes classes"]:
        """What takes the noise that was learned out of probabilities."""
        return np.linalg.inv((1 - self.learned) * np.eye(self.bias.shape[-1]) + self.learned * self.transition)


def em(p: Stack, labels: Int64[np.ndarray, "fits examples"], start: Noise) -> Noise:
    """Improve each fit on its examples by expectation maximisation."""
    at_once = max(1, CACHED // p[0].size)
    parts = [_em(p[i : i + at_once], labels[i : i + at_once], start[i : i + at_once]) for i in range(0, len(p), at_once)]
    scale, bias = np.concatenate([one.scale for one in parts]), np.concatenate([one.bias for one in parts])
    return replace(start, scale=scale, bias=bias, transition=np.concatenate([one.transition for one in parts]))


def held_out(p: Stack, labels: Int64[np.ndarray, "fits examples"], fits: Noise) -> Float64[np.ndarray, "fits examples"]:
    """Return the log-probability of each given label by each fit, in nats."""
    clean = _clean(_values(_evidence(np.maximum(p, TINY), fits), fits), fits)
    return np.asarray(np.log(np.maximum((clean * _given(fits, labels)).sum(axis=2, dtype=np.float64), 1e-30)))


def leaky_logs(p: np.ndarray) -> np.ndarray:
    """Return logarithms that fall more slowly below that of what half precision can tell."""
    logs = np.log(p)
    return np.asarray(np.maximum(logs, LEAK * logs + (1 - LEAK) * logs.dtype.type(np.log(LOWEST))))


def alike(share: float, labels: Labels, n_classes: int) -> Float64[np.ndarray, "classes classes"]:
    """Return the transition matrix of noise into all classes that occur alike, with a share of what no label would tell."""
    occurs = np.bincount(labels, minlength=n_classes) > 0
    return np.asarray((1 - share) * np.eye(n_classes) + share * occurs / occurs.sum())


def surest(p: Probabilities, labels: Labels, transition: Float64[np.ndarray, "classes classes"]) -> np.ndarray:
    """Begin a matrix with an entry for each pair where noise shows best: at the surest third of the examples of each prediction."""
    predicted, n_classes = p.argmax(axis=1), p.shape[1]
    two = np.partition(leaky_logs(np.maximum(p, TINY)), -2, axis=1)[:, -2:]
    order = np.lexsort((two[:, 0] - two[:, 1], predicted))
    counts = np.bincount(predicted, minlength=n_classes)
    place = np.arange(len(p)) - np.repeat(counts.cumsum() - counts, counts)
    sure = order[place < -(-counts // SUREST).repeat(counts)]
    seen = np.bincount(predicted[sure] * n_classes + labels[sure], minlength=n_classes**2).reshape(n_classes, n_classes)
    drawn = seen + SURE_PRIOR * transition
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _em(p: Stack, labels: Int64[np.ndarray, "fits examples"], fits: Noise) -> Noise:
    _, n, n_classes = p.shape
    p = np.maximum(p, TINY)
    named = np.zeros(p.shape, np.float32)
    np.put_along_axis(named, labels[:, :, None], 1, axis=2)
    occurs = named.any(axis=1)
    target = (occurs / occurs.sum(axis=1, keepdims=True))[:, None, :]
    told = 1 - 1 / np.maximum(2, occurs.sum(axis=1))
    for step in range(ITERATIONS):
        evidence = _evidence(p, fits)
        values = _values(evidence, fits)
        clean = _clean(values, fits)
        true = clean * _given(fits, labels)
        true /= np.maximum(true.sum(axis=2, keepdims=True), TINY)
        scale, bias = _turned(evidence, clean, true, fits) if fits.by_class and step % 2 else _scaled(values, clean, true, fits)
        counts = (true.swapaxes(1, 2) @ named).astype(np.float64)
        share = np.clip((1 - np.trace(counts, axis1=1, axis2=2) / n) / told, 1e-6, MOST_NOISE)[:, None, None]
        transition = (1 - share) * np.eye(n_classes) + share * target
        if np.isfinite(fits.strength):
            transition = counts + fits.strength * transition
            transition /= transition.sum(axis=2, keepdims=True)
        fits = replace(fits, scale=scale, bias=bias, transition=transition)
    return fits


def _evidence(p: Stack, fits: Noise) -> Stack:
    """Take out of the probabilities the noise that the networks have learned; give logarithms."""
    return leaky_logs(np.maximum(p @ fits.unmixing.astype(np.float32), np.float32(MIXED_FLOOR) * p))


def _values(evidence: Stack, fits: Noise) -> Stack:
    return np.asarray(evidence @ fits.scale.swapaxes(1, 2).astype(np.float32))


def _clean(values: Stack, fits: Noise) -> Stack:
    moved = values + fits.bias.astype(np.float32)[:, None, :]
    moved -= moved.max(axis=2, keepdims=True)
    np.exp(moved, out=moved)
    moved /= moved.sum(axis=2, keepdims=True)
    return moved


def _given(fits: Noise, labels: Int64[np.ndarray, "fits examples"]) -> Stack:
    transposed = np.ascontiguousarray(fits.transition.swapaxes(1, 2), np.float32)
    return np.asarray(transposed[np.arange(len(labels))[:, None], labels])


def _scaled(values: Stack, clean: Stack, true: Stack, fits: Noise) -> tuple[np.ndarray, np.ndarray]:
    """Move the size of the scale (its logarithm) and the bias by a Newton step of the cross-entropy to what is held for the true
    classes."""
    n_fits, n, n_classes = values.shape
    size, ones = np.trace(fits.scale, axis1=1, axis2=2) / n_classes, np.ones((n_fits, 1, n), np.float32)
    weighed = clean * values
    mean = weighed.sum(axis=2, keepdims=True)
    # Sums over examples as products of matrices, which are fast and exact enough.
    total, weighed_total = (ones @ clean)[:, 0].astype(np.float64), (ones @ weighed)[:, 0].astype(np.float64)
    gap = (ones @ (true - clean))[:, 0].astype(np.float64)
    slope = (ones @ ((true - clean) * values).sum(axis=2, keepdims=True))[:, 0, 0].astype(np.float64)
    squares = (ones @ ((weighed * values).sum(axis=2, keepdims=True) - mean**2))[:, 0, 0].astype(np.float64)
    gradient = np.concatenate([(slope - np.log(size) / RIDGE**2)[:, None], gap - fits.bias / RIDGE**2], axis=1)
    hessian = np.empty((n_fits, n_classes + 1, n_classes + 1))
    hessian[:, 0, 0] = squares
    hessian[:, 0, 1:] = weighed_total - (mean.swapaxes(1, 2) @ clean)[:, 0]
    hessian[:, 1:, 0] = hessian[:, 0, 1:]
    hessian[:, 1:, 1:] = total[:, :, None] * np.eye(n_classes) - (clean.swapaxes(1, 2) @ clean)
    step = np.linalg.solve(hessian + np.eye(n_classes + 1) / RIDGE**2, gradient[:, :, None])[:, :, 0]
    step /= np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True))
    grown = np.clip(size * np.exp(step[:, 0]), 0.02, 20.0) / size
    return fits.scale * grown[:, None, None], fits.bias + step[:, 1:]


def _turned(evidence: Stack, clean: Stack, true: Stack, fits: Noise) -> tuple[np.ndarray, np.ndarray]:
    """Move each entry of the scale, and the bias, by a step of the same with the Hessian taken for a product of two parts.

    One part is of the classes, the other of the evidence, of examples weighed by how unsure they are.

    Source: Martens and Grosse 2015, arXiv:1503.05671.
    """
    n_classes = evidence.shape[2]
    missing, weights = true - clean, 1 - (clean * clean).sum(axis=2, keepdims=True)
    total = np.maximum(weights.sum(axis=1, dtype=np.float64), 1e-9)
    weighed = weights * evidence
    middle = weighed.sum(axis=1, dtype=np.float64) / total
    spread = (weighed.swapaxes(1, 2) @ evidence).astype(np.float64) / total[:, :, None] - middle[:, :, None] * middle[:, None]
    gap = missing.sum(axis=1, dtype=np.float64)
    size = np.trace(fits.scale, axis1=1, axis2=2)[:, None, None] / n_classes
    free = (fits.scale - size * np.eye(n_classes)) / FREE_RIDGE**2
    gradient = (missing.swapaxes(1, 2) @ evidence).astype(np.float64) - gap[:, :, None] * middle[:, None] - free
    of_classes = clean.sum(axis=1, dtype=np.float64)[:, :, None] * np.eye(n_classes) - clean.swapaxes(1, 2) @ clean
    (large, left), (wide, right) = np.linalg.eigh(of_classes), np.linalg.eigh(spread)
    curved = np.maximum(large, 0)[:, :, None] * np.maximum(wide, 0)[:, None] + 1 / FREE_RIDGE**2
    step = left @ ((left.swapaxes(1, 2) @ gradient @ right) / curved) @ right.swapaxes(1, 2)
    moves = np.sqrt(((step @ spread) * step).sum(axis=(1, 2)) / n_classes)
    step /= np.maximum(1.0, moves / MOST_MOVED)[:, None, None]
    tilt = np.linalg.solve(of_classes + np.eye(n_classes) / RIDGE**2, (gap - fits.bias / RIDGE**2)[:, :, None])[:, :, 0]
    return fits.scale + step, fits.bias + tilt - (step @ middle[:, :, None])[:, :, 0]
