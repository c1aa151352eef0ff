"""The packed cache: pictures are decoded once, in parallel, into a memory-mapped array that is checked when it is opened.

A pack is a folder of `pixels.npy` and `manifest.json` (last), keyed by the files' paths, sizes and times, the side and the decoder.
"""

import contextlib
import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store, tables
from dataprune.data.dataset import Dataset
from dataprune.data.decode import BadPicture, decode, picture_size, versions
from dataprune.data.source import CHUNK, Chunk, Pictures
from dataprune.errors import DatapruneError, InputError, StoreError, WorkError
from dataprune.workers import Executor, ExecutorConfig, Job, Report, default_workers, run_jobs

PIXELS = "pixels.npy"
MANIFEST = "manifest.json"
BLOCK_BYTES = 16 * 2**20
CHECK_BYTES = 2 * 2**30  # up to here every block is hashed at opening (about a second per GB and thread); larger packs by `verify`
OWN_SIZE_UP_TO = 128
PROCESSES_FROM_COUNT = 5_000
PROCESSES_FROM_BYTES = 200 * 10**6
"""Below both, decoding in this process ends before two others would have started."""
BUFFER_BYTES = 2**20  # decoded pictures that a job holds before it writes them
_HEAD_BYTES = 65536  # where the header of nearly every JPEG ends

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Manifest:
    count: int
    size: int
    digest: str
    bytes: int
    blocks: tuple[str, ...]
    skipped: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Pack:
    """An opened pack: pictures that could be decoded, and the rows (of the source) of those that could not, with reasons."""

    folder: Path
    images: np.ndarray | None
    digest: str
    skipped: tuple[tuple[int, str], ...]


def cache_root() -> tuple[Path, str | None]:
    """Return the cache's folder (`$DATAPRUNE_CACHE`, else the user's cache folder), and a note if neither can be used."""
    chosen = os.environ.get("DATAPRUNE_CACHE")
    if chosen:
        return Path(chosen).absolute(), None
    import platformdirs

    try:
        home = platformdirs.user_cache_path("dataprune")
    except (RuntimeError, KeyError):
        home = Path("~")
    if home.is_absolute() and (home.is_dir() or os.access(next(p for p in home.parents if p.exists()), os.W_OK)):
        return home, None
    # A name of its own for each user: another user's folder of that name could hold anything.
    fallback = Path(tempfile.gettempdir()) / f"dataprune-cache-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (fallback.is_symlink() or fallback.stat().st_uid != os.getuid()):
        raise InputError(f"{fallback} belongs to another user. Set DATAPRUNE_CACHE to a folder of your own.")
    return fallback, f"{home} cannot be used: decoded pictures are kept in {fallback}; set DATAPRUNE_CACHE to keep them elsewhere"


def open_pack(pictures: Pictures, image_size: int | None, workers: int | None = None, progress: Progress | None = None) -> Pack:
    """Open the pack of these pictures; decode them first if there is none, or a damaged one.

    Args:     image_size: side in pixels, or None to choose it by the pictures. workers: processes to decode with, by default
              one a core. progress: called with (done, all) while decoding.
    Raises:   MachineError if the cache cannot be written, or the disk is full. StoreError if a pack is damaged right after it was
              made. WorkError if a worker is lost again and again.
    """
    folder = _folder(pictures, image_size)
    if found := _opened_or_none(folder):
        return found
    with store.lock(folder, wait=True):
        if found := _opened_or_none(folder):  # another process may have made it while this one waited
            return found
        store.sweep(folder)
        _build(pictures, image_size, folder, workers, progress)
    return _opened(folder)


