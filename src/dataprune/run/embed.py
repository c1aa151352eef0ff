"""Data → features, in one file with a manifest beside it: makes them, finds finished ones, goes on with interrupted work."""

import hashlib
import json
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dataprune import store
from dataprune.data import Dataset, pack, read_features
from dataprune.errors import DatapruneError, InputError, StoreError, invalid
from dataprune.run.encoders import EmbedSettings, Encode, Encoder, Listener, Method, finite, method_of
from dataprune.run.manifest import EmbeddingManifest, FeatureData, MachineRecord, Phase, Quality
from dataprune.run.run import Run
from dataprune.scores.neighbours import knn_accuracy
from dataprune.tables import read_npy, write_vectors
from dataprune.tables.vectors import SUFFIXES
from dataprune.training.checkpoint import CHECKPOINT
from dataprune.training.pixels import pixel_rows
from dataprune.training.settings import Hardware

ASKED = "asked.json"
ALGORITHM = 1  # raised when the same settings would give other numbers
NEIGHBOURS = 20
MOST_QUERIES, MOST_KNOWN = 10_000, 50_000  # rows that the quality is measured with; of more, evenly spaced ones


@dataclass(frozen=True)
class Embedding:
    """Features on disk.

    Attributes:
        path: the file, (N, D) float32, rows in the order of the source; of Parquet the column `features`, beside `id`.
        manifest: what was asked, quality, cost, versions.
    """

    path: Path
    manifest: EmbeddingManifest

    @cached_property
    def features(self) -> Float32[np.ndarray, "examples features"]:
        """The features, mapped from a `.npy` file, read from a Parquet file."""
        if self.path.suffix.lower() == ".npy":
            return read_npy(self.path, mmap=True)
        return np.concatenate(list(read_features(self.path)))


def embed(
    dataset: Dataset,
    out: str | Path,
    settings: EmbedSettings | None = None,
    hardware: Hardware | None = None,
    *,
    test: Dataset | None = None,
    run: Run | None = None,
    wait: bool = False,
    listener: Listener | None = None,
) -> Embedding:
    """Make features of every example and write them with a manifest beside them.

    The same call goes on where it was interrupted, with results equal to the bit, or returns at once.

    Args:
        dataset: pictures; for `trace` also vectors. Labels are looked at for the quality only.
        out: a `.npy` file, or a `.parquet` file, which names the rows; its manifest has the same name with `.json`.
        settings: which method, and what it needs.
        hardware: where to train; none of it changes a result on a CPU.
        test: labelled pictures for the quality; without, each training example is asked about among the others.
        run: for `trace`: the run whose first member's network gives the features.
        wait: if another process works on the same file, wait for it.
        listener: hears the price and the progress of training.

    Returns:
        The features, with their quality in `manifest.quality`.

    Raises:
        InputError: the method does not fit the data, or `out` holds other features or other things.
        MachineError: no room, no permission, no such device.
        WorkError: training failed.
    """
    settings, hardware, path = settings or EmbedSettings(), hardware or Hardware(), Path(out)
    check_features_out(path)
    method = method_of(dataset, settings, hardware, run)
    asked = _asked(dataset, method)
    scratch = _scratch(path)
    finished = _finished(path, asked)
    if finished is not None:
        _drop(scratch)
        return finished
    store.check_writable(path.parent)
    with store.lock(scratch, wait=wait, name=path):
        finished = _finished(path, asked)  # by somebody who was waited for
        if finished is None:
            _claim(path, scratch, asked)
            store.sweep(scratch)
            finished = _make(path, scratch, asked, method, (dataset, test), listener)
        shutil.rmtree(scratch, ignore_errors=True)
    return finished


