"""Rows in blocks: what is worked on at once stays within bounds."""

from collections.abc import Iterator


def slices(n_rows: int, row_values: int, most_values: int) -> Iterator[slice]:
    """Cut rows, of so many values each, into neighbouring slices of at most so many values, or of one row.

    Example:
        >>> list(slices(5, 10, 20))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, most_values // max(1, row_values))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))