def choose_size(pictures: Pictures, workers: int | None) -> int:
    """Choose a side by the headers: the pictures' own if all are squares of one size up to 128, else the median short side.

    The median is cut to 128, then down to a multiple of 8, at least 8. A pack that is there says it at once.
    """
    with contextlib.suppress(InputError, StoreError):
        return store.read_manifest(_folder(pictures, None), MANIFEST, _Manifest).size
    measured = (np.array(found, np.int32).reshape(-1, 2) for found in _results(_measure_chunk, pictures, workers, None))
    sizes = np.concatenate([np.zeros((0, 2), np.int32), *measured])
    if len(sizes) == 0:
        return 8  # no picture can be opened; decoding will list the reasons
    first = int(sizes[0, 0])
    if first <= OWN_SIZE_UP_TO and (sizes == first).all():
        return first
    return max(8, min(OWN_SIZE_UP_TO, int(np.median(sizes.min(axis=1)))) // 8 * 8)


def verify(dataset: Dataset) -> None:
    """Hash the blocks of a data set's pack, if it has one; raise StoreError for damaged ones, which reading again rebuilds."""
    if dataset.pack is not None:
        _check_blocks(dataset.pack, store.read_manifest(dataset.pack, MANIFEST, _Manifest))


def _folder(pictures: Pictures, image_size: int | None) -> Path:
    digest = hashlib.sha256(f"{versions()}\0{image_size}\0".encode())
    for item in pictures.identity:
        digest.update(hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest())
    return cache_root()[0] / "packs" / digest.hexdigest()


def _opened_or_none(folder: Path) -> Pack | None:
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return _opened(folder)
    except StoreError as error:
        _log.warning("%s The pictures are decoded anew.", error)
        return None


def _opened(folder: Path) -> Pack:
    manifest = store.read_manifest(folder, MANIFEST, _Manifest)
    if not manifest.count:
        return Pack(folder, None, manifest.digest, manifest.skipped)
    path = folder / PIXELS
    if not path.is_file() or path.stat().st_size <= CHECK_BYTES:
        _check_blocks(folder, manifest)
    try:
        images = tables.read_npy(path, mmap=True)
    except InputError as error:
        raise _damaged(folder, str(error)) from None
    if images.dtype != np.uint8 or images.shape != (manifest.count, manifest.size, manifest.size, 3):
        raise _damaged(folder, f"{PIXELS} has shape {images.shape}.")
    return Pack(folder, images, manifest.digest, manifest.skipped)


def _damaged(folder: Path, what: str) -> StoreError:
    return StoreError(f"the pack {folder} is damaged: {what}")


def _check_blocks(folder: Path, manifest: _Manifest) -> None:
    path, n_blocks = folder / PIXELS, len(manifest.blocks)
    if not path.is_file():
        raise _damaged(folder, f"{PIXELS} is missing.")
    if (size := path.stat().st_size) != manifest.bytes:
        raise _damaged(folder, f"{PIXELS} has {size} bytes, it was written with {manifest.bytes}.")
    wrong = [str(i) for i, (a, b) in enumerate(zip(_block_digests(path), manifest.blocks, strict=True)) if a != b]
    if wrong:
        raise _damaged(folder, f"checksum of block {', '.join(wrong[:5])} of {n_blocks} is wrong.")


def _block_digests(path: Path) -> list[str]:
    """Hash a file in blocks of 16 MB, on as many threads as there are cores (hashing runs without Python's lock)."""

    def digest(offset: int) -> str:
        with path.open("rb") as file:
            file.seek(offset)
            return hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest()

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        return list(threads.map(digest, range(0, max(path.stat().st_size, 1), BLOCK_BYTES)))


def _build(pictures: Pictures, image_size: int | None, folder: Path, workers: int | None, progress: Progress | None) -> None:
    """Decode all pictures into `folder`. Pictures that cannot be decoded are left out and listed in the manifest."""
    size = image_size or choose_size(pictures, workers)
    total = pictures.count
    with store.writing(folder / PIXELS, total * size * size * 3) as path:
        decode_chunk = partial(_decode_chunk, path, _reserve(path, total, size), size)
        skipped = sorted(item for found in _results(decode_chunk, pictures, workers, progress) for item in found)
        if skipped:
            _drop_rows(path, [row for row, _ in skipped])
        digest = store.array_digest(tables.read_npy(path, mmap=True))
        count, n_bytes = total - len(skipped), path.stat().st_size
        manifest = _Manifest(count, size, digest, n_bytes, tuple(_block_digests(path)), tuple(skipped))
    store.write_manifest(folder, MANIFEST, {**asdict(manifest), "decoder": versions()}, [])


def _reserve(path: Path, count: int, size: int) -> int:
    """Make the array and claim all of its bytes now, so that a full disk is met before decoding; return where the pixels begin."""
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, pixels.offset + pixels.nbytes)
    return pixels.offset


