"""Small JSON files that carry their own checksum."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataprune.errors import StoreError
from dataprune.store.digests import canonical_json
from dataprune.store.files import read_json, write_json

SEAL = "seal"


def sealed(body: Mapping[str, object], seal: str = SEAL) -> dict[str, object]:
    """Return `body` with its checksum in it, under the key `seal`."""
    assert seal not in body, "the checksum's own key"
    return {**body, seal: _digest(body)}


def write_sealed(path: Path, body: Mapping[str, object], seal: str = SEAL) -> None:
    """Write `body` as JSON with its checksum in it, atomically."""
    write_json(path, sealed(body, seal))


def read_sealed(path: Path, seal: str = SEAL) -> dict[str, Any]:
    """Read what `write_sealed` wrote, without the checksum.

    A file of an earlier version, which has no `seal`, is taken as it is; a checksum under another key must be there.

    Raises:
        StoreError: it is missing, no table of JSON, or its checksum does not fit.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise StoreError(f"`{path}` is damaged: it holds no table.")
    expected = found.pop(seal, None if seal == SEAL else "none")
    if expected is not None and expected != _digest(found):
        raise StoreError(f"`{path}` is damaged or was edited: its checksum does not fit.")
    return dict(found)


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
