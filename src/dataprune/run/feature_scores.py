"""Features in a file → clusters → `km` in a file: how is that done once, by whomever, and gone on with after an interruption?"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from dataprune import kmeans, store
from dataprune.data import FeatureFile
from dataprune.errors import DatapruneError, InputError, WorkError, join_some
from dataprune.kmeans import Features, Map
from dataprune.run.clusters import Clustering, check_out, cluster, write_clusters
from dataprune.run.scratch import Scratch
from dataprune.scores import Score
from dataprune.workers import ExecutorConfig, Job, Pool, Report, open_pool

KEPT_FROM_BYTES = 2**28  # of features as float32: what is smaller is done again sooner than kept
PART_ROWS = 2**19  # rows assigned between two notes of what is done


@dataclass(frozen=True)
class Asked:
    """What is asked of a file of features; together with their content it makes the result.

    Attributes:
        clusters: "auto" (the elbow of the inertia curve), "classes", or a number.
        n_classes: for "classes".
        seed: of the sample and the starts.
        restarts: as for `kmeans.fit`.
        sample: fit on so many rows, drawn by the seed; None fits all.
        normalize: divide each row by its length first.
    """

    clusters: str = "auto"
    n_classes: int | None = None
    seed: int = 0
    restarts: int = 1
    sample: int | None = None
    normalize: bool = False


def km(
    features: FeatureFile | np.ndarray,
    clusters: int | Literal["auto"] = "auto",
    *,
    normalize: bool = False,
    seed: int = 0,
    restarts: int = 1,
    workers: int | None = None,
) -> Score:
    """Score feature vectors without labels: the distance of each to the nearest centre of k-means.

    Args:
        features: (N, D) numbers, or a file as `read_features` opens it, which is read as a stream and may be larger than memory.
        clusters: how many; "auto" takes the elbow of the inertia curve.
        normalize: divide each row by its length first.
        seed: of the starts.
        restarts: starts to try; the best is taken.
        workers: threads; no result depends on it.

    Returns:
        `km`, harder where larger; by the ids of the file, else by row.

    Raises:
        InputError: features that are not finite (with rows), or too few for the clusters.

    Source: after Sorscher et al. 2022, arXiv:2206.14486. Departs: Euclidean distance to the centre, as in the report.

    Example:
        >>> km(np.array([[0.0], [0.2], [5.0], [5.2], [6.0]]), 2).values.round(2).tolist()
        [0.1, 0.1, 0.4, 0.2, 0.6]
    """
    points = kmeans.unit_rows(features) if normalize else features
    found = cluster(points, str(clusters), len(features), seed=seed, restarts=restarts, workers=workers)
    distance = kmeans.assign(points, found.clusters.centres, workers=workers)[1]
    return Score("km", distance, 1, features.ids if isinstance(features, FeatureFile) else None)


def score_features(
    file: FeatureFile,
    asked: Asked,
    out: Path,
    executor_config: ExecutorConfig = ExecutorConfig("serial"),  # noqa: B008 frozen
    *,
    wait: bool = False,
) -> tuple[Clustering, Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Cut features into clusters, and write the distance of each row to its centre.

    Large features are gone on with after an interruption: what is done lies in a hidden folder beside `out` until `out` is written.

    Args:
        file: what to cut.
        asked: how.
        out: `id, km, cluster`, .parquet or .csv; `<out>.json` beside it says how it was made.
        crew: who does the work: `serial` in this process, on as many threads as it has workers.
        wait: if another process works on `out`, wait for it.

    Returns:
        The clusters, and of each row its cluster and its distance to the centre.

    Raises:
        InputError: what `cluster` refuses; another process works on `out`; on Ray, features that some node does not see.
        MachineError: no room, no permission, no Ray.
    """
    check_out(out)
    features = kmeans.unit_rows(file) if asked.normalize else file
    how = {"restarts": asked.restarts, "seed": asked.seed, "sample": asked.sample}
    with _scratch(file, asked, out, wait) as scratch, _map(file, executor_config) as parallel:
        place = {
            "workers": executor_config.workers if executor_config.executor == "serial" else 1,
            "map": parallel,
            "scratch": scratch,
        }
        found = cluster(features, asked.clusters, file.rows, asked.n_classes, **how, **place)  # type: ignore[arg-type]
        nearest, distance = assigned(features, found.clusters.centres, **place)  # type: ignore[arg-type]
        about = {**how, "normalize": asked.normalize, "rows": file.rows, "columns": file.width, "digest": file.digest}
        write_clusters(out, file.ids, distance, nearest, {**found.record(), **about})
    return found, nearest, distance


