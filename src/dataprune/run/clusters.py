"""Features cut into clusters: how many and why, `km` of each row in a file, and the scores of features added to a run."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from dataprune import clustering, store
from dataprune.clustering import Clusters, Curve, Features, UnitRows
from dataprune.data import FeatureFile
from dataprune.errors import InputError, check_type, invalid
from dataprune.run.features import Matched, match
from dataprune.run.manifest import CurveRecord, FeaturesRecord, Phase, directions_of
from dataprune.run.run import MANIFEST, SCORES_FILE, Run, open_run, write_local, write_scores
from dataprune.scores import FEATURE_SCORES, Score, Scores, km_cosine, knn_scores, prototype_distance
from dataprune.tables import TABLES, check_output, read_table, write_table
from dataprune.workers import ExecutorConfig, Job, Report, run_jobs

FEW = 20  # below so many, the classes' number is a bad number of clusters: in the report on CIFAR-10, 5 was worst and 10 next
CURVE_ROWS, CURVE_ITERATIONS = 20_000, 30
PART_ROWS = 2**18  # that one job assigns
MOST_PRODUCTS = 2**41  # of all pairs of rows, up to which neighbours are searched without being asked: a minute or two

Assigned = tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]


@dataclass(frozen=True)
class ClusterSettings:
    """How features are cut; with their content it makes the result. `clusters` is auto (the elbow of the inertia curve), classes,
    or a number. The centres are the best of `restarts`, fitted on a `sample` of rows drawn by the seed, or on as many as fit
    memory; `normalize` clusters the directions in which rows lie from their mean."""

    clusters: str = "auto"
    n_classes: int | None = None
    seed: int = 0
    restarts: int = 1
    sample: int | None = None
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.clusters == "classes" and not self.n_classes:
            raise invalid("clusters", "be a number where there are no labels", "'classes'", "Give --labels FILE, or a number.")
        if self.clusters not in ("auto", "classes") and not self.clusters.removeprefix("-").isdecimal():
            raise invalid("clusters", "be auto, classes or a whole number", repr(self.clusters))


@dataclass(frozen=True, eq=False)
class Clustering:
    """Centres of points (the features, or their directions), and how their number came about: the inertia curve if it was looked
    at, on so many rows; cautions for a person."""

    points: Features
    clusters: Clusters
    curve: Curve | None
    curve_rows: int
    notes: tuple[str, ...]

    @property
    def k(self) -> int:
        return len(self.clusters.centres)

    def record(self, file: FeatureFile, settings: ClusterSettings, rows_left_out: int = 0) -> FeaturesRecord:
        curve, found, drawn = self.curve, self.clusters, None
        if curve is not None:
            drawn = CurveRecord(tuple(curve.clusters.tolist()), tuple(curve.inertia.tolist()), self.curve_rows)
        asked = {name: getattr(settings, name) for name in ("seed", "restarts", "sample", "normalize")}
        came: dict[str, Any] = {name: getattr(found, name) for name in ("inertia", "iterations", "converged")}
        came |= {"rows_fitted": found.rows, "sizes": tuple(found.sizes.tolist()), "elbow": curve and curve.elbow, "curve": drawn}
        came |= {"rows": file.rows, "columns": file.width, "rows_left_out": rows_left_out}
        return FeaturesRecord(file.digest, settings.clusters, k=self.k, notes=self.notes, **asked, **came)


def cluster(features: Features, settings: ClusterSettings) -> Clustering:
    """Fit k-means with the number of clusters that is asked for; what `clustering.fit` refuses is refused."""
    asked, n_rows = settings.clusters, clustering.shape_of(features)[0]
    points = UnitRows.from_middle(features) if settings.normalize else features
    curve, rows, notes = None, 0, []
    if asked == "auto":
        rows = min(n_rows, CURVE_ROWS, settings.sample or n_rows)
        grid = clustering.geometric_grid(rows)
        curve = clustering.inertia_curve(points, grid, seed=settings.seed, sample=rows, iterations=CURVE_ITERATIONS)
        # Without an elbow the number tried that is nearest to √(rows / 2), a rule of thumb (Mardia et al. 1979).
        k = curve.elbow or int(grid[np.abs(np.log(grid / np.sqrt(rows / 2))).argmin()])
        if curve.elbow is None:
            taken = f"{k} were taken, about √(rows / 2), which the data do not speak for"
            cure = "Look at the curve and give --clusters NUMBER"
            notes.append(f"the inertia curve has no elbow over {grid[0]} ... {grid[-1]} clusters; {taken}. {cure}")
    else:
        k = int(asked if asked != "classes" else settings.n_classes or 0)
    if k < FEW:
        worst = "on CIFAR-10, sets kept by km with 5 clusters trained worst and with 10 next worst"
        notes.append(f"{k} clusters are few: {worst}. Compare with --clusters {5 * FEW // 2} or more")
    found = clustering.fit(points, k, seed=settings.seed, restarts=settings.restarts, sample=settings.sample)
    if settings.sample is None and found.rows < n_rows:
        notes.append(f"the centres were fitted on {found.rows:,} of {n_rows:,} rows, drawn by the seed; --sample NUMBER takes more")
    return Clustering(points, found, curve, rows, tuple(notes))


def km(
    features: FeatureFile | np.ndarray,
    clusters: int | Literal["auto"] = "auto",
    *,
    normalize: bool = False,
    seed: int = 0,
    restarts: int = 1,
) -> Score:
    """Score feature vectors without labels: the distance of each to the nearest centre of k-means.

    Args:
        features: (N, D) finite numbers, or a file as `read_features` opens it, which may be larger than memory: of more than a
            million rows or 1 GB the centres are fitted on a sample.
        clusters: how many; "auto" takes the elbow of the inertia curve.
        normalize: cluster the directions in which rows lie from their mean.
        restarts: starts to try; the best is taken.
    Returns:  `km`, harder where larger; by the ids of the file, else by row.
    Source: after Sorscher et al. 2022, arXiv:2206.14486. Departs: Euclidean distance to the centre, as in the report.

    Example:
        >>> km(np.array([[0.0], [0.2], [5.0], [5.2], [6.0]]), 2).values.round(2).tolist()
        [0.1, 0.1, 0.4, 0.2, 0.6]
    """
    found = cluster(features, ClusterSettings(str(clusters), seed=seed, restarts=restarts, normalize=normalize))
    distance = clustering.assign(found.points, found.clusters.centres)[1]
    return Score("km", distance, 1, features.ids if isinstance(features, FeatureFile) else None)


def score_features(
    file: FeatureFile,
    settings: ClusterSettings,
    out: Path,
    executor_config: ExecutorConfig = ExecutorConfig("serial"),  # noqa: B008 frozen
    *,
    wait: bool = False,
) -> tuple[FeaturesRecord, Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Cut features into clusters, and write the distance of each row to its centre; what is there already is given back. `out`
    (.parquet or .csv) gets `id, km, cluster`, `<out>.json` says how it was made. Returns what that says, and of each row cluster
    and distance."""
    check_output(out, TABLES)
    identity = {"digest": file.digest, **asdict(settings)}
    work = store.WorkFolder.beside_file(out, "clusters", key="identity")
    with work.work(identity, wait=wait) as finished:
        if not finished:
            found = cluster(file, settings)
            nearest, distance = _assigned(found, file, executor_config)
            metadata = {"km": {"harder": 1, "formula": FEATURE_SCORES["km"].formula}}
            with store.writing(out) as temporary:
                write_table(temporary, {"id": file.ids, "km": distance, "cluster": nearest}, metadata)
            about = {**asdict(found.record(file, settings)), "identity": identity}
            store.write_manifest(out.parent, work.manifest.name, about, [out.name])
    columns = read_table(out, ["cluster", "km"]).columns
    return store.read_manifest(out.parent, work.manifest.name, FeaturesRecord), columns["cluster"], columns["km"]


