"""The packed cache: pictures are decoded once, in parallel, into a memory-mapped array that is checked when it is opened.

A pack is a folder of pixels, digests of the whole pictures, and a manifest, by the identity of the pictures, their form, and the
decoder.
"""

import contextlib
import hashlib
import logging
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataprune import store, tables
from dataprune.blocks import slices
from dataprune.data.dataset import Dataset
from dataprune.data.decode import ALL_BITS, DIGEST_BYTES, BadPicture, Fit, decode, extremes, picture_size, versions
from dataprune.data.pixels import Scale, scale_of
from dataprune.data.source import CHUNK, Chunk, Pictures
from dataprune.errors import InputError, StoreError
from dataprune.workers import Executor, ExecutorConfig, Job, Report, default_workers, run_jobs

PIXELS, DIGESTS = "pixels.npy", "digests.npy"
MANIFEST, VALUES = "manifest.json", "values.npy"
BLOCK_BYTES = 16 * 2**20
CHECK_BYTES = 2 * 2**30  # up to here every block is hashed at opening (about a second per GB and thread); larger packs by `verify`
OWN_SIZE_UP_TO = 128
PROCESSES_FROM_COUNT = 5_000
PROCESSES_FROM_BYTES = 200 * 10**6  # below both, decoding in this process ends before two others would have started
BUFFER_BYTES = 2**20  # decoded pictures that a job holds before it writes them
_HEAD_BYTES = 65536  # where the header of nearly every JPEG ends

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Form:
    """The squares that pictures are brought to; what is None follows from the pictures."""

    size: int | None = None  # side in pixels
    fit: Fit = "crop"
    scale: Scale | None = None  # of gray pictures of 16 bits, where there are any


@dataclass(frozen=True)
class _Manifest:
    count: int
    size: int
    scale: Scale | None
    digest: str
    bytes: int
    blocks: tuple[str, ...]
    skipped: tuple[tuple[int, str], ...]
    remarks: Mapping[str, int]
    files: Mapping[str, store.FileRecord] = field(default_factory=dict)


class _Made(NamedTuple):
    """What came of a chunk beside its pixels: rows that could not be decoded, with reasons; digests; counts of remarks."""

    start: int
    skipped: list[tuple[int, str]]
    digests: bytes
    remarks: Counter[str]


@dataclass(frozen=True)
class Pack:
    """An opened pack: pictures that could be decoded, digests of the whole of them, and the rows of those that could not."""

    folder: Path
    digest: str
    skipped: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]
    images: np.ndarray | None = None
    digests: np.ndarray | None = None


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


def open_pack(pictures: Pictures, form: Form, workers: int | None = None, progress: Progress | None = None) -> Pack:
    """Open the pack of these pictures in this form; decode them first if there is none, or a damaged one.

    Raises:   MachineError if the cache cannot be written, or the disk is full. StoreError if a pack is damaged right after it was
              made. WorkError if a worker is lost again and again.
    """
    folder = _folder(pictures, form)
    if found := _opened_or_none(folder):
        return found
    with store.lock(folder, wait=True):
        if found := _opened_or_none(folder):  # another process may have made it while this one waited
            return found
        store.sweep(folder)
        _build(pictures, form, folder, workers, progress)
    return _opened(folder)


