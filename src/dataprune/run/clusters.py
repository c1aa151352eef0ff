"""Into how many clusters are features cut, why so many, and how is it written down?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from dataprune import kmeans, store
from dataprune.errors import invalid
from dataprune.kmeans import Clusters, Curve, Features, Map
from dataprune.kmeans.blocks import blocks
from dataprune.run.scratch import Scratch
from dataprune.scores import FEATURE_SCORES
from dataprune.tables import write_table

FEW = 20  # below so many, the classes' number is a bad number of clusters: in the report on CIFAR-10, 5 was worst and 10 next
CURVE_ROWS = 20_000
CURVE_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class Clustering:
    """Centres, and how their number came about.

    Attributes:
        clusters: the centres.
        asked: `auto`, `classes` or a number, as it was asked for.
        curve: the inertia against the number of clusters, if it was looked at.
        curve_rows: how many rows that was measured on.
        notes: cautions for a person.
    """

    clusters: Clusters
    asked: str
    curve: Curve | None
    curve_rows: int
    notes: tuple[str, ...]

    @property
    def k(self) -> int:
        """How many clusters there are."""
        return len(self.clusters.centres)

    def record(self) -> dict[str, Any]:
        """Return in plain JSON what was asked and what came of it."""
        curve = self.curve
        return {
            "k": self.k,
            "asked": self.asked,
            "elbow": None if curve is None else curve.elbow,
            "curve": None
            if curve is None
            else {"clusters": curve.clusters.tolist(), "inertia": curve.inertia.tolist(), "rows": self.curve_rows},
            "inertia": self.clusters.inertia,
            "rows_fitted": self.clusters.rows,
            "iterations": self.clusters.iterations,
            "converged": self.clusters.converged,
            "sizes": self.clusters.sizes.tolist(),
            "notes": list(self.notes),
        }


def cluster(
    features: Features,
    asked: str,
    n_rows: int,
    n_classes: int | None = None,
    *,
    seed: int = 0,
    restarts: int = 1,
    sample: int | None = None,
    workers: int | None = None,
    map: Map | None = None,
    scratch: Scratch | None = None,
) -> Clustering:
    """Fit k-means with the number of clusters that is asked for.

    Args:
        features: of `n_rows` rows.
        asked: "auto" (the elbow of the inertia curve), "classes", or a number.
        n_rows: how many rows there are.
        n_classes: for "classes".
        seed: of the sample and the starts.
        restarts: as for `kmeans.fit`.
        sample: fit on so many rows, drawn by the seed; None fits all.
        workers: threads; no result depends on it.
        map: does the work in place of threads, as for `kmeans.fit`; no result depends on it.
        scratch: where to keep what is done, and to go on from.

    Raises:
        InputError: another word, "classes" without labels, and what `kmeans.fit` refuses.
    """
    curve, rows, notes = None, 0, []
    if asked == "auto":
        rows = min(n_rows, CURVE_ROWS, sample or n_rows)
        curve = None if scratch is None else scratch.curve()
        if curve is None:
            about = {"seed": seed, "sample": rows, "iterations": CURVE_ITERATIONS, "workers": workers, "map": map}
            curve = kmeans.inertia_curve(features, kmeans.geometric_grid(rows), **about)  # type: ignore[arg-type]
            if scratch is not None:
                scratch.keep_curve(curve)
        k = curve.elbow or _without_elbow(curve, rows)
        if curve.elbow is None:
            span = f"{curve.clusters[0]} ... {curve.clusters[-1]}"
            notes.append(
                f"the inertia curve has no elbow over {span} clusters; {k} were taken, about √(rows / 2), which the data do not "
                "speak for. Look at the curve and give --clusters NUMBER"
            )
    elif asked == "classes":
        if not n_classes:
            raise invalid("clusters", "be a number where there are no labels", "'classes'", "Give --labels FILE, or a number.")
        k = n_classes
    else:
        k = _number(asked)
    if k < FEW:
        notes.append(
            f"{k} clusters are few: on CIFAR-10, sets kept by km with 5 clusters trained worst and with 10 next worst. "
            f"Compare with --clusters {5 * FEW // 2} or more"
        )
    found = kmeans.fit(features, k, seed=seed, restarts=restarts, sample=sample, workers=workers, map=map, keeper=scratch)
    return Clustering(found, asked, curve, rows, tuple(notes))


def write_clusters(
    out: Path,
    ids: np.ndarray,
    km: Float64[np.ndarray, " rows"],
    nearest: Int64[np.ndarray, " rows"],
    about: Mapping[str, object],
) -> None:
    """Write `id, km, cluster` as .parquet or .csv, and `about` as JSON in `<out>.json`, with a checksum of the file.

    Raises:
        InputError: another ending, or the folder does not exist.
        MachineError: no room, or no permission.
    """
    check_out(out)
    metadata = {"km": {"harder": 1, "formula": FEATURE_SCORES["km"]}}
    with store.writing(out) as temporary:
        write_table(temporary, {"id": ids, "km": km, "cluster": nearest}, metadata)
    store.write_manifest(out.parent, f"{out.name}.json", about, [out.name])


def check_out(out: Path) -> None:
    """Refuse a name that could not be written, before any work."""
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise invalid("out", "end in .parquet or .csv", repr(str(out)))
    if not out.parent.is_dir():
        raise invalid("out", "lie in a folder that exists", f"{out.parent}")


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some rows of features, as blocks."""

    features: Features
    keep: np.ndarray

    def __iter__(self) -> Iterator[np.ndarray]:
        start = 0
        for block in blocks(self.features):
            yield block[self.keep[start : start + len(block)]]
            start += len(block)

    @cached_property
    def _taken(self) -> np.ndarray:
        return np.flatnonzero(self.keep)

    @property
    def rows(self) -> int:
        return len(self._taken)

    def __getattr__(self, name: str) -> Any:
        """Return `width` of features that have it, and `part` of features that can be read in parts."""
        if name == "width":
            return getattr(self.features, name)
        if name == "part" and hasattr(self.features, "part"):
            return self._part
        raise AttributeError(name)

    def _part(self, start: int, stop: int) -> "Chosen":
        first, last = int(self._taken[start]), int(self._taken[stop - 1]) + 1
        return Chosen(self.features.part(first, last), self.keep[first:last])  # type: ignore[union-attr]


def _number(asked: str) -> int:
    try:
        return int(asked)
    except ValueError:
        raise invalid("clusters", "be auto, classes or a whole number", repr(asked)) from None


def _without_elbow(curve: Curve, rows: int) -> int:
    """Take the number tried that is nearest to √(rows / 2), a rule of thumb (Mardia et al. 1979)."""
    return int(curve.clusters[np.abs(np.log(curve.clusters / np.sqrt(rows / 2))).argmin()])