def add_features(run: Run, file: FeatureFile, clusters: str = "auto", *, seed: int = 0, restarts: int = 1) -> Run:
    """Add `km`, `km_cosine`, `prototype_distance`, `knn_agreement` and `outlier_distance` of features to a run, without training.

    Features are matched by id if their file has ids, else row by row. Asked again with the same file and settings, the run is
    given back at once; other features or settings replace the columns. What features do not allow (a direction of a row of zeros)
    is absent with its reason. `manifest.features` says digest, k and curve.

    Args:     clusters: "auto", "classes" or a number, as text; `seed` and `restarts` are those of k-means.
    Raises:   InputError: examples without features, features that are not finite, too few for the clusters.
    """
    check_type("run", run, Run, "Open its folder with `open_run`.")
    check_type("file", file, FeatureFile, "Open it with `read_features`.")
    settings = ClusterSettings(clusters, len(run.classes), seed, restarts)
    with store.lock(run.path):
        run = open_run(run.path)
        place, home = file.path.resolve(), run.path.resolve()
        inside = place.relative_to(home) if place.is_relative_to(home) else place  # what lies in the run moves with it
        write_local(run.path, features=str(inside))
        before = run.manifest.features
        if before and (before.digest, before.asked, before.seed, before.restarts) == (file.digest, clusters, seed, restarts):
            return run
        begun = time.perf_counter()
        matched = match(file, run.ids)
        found = cluster(matched, settings)
        added = _scores(matched, found, run, settings)
        record = found.record(file, settings, matched.n_left_out)
        _publish(run, added, record, Phase("features", round(time.perf_counter() - begun, 3), len(run.ids)))
    return open_run(run.path)