def measured(pictures: Pictures, form: Form, workers: int | None) -> Form:
    """Fill in by the headers what a form leaves open; a pack that is there says it at once. The side is the pictures' own if all
    are squares of one size up to 128, else the median short side (with `pad` the long one), cut to 128, then down to a multiple of
    8, at least 8. The scale holds the values of all 16-bit pictures."""
    with contextlib.suppress(InputError, StoreError):
        found = store.read_manifest(_folder(pictures, form), MANIFEST, _Manifest)
        return replace(form, size=found.size, scale=found.scale)
    rows = (np.array(found, np.int32).reshape(-1, 4) for found in chunk_results(_measure_chunk, pictures, workers, None))
    sizes = np.concatenate([np.zeros((0, 4), np.int32), *rows])
    if len(sizes) == 0:
        return replace(form, size=form.size or 8)  # no picture can be opened; decoding will list the reasons
    sides, deep, first = sizes[:, :2], sizes[sizes[:, 3] >= 0, 2:], int(sizes[0, 0])
    middle = int(np.median(sides.max(axis=1) if form.fit == "pad" else sides.min(axis=1)))
    own = first if first <= OWN_SIZE_UP_TO and (sides == first).all() else None
    size = form.size or own or max(8, min(OWN_SIZE_UP_TO, middle) // 8 * 8)
    return replace(form, size=size, scale=form.scale or (scale_of(deep.min(), deep.max()) if len(deep) else None))


def scale_in(folder: Path | None) -> Scale | None:
    """Return the scale of the gray pictures of 16 bits in a pack, where there are any."""
    return None if folder is None else store.read_manifest(folder, MANIFEST, _Manifest).scale


def kept(folder: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array that a folder of the cache holds, mapped, if it is as it was written; else make and keep it."""
    if not store.is_whole(folder, MANIFEST):
        if (folder / MANIFEST).is_file():
            _log.warning("%s is damaged: what it held is made again.", folder)
        made = make()
        with store.writing(folder / VALUES, made.nbytes) as path:
            tables.write_npy(path, made)
        store.write_manifest(folder, MANIFEST, {}, [VALUES])
    return tables.read_npy(folder / VALUES, mmap=True)


def verify(dataset: Dataset) -> None:
    """Hash the blocks of a data set's pack, if it has one; raise StoreError for damaged ones, which reading again rebuilds."""
    if dataset.pack is not None:
        _check_blocks(dataset.pack, store.read_manifest(dataset.pack, MANIFEST, _Manifest))


def _folder(pictures: Pictures, form: Form) -> Path:
    digest = hashlib.sha256(f"{versions()}\0{form.size} {form.fit} {form.scale}\0".encode())
    for item in pictures.identity:
        digest.update(hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest())
    return cache_root()[0] / "packs" / digest.hexdigest()


def _opened_or_none(folder: Path) -> Pack | None:
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return _opened(folder)
    except StoreError as error:
        _log.warning("%s The pictures are decoded again.", error)
        return None


def _opened(folder: Path) -> Pack:
    manifest = store.read_manifest(folder, MANIFEST, _Manifest)
    found = Pack(folder, manifest.digest, manifest.skipped, tuple(_notes(manifest)))
    if not manifest.count:
        return found
    path = folder / PIXELS
    if not path.is_file() or path.stat().st_size <= CHECK_BYTES:
        _check_blocks(folder, manifest)
    try:
        images, digests = tables.read_npy(path, mmap=True), tables.read_npy(folder / DIGESTS)
    except InputError as error:
        raise _damaged(folder, str(error)) from None
    if images.dtype != np.uint8 or images.shape != (manifest.count, manifest.size, manifest.size, 3):
        raise _damaged(folder, f"{PIXELS} has shape {images.shape}.")
    if store.sha256(folder / DIGESTS) != manifest.files[DIGESTS].sha256 or digests.shape != (manifest.count, DIGEST_BYTES):
        raise _damaged(folder, f"checksum of {DIGESTS} is wrong.")
    return replace(found, images=images, digests=digests)


def _notes(manifest: _Manifest) -> Iterator[str]:
    if manifest.scale not in (None, ALL_BITS):
        start, top = manifest.scale.start, manifest.scale.top
        yield f"16-bit pictures use few of 65,536 values: scaled so that {start:,} is black and {top:,} white, in all splits"
    said = {
        "beyond": "of 16 bits hold values beyond those of train, which become black or white",
        "low byte": "have colours of 16 bits, of which the low byte is not read",
        "on black": "are white on transparent ground and were laid over black, others over white",
    }
    for code, count in manifest.remarks.items():
        if code in said:
            yield f"{count:,} of {manifest.count:,} pictures {said[code]}"


def _damaged(folder: Path, what: str) -> StoreError:
    return StoreError(f"the pack {folder} is damaged: {what}")


def _check_blocks(folder: Path, manifest: _Manifest) -> None:
    path = folder / PIXELS
    if not path.is_file():
        raise _damaged(folder, f"{PIXELS} is missing.")
    if (size := path.stat().st_size) != manifest.bytes:
        raise _damaged(folder, f"{PIXELS} has {size} bytes, it was written with {manifest.bytes}.")
    wrong = [str(i) for i, (a, b) in enumerate(zip(_block_digests(path), manifest.blocks, strict=True)) if a != b]
    if wrong:
        raise _damaged(folder, f"checksum of block {', '.join(wrong[:5])} of {len(manifest.blocks)} is wrong.")


def _block_digests(path: Path) -> list[str]:
    """Hash a file in blocks of 16 MB, on as many threads as there are cores (hashing runs without Python's lock)."""

    def digest(offset: int) -> str:
        with path.open("rb") as file:
            file.seek(offset)
            return hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest()

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        return list(threads.map(digest, range(0, max(path.stat().st_size, 1), BLOCK_BYTES)))


def _build(pictures: Pictures, form: Form, folder: Path, workers: int | None, progress: Progress | None) -> None:
    """Decode all pictures into `folder`. Pictures that cannot be decoded are left out and listed in the manifest."""
    form = measured(pictures, form, workers)
    size, total = form.size or 8, pictures.count
    with store.writing(folder / PIXELS, total * size * size * 3) as path:
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (total, size, size, 3))
        if hasattr(os, "posix_fallocate"):  # all of its bytes are claimed now, so that a full disk is met before decoding
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, pixels.offset + pixels.nbytes)
        decode_chunk = partial(_decode_chunk, path, pixels.offset, form)
        del pixels
        made = sorted(chunk_results(decode_chunk, pictures, workers, progress), key=lambda one: one.start)
        skipped = [item for one in made for item in one.skipped]
        if skipped:
            _drop_rows(path, [row for row, _ in skipped])
        digest = store.array_digest(tables.read_npy(path, mmap=True))
        about = (digest, path.stat().st_size, tuple(_block_digests(path)), tuple(skipped))
    digests = np.frombuffer(b"".join(one.digests for one in made), np.uint8).reshape(-1, DIGEST_BYTES)
    with store.writing(folder / DIGESTS, digests.nbytes) as path:
        tables.write_npy(path, digests)
    remarks = sum((one.remarks for one in made), Counter[str]())
    manifest = asdict(_Manifest(total - len(skipped), size, form.scale, *about, remarks=dict(sorted(remarks.items()))))
    store.write_manifest(folder, MANIFEST, {**manifest, "decoder": versions()}, [DIGESTS])