def assigned(
    features: Features,
    centres: Float64[np.ndarray, "clusters dimensions"],
    *,
    workers: int | None = None,
    map: Map | None = None,
    scratch: Scratch | None = None,
) -> tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Assign rows as `kmeans.assign` does; with a scratch folder part by part, and what was done before an interruption is kept."""
    n_rows = getattr(features, "rows", None)
    if scratch is None or n_rows is None or not hasattr(features, "part"):
        return kmeans.assign(features, centres, workers=workers, map=map)
    nearest, distance = np.empty(n_rows, np.int64), np.empty(n_rows)
    step = -(-PART_ROWS // kmeans.block_rows(centres.shape[1])) * kmeans.block_rows(centres.shape[1])
    for number, start in enumerate(range(0, n_rows, step)):
        name, rows = f"assigned-{number:05d}", slice(start, min(start + step, n_rows))
        found = scratch.arrays(name)
        if found is None:
            part = features.part(rows.start, rows.stop)
            found = dict(zip(("nearest", "distance"), kmeans.assign(part, centres, workers=workers, map=map), strict=True)), {}
            scratch.keep(name, *found)
        nearest[rows], distance[rows] = found[0]["nearest"], found[0]["distance"]
    return nearest, distance


def map_of(pool: Pool) -> Map:
    """Yield a map whose calls are jobs of a pool.

    Raises:
        DatapruneError: (in the calls) what a job raised; WorkError where it raised something else or its workers died.
    """

    def over(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        jobs = (Job(str(number), _called, (function, item)) for number, item in enumerate(items))
        waiting: dict[int, Any] = {}
        following = 0
        for outcome in pool.run(jobs, lambda key, message: None):
            if outcome.error is not None:
                if isinstance(outcome.exception, DatapruneError):
                    raise outcome.exception
                raise WorkError(f"a part of the features could not be worked on: {outcome.error}. The same command goes on.")
            waiting[int(outcome.key)] = outcome.value
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    return over


def _called(call: tuple[Callable[[Any], Any], Any], report: Report) -> Any:
    function, item = call
    return function(item)


@contextlib.contextmanager
def _scratch(file: FeatureFile, asked: Asked, out: Path, wait: bool) -> Iterator[Scratch | None]:
    """Yield a folder beside `out` for what is done, where doing it again would take long; it goes once all is done."""
    if file.rows * file.width * 4 < KEPT_FROM_BYTES:
        yield None
        return
    folder = out.with_name(f".{out.name}.scratch")
    folder.mkdir(exist_ok=True)
    with store.lock(folder, wait=wait, name=out):
        identity = {"asked": asdict(asked), "digest": file.digest, "numpy": np.__version__, "torch": _torch_version()}
        yield Scratch.of(folder, identity)
        shutil.rmtree(folder, ignore_errors=True)  # under the lock: one who waits makes it anew


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


@contextlib.contextmanager
def _map(file: FeatureFile, executor_config: ExecutorConfig) -> Iterator[Map | None]:
    if executor_config.executor == "serial":
        yield None
        return
    with open_pool(executor_config) as workers:
        unseen = workers.unseen(file.shards)
        if unseen:
            raise InputError(
                f"`features` {file.path} are not to be seen on {join_some(unseen, most=3)}. Put them where every node sees them."
            )
        yield map_of(workers)
