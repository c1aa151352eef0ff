"""Expectation maximisation of the model of noise, of several sets of examples at once, in single precision."""

from dataclasses import dataclass, replace

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
CACHED = 250_000  # numbers worked on at once, so that they stay near the processor

Stack = Float32[np.ndarray, "fits examples classes"]


@dataclass(frozen=True, eq=False)
class Start:
    """Parameters of several fits: sharpness (fits,), bias (fits, K), transition (fits, K, K), as in `posterior.Noise`."""

    sharpness: Float64[np.ndarray, " fits"]
    bias: Float64[np.ndarray, "fits classes"]
    transition: Float64[np.ndarray, "fits classes classes"]
    learned: float
    strength: float

    def part(self, which: slice) -> "Start":
        """Return some of the fits."""
        return replace(self, sharpness=self.sharpness[which], bias=self.bias[which], transition=self.transition[which])


def em(p: Stack, labels: Int64[np.ndarray, "fits examples"], start: Start) -> Start:
    """Improve each fit on its examples by expectation maximisation."""
    at_once = max(1, CACHED // p[0].size)
    parts = [_em(p[i : i + at_once], labels[i : i + at_once], start.part(slice(i, i + at_once))) for i in range(0, len(p), at_once)]
    sharpness, bias = np.concatenate([one.sharpness for one in parts]), np.concatenate([one.bias for one in parts])
    return replace(start, sharpness=sharpness, bias=bias, transition=np.concatenate([one.transition for one in parts]))


def held_out(p: Stack, labels: Int64[np.ndarray, "fits examples"], fits: Start) -> Float64[np.ndarray, "fits examples"]:
    """Return the log-probability of each given label by each fit, in nats."""
    clean = _clean(_evidence(np.maximum(p, TINY), fits), fits)
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


def _em(p: Stack, labels: Int64[np.ndarray, "fits examples"], fits: Start) -> Start:
    _, n, n_classes = p.shape
    p = np.maximum(p, TINY)
    named = np.zeros(p.shape, np.float32)
    np.put_along_axis(named, labels[:, :, None], 1, axis=2)
    occurs = named.any(axis=1)
    target = (occurs / occurs.sum(axis=1, keepdims=True))[:, None, :]
    told = 1 - 1 / np.maximum(2, occurs.sum(axis=1))
    for _ in range(ITERATIONS):
        evidence = _evidence(p, fits)
        clean = _clean(evidence, fits)
        true = clean * _given(fits, labels)
        true /= np.maximum(true.sum(axis=2, keepdims=True), TINY)
        sharpness, bias = _newton(evidence, clean, true, fits)
        counts = (true.swapaxes(1, 2) @ named).astype(np.float64)
        share = np.clip((1 - np.trace(counts, axis1=1, axis2=2) / n) / told, 1e-6, MOST_NOISE)[:, None, None]
        transition = (1 - share) * np.eye(n_classes) + share * target
        if np.isfinite(fits.strength):
            transition = counts + fits.strength * transition
            transition /= transition.sum(axis=2, keepdims=True)
        fits = replace(fits, sharpness=sharpness, bias=bias, transition=transition)
    return fits


def _evidence(p: Stack, fits: Start) -> Stack:
    """Take out of the probabilities the noise that the networks have learned; give logarithms."""
    mixed = (1 - fits.learned) * np.eye(p.shape[2]) + fits.learned * fits.transition
    return leaky_logs(np.maximum(p @ np.linalg.inv(mixed).astype(np.float32), np.float32(MIXED_FLOOR) * p))


def _clean(evidence: Stack, fits: Start) -> Stack:
    values = evidence * fits.sharpness.astype(np.float32)[:, None, None]
    values += fits.bias.astype(np.float32)[:, None, :]
    values -= values.max(axis=2, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=2, keepdims=True)
    return values


def _given(fits: Start, labels: Int64[np.ndarray, "fits examples"]) -> Stack:
    transposed = np.ascontiguousarray(fits.transition.swapaxes(1, 2), np.float32)
    return np.asarray(transposed[np.arange(len(labels))[:, None], labels])


def _newton(evidence: Stack, clean: Stack, true: Stack, fits: Start) -> tuple[np.ndarray, np.ndarray]:
    """Move sharpness (its logarithm) and bias by a Newton step of the cross-entropy to what is held for the true classes."""
    n_fits, n, n_classes = evidence.shape
    s, ones = fits.sharpness, np.ones((n_fits, 1, n), np.float32)
    weighed = clean * evidence
    mean = weighed.sum(axis=2, keepdims=True)
    # Sums over examples as products of matrices, which are fast and exact enough.
    total, weighed_total = (ones @ clean)[:, 0].astype(np.float64), (ones @ weighed)[:, 0].astype(np.float64)
    gap = (ones @ (true - clean))[:, 0].astype(np.float64)
    slope = (ones @ ((true - clean) * evidence).sum(axis=2, keepdims=True))[:, 0, 0].astype(np.float64)
    squares = (ones @ ((weighed * evidence).sum(axis=2, keepdims=True) - mean**2))[:, 0, 0].astype(np.float64)
    gradient = np.concatenate([(slope * s - np.log(s) / RIDGE**2)[:, None], gap - fits.bias / RIDGE**2], axis=1)
    hessian = np.empty((n_fits, n_classes + 1, n_classes + 1))
    hessian[:, 0, 0] = s**2 * squares
    hessian[:, 0, 1:] = s[:, None] * (weighed_total - (mean.swapaxes(1, 2) @ clean)[:, 0])
    hessian[:, 1:, 0] = hessian[:, 0, 1:]
    hessian[:, 1:, 1:] = total[:, :, None] * np.eye(n_classes) - (clean.swapaxes(1, 2) @ clean)
    step = np.linalg.solve(hessian + np.eye(n_classes + 1) / RIDGE**2, gradient[:, :, None])[:, :, 0]
    step /= np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True))
    return np.clip(s * np.exp(step[:, 0]), 0.02, 20.0), fits.bias + step[:, 1:]