def _assigned(found: Clustering, file: FeatureFile, config: ExecutorConfig) -> Assigned:
    """Assign rows here, or part by part as jobs."""
    points, centres = found.points, found.clusters.centres
    if config.executor == "serial":
        return clustering.assign(points, centres)
    nearest, distance = np.empty(file.rows, np.int64), np.empty(file.rows)
    light = replace(file)  # without its ids
    shift = points.shift if isinstance(points, UnitRows) else None
    starts = range(0, file.rows, PART_ROWS)
    jobs = (Job(str(one), _assign_part, (light, one, min(one + PART_ROWS, file.rows), centres, shift)) for one in starts)
    for done in run_jobs(jobs, config):
        part = done.result(f"assigning rows from {done.key}", f"Every worker must see {file.path}.")
        here = slice(int(done.key), int(done.key) + len(part[0]))
        nearest[here], distance[here] = part
    return nearest, distance


def _assign_part(argument: tuple[FeatureFile, int, int, np.ndarray, Any], report: Report) -> Assigned:
    file, start, stop, centres, shift = argument
    part = np.concatenate(list(file.part(start, stop)))
    return clustering.assign(part if shift is None else UnitRows(part, shift), centres)


def _scores(matched: Matched, found: Clustering, run: Run, settings: ClusterSettings) -> Scores:
    labels, absent = matched.in_rows(run.labels), {}
    present = {"km": clustering.assign(matched, found.clusters.centres)[1]}
    try:
        ways = clustering.fit(UnitRows(matched), found.k, seed=settings.seed, restarts=settings.restarts).centres
        present["km_cosine"] = km_cosine(matched, ways)
    except InputError as reason:
        absent["km_cosine"] = str(reason)
    present["prototype_distance"] = prototype_distance(matched, labels)
    try:
        if matched.rows**2 * matched.width > MOST_PRODUCTS:
            raise InputError(f"all pairs of {matched.rows:,} rows take long: they are compared where it is asked for (prune --by).")
        present["knn_agreement"], present["outlier_distance"] = knn_scores(np.concatenate(list(matched)), labels)
    except InputError as reason:
        absent |= dict.fromkeys(("knn_agreement", "outlier_distance"), str(reason))
    found_scores = ((name, values[matched.place], FEATURE_SCORES[name].harder) for name, values in present.items())
    return Scores([Score(name, values, harder, run.ids, run.labels) for name, values, harder in found_scores], absent)


def _publish(run: Run, added: Scores, record: FeaturesRecord, cost: Phase) -> None:
    kept = [one for name, one in run.scores.items() if name not in FEATURE_SCORES]
    absent = {name: reason for name, reason in run.scores.absent.items() if name not in FEATURE_SCORES} | added.absent
    scores = Scores([*kept, *added.values()], absent)
    manifest = replace(
        run.manifest,
        scores=directions_of(scores),
        absent_scores=absent,
        features=record,
        cost=(*(phase for phase in run.manifest.cost if phase.phase != "features"), cost),
    )
    (run.path / MANIFEST).unlink()
    write_scores(run.path / SCORES_FILE, scores, run.classes)
    store.write_manifest(run.path, MANIFEST, manifest.plain, list(run.manifest.files))
