"""What people see becomes vectors: once, by blocks in workers, kept in the cache by content and encoder; resumable."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store, tables
from dataprune.data import Dataset, EncoderRecord, Splits, read
from dataprune.data.handle import DataHandle, open_shared, share
from dataprune.data.pack import OWN_SIZE_UP_TO, Progress, cache_root
from dataprune.encoders.encoder import LIBRARIES, Encoder, choose
from dataprune.errors import InputError, check_type, invalid
from dataprune.tables.join import join
from dataprune.workers import ExecutorConfig, Job, Report, default_workers, run_jobs

BLOCK = 256  # examples of a job: what an interruption may cost
FEATURES, MIRRORED, MANIFEST = "features.npy", "mirrored.npy", "manifest.json"
LARGER = 224  # the side with which photographs are read anew where the data set holds smaller ones
PROBED = 4  # examples that are encoded again to see that the cache is this encoder's
TOLERANCE = 0.02  # of the largest of their numbers: half precision, and another batch, move less
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Encoding:
    """How to encode: with which device, how many workers, and who hears (done, all) while pictures are read and encoded."""

    device: str = "cpu"
    workers: int | None = None
    reading: Progress | None = None
    progress: Progress | None = None


def encode(source: Any, encoder: str = "auto", how: Encoding | None = None) -> Dataset:
    """Return a data set with the vectors that an encoder makes of its pictures, in `features`, and of their mirror images.

    They are made once and kept in the cache. Photographs that were brought to a smaller size than the encoder was trained with
    are read anew for it; the data set keeps its pictures.

    Args:
        source: a `Dataset`, or whatever `read` takes.
        encoder: efficientnet-lite0 (or lite1, lite2), timm:NAME, hf:NAME (or a folder), torchhub:REPO:MODEL, open_clip:ARCH/TAG,
            onnx:FILE, or module:function of a batch of pictures (B, H, W, Ch) uint8 that gives (B, D) numbers; auto chooses by the
            pictures, and may choose none; scratch is none. For texts all-minilm-l6-v2, st:NAME, hf:NAME (or folders), or
            module:function of a list of texts; auto keeps the vectors that they were read with.
    Raises:   InputError: the encoder is unknown, does not load, or gives no vectors; the data are vectors already.
              MachineError: what it needs is not installed, or the cache cannot be written.
    """
    dataset, how = read(source), how or Encoding()
    name, notes = choose(dataset, encoder)
    if name is None or (dataset.encoder is not None and dataset.encoder.name == name):
        return replace(dataset, notes=(*dataset.notes, *notes)) if notes else dataset
    if dataset.images is None and dataset.kind != "texts":
        raise invalid("encoder", f"be left out for {'rows of a table' if dataset.records else 'feature vectors'}", encoder)
    return _encoded(dataset.bare, name, how, _is_reduced(dataset.bare, name))


def _encoded(bare: Dataset, name: str, how: Encoding, is_reduced: bool) -> Dataset:
    opened = _opened(name, LARGER if is_reduced else _side(bare), how.device)
    seen, rows = _read_again(bare, LARGER, how) if is_reduced else (bare, np.arange(len(bare)))
    folder = cache_root()[0] / "vectors" / store.json_digest([seen.content_digest, asdict(opened.record)])
    if not store.is_whole(folder, MANIFEST):
        with store.lock(folder, wait=True):
            if not store.is_whole(folder, MANIFEST):  # by somebody who was waited for
                _make(seen, opened, folder, how)
    features = tables.read_npy(folder / FEATURES, mmap=True)
    mirrored = None if seen.records is not None else tables.read_npy(folder / MIRRORED, mmap=True)
    _check_same(opened, _seen(seen, slice(PROBED)), features[:PROBED], folder)
    if mirrored is not None and not np.array_equal(rows, np.arange(len(seen))):  # else they stay mapped
        features, mirrored = features[rows], mirrored[rows]
    return replace(bare, features=features, mirrored=mirrored, encoder=opened.record)


def encode_splits(splits: Splits, encoder: str = "auto", how: Encoding | None = None) -> Splits:
    """Encode all splits by the encoder that is chosen for train, and read anew what train is: a test split from elsewhere was
    brought to the size of train."""
    check_type("splits", splits, Splits)
    given, how = splits.train, how or Encoding()
    others = {split: one for split, one in splits.parts.items() if split != "train"}
    name = choose(given, encoder)[0] or (given.encoder.name if given.encoder else None)
    is_reduced = name is not None and bool(others) and _is_reduced(given.bare, name)
    for split, one in others.items() if is_reduced else ():
        if not _has_files(one):
            cure = "Give files of pictures, or the size of train as image_size (--image-size)."
            raise invalid(split, f"be read anew at {LARGER} pixels, as train is for {name}", "an array", cure)
    train = encode(given, encoder, how)
    if train.encoder is None:
        return replace(splits, train=train)
    name = train.encoder.name
    done = {split: _encoded(one.bare, name, how, True) if is_reduced else encode(one, name, how) for split, one in others.items()}
    return Splits(train, **done)


def record_of(dataset: Dataset, encoder: str, how: Encoding) -> EncoderRecord:
    """Return the identity of the vectors that an encoder will make of a data set's pictures."""
    bare = dataset.bare
    return _opened(encoder, LARGER if _is_reduced(bare, encoder) else _side(bare), how.device).record


