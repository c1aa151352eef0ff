"""Data → features, in one file with a manifest beside it: makes them, finds finished ones, goes on with interrupted work."""

import platform
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dataprune import store
from dataprune.components import pixel_rows
from dataprune.data import Dataset, pack, read, read_features
from dataprune.errors import percent
from dataprune.notebook import bar
from dataprune.run.encoders import EmbedSettings, Encode, Listener, Method, method_of
from dataprune.run.manifest import EmbeddingManifest, FeatureData, MachineRecord, Phase, Quality, made_now
from dataprune.run.run import Run
from dataprune.scores.neighbours import knn_accuracy
from dataprune.tables import VECTOR_SUFFIXES, check_output, read_npy, write_vectors
from dataprune.training.settings import Hardware

ALGORITHM = 1  # raised when the same settings would give other numbers
NEIGHBOURS = 20
MOST_QUERIES, MOST_KNOWN = 10_000, 50_000  # rows that the quality is measured with; of more, evenly spaced ones


@dataclass(frozen=True, repr=False)
class Embedding:
    """Features on disk: (N, D) float32, rows in the order of the source (of Parquet the column `features`, beside `id`).

    `manifest` says what was asked, quality, cost, versions.
    """

    path: Path
    manifest: EmbeddingManifest

    @cached_property
    def features(self) -> Float32[np.ndarray, "examples features"]:
        """The features, mapped from a `.npy` file, read from a Parquet file."""
        if self.path.suffix.lower() == ".npy":
            return read_npy(self.path, mmap=True)
        return np.concatenate(list(read_features(self.path)))

    def __repr__(self) -> str:
        manifest, quality = self.manifest, self.manifest.quality
        shown = f"{manifest.data.n_examples:,} × {manifest.columns:,}, {manifest.asked['encoder']}"
        if quality is not None:
            shown += f", the {quality.neighbours} nearest name the class of {percent(quality.knn_accuracy, 1)}"
        return f"Embedding({self.path}: {shown})"


def embed(
    source: Any,
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
        source: a `Dataset`, or whatever `read` takes: pictures; for `trace` also vectors. Labels are for the quality only.
        out: a `.npy` file, or a `.parquet` file, which names the rows; its manifest has the same name with `.json`.
        settings: which method, and what it needs.
        hardware: where to train; none of it changes a result on a CPU.
        test: labelled pictures for the quality; without, each training example is asked about among the others.
        run: for `trace`: the run whose first member's network gives the features.
        wait: if another process works on the same file, wait for it.
        listener: hears the cost and the progress of training.
    Raises:   InputError: the method does not fit the data, or `out` holds other features or other things.
              WorkError: training failed.
    """
    settings, hardware, dataset, path = settings or EmbedSettings(), hardware or Hardware(), read(source), Path(out)
    work = work_folder(path)
    work.check()
    method = method_of(dataset, settings, hardware, run)
    identity = {"algorithm": ALGORITHM, "data": dataset.fingerprint, "n_examples": len(dataset), **method.identity}
    with work.work(identity, wait=wait) as finished:
        if not finished:
            pack.verify(dataset)
            about = _make(work, method, listener or bar(), dataset, test)
            store.write_manifest(path.parent, work.manifest.name, EmbeddingManifest(asked=identity, **about), [path.name])
    return Embedding(path, store.read_manifest(path.parent, work.manifest.name, EmbeddingManifest))


def work_folder(path: Path) -> store.WorkFolder:
    return store.WorkFolder.beside_file(check_output(path, VECTOR_SUFFIXES), "features", manifest=path.with_suffix(".json"))


def _make(
    work: store.WorkFolder, method: Method, listener: Listener | None, dataset: Dataset, test: Dataset | None
) -> dict[str, Any]:
    begun = time.perf_counter()
    encoder, prepared = method.prepare(work.scratch, listener), time.perf_counter()
    features = encoder.encode(dataset)
    work.manifest.unlink(missing_ok=True)
    with store.writing(work.output, features.nbytes) as temporary:
        write_vectors(temporary, dataset.ids, features)
    embedded = time.perf_counter()
    quality, measured = _quality(features, encoder.encode, dataset, test), time.perf_counter()
    return made_now() | {
        "about": encoder.about,
        "data": FeatureData(dataset.fingerprint, len(dataset), store.json_digest(dataset.ids.tolist())),
        "columns": features.shape[1],
        "quality": quality,
        "cost": (
            Phase("train", round(prepared - begun, 3), encoder.examples_seen, encoder.flops),
            Phase("embed", round(embedded - prepared, 3), len(dataset)),
            Phase("quality", round(measured - embedded, 3)),
        ),
        "skipped": dataset.skipped,
        "machine": MachineRecord(platform.machine()),
    }


def _quality(features: np.ndarray, encode: Encode, dataset: Dataset, test: Dataset | None) -> Quality | None:
    """Measure the nearest-neighbour accuracy beside that of the pixels; None without labels."""
    if dataset.labels is None or len(dataset) < 2:
        return None
    queries, most = None, MOST_QUERIES
    if test is not None and test.labels is not None and test.classes == dataset.classes:
        queries, most = test.take(_spaced(len(test), MOST_QUERIES)), MOST_KNOWN
    known = _spaced(len(dataset), most)
    labels = dataset.labels[known]
    truth = labels if queries is None or queries.labels is None else queries.labels

    def accuracy(of_known: np.ndarray, of_queries: np.ndarray | None) -> float:
        asked = labels if of_queries is None else truth  # each example among the others, or the queries
        return round(knn_accuracy(of_known, labels, of_queries, asked, NEIGHBOURS), 4)

    pixels = None
    if dataset.images is not None:
        of_queries = None if queries is None or queries.images is None else pixel_rows(queries.images)
        pixels = accuracy(pixel_rows(dataset.images[known]), of_queries)
    found, against = accuracy(features[known], None if queries is None else encode(queries)), "each example among the others"
    n_queries, against = (len(known), against) if queries is None else (len(queries), "test")
    return Quality(found, pixels, min(NEIGHBOURS, len(known) - (queries is None)), "cosine", against, len(known), n_queries)


def _spaced(n_rows: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.int64))
