"""Digests of files, arrays and values: equal where these are equal."""

import hashlib
import json
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from dataprune.errors import invalid

_BLOCK_BYTES = 1 << 24


def sha256(path: Path) -> str:
    """Hash a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(array: Shaped[np.ndarray, "..."]) -> str:
    """Hash an array's dtype, shape and values (SHA-256, hexadecimal), whatever its byte order and memory layout.

    Read some rows at a time, so that a memory-mapped array never lies in memory as a whole.
    """
    if array.dtype.hasobject:
        raise invalid("array", "hold numbers", array.dtype)
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little.str} {array.shape} ".encode())
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(1, _BLOCK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        digest.update(np.ascontiguousarray(rows[start : start + step], little).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def canonical_json(value: object) -> str:
    """Write `value` as the one JSON text that stands for it: sorted keys, no spaces, ASCII, no NaN. Made to be hashed.

    Example:
        >>> canonical_json({"b": (1, 2.5), "a": None})
        '{"a":null,"b":[1,2.5]}'
    """
    try:
        # Once through JSON, so that keys that are numbers are sorted as the text that they become.
        plain = json.loads(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise invalid("value", "hold finite numbers only", str(error)) from error
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def json_digest(value: object) -> str:
    """Hash `canonical_json` of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
