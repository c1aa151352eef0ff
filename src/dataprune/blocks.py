"""Arrays of what is given as such; and rows in blocks: what is worked on at once stays within bounds."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dataprune.errors import invalid


def as_array(x: Any, name: str) -> np.ndarray:
    """Return an array of an array, a tensor or lists; a memory map stays one. What a mask hides is no value, and refused."""
    if isinstance(x, np.memmap):
        return x
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if x.is_floating_point() and x.element_size() < 4 else x  # bfloat16 is unknown to NumPy
    if np.ma.is_masked(x):
        raise invalid(name, "have all its values", f"{x.mask.sum()} masked ones", "Leave these rows out, or fill them.")
    try:
        return np.asarray(x)
    except (ValueError, TypeError) as error:
        raise invalid(name, "be an array, or lists of one length", " ".join(str(error).split())[:100]) from None


def slices(n_rows: int, row_values: int, most_values: int) -> Iterator[slice]:
    """Cut rows, of so many values each, into neighbouring slices of at most so many values, or of one row.

    Example:
        >>> list(slices(5, 10, 20))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, most_values // max(1, row_values))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))
