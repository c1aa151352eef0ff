"""`km` with several numbers of clusters, of features or of the pixels alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dataprune import store, tables
from dataprune.clustering import Features
from dataprune.data import Dataset, FeatureFile
from dataprune.errors import invalid
from dataprune.run import ClusterSettings, cluster, match
from dataprune.scores import Score, km
from dataprune.training.features import on_components, pixel_components, principal_components

PIXELS = "pixels"
"""What stands for features that are made of the pixels."""
SIDE = 16  # pictures are brought to about this side before their principal components are found
WIDTH = 64  # components that are kept
FEWEST_EACH = 5  # rows a cluster, on average


def km_scores(features: FeatureFile | np.ndarray, dataset: Dataset, asked: Sequence[str], *, seed: int) -> dict[int, Score]:
    """Score by each number of clusters that is asked for; those that come to the same number are one.

    Args:
        features: a file, or a row for each example.
        asked: `auto`, `classes` or numbers; numbers beyond a fifth of the examples are left out.

    Raises:
        InputError: features that do not fit the examples, or no number that does.
    """
    place = np.arange(len(dataset))
    found: Features = features
    if isinstance(features, FeatureFile):
        matched = match(features, dataset.ids)
        found, place = matched, matched.place
    most = max(2, len(dataset) // FEWEST_EACH)
    scores: dict[int, Score] = {}
    for one in asked:
        if one.isdecimal() and int(one) > most:
            continue
        clusters = cluster(found, ClusterSettings(one, dataset.n_classes, seed))
        if clusters.k not in scores:
            scores[clusters.k] = Score("km", km(found, clusters.clusters.centres)[place], 1)
    if not scores:
        raise invalid("clusters", f"be numbers of at most {most} for {len(dataset)} examples", ", ".join(asked))
    return dict(sorted(scores.items()))


def pixel_features(dataset: Dataset, folder: Path) -> Float32[np.ndarray, "examples features"]:
    """Return the principal components of the pixels (or of given vectors), written once: a study that goes on finds the same.

    Args:
        dataset: of pictures or vectors.
        folder: of the study.
    """
    path = folder / f"pixels-{dataset.pixels_digest[:12]}.npy"
    manifest = f"{path.name}.json"
    if store.is_whole(folder, manifest):  # else it is made again
        return np.ascontiguousarray(tables.read_npy(path))
    if dataset.images is None:
        rows = np.asarray(dataset.inputs)
        made = principal_components(rows, WIDTH).of(rows)
    else:
        made = on_components(dataset.images, pixel_components(dataset.images, WIDTH, SIDE), SIDE)
    with store.writing(path, made.nbytes) as temporary:
        tables.write_npy(temporary, made)
    store.write_manifest(folder, manifest, {}, [path.name])
    return made
