"""How are pictures decoded into a pack: once, in parallel, without ever holding them all?"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from dataprune import store, tables
from dataprune.data.cache import MANIFEST, PIXELS, block_digests, row_blocks
from dataprune.data.decode import BadPicture, decode, versions
from dataprune.data.parts import Chunk, Pictures
from dataprune.errors import DatapruneError, InputError, WorkError
from dataprune.workers import Executor, Job, Report, default_workers, run_jobs

OWN_SIZE_UP_TO = 128
PROCESSES_FROM_COUNT = 5_000
PROCESSES_FROM_BYTES = 200 * 10**6
"""Below both, decoding in this process ends before two others would have started."""
BUFFER_BYTES = 32 * 2**20  # decoded pictures that a job holds before it writes them


@dataclass(frozen=True)
class _Write:
    """One job: decode a chunk and write its rows."""

    chunk: Chunk
    size: int
    path: Path
    offset: int


def build(
    pictures: Pictures, image_size: int | None, folder: Path, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    """Decode all pictures into `folder`. Pictures that cannot be decoded are left out and listed in the manifest.

    Raises:   MachineError if the disk is full, before anything is decoded. WorkError if a worker is lost again and again.
    """
    size = image_size or choose_size(pictures, workers)
    with store.writing(folder / PIXELS, pictures.count * size * size * 3) as path:
        offset = _reserve(path, pictures.count, size)
        jobs = [Job(str(chunk.start), _decode_chunk, _Write(chunk, size, path, offset)) for chunk in pictures.chunks]
        skipped = sorted(item for found in _results(jobs, pictures, workers, progress) for item in found)
        if skipped:
            _drop_rows(path, pictures.count, size, {row for row, _ in skipped})
        count = pictures.count - len(skipped)
        body = {
            "count": count,
            "size": size,
            "digest": store.array_digest(tables.read_npy(path, mmap=True)),
            "bytes": path.stat().st_size,
            "blocks": block_digests(path),
            "skipped": skipped,
            "training_environment": versions(),
        }
    store.write_manifest(folder, MANIFEST, body, [])


def choose_size(pictures: Pictures, workers: int | None) -> int:
    """Choose a side by the headers: the pictures' own if all are squares of one size up to 128, else the median short side.

    The median is cut to 128, then down to a multiple of 8, at least 8.
    """
    jobs = [Job(str(chunk.start), _measure_chunk, chunk) for chunk in pictures.chunks]
    sizes = np.concatenate([np.zeros((0, 2), np.int32), *_results(jobs, pictures, workers, None)])
    if len(sizes) == 0:
        return 8  # no picture can be opened; decoding will list the reasons
    first = int(sizes[0, 0])
    if first <= OWN_SIZE_UP_TO and (sizes == first).all():
        return first
    return max(8, min(OWN_SIZE_UP_TO, int(np.median(sizes.min(axis=1)))) // 8 * 8)


def _reserve(path: Path, count: int, size: int) -> int:
    """Write the array's header and claim all of its bytes now, so that a full disk is met before decoding, not during it."""
    header = _header_bytes(count, size)
    total = count * size * size * 3
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + total)
        file.flush()
        if hasattr(os, "posix_fallocate") and total:
            os.posix_fallocate(file.fileno(), len(header), total)
    return len(header)


def _decode_chunk(work: _Write, report: Report) -> list[tuple[int, str]]:
    """Decode one chunk and write its rows at their place; give the rows that could not be decoded, with reasons."""
    skipped: list[tuple[int, str]] = []
    row_bytes = work.size * work.size * 3
    buffer = np.zeros((max(1, min(work.chunk.count, BUFFER_BYTES // row_bytes)), work.size, work.size, 3), np.uint8)
    with work.path.open("r+b") as file:
        file.seek(work.offset + work.chunk.start * row_bytes)
        used = done = 0
        for blob in work.chunk.blobs():
            try:
                if isinstance(blob, BadPicture):
                    raise blob
                buffer[used] = decode(blob, work.size)
            except BadPicture as bad:
                buffer[used] = 0
                skipped.append((work.chunk.start + done, str(bad)))
            used, done = used + 1, done + 1
            if used == len(buffer) or done == work.chunk.count:
                file.write(buffer[:used].data)
                report(used)
                used = 0
    if done != work.chunk.count:
        raise InputError(f"the source changed while it was read: {done} pictures where {work.chunk.count} were listed.")
    return skipped


def _measure_chunk(chunk: Chunk, report: Report) -> Int32[np.ndarray, "pictures 2"]:
    """Height and width of each picture of a chunk whose header can be read."""
    sizes = [size for size in chunk.sizes() if not isinstance(size, BadPicture)]
    return np.array(sizes, dtype=np.int32).reshape(-1, 2)


def _results(
    jobs: Sequence[Job], pictures: Pictures, workers: int | None, progress: Callable[[int, int], None] | None
) -> Iterator[Any]:
    """Run the jobs here or, where it pays, in processes, and give their values; the first failure is raised."""
    done = 0

    def count(_: str, pictures_more: int) -> None:
        nonlocal done
        done += pictures_more
        if progress is not None:
            progress(done, pictures.count)

    workers = workers or default_workers()
    large = pictures.count > PROCESSES_FROM_COUNT or pictures.n_bytes > PROCESSES_FROM_BYTES
    executor: Executor = "processes" if large and workers > 1 and pictures.portable else "serial"
    for outcome in run_jobs(jobs, executor=executor, workers=workers, on_message=count):
        if isinstance(outcome.exception, DatapruneError | OSError):
            raise outcome.exception
        if outcome.error is not None:
            raise WorkError(f"decoding the pictures from row {outcome.key} on failed: {outcome.error}") from outcome.exception
        yield outcome.value


def _drop_rows(path: Path, count: int, size: int, skipped: set[int]) -> None:
    """Close the gaps that undecodable pictures left: move the others up, in place, and cut the file."""
    before = _header_bytes(count, size)
    pixels = np.memmap(path, np.uint8, mode="r+", offset=len(before), shape=(count, size, size, 3))
    keep = np.array([row for row in range(count) if row not in skipped], dtype=np.int64)
    for part in row_blocks(len(keep), size * size * 3):
        pixels[part] = pixels[keep[part]]  # rows only move up, so none is overwritten before it has moved
    pixels.flush()
    del pixels
    header = _header_bytes(len(keep), size)
    assert len(header) == len(before), "NumPy leaves room for any number of rows"
    with path.open("r+b") as file:
        file.write(header)
        file.truncate(len(header) + len(keep) * size * size * 3)


def _header_bytes(count: int, size: int) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)})
    return header.getvalue()