def _decode_chunk(path: Path, offset: int, size: int, chunk: Chunk, report: Report) -> list[tuple[int, str]]:
    """Decode one chunk and write its rows at their place; return the rows that could not be decoded, with reasons."""
    skipped: list[tuple[int, str]] = []
    empty, done = np.zeros((size, size, 3), np.uint8), 0
    with path.open("r+b", buffering=BUFFER_BYTES) as file:  # not through a map, where a full disk kills the process
        file.seek(offset + chunk.start * empty.nbytes)
        for done, read in enumerate(chunk.open(), 1):
            try:
                file.write(decode(read(-1), size).data)
            except BadPicture as bad:
                file.write(empty.data)
                skipped.append((chunk.start + done - 1, str(bad)))
            if done % CHUNK == 0 or done == chunk.count:
                report((done - 1) % CHUNK + 1)
    if done != chunk.count:
        raise InputError(f"the source changed while it was read: {done} pictures where {chunk.count} were listed.")
    return skipped


def _measure_chunk(chunk: Chunk, report: Report) -> list[tuple[int, int]]:
    """Return height and width of each picture of a chunk whose header can be read, most from its first bytes."""
    sizes = []
    for read in chunk.open():
        for limit in (_HEAD_BYTES, -1):
            with contextlib.suppress(BadPicture):
                sizes.append(picture_size(read(limit)))
                break
    return sizes


def _results(function: Callable[..., Any], pictures: Pictures, workers: int | None, progress: Progress | None) -> Iterator[Any]:
    """Call a function for each chunk, here or, where it pays, in processes, and yield its values; the first failure is raised."""
    done, total = 0, pictures.count

    def count(_: str, more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    workers = workers or default_workers()
    large = total > PROCESSES_FROM_COUNT or pictures.n_bytes > PROCESSES_FROM_BYTES
    executor: Executor = "processes" if large and workers > 1 and pictures.portable else "serial"
    jobs = (Job(str(chunk.start), function, chunk) for chunk in pictures.chunks)
    for outcome in run_jobs(jobs, ExecutorConfig(executor, workers), count):
        if isinstance(outcome.exception, DatapruneError | OSError):
            raise outcome.exception
        if outcome.error is not None:
            raise WorkError(f"decoding the pictures from row {outcome.key} on failed: {outcome.error}") from outcome.exception
        yield outcome.value


def _drop_rows(path: Path, skipped: list[int]) -> None:
    """Close the gaps that undecodable pictures left: move the others up, in place, and cut the file."""
    pixels = np.load(path, mmap_mode="r+")
    shape, offset = pixels.shape[1:], pixels.offset
    keep = np.delete(np.arange(len(pixels)), skipped)
    step = max(1, BLOCK_BYTES // math.prod(shape))
    for start in range(0, len(keep), step):
        rows = keep[start : start + step]
        pixels[start : start + len(rows)] = pixels[rows]  # rows only move up, so none is overwritten before it has moved
    pixels.flush()
    del pixels
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (len(keep), *shape)})
        assert file.tell() == offset, "NumPy leaves room for any number of rows"
        file.truncate(offset + len(keep) * math.prod(shape))