@lru_cache(maxsize=1)
def _opened(name: str, side: int | None, device: str) -> Encoder:
    """Open an encoder of pictures of a side, or of texts, which have none."""
    if side is None:
        from dataprune.encoders.texts import open_texts

        return open_texts(name, device)
    from dataprune.encoders.pictures import open_pictures

    return open_pictures(name, side, device)


def _side(dataset: Dataset) -> int | None:
    return None if dataset.images is None else dataset.images.shape[1]


def _seen(dataset: Dataset, rows: slice) -> np.ndarray:
    """Return pictures or texts as an encoder takes them."""
    if dataset.records is None:
        return np.asarray(dataset.content[rows])
    return next(iter(dataset.records.columns.values()))[rows]


def _is_reduced(dataset: Dataset, name: str) -> bool:
    """Return whether the pictures were brought to a smaller size by default, and can be read anew from where they came."""
    own = ":" in name and name.partition(":")[0] not in LIBRARIES  # a function of somebody's takes pictures as they are
    if own or not _has_files(dataset) or dataset.origin is None or "image_size" in dataset.origin.options:
        return False
    if dataset.content.shape[1:3] != (OWN_SIZE_UP_TO, OWN_SIZE_UP_TO):
        return False
    as_read, rows = _read_again(dataset, None, Encoding())
    some = np.linspace(0, len(rows) - 1, min(len(rows), 16)).astype(np.int64)
    same = as_read.content.shape[1:] == dataset.content.shape[1:]
    return same and bool((as_read.content[rows[some]] == dataset.content[some]).all())  # else they were changed since


def _has_files(dataset: Dataset) -> bool:
    """Return whether a data set is of pictures that can be read anew, in another size, from where they came."""
    origin = dataset.origin
    return dataset.images is not None and origin is not None and bool(origin.path) and origin.kind not in ("npy", "npz")


def _read_again(dataset: Dataset, size: int | None, how: Encoding) -> tuple[Dataset, np.ndarray]:
    origin = dataset.origin
    assert origin is not None
    options: dict[str, Any] = {name: value for name, value in origin.options.items() if name not in ("labels", "image_size")}
    found = read(origin.path, image_size=size, workers=how.workers, progress=how.reading, **options)
    return found, join(dataset.ids.tolist(), found.ids.tolist(), "ids", origin.path).rows


@dataclass(frozen=True)
class _Block:
    """One job: rows of the shared pictures, or texts, and the file for their vectors, of pictures also of their mirror images."""

    record: EncoderRecord
    seen: DataHandle | tuple[str, ...]
    rows: tuple[int, int]
    device: str
    file: Path


