"""Join by id: for each example the row of whatever carries ids. The one place where anything is aligned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataprune.errors import invalid, join_some


@dataclass(frozen=True)
class Joined:
    """For each example its row in a table, and the ids of the table that are no example's, in its order."""

    rows: Int64[np.ndarray, " examples"]
    extra: tuple[str, ...]


def join(ids: Sequence[str], keys: Sequence[str], name: str, source: object) -> Joined:
    """Return for each id the row whose key it is.

    Args:
        keys: of the rows of a table, which is called `name` in the call and lies in `source`, for messages.

    Raises:
        InputError: a key stands twice, or an id has no row.

    Example:
        >>> join(["b", "a"], ["a", "b", "c"], "scores", "scores.csv")
        Joined(rows=array([1, 0]), extra=('c',))
    """
    row_of = {key: row for row, key in enumerate(keys)}
    if len(row_of) != len(keys):
        doubles = [repr(key) for row, key in enumerate(keys) if row_of[key] != row]
        raise invalid(name, "name every id once", f"{join_some(doubles)} more than once in {source}")
    missing = [repr(one) for one in ids if one not in row_of]
    if missing:
        raise invalid(name, "have a row for every example", f"none for the id {join_some(missing)} in {source}")
    rows = np.array([row_of[one] for one in ids], np.int64)
    wanted = set(ids)
    return Joined(rows, tuple(key for key in keys if key not in wanted))
