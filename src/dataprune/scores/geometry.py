"""How far does an example lie from its like?

Scores from feature vectors instead of a trace. Knows distances; does not know where features come from. Features may be a memory
map: they are read in blocks.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.errors import InputError, listed, must
from dataprune.trace.member import checked_labels

# One block of features in float64: 64 MB.
BLOCK_VALUES = 2**23


def median_distance(features: np.ndarray, labels: ArrayLike) -> Float64[np.ndarray, " examples"]:
    """Measure each example's Euclidean distance to the median feature vector of its class.

    The median is taken coordinate by coordinate. The strategy `moderate` keeps the middle of this score. An example that is alone
    in its class is its own median and has distance 0.

    Args:
        features: (N, D) numbers of any type and memory order; computed in float64.
        labels: (N,) class indices.

    Returns:
        0 or more, in the features' unit; larger is farther from its class, harder.

    Raises:
        InputError: another shape, values that are not finite (with rows), labels of another number.
    Source: Xia et al. 2023, "Moderate Coreset", ICLR. Departs: the class's median as in the authors' code, not its mean.
    """
    classes = checked_labels(labels)
    if features.ndim != 2 or features.shape[1] == 0 or not np.issubdtype(features.dtype, np.number):
        raise must("features", "be numbers of shape (examples, dimensions)", f"{features.dtype} of shape {features.shape}")
    if len(features) != len(classes):
        raise must("labels", f"be as many as features: {len(features)}", len(classes))
    _check_finite(features)
    distances = np.empty(len(features))
    order = np.argsort(classes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        median = _median(features, rows)
        for block in _blocks(len(rows), features.shape[1]):
            away = _read(features, rows[block], slice(None)) - median
            distances[rows[block]] = np.sqrt(np.einsum("nd,nd->n", away, away))
    return distances


def _median(features: np.ndarray, rows: Int64[np.ndarray, " class_examples"]) -> Float64[np.ndarray, " dimensions"]:
    parts = [np.median(_read(features, rows, columns), axis=0) for columns in _blocks(features.shape[1], len(rows))]
    return np.concatenate(parts).astype(np.float64)


def _read(features: np.ndarray, rows: Int64[np.ndarray, " rows"], columns: slice) -> Float64[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(features[:, columns][rows], dtype=np.float64)


def _blocks(length: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_VALUES // max(1, width))
    return (slice(start, start + step) for start in range(0, length, step))


def _check_finite(features: np.ndarray) -> None:
    for block in _blocks(*features.shape):
        bad = np.flatnonzero(~np.isfinite(features[block]).all(axis=1)) + block.start
        if len(bad):
            raise InputError(f"`features` are NaN or infinite at rows {listed(bad)}. Leave these examples out.")