def _make(seen: Dataset, encoder: Encoder, folder: Path, how: Encoding) -> None:
    """Encode the blocks that are not there yet, join them, and write the manifest: from here on they are finished."""
    scratch = folder / "blocks"
    store.sweep(folder)
    scratch.mkdir(exist_ok=True)
    n, record = len(seen), encoder.record
    shared = share(seen, scratch) if seen.records is None else None
    blocks = []
    for start in range(0, n, BLOCK):
        rows = (start, min(start + BLOCK, n))
        given = shared or tuple(_seen(seen, slice(*rows)).tolist())
        blocks.append(_Block(record, given, rows, how.device, scratch / f"block-{start:09d}.npy"))
    missing = [block for block in blocks if not block.file.is_file()]
    done = n - sum(block.rows[1] - block.rows[0] for block in missing)
    workers = 1 if how.device != "cpu" else min(max(1, len(missing)), how.workers or default_workers())
    config = ExecutorConfig("serial" if workers == 1 else "processes", workers)

    def heard(_: str, more: int) -> None:
        nonlocal done
        done += more
        if how.progress is not None:
            how.progress(done, n)

    for outcome in run_jobs((Job(f"block {one.rows[0]}", _encode_block, one) for one in missing), config, heard):
        outcome.result("encoding", "What was finished is kept: the same command goes on.")
    files = [FEATURES] if seen.records is not None else [FEATURES, MIRRORED]
    _join([block.file for block in blocks], n, [folder / name for name in files], half=bool(record.weights))
    store.write_manifest(folder, MANIFEST, {"encoder": asdict(record), "content": seen.content_digest}, files)
    for file in scratch.iterdir():
        file.unlink()
    scratch.rmdir()


def _encode_block(block: _Block, report: Report) -> None:
    """Write (2, n, D) float32: the vectors of pictures as they are, and mirrored; of texts (1, n, D)."""
    if isinstance(block.seen, tuple):
        views, side, step = [np.array(block.seen, object)], None, BLOCK
    else:
        pictures = np.asarray(open_shared(block.seen).inputs[slice(*block.rows)])
        views, side, step = [pictures, pictures[:, :, ::-1]], pictures.shape[1], 32 if block.device == "cpu" else BLOCK
    encoder, made = _opened(block.record.name, side, block.device), []
    if encoder.record != block.record:
        raise InputError(f"encoder {block.record.name!r} changed while it was at work: it has other weights now.")
    for start in range(0, len(views[0]), step):
        made.append(np.stack([encoder(view[start : start + step]) for view in views]))
        report(made[-1].shape[1])
    _check_widths(made)
    with store.writing(block.file) as path:
        tables.write_npy(path, np.concatenate(made, axis=1))


def _check_widths(blocks: Iterable[np.ndarray]) -> None:
    if len(widths := {block.shape[2] for block in blocks}) > 1:
        raise invalid("encoder", "give as many numbers for every example", f"{min(widths)} and {max(widths)}")


def _join(files: list[Path], n: int, targets: list[Path], half: bool) -> None:
    """Join the blocks to the files of what they hold, in half precision if it may be and holds them: no score moves by it."""

    def blocks() -> Iterator[np.ndarray]:
        return (tables.read_npy(file, mmap=True) for file in files)

    _check_widths(blocks())
    largest = max(float(np.abs(block).max()) for block in blocks())
    kind = np.float16 if half and largest < LARGEST else np.float32
    for place, target in enumerate(targets):
        shape = (n, next(blocks()).shape[2])
        with store.writing(target, math.prod(shape) * np.dtype(kind).itemsize) as path:
            joined = np.lib.format.open_memmap(path, "w+", kind, shape)
            start = 0
            for block in blocks():
                joined[start : start + block.shape[1]] = block[place]
                start += block.shape[1]
            joined.flush()


def _check_same(encoder: Encoder, some: np.ndarray, cached: np.ndarray, folder: Path) -> None:
    """Refuse vectors of the cache that the encoder does not give any more."""
    made = encoder(some)
    if made.shape != cached.shape or np.abs(made - cached.astype(np.float32)).max() > TOLERANCE * np.abs(made).max():
        raise invalid("encoder", "give the vectors of the cache", f"others from {encoder.record.name} now", f"Remove {folder}.")
