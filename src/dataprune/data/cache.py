"""Where do decoded pictures lie, and are they still right?"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store, tables
from dataprune.data.decode import versions
from dataprune.data.parts import Pictures
from dataprune.errors import InputError, StoreError

PIXELS = "pixels.npy"
MANIFEST = "manifest.json"
BLOCK_BYTES = 16 * 2**20
CHECK_BYTES = 2 * 2**30  # up to here every block is hashed at opening (about a second per GB and thread); larger packs by `verify`

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pack:
    """An opened pack: pictures that could be decoded, and the rows (of the source) of those that could not, with reasons."""

    folder: Path
    images: np.ndarray | None
    digest: str
    size: int
    skipped: tuple[tuple[int, str], ...]


def cache_root() -> tuple[Path, str | None]:
    """Return the cache's folder (`$DATAPRUNE_CACHE`, else the user's cache folder), and a note if neither can be told."""
    told = os.environ.get("DATAPRUNE_CACHE")
    if told:
        return Path(told).absolute(), None
    import platformdirs

    try:
        home = platformdirs.user_cache_path("dataprune")
    except (RuntimeError, KeyError):
        home = Path("~")
    if home.is_absolute() and (home.is_dir() or _can_be_made(home)):
        return home, None
    # A name of its own for each user: another user's folder of that name could hold anything.
    fallback = Path(tempfile.gettempdir()) / f"dataprune-cache-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (fallback.is_symlink() or fallback.stat().st_uid != os.getuid()):
        raise InputError(f"{fallback} belongs to another user. Set DATAPRUNE_CACHE to a folder of your own.")
    return fallback, f"{home} cannot be used: decoded pictures are kept in {fallback}; set DATAPRUNE_CACHE to keep them elsewhere"


def _can_be_made(folder: Path) -> bool:
    there = next(parent for parent in folder.parents if parent.exists())
    return os.access(there, os.W_OK)


def open_pack(
    pictures: Pictures,
    image_size: int | None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pack:
    """Open the pack of these pictures; decode them first if there is none, or a damaged one.

    Args:     image_size: side in pixels, or None to choose it by the pictures. workers: processes to decode with, by default
              one a core. progress: called with (done, all) while decoding.
    Raises:   MachineError if the cache cannot be written. StoreError if a pack is damaged right after it was made.
    """
    from dataprune.data import packing

    folder = cache_root()[0] / "packs" / pack_key(pictures, image_size)
    found = _opened_or_said(folder)
    if found is not None:
        return found
    with store.lock(folder, wait=True):
        found = _opened_or_said(folder)  # another process may have made it while this one waited
        if found is not None:
            return found
        store.sweep(folder)
        packing.build(pictures, image_size, folder, workers, progress)
    return _opened(folder)


def known_size(pictures: Pictures, image_size: int | None) -> int | None:
    """Tell the size that a pack of these pictures has, if there is one already."""
    folder = cache_root()[0] / "packs" / pack_key(pictures, image_size)
    try:
        return int(_manifest(folder)["size"]) if (folder / MANIFEST).is_file() else None
    except StoreError:
        return None


def pack_key(pictures: Pictures, image_size: int | None) -> str:
    """Hash what decides about the pixels: paths, sizes and times of the files, the size asked for, the decoder."""
    digest = hashlib.sha256(f"{versions()}\0{image_size}\0".encode())
    for item in pictures.identity:
        digest.update(hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()


def verify_pack(folder: Path) -> None:
    """Hash every block of a pack.

    Raises:   StoreError that names the pack and the damaged blocks.
    """
    manifest = _manifest(folder)
    _check_blocks(folder, manifest)


def block_digests(path: Path) -> list[str]:
    """Hash a file in blocks of 16 MB, on as many threads as there are cores (hashing runs without Python's lock)."""
    offsets = range(0, max(path.stat().st_size, 1), BLOCK_BYTES)

    def digest(offset: int) -> str:
        with path.open("rb") as file:
            file.seek(offset)
            return hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest()

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        return list(threads.map(digest, offsets))


def _manifest(folder: Path) -> dict[str, Any]:
    return store.read_manifest(folder, MANIFEST)


def _opened_or_said(folder: Path) -> Pack | None:
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return _opened(folder)
    except StoreError as error:
        _log.warning("%s The pictures are decoded anew.", error)
        return None


def _opened(folder: Path) -> Pack:
    manifest = _manifest(folder)
    skipped = tuple((int(row), str(reason)) for row, reason in manifest["skipped"])
    images = None
    if manifest["count"]:
        path = folder / PIXELS
        if not path.is_file():
            raise StoreError(f"the pack {folder} is damaged: {PIXELS} is missing.")
        if path.stat().st_size <= CHECK_BYTES:
            _check_blocks(folder, manifest)
        try:
            images = tables.read_npy(path, mmap=True)
        except InputError as error:
            raise StoreError(f"the pack {folder} is damaged: {error}") from None
        size = manifest["size"]
        if images.dtype != np.uint8 or images.shape != (manifest["count"], size, size, 3):
            raise StoreError(f"the pack {folder} is damaged: {PIXELS} has shape {images.shape}.")
    return Pack(folder, images, manifest["digest"], manifest["size"], skipped)


def _check_blocks(folder: Path, manifest: dict[str, Any]) -> None:
    path, told = folder / PIXELS, manifest["blocks"]
    if not told:
        return
    if not path.is_file():
        raise StoreError(f"the pack {folder} is damaged: {PIXELS} is missing.")
    if path.stat().st_size != manifest["bytes"]:
        raise StoreError(
            f"the pack {folder} is damaged: {PIXELS} has {path.stat().st_size} bytes, it was written with {manifest['bytes']}."
        )
    wrong = [str(index) for index, (a, b) in enumerate(zip(block_digests(path), told, strict=True)) if a != b]
    if wrong:
        raise StoreError(f"the pack {folder} is damaged: checksum of block {', '.join(wrong[:5])} of {len(told)} is wrong.")


def row_blocks(count: int, row_bytes: int) -> Iterator[slice]:
    """Cut rows into slices of about one block."""
    step = max(1, BLOCK_BYTES // max(row_bytes, 1))
    yield from (slice(start, min(start + step, count)) for start in range(0, count, step))
