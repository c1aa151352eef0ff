"""What one picture measures: how light, how rich in contrast, how sharp."""

import numpy as np
from jaxtyping import UInt8

SIDE = 128  # the short side at which pictures are measured, so that sharpness means the same of all; smaller ones stay as they are
MEASURES = ("lightest", "darkest", "contrast", "sharpness", "shape", "side")
VERSION = 1  # of the definitions below
LEAST_SIDE = 16  # below, every edge is as wide as what it bounds
LEAST_EDGE = 4  # of 255; in a picture without edges nothing is sharp or blurred
EDGES = 0.99  # of all differences between neighbours: the strongest


def measure(pixels: UInt8[np.ndarray, "height width channels"], height: float, width: float) -> tuple[float, ...]:
    """Measure a picture that was brought to `SIDE`, and that had `height` and `width` before; in the order of `MEASURES`.

    Returns:
        lightest: the 99th percentile of the largest channel, 0 … 1: a saturated red is not dark.
        darkest: the 5th percentile of the smallest channel, 0 … 1: a saturated yellow is not overexposed.
        contrast: between 1st and 99th percentile, of the channel with most of it, 0 … 1.
        sharpness: the 99th percentile of second differences between neighbours, over that of first ones, along the blurrier axis:
            about 1 in photographs whatever they show, the less the wider the steepest edges are. NaN without edges.
        shape: long side over short side.
        side: root of the area, in pixels.

    Example:
        >>> half = np.repeat(np.array([[0] * 16 + [200] * 16], np.uint8), 32, axis=0)[:, :, None]
        >>> [round(one, 2) for one in measure(half, 32, 64)]
        [0.78, 0.0, 0.78, nan, 2.0, 45.25]
    """
    colours = pixels[..., :3] if pixels.shape[-1] == 4 else pixels
    channels = [colours[..., number] for number in range(colours.shape[-1])]
    lightest, darkest = _quantile(colours.max(axis=-1), 0.99) / 255, _quantile(colours.min(axis=-1), 0.05) / 255
    contrast = max(_quantile(one, 0.99) - _quantile(one, 0.01) for one in channels) / 255
    shape, side = max(height, width) / min(height, width), (height * width) ** 0.5
    return lightest, darkest, contrast, _sharpness(colours.sum(axis=-1, dtype=np.int64), len(channels)), shape, side


def _sharpness(gray: np.ndarray, channels: int) -> float:
    if min(gray.shape) < LEAST_SIDE:
        return float("nan")
    found = []
    for axis in (0, 1):
        first, second = (_quantile(np.abs(np.diff(gray, order, axis=axis)), EDGES) for order in (1, 2))
        found.append(second / first if first >= LEAST_EDGE * channels else float("nan"))
    return min(found)


def _quantile(values: np.ndarray, share: float) -> int:
    """Return the least of some small whole numbers up to which there is this share of them."""
    return int(np.searchsorted(np.bincount(values.ravel()).cumsum(), share * values.size))