def check_features_out(path: Path) -> None:
    """Refuse a name that could not be written, or that something else has, before any work.

    Raises:
        InputError: another ending, no folder, or a file that was not made here.
        MachineError: the folder cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise invalid("out", f"end in {' or '.join(SUFFIXES)}", repr(str(path)))
    if not path.parent.is_dir():
        raise invalid("out", "lie in a folder that exists", f"{path.parent}")
    manifest = _manifest(path)
    if path.is_dir() or manifest.is_dir():
        raise invalid("out", "be a file", f"{path if path.is_dir() else manifest}, which is a folder")
    if path.exists() and not manifest.exists() and not (_scratch(path) / ASKED).exists():
        raise InputError(f"`out` {path} is there already and was not made by `dataprune embed`. Choose another file.")
    if not path.exists() and manifest.exists() and not _is_ours(path):
        raise InputError(
            f"`out` {path} needs {manifest.name} beside it, which is there and says something else. Choose another file."
        )
    if not path.exists():
        store.check_writable(path.parent)


def _drop(scratch: Path) -> None:
    """Remove what one who was killed right after the manifest left there, unless somebody is at it or it cannot be removed."""
    if scratch.is_dir():
        with suppress(DatapruneError), store.lock(scratch):
            shutil.rmtree(scratch, ignore_errors=True)


def _manifest(path: Path) -> Path:
    return path.with_suffix(".json")


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.scratch")


def _is_ours(path: Path) -> bool:
    try:
        return "asked" in store.read_manifest(path.parent, _manifest(path).name, dict)
    except (StoreError, InputError):
        return False


def _asked(dataset: Dataset, method: Method) -> dict[str, Any]:
    """Return what makes two results the same result, as plain JSON."""
    wanted = {"algorithm": ALGORITHM, "data": dataset.fingerprint, "n_examples": len(dataset), **method.identity}
    plain: dict[str, Any] = json.loads(store.canonical_json(wanted))
    return plain


def _finished(path: Path, asked: dict[str, Any]) -> Embedding | None:
    """Return the features if they lie there whole; None if they must be made (again). Refuse those of other settings."""
    manifest = _manifest(path)
    if not manifest.exists():
        return None
    try:
        info = store.read_manifest(path.parent, manifest.name, dict)
    except StoreError as error:
        if path.exists() and not (_scratch(path) / ASKED).exists():
            raise StoreError(f"{error} Choose another file.") from error
        return None
    if not isinstance(info.get("asked"), dict):
        raise InputError(f"`out` {path} has {manifest.name} beside it, which is of another kind. Choose another file.")
    _refuse_others(path, info["asked"], asked, "Choose another file")
    if store.faults(path.parent, manifest.name):
        return None
    return Embedding(path, store.read_manifest(path.parent, manifest.name, EmbeddingManifest))


def _claim(path: Path, scratch: Path, asked: dict[str, Any]) -> None:
    """Note what is asked before the work; refuse to go on with interrupted work on something else."""
    try:
        present = store.read_json(scratch / ASKED)
    except StoreError:
        present = None
    if isinstance(present, dict):
        _refuse_others(path, present, asked, f"Choose another file, or remove {scratch}")
    else:
        store.write_json(scratch / ASKED, asked)


def _refuse_others(path: Path, present: dict[str, Any], asked: dict[str, Any], cure: str) -> None:
    differing = _differences(present, asked)
    if differing:
        raise InputError(f"`out` {path} holds features of other settings: {'; '.join(differing)}. {cure}.")


def _differences(present: dict[str, Any], asked: dict[str, Any], within: str = "") -> list[str]:
    found = []
    if present.get("method") != asked.get("method"):
        return [f"method {present.get('method')!r} there, {asked.get('method')!r} asked"]
    for key in sorted({*present, *asked}):
        old, new = present.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{within}{key}.")
        elif old != new:
            most = 12 if key in ("data", "weights") else 80  # of a fingerprint the beginning tells enough
            found.append(f"{within}{key} {str(old)[:most]} there, {str(new)[:most]} asked")
    return found


def _make(
    path: Path,
    scratch: Path,
    asked: dict[str, Any],
    method: Method,
    data: tuple[Dataset, Dataset | None],
    listener: Listener | None,
) -> Embedding:
    """Do the work; where it fails before anything was trained, leave nothing that would bind the next one to these settings."""
    try:
        pack.verify(data[0])
        begun = time.perf_counter()
        encoder = method.prepare(scratch, listener)
        return _publish(path, asked, encoder, *data, (begun, time.perf_counter()))
    except DatapruneError:
        if not (scratch / CHECKPOINT).exists() and not path.exists():
            shutil.rmtree(scratch, ignore_errors=True)
        raise


def _publish(
    path: Path,
    asked: dict[str, Any],
    encoder: Encoder,
    dataset: Dataset,
    test: Dataset | None,
    times: tuple[float, float],
) -> Embedding:
    """Write the features, measure how good they are, and write the manifest: from here on they are finished."""
    features = encoder.encode(dataset)
    finite(features)
    _manifest(path).unlink(missing_ok=True)
    with store.writing(path, features.nbytes) as temporary:
        write_vectors(temporary, dataset.ids, features)
    embedded = time.perf_counter()
    quality = _quality(features, encoder.encode, dataset, test)
    now = time.perf_counter()
    begun, prepared = times
    manifest = EmbeddingManifest(
        asked=asked,
        about=encoder.about,
        data=FeatureData(
            dataset.fingerprint, len(dataset), hashlib.sha256(store.canonical_json(dataset.ids.tolist()).encode()).hexdigest()
        ),
        columns=features.shape[1],
        quality=quality,
        cost=(
            Phase("train", round(prepared - begun, 3), encoder.examples_seen, encoder.flops),
            Phase("embed", round(embedded - prepared, 3), len(dataset)),
            Phase("quality", round(now - embedded, 3)),
        ),
        skipped=dataset.skipped,
        machine=MachineRecord(platform.machine()),
        versions={name: version(name) for name in ("dataprune", "torch", "numpy")} | {"python": platform.python_version()},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    store.write_manifest(path.parent, _manifest(path).name, manifest, [path.name])
    return Embedding(path, store.read_manifest(path.parent, _manifest(path).name, EmbeddingManifest))


def _quality(features: np.ndarray, encode: Encode, dataset: Dataset, test: Dataset | None) -> Quality | None:
    """Measure the nearest-neighbour accuracy beside that of the pixels; None without labels."""
    if dataset.labels is None or len(dataset) < 2:
        return None
    has_test = test is not None and test.labels is not None and test.classes == dataset.classes
    known = _spaced(len(dataset), MOST_KNOWN if has_test else MOST_QUERIES)
    queries = test.take(_spaced(len(test), MOST_QUERIES)) if test is not None and has_test else None
    labels = dataset.labels[known]

    def accuracy(of_known: np.ndarray, of_queries: np.ndarray | None) -> float:
        if queries is None or of_queries is None:  # each example among the others
            return round(knn_accuracy(of_known, labels, None, labels, NEIGHBOURS), 4)
        assert queries.labels is not None
        return round(knn_accuracy(of_known, labels, of_queries, queries.labels, NEIGHBOURS), 4)

    pixels = None
    if dataset.images is not None:
        of_queries = None if queries is None or queries.images is None else pixel_rows(queries.images)
        pixels = accuracy(pixel_rows(dataset.images[known]), of_queries)
    return Quality(
        knn_accuracy=accuracy(features[known], None if queries is None else encode(queries)),
        pixels_knn_accuracy=pixels,
        neighbours=min(NEIGHBOURS, len(known) - (queries is None)),
        metric="cosine",
        against="each example among the others" if queries is None else "test",
        known=len(known),
        queries=len(known) if queries is None else len(queries),
    )


def _spaced(n_rows: int, most: int) -> np.ndarray:
    """Choose at most so many rows, evenly spaced."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.int64))
