"""How does `km` score with one number of clusters and another?"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dataprune import store, tables
from dataprune.data import Dataset, FeatureFile
from dataprune.errors import InputError, StoreError, invalid
from dataprune.kmeans import Features
from dataprune.run import cluster, match
from dataprune.scores import Score, km

PIXELS = "pixels"
"""What stands for features that are made of the pixels."""
SIDE = 16  # pictures are brought to about this side before their main directions are found
WIDTH = 64  # main directions that are kept
FEWEST_EACH = 5  # rows a cluster, on average


def km_scores(
    features: FeatureFile | np.ndarray, dataset: Dataset, asked: Sequence[str], *, seed: int, workers: int | None
) -> dict[int, Score]:
    """Score by each number of clusters that is asked for; those that come to the same number are one.

    Args:
        features: a file, or a row for each example.
        asked: `auto`, `classes` or numbers; numbers beyond a fifth of the examples are left out.

    Raises:
        InputError: features that do not fit the examples, or no number that does.
    """
    place, rows = np.arange(len(dataset)), features
    found: Features
    if isinstance(rows, np.ndarray):
        found = rows
    else:
        matched = match(rows, dataset.ids)
        found, place = matched.features, matched.place
    scores: dict[int, Score] = {}
    for one in asked:
        if one.isdecimal() and int(one) > max(2, len(dataset) // FEWEST_EACH):
            continue
        clusters = cluster(found, one, len(dataset), dataset.n_classes, seed=seed, workers=workers)
        if clusters.k not in scores:
            scores[clusters.k] = Score("km", km(found, clusters.clusters.centres)[place], 1)
    if not scores:
        raise invalid(
            "clusters", f"be numbers of at most {max(2, len(dataset) // FEWEST_EACH)} for {len(dataset)} examples", ", ".join(asked)
        )
    return dict(sorted(scores.items()))


def pixel_features(dataset: Dataset, folder: Path) -> Float32[np.ndarray, "examples features"]:
    """Return the main directions of the pixels (or of given vectors), written once, so that a study that goes on finds the same.

    Args:
        dataset: of pictures or vectors.
        folder: of the study.
    """
    path = folder / f"pixels-{dataset.pixels_digest[:12]}.npy"
    manifest = f"{path.name}.json"
    with suppress(InputError, StoreError):  # what is not there as it was written is made again
        if not store.faults(folder, manifest):
            return np.ascontiguousarray(tables.read_npy(path))
    made = main_directions(_small(dataset))
    with store.writing(path, made.nbytes) as temporary:
        tables.write_npy(temporary, made)
    store.write_manifest(folder, manifest, {}, [path.name])
    return made


def main_directions(rows: Float32[np.ndarray, "rows columns"], width: int = WIDTH) -> Float32[np.ndarray, "rows kept"]:
    """Project rows onto the directions in which they differ most (principal components, not scaled).

    Args:
        rows: at least one.
        width: directions that are kept, at most the number of columns.
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ directions[:, ::-1][:, :width], np.float32)


def _small(dataset: Dataset) -> Float32[np.ndarray, "examples columns"]:
    """Return pictures as rows of block means in [0, 1], vectors as they are."""
    if dataset.images is None:
        return np.asarray(dataset.inputs)
    step = max(1, min(dataset.images.shape[1:3]) // SIDE)
    height, width = (side // step * step for side in dataset.images.shape[1:3])
    rows = np.empty((len(dataset), (height // step) * (width // step) * dataset.images.shape[3]), np.float32)
    for number, image in enumerate(dataset.images):
        blocks = image[:height, :width].reshape(height // step, step, width // step, step, -1)
        rows[number] = (blocks.mean(axis=(1, 3)) / 255).ravel()
    return rows