def _decode_chunk(path: Path, offset: int, form: Form, chunk: Chunk, report: Report) -> _Made:
    size, scale = form.size or 0, form.scale or ALL_BITS
    made, digests = _Made(chunk.start, [], b"", Counter()), []
    empty, done = np.zeros((size, size, 3), np.uint8), 0
    with path.open("r+b", buffering=BUFFER_BYTES) as file:  # not through a map, where a full disk kills the process
        file.seek(offset + chunk.start * empty.nbytes)
        for done, read in enumerate(chunk.open(), 1):
            try:
                found = decode(read(-1), size, form.fit, scale)
                file.write(found.pixels.data)
                digests.append(found.digest)
                made.remarks[found.remark] += 1
            except BadPicture as bad:
                file.write(empty.data)
                made.skipped.append((chunk.start + done - 1, str(bad)))
            if done % CHUNK == 0 or done == chunk.count:
                report((done - 1) % CHUNK + 1)
    if done != chunk.count:
        raise InputError(f"the source changed while it was read: {done} pictures where {chunk.count} were listed.")
    return made._replace(digests=b"".join(digests))


def _measure_chunk(chunk: Chunk, report: Report) -> list[tuple[int, int, int, int]]:
    """Return height, width and extreme values (of 16-bit gray, else −1) of each picture that can be read, most from the header."""
    sizes = []
    for read in chunk.open():
        for limit in (_HEAD_BYTES, -1):
            with contextlib.suppress(BadPicture):
                sizes.append((*picture_size(data := read(limit)), *(extremes(data) or (-1, -1))))
                break
    return sizes


def chunk_results(
    function: Callable[..., Any], pictures: Pictures, workers: int | None, progress: Progress | None
) -> Iterator[Any]:
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
        yield outcome.result(f"decoding the pictures from row {outcome.key} on")


def _drop_rows(path: Path, skipped: list[int]) -> None:
    """Close the gaps that undecodable pictures left: move the others up, in place, and cut the file."""
    pixels = np.load(path, mmap_mode="r+")
    shape, offset = pixels.shape[1:], pixels.offset
    keep = np.delete(np.arange(len(pixels)), skipped)
    for some in slices(len(keep), math.prod(shape), BLOCK_BYTES):
        pixels[some] = pixels[keep[some]]  # rows only move up, so none is overwritten before it has moved
    pixels.flush()
    del pixels
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (len(keep), *shape)})
        assert file.tell() == offset, "NumPy leaves room for any number of rows"
        file.truncate(offset + len(keep) * math.prod(shape))
