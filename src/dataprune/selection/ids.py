"""Ids that remember their hashes: each is computed once, however many sets are chosen from the same examples."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64, UInt64
from numpy.typing import ArrayLike

from dataprune.errors import invalid, join_some
from dataprune.streams import tie_break


class Ids:
    """The ids of some examples, with what has been hashed of them."""

    def __init__(self, names: ArrayLike) -> None:
        """Take the ids in the order of the examples; numbers become text."""
        given = np.asarray(names)
        self.names = given if given.dtype.kind in "OTU" else given.astype(np.dtypes.StringDType())
        self._ties: dict[int, UInt64[np.ndarray, " examples"]] = {}
        self._sorted: tuple[Int64[np.ndarray, " examples"], np.ndarray] | None = None
        self._asked = False

    def __len__(self) -> int:
        return len(self.names)

    def ties(self, seed: int) -> UInt64[np.ndarray, " examples"]:
        """Return a hash of each id with the seed, by which ties are broken.

        Raises:
            InputError: ids that repeat.
        """
        if seed not in self._ties:
            hashes = tie_break(self.names.tolist(), seed)
            order = np.argsort(hashes, kind="stable")
            doubled = order[1:][hashes[order][1:] == hashes[order][:-1]]
            if len(doubled):
                raise invalid("ids", "all be different", f"repeats of {join_some(repr(str(self.names[row])) for row in doubled)}")
            self._ties[seed] = hashes
        return self._ties[seed]

    def sha256(self, rows: Int64[np.ndarray, " rows"]) -> str:
        """Return `ids_sha256` of some rows. From the second set on all ids are sorted, once."""
        if not self._asked:
            self._asked = True
            return ids_sha256(self.names[rows].tolist())
        if self._sorted is None:
            parts = [_encoded(name) for name in self.names.tolist()]
            order = np.array(sorted(range(len(parts)), key=parts.__getitem__), np.int64)
            self._sorted = order, np.array([_with_length(parts[row]) for row in order.tolist()], object)
        order, texts = self._sorted
        inside = np.zeros(len(self), bool)
        inside[rows] = True
        return hashlib.sha256(b"".join(texts[inside[order]].tolist())).hexdigest()


def ids_sha256(ids: Iterable[str]) -> str:
    """Hash a set of ids: sorted, each with its length before it, so that no two sets look alike."""
    return hashlib.sha256(b"".join(map(_with_length, sorted(map(_encoded, ids))))).hexdigest()


def _encoded(name: str) -> bytes:
    return str(name).encode("utf-8", "surrogatepass")


def _with_length(name: bytes) -> bytes:
    return len(name).to_bytes(8, "little") + name
