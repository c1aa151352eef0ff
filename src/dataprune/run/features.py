"""Feature vectors brought to the examples they belong to, of a run or of all splits; and those that a network makes."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from dataprune import store
from dataprune.clustering import blocks, take
from dataprune.data import FeatureFile, Splits
from dataprune.data.pack import cache_root
from dataprune.errors import invalid
from dataprune.run.encoders import EmbedSettings, Listener, method_of
from dataprune.run.run import Run
from dataprune.tables import read_npy, write_npy
from dataprune.tables.join import Joined, align, join, key_column, places
from dataprune.training.settings import Hardware

CURE = "Or give a Parquet file with a column `id`."


@dataclass(frozen=True, eq=False)
class Matched:
    """The rows of a feature file that belong to the examples of a set (`keep`), in blocks, in the file's order. `place` is for each
    example its row among those; `n_left_out` rows are no example; `notes` say what was guessed."""

    file: FeatureFile
    keep: Bool[np.ndarray, " rows"]
    place: Int64[np.ndarray, " examples"]
    n_left_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.place)

    @property
    def width(self) -> int:
        return self.file.width

    def __iter__(self) -> Iterator[np.ndarray]:
        for start, block in blocks(self.file):
            yield block[self.keep[start : start + len(block)]]

    def by_example(self) -> np.ndarray:
        return np.asarray(np.concatenate(list(self))[self.place])

    def in_rows(self, values: np.ndarray) -> np.ndarray:
        """Bring values of the examples into the order of their rows."""
        return np.asarray(values[np.argsort(self.place)])


def match(file: FeatureFile, ids: np.ndarray) -> Matched:
    """Find the features of each example, which must have some: by the column that names the examples, else row by row."""
    joined = align(file.keys, file.rows, ids.tolist(), "features", file.path)
    keep = np.zeros(file.rows, bool)
    keep[joined.rows] = True
    return Matched(file, keep, (np.cumsum(keep) - 1)[joined.rows], len(joined.extra), _notes(file, joined))


def features_in(file: FeatureFile, splits: Splits) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the features of every example, train first, then validation and test, by the column that names them, else by row. A file
    may also hold those of train only, which a note says. A single `.npy` file stays mapped; of other files the features are held in
    memory, 4 bytes a number."""
    parts = list(splits.parts.values())
    n, n_train, n_all = file.rows, len(splits.train), sum(map(len, parts))
    names = [name for part in parts for name in part.ids.tolist()]
    key = key_column(file.keys, names[:n_train], file.path)
    if key is None:
        if n not in (n_train, n_all):
            wanted = f"one row for each of the {n_all} examples" + (f", or of the {n_train} in train" if n_all > n_train else "")
            raise invalid("features", f"have {wanted}", f"{n} in {file.path}", CURE)
        joined = Joined(np.arange(n), key=None)
    else:
        keys = file.keys[key]
        n = n_all if len(set(names)) == n_all and places(names, keys).n_found > n_train else n_train
        joined = join(names[:n], keys, "features", file.path, key)
    is_npy = len(file.shards) == 1 and file.shards[0].suffix.lower() == ".npy"
    whole = read_npy(file.shards[0], mmap=True) if is_npy else take(file, joined.rows)
    note = f"{file.path} holds features of train only: near duplicates in other splits were not looked for"
    return whole, (*_notes(file, joined), *((note,) if n < n_all else ()))


def _notes(file: FeatureFile, joined: Joined) -> tuple[str, ...]:
    """Say what was guessed; of npy files, which can hold no names, nothing is."""
    return () if file.shards[0].suffix.lower() == ".npy" else joined.notes(file.path)


def made_features(
    splits: Splits, name: str, *, run: Run | None = None, hardware: Hardware | None = None, listener: Listener | None = None
) -> Float32[np.ndarray, "examples features"]:
    """Make features of every example, train first, then validation and test, by one network: `swav`, which learns from train and is
    kept in the cache; `trace`, of `run`; or one that `encode` takes."""
    method, parts = method_of(splits.train, EmbedSettings(name), hardware or Hardware(), run), splits.parts.values()

    def made(scratch: Path) -> np.ndarray:
        encoder = method.prepare(scratch, listener)
        return np.concatenate([encoder.encode(part) for part in parts])

    if method.identity["encoder"] != "swav":
        return made(Path())
    key = store.json_digest([method.identity, *(part.fingerprint for part in parts)])[:24]
    folder = cache_root()[0] / "features"
    file, manifest, scratch = folder / f"swav-{key}.npy", f"swav-{key}.json", folder / f".swav-{key}.scratch"
    if not store.is_whole(folder, manifest):
        with store.lock(scratch, wait=True):
            if not store.is_whole(folder, manifest):  # by somebody who was waited for
                learned = made(scratch)
                with store.writing(file, learned.nbytes) as temporary:
                    write_npy(temporary, learned)
                store.write_manifest(folder, manifest, {"encoder": method.identity}, [file.name])
            shutil.rmtree(scratch, ignore_errors=True)
    return np.asarray(read_npy(file, mmap=True), np.float32)
