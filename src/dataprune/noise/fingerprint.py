"""Compare pictures that may be shifted, brightened or recoloured copies: coarse cells of colour, and agreement of detail."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from dataprune.blocks import slices

COARSE = 8  # cells a side
FINE = 64  # pixels a side, fewer in smaller pictures
SMALLEST = 16  # pixels a side; below, different pictures agree in what little they show
SHIFT = 0.1  # of the side, the farthest that two copies may be displaced
BLUR = 2  # pixels of the fine look around each that make its surroundings
FLAT = 0.5  # gray levels; what varies less shows nothing
BLOCK_VALUES = 2**24

Images = UInt8[np.ndarray, "examples height width channels"]


def coarse(images: Images, *, mirrored: bool = False) -> Float32[np.ndarray, "examples values"]:
    """Return each picture as 8 × 8 cells of colour, without its mean colour and contrast, of unit length; one without contrast
    is orthogonal to all others, but not to its like."""
    parts = []
    for rows in slices(len(images), images[0].size, BLOCK_VALUES):
        cells = _pooled(images[rows], COARSE)
        cells = cells[:, :, ::-1] if mirrored else cells
        cells = (cells - cells.mean(axis=(1, 2), keepdims=True)).reshape(len(cells), -1)
        length = np.sqrt(np.einsum("nd,nd->n", cells, cells))
        is_flat = length < FLAT * np.sqrt(cells.shape[1])
        cells /= np.where(is_flat, 1, length)[:, None]
        cells[is_flat] = 0
        parts.append(np.concatenate([cells, is_flat[:, None]], axis=1))
    return np.concatenate(parts)


def alike(one: Images, other: Images) -> Float32[np.ndarray, " pairs"]:
    """Return how well the detail of two pictures agrees, at the shift where it agrees best.

    The correlation (1 is the same, 0 pictures without detail) of the brightness of each pixel against its surroundings, over all
    shifts by up to a tenth of the side. Blind to brightness, contrast and colour; a copy that is turned, mirrored, cropped by more
    than the shift or zoomed looks different.
    """
    side = min(FINE, *one.shape[1:3])
    shift = max(1, int(SHIFT * side))
    first, second = _detail(one, side), _detail(other, side)
    inner = slice(shift, side - shift)
    n_values = (side - 2 * shift) ** 2
    middle = first[:, inner, inner]
    middle = middle - middle.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("nij,nij->n", middle, middle))
    template = np.zeros_like(first)
    template[:, inner, inner] = middle
    # The template keeps `shift` from the border, so that no shift in question wraps around.
    spectrum = np.conj(np.fft.rfft2(template)) * np.fft.rfft2(second)
    product = np.fft.irfft2(spectrum, s=(side, side))
    sums, squares = _window_sums(second, side - 2 * shift), _window_sums(second**2, side - 2 * shift)
    lengths = np.sqrt(np.maximum(squares - sums**2 / n_values, 0))
    shifts = np.arange(-shift, shift + 1)
    floor = FLAT * np.sqrt(n_values)
    agreement = product[:, shifts[:, None], shifts] / (np.maximum(lengths, floor) * np.maximum(length, floor)[:, None, None])
    return np.asarray(agreement.max(axis=(1, 2)), np.float32)


def rows_at(inputs: Sequence[np.ndarray], rows: Int64[np.ndarray, " rows"]) -> np.ndarray:
    """Gather rows of arrays that are numbered through."""
    starts = np.cumsum([0, *(len(part) for part in inputs)])
    gathered = np.empty((len(rows), *inputs[0].shape[1:]), inputs[0].dtype)
    for number, part in enumerate(inputs):
        here = np.flatnonzero((rows >= starts[number]) & (rows < starts[number + 1]))
        gathered[here] = part[rows[here] - starts[number]]
    return gathered


def _detail(images: Images, side: int) -> Float32[np.ndarray, "pairs side side"]:
    """Return the brightness of each pixel less that of its surroundings."""
    gray = _pooled(images, side).mean(axis=3)
    padded = np.pad(gray, ((0, 0), (BLUR, BLUR), (BLUR, BLUR)), mode="edge")
    surroundings = _window_sums(padded, 2 * BLUR + 1) / (2 * BLUR + 1) ** 2
    return np.asarray(gray - surroundings, np.float32)


def _window_sums(values: np.ndarray, width: int) -> np.ndarray:
    """Sum each square window of a side, by its upper left corner."""
    sums = np.zeros((len(values), values.shape[1] + 1, values.shape[2] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:, 1:])
    np.cumsum(sums[:, 1:, 1:], axis=2, out=sums[:, 1:, 1:])
    below, right = sums[:, width:], slice(width, None)
    return np.asarray(below[:, :, right] - below[:, :, :-width] - sums[:, :-width, right] + sums[:, :-width, :-width])


def _pooled(images: Images, side: int) -> Float32[np.ndarray, "examples side side channels"]:
    """Average pictures over a grid of cells, which differ by one pixel where the sides do not divide."""
    height, width = images.shape[1:3]
    tops, lefts = (np.arange(side) * length // side for length in (height, width))
    lines = np.add.reduceat(images, tops, axis=1, dtype=np.float32)
    cells = np.add.reduceat(lines, lefts, axis=2)
    areas = np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width)
    return np.asarray(cells / areas[:, :, None], np.float32)
