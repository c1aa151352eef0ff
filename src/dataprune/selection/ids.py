"""Ids that remember their hashes: each is computed once, however many sets are chosen from the same examples."""

import hashlib
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt64
from numpy.typing import ArrayLike

from dataprune.blocks import as_array
from dataprune.errors import invalid, join_some
from dataprune.streams import tie_break


class Ids:
    """The ids of some examples, with what has been hashed of them."""

    def __init__(self, names: ArrayLike) -> None:
        given = as_array(names, "ids")
        if given.dtype == object and (bad := [row for row, one in enumerate(given.tolist()) if one is None]):
            raise invalid("ids", "name every example", f"None in row {join_some(bad)}")
        self.names = given if given.dtype.kind in "OTU" else given.astype(np.dtypes.StringDType())
        self._ties: dict[int, UInt64[np.ndarray, " examples"]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def ties(self, seed: int) -> UInt64[np.ndarray, " examples"]:
        """Return a hash of each id with the seed, by which ties are broken; ids that repeat are refused."""
        if seed not in self._ties:
            hashes = tie_break(self.names.tolist(), seed)
            order = np.argsort(hashes, kind="stable")
            doubled = order[1:][hashes[order][1:] == hashes[order][:-1]]
            if len(doubled):
                raise invalid("ids", "all be different", f"repeats of {join_some(repr(str(self.names[row])) for row in doubled)}")
            self._ties[seed] = hashes
        return self._ties[seed]

    def sha256(self, rows: Int64[np.ndarray, " some"]) -> str:
        """Return the `ids_sha256` of the ids of some rows."""
        places, written = self._sorted
        return hashlib.sha256(b"".join(written[np.sort(places[rows])].tolist())).hexdigest()

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The place of each id among all of them, sorted; and these as they are hashed."""
        names = _encoded(self.names.tolist())
        order = sorted(range(len(names)), key=names.__getitem__)
        written = np.empty(len(names), object)
        written[:] = _with_lengths([names[row] for row in order])
        places = np.empty(len(names), np.int64)
        places[order] = np.arange(len(names))
        return places, written


def ids_sha256(ids: Iterable[str]) -> str:
    """Hash a set of ids: sorted, each with its length before it, so that no two sets look alike."""
    return hashlib.sha256(b"".join(_with_lengths(sorted(_encoded(ids))))).hexdigest()


def _encoded(names: Iterable[str]) -> list[bytes]:
    return [str(name).encode("utf-8", "surrogatepass") for name in names]


def _with_lengths(names: Iterable[bytes]) -> list[bytes]:
    return [len(name).to_bytes(8, "little") + name for name in names]
