"""Which features has every example of a source, over all its splits?"""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from dataprune import store
from dataprune.data import Dataset, FeatureFile, Splits
from dataprune.data.pack import cache_root
from dataprune.errors import StoreError, invalid, join_some
from dataprune.run.encoders import EmbedSettings, Listener, Method, finite, method_of
from dataprune.run.run import Run
from dataprune.tables import read_npy, write_npy
from dataprune.training.settings import Hardware


def parts_of(splits: Splits) -> list[Dataset]:
    """Return the splits that there are, train first."""
    return [part for part in (splits.train, splits.validation, splits.test) if part is not None]


def features_in(file: FeatureFile, splits: Splits) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the features of every example, train first, then validation and test.

    They are found by id if the file has ids, else by row. A file may also hold those of train only. A single `.npy` file stays
    mapped; of other files the features are held in memory, 4 bytes a number.

    Returns:
        (n, D) numbers, of all examples or of train only, and a note if they are of train only.

    Raises:
        InputError: examples without features; without ids, another number of rows.
    """
    parts = parts_of(splits)
    n_train, n_all = len(splits.train), sum(map(len, parts))
    given = file.given_ids
    if given is None:
        if file.rows not in (n_train, n_all):
            wanted = f"one row for each of the {n_all} examples" + (f", or of the {n_train} in train" if n_all > n_train else "")
            raise invalid("features", f"have {wanted}", f"{file.rows} in {file.path}", "Or give a Parquet file with a column `id`.")
        n = file.rows
        whole = _array(file, np.arange(n), n)
    else:
        names = [name for part in parts for name in part.ids.tolist()]
        n = n_all if len(set(names)) == n_all and not set(names[n_train:]).isdisjoint(given.tolist()) else n_train
        whole = _array(file, _places(file, given, names[:n]), n)
    note = f"{file.path} holds features of train only: near duplicates in other splits were not looked for"
    return whole, (note,) if n < n_all else ()


def made_features(
    splits: Splits, name: str, *, run: Run | None = None, hardware: Hardware | None = None, listener: Listener | None = None
) -> Float32[np.ndarray, "examples features"]:
    """Make features of every example, train first, then validation and test, by one network.

    Args:
        splits: the pictures.
        name: `swav`, which learns from train and is kept in the cache; `trace`, of a run; or `module:function`.
        run: for `trace`.
        hardware: where to train.
        listener: hears the price and the progress of training.

    Raises:
        InputError: a method that is unknown or does not fit the data.
    """
    method = method_of(splits.train, EmbedSettings(name), hardware or Hardware(), run)
    parts = parts_of(splits)
    if name != "swav":
        encoder = method.prepare(Path(), listener)
        made = np.concatenate([encoder.encode(part) for part in parts])
        finite(made)
        return made
    what = [method.identity, *(part.fingerprint for part in parts)]
    key = hashlib.sha256(store.canonical_json(what).encode()).hexdigest()[:24]
    return _kept(cache_root()[0] / "features", f"swav-{key}", method, parts, listener)


def _kept(
    folder: Path, name: str, method: Method, parts: Iterable[Dataset], listener: Listener | None
) -> Float32[np.ndarray, "examples features"]:
    """Return learned features from the cache; learn them where they are not there, or no longer whole. Interrupted, goes on."""
    file, manifest, scratch = f"{name}.npy", f"{name}.json", folder / f".{name}.scratch"
    if not _is_whole(folder, manifest):
        with store.lock(scratch, wait=True):
            if not _is_whole(folder, manifest):  # by somebody who was waited for
                encoder = method.prepare(scratch, listener)
                made = np.concatenate([encoder.encode(part) for part in parts])
                finite(made)
                with store.writing(folder / file, made.nbytes) as temporary:
                    write_npy(temporary, made)
                store.write_manifest(folder, manifest, {"method": method.identity}, [file])
            shutil.rmtree(scratch, ignore_errors=True)
    return np.asarray(read_npy(folder / file, mmap=True), np.float32)


def _is_whole(folder: Path, manifest: str) -> bool:
    try:
        return (folder / manifest).exists() and not store.faults(folder, manifest)
    except StoreError:
        return False


def _places(file: FeatureFile, given: np.ndarray, names: list[str]) -> Int64[np.ndarray, " rows"]:
    """Return for each row of the file the example that it belongs to, −1 for none."""
    example = {name: row for row, name in enumerate(names)}
    there = set(given.tolist())
    missing = [name for name in names if name not in there]
    if missing:
        raise invalid("features", "have a row for every example", f"none for the id {join_some(map(repr, missing))} in {file.path}")
    return np.array([example.get(name, -1) for name in given.tolist()], np.int64)


def _array(file: FeatureFile, place: Int64[np.ndarray, " rows"], count: int) -> np.ndarray:
    """Bring the rows of a file into the order of the examples."""
    if len(file.shards) == 1 and file.shards[0].suffix.lower() == ".npy" and np.array_equal(place, np.arange(count)):
        return read_npy(file.shards[0], mmap=True)
    whole = np.empty((count, file.width), np.float32)
    start = 0
    for block in file:
        here = place[start : start + len(block)]
        whole[here[here >= 0]] = block[here >= 0]
        start += len(block)
    return whole
