"""How do scores of given features join a run that was trained without them?"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float64

from dataprune import store
from dataprune.data import FeatureFile
from dataprune.errors import InputError, invalid, join_some
from dataprune.kmeans import Features, fit, unit_rows
from dataprune.run.clusters import Chosen, Clustering, cluster
from dataprune.run.manifest import FeaturesRecord, Phase
from dataprune.run.run import MANIFEST, SCORES_FILE, Run, open_run, write_local
from dataprune.run.score import write_scores
from dataprune.scores import FEATURE_SCORES, Score, Scores, km, km_cosine, prototype_distance


@dataclass(frozen=True, eq=False)
class Matched:
    """The rows of a feature file that belong to the examples of a set.

    Attributes:
        file: the file.
        features: its rows that are examples, in the file's order.
        place: for each example its row in `features`.
        n_left_out: rows of the file that are no example.
    """

    file: FeatureFile
    features: Features
    place: np.ndarray
    n_left_out: int


def match(file: FeatureFile, ids: np.ndarray) -> Matched:
    """Find the features of each example: by id if the file has ids, else row by row.

    Raises:
        InputError: examples without features, or, without ids, another number of rows.
    """
    given = file.given_ids
    if given is None:
        if file.rows != len(ids):
            cure = "Or give a Parquet file with a column `id`."
            raise invalid("features", f"have one row for each of the {len(ids)} examples", f"{file.rows} in {file.path}", cure)
        return Matched(file, file, np.arange(file.rows), 0)
    row_of = {name: row for row, name in enumerate(given.tolist())}
    missing = [name for name in ids.tolist() if name not in row_of]
    if missing:
        raise invalid("features", "have a row for every example", f"none for the id {join_some(map(repr, missing))} in {file.path}")
    rows = np.array([row_of[name] for name in ids.tolist()], np.int64)
    if len(rows) == file.rows:
        return Matched(file, file, rows, 0)
    keep = np.zeros(file.rows, bool)
    keep[rows] = True
    return Matched(file, Chosen(file, keep), (np.cumsum(keep) - 1)[rows], file.rows - len(rows))


def add_features(
    run: Run, file: FeatureFile, clusters: str = "auto", *, seed: int = 0, restarts: int = 1, workers: int | None = None
) -> Run:
    """Add `km`, `km_cosine` and `prototype_distance` of given features to a finished run, without training.

    Features are matched by id if their file has ids, else row by row. Asked again with the same file and settings, the run is
    given back at once; other features or settings replace the columns.

    Args:
        run: finished.
        file: one row for each example.
        clusters: "auto", "classes" or a number, as text.
        seed: of k-means.
        restarts: of k-means.
        workers: threads; no result depends on it.

    Returns:
        The run with the scores; what features do not allow (a direction of a row of zeros) is absent with its reason.
        `manifest.features` says digest, k and curve.

    Raises:
        InputError: examples without features, features that are not finite, too few for the clusters.
        MachineError: no room, or no permission.
    """
    asked = {"digest": file.digest, "asked": clusters, "seed": seed, "restarts": restarts}
    with store.lock(run.path):
        run = open_run(run.path)
        write_local(run.path, features=_within(run.path, file.path))
        before = run.manifest.features
        if before is not None and all(getattr(before, name) == value for name, value in asked.items()):
            return run
        begun = time.perf_counter()
        matched = match(file, run.ids)
        found = cluster(matched.features, clusters, len(run.ids), len(run.classes), seed=seed, restarts=restarts, workers=workers)
        present, absent = _scores(matched, found, run, seed=seed, restarts=restarts)
        about = {**found.record(), **asked, "rows": file.rows, "columns": file.width, "rows_left_out": matched.n_left_out}
        record = msgspec.convert(about, FeaturesRecord)
        _publish(run, present, absent, record, time.perf_counter() - begun)
    return open_run(run.path)


def _within(folder: Path, path: Path) -> str:
    """Return where a file lies: one inside the run moves with it."""
    place, home = path.resolve(), folder.resolve()
    return str(place.relative_to(home) if place.is_relative_to(home) else place)


def _scores(
    matched: Matched, found: Clustering, run: Run, *, seed: int, restarts: int
) -> tuple[dict[str, Float64[np.ndarray, " examples"]], dict[str, str]]:
    features, place = matched.features, matched.place
    labels = np.empty(len(place), np.int64)
    labels[place] = run.labels
    present = {"km": km(features, found.clusters.centres), "prototype_distance": prototype_distance(features, labels)}
    absent = {}
    try:
        ways = fit(unit_rows(features), found.k, seed=seed, restarts=restarts).centres
        present["km_cosine"] = km_cosine(features, ways)
    except InputError as reason:
        absent["km_cosine"] = str(reason)
    return {name: present[name][place] for name in FEATURE_SCORES if name in present}, absent


def _publish(run: Run, present: dict[str, Any], absent: dict[str, str], record: FeaturesRecord, seconds: float) -> None:
    """Write the scores anew, and the manifest after them."""
    kept = [one for name, one in run.scores.items() if name not in FEATURE_SCORES]
    added = [Score(name, values, 1, run.ids, run.labels) for name, values in present.items()]
    reasons = {name: reason for name, reason in run.scores.absent.items() if name not in FEATURE_SCORES} | absent
    scores = Scores([*kept, *added], reasons)
    phases = [phase for phase in run.manifest.cost if phase.phase != "features"]
    manifest = replace(
        run.manifest,
        scores={name: {"harder": one.harder} for name, one in scores.items()},
        absent_scores=reasons,
        features=record,
        cost=(*phases, Phase("features", round(seconds, 3), len(run.ids))),
    )
    (run.path / MANIFEST).unlink()
    write_scores(run.path / SCORES_FILE, scores, run)
    store.write_manifest(run.path, MANIFEST, manifest.plain, list(run.manifest.files))
