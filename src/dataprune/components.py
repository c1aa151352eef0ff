"""Principal components of pixels or vectors: the control that learned features must beat."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dataprune.blocks import slices
from dataprune.errors import invalid

MOST_SIDE = 32  # larger pictures are averaged down to about so many pixels a side
COMPONENTS = 128  # by default: on CIFAR-10 they hold 95 % of the variance
FIT_VALUES = 2**28  # 2 GB; of more rows evenly spaced ones are fitted
BLOCK_VALUES = 2**23


@dataclass(frozen=True, eq=False)
class Components:
    """Directions of large variance of rows, by falling variance, and their middle; `explained` is the share that they hold."""

    middle: Float64[np.ndarray, " values"]
    ways: Float64[np.ndarray, "components values"]
    explained: float

    def of(self, rows: Float32[np.ndarray, "n values"]) -> Float32[np.ndarray, "n components"]:
        return np.asarray((rows - self.middle) @ self.ways.T, np.float32)


def principal_components(rows: Float32[np.ndarray, "n values"], count: int = COMPONENTS) -> Components:
    """Find at most so many principal components of rows (one or more), not scaled; equal rows give equal bits."""
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    some = rows[:: -(-rows.size // FIT_VALUES)].astype(np.float64)
    if len(some) == 1 or not np.ptp(some, axis=0).any():  # no direction is better than another
        return Components(some[0], np.eye(min(count, *some.shape), some.shape[1]), 0.0)
    with threadpool_limits(1):
        found = PCA(min(count, *some.shape), svd_solver="covariance_eigh").fit(some)
    return Components(found.mean_, found.components_, float(found.explained_variance_ratio_.sum().clip(0, 1)))


def pixel_components(images: UInt8[np.ndarray, "n h w ch"], count: int = COMPONENTS, side: int = MOST_SIDE) -> Components:
    """Find the principal components of at least 2 pictures, as `pixel_rows` gives them."""
    if len(images) < 2:
        raise invalid("data", "hold at least 2 pictures", len(images))
    step = -(-len(images) * _rows(images[:1], side).size // FIT_VALUES)
    return principal_components(pixel_rows(images[::step], side), count)


def on_components(
    images: UInt8[np.ndarray, "n h w ch"], components: Components, side: int = MOST_SIDE
) -> Float32[np.ndarray, "n components"]:
    """Return the coordinates of pictures along components, read in blocks."""
    return np.concatenate([components.of(_rows(images[some], side)) for some in slices(len(images), images[0].size, BLOCK_VALUES)])


def pixel_rows(images: UInt8[np.ndarray, "n h w ch"], side: int = MOST_SIDE) -> Float32[np.ndarray, "n values"]:
    """Return each picture as a row of values in [0, 1]; above `side` pixels a side, whole squares of pixels are averaged."""
    return np.concatenate([_rows(images[some], side) for some in slices(len(images), images[0].size, BLOCK_VALUES)])


def _rows(images: np.ndarray, side: int) -> np.ndarray:
    n, height, width, channels = images.shape
    step = max(1, min(-(-max(height, width) // side), height, width))
    whole = images[:, : height // step * step, : width // step * step]
    squares = whole.reshape(n, height // step, step, width // step, step, channels)
    return np.asarray(squares.mean((2, 4), dtype=np.float32).reshape(n, -1) / 255, np.float32)
