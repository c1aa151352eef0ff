"""Records: texts, or rows of a table, as people read them; what is equal of two, and their bytes."""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped, UInt8

LETTERS = 2000  # of a record, where a person reads it


@dataclass(frozen=True, eq=False)
class Records:
    """The columns of a table that the examples are made of, each numbers or an object array of text; of texts there is one."""

    kind: Literal["texts", "rows"]
    columns: Mapping[str, Shaped[np.ndarray, " examples"]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, rows: Any) -> "Records":
        return Records(self.kind, {name: column[rows] for name, column in self.columns.items()})

    def shown(self, row: int, letters: int = LETTERS) -> str:
        """Return what a person reads of an example: the text, or its cells by name; of a long one the beginning."""
        cells = {name: column[row] for name, column in self.columns.items()}
        named = (f"{name}: {_written(cell)}" for name, cell in cells.items())
        whole = str(*cells.values()) if self.kind == "texts" else ", ".join(named)
        return whole if len(whole) <= letters else f"{whole[:letters]}..."

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over kind, names of the columns and all cells."""
        whole = hashlib.sha256(self.kind.encode())
        for name, column in self.columns.items():
            cells = map(str, column.tolist()) if column.dtype == object else [column.dtype.str, column.tobytes().hex()]
            for piece in (name, *cells):
                whole.update(hashlib.sha256(piece.encode("utf-8", "surrogatepass")).digest())
        return whole.hexdigest()

    def identities(self) -> UInt8[np.ndarray, "examples 16"]:
        """Return digests that are equal where examples are: whatever their case, Unicode's way of composing, and white space.

        Example:
            >>> same = Records("texts", {"text": np.array(["Caf\u00e9  au lait", "cafe\u0301 au LAIT "], object)}).identities()
            >>> bool((same[0] == same[1]).all())
            True
        """
        lines = zip(*(map(_plain, column.tolist()) for column in self.columns.values()), strict=True)
        hashes = (hashlib.blake2b("\0".join(cells).encode("utf-8", "surrogatepass"), digest_size=16) for cells in lines)
        return np.stack([np.frombuffer(one.digest(), np.uint8) for one in hashes])


def _written(cell: Any) -> str:
    """Write a cell of a row; of a missing one a dash."""
    return "–" if cell == "" or cell != cell else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _plain(cell: object) -> str:
    return " ".join(unicodedata.normalize("NFC", str(cell)).casefold().split())
