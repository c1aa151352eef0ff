"""What features do the pixels alone give? Their principal components: the control that learned features must beat."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dataprune.errors import invalid

MOST_SIDE = 32  # larger pictures are averaged down to at most so many pixels a side
COMPONENTS = 128  # by default: on CIFAR-10 they hold 95 % of the variance
BLOCK_VALUES = 2**23


@dataclass(frozen=True, eq=False)
class Components:
    """Directions of large variance of pictures, and their middle.

    Attributes:
        middle: the mean picture.
        ways: directions, by falling variance.
        explained: share of the variance that they hold, in [0, 1].
    """

    middle: Float64[np.ndarray, " values"]
    ways: Float64[np.ndarray, "values components"]
    explained: float


def pixel_rows(images: UInt8[np.ndarray, "n h w ch"]) -> Float32[np.ndarray, "n values"]:
    """Return each picture as a row of values in [0, 1]; above 32 pixels a side, squares of pixels are averaged (what they leave over
    at the right and lower edge is cut off)."""
    return np.concatenate([_rows(block) for block in _blocks(images)])


def fit_components(images: UInt8[np.ndarray, "n h w ch"], count: int = COMPONENTS) -> Components:
    """Find the principal components of pictures, exactly, from their covariance, read in blocks.

    Args:
        images: at least 2.
        count: how many components at most; there are no more than values in a row, nor than pictures.

    Raises:
        InputError: `count` is below 1, or there are fewer than 2 pictures.
    """
    if count < 1:
        raise invalid("components", "be at least 1", count)
    if len(images) < 2:
        raise invalid("data", "hold at least 2 pictures", len(images))
    middle = sum(_rows(block).sum(0, dtype=np.float64) for block in _blocks(images)) / len(images)
    covariance = np.zeros((len(middle), len(middle)))
    for block in _blocks(images):
        away = _rows(block) - middle
        covariance += away.T @ away
    variances, ways = np.linalg.eigh(covariance)
    order = np.argsort(-variances, kind="stable")[: min(count, len(images))]
    kept = ways[:, order]
    kept = kept * np.sign(kept[np.abs(kept).argmax(0), np.arange(kept.shape[1])])  # a direction's sign is nobody's choice
    total = max(float(variances.sum()), np.finfo(np.float64).tiny)
    return Components(middle, kept, float(np.clip(variances[order].sum() / total, 0, 1)))


def on_components(images: UInt8[np.ndarray, "n h w ch"], components: Components) -> Float32[np.ndarray, "n components"]:
    """Return the coordinates of pictures along the components."""
    parts = [(_rows(block) - components.middle) @ components.ways for block in _blocks(images)]
    return np.concatenate(parts).astype(np.float32)


def _rows(images: np.ndarray) -> np.ndarray:
    n, height, width, channels = images.shape
    step = max(1, min(-(-max(height, width) // MOST_SIDE), height, width))
    whole = images[:, : height // step * step, : width // step * step]
    squares = whole.reshape(n, height // step, step, width // step, step, channels)
    return np.asarray(squares.mean((2, 4), dtype=np.float32).reshape(n, -1) / 255, np.float32)


def _blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    height = max(1, BLOCK_VALUES // max(1, images[0].size))
    for start in range(0, len(images), height):
        yield images[start : start + height]
