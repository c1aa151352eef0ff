"""`dataprune km`: difficulty without labels, from feature vectors that are already there."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dataprune.cli.lines import say, say_columns
from dataprune.cli.options import Address, Output, Quiet, Seed, Wait, Workers, at_least
from dataprune.cli.reading import warn_all
from dataprune.errors import invalid
from dataprune.report.text import display_text, pluralise

if TYPE_CHECKING:
    import numpy as np

    from dataprune.data import FeatureFile
    from dataprune.run.manifest import FeaturesRecord

N_HARDEST = 5

Features = Annotated[
    Path,
    Parameter(
        help="A .npy file (examples, dimensions), a Parquet file (a column of lists, or a column for each dimension; id names the "
        "rows), or a folder of such files, read in the order of their names."
    ),
]
Clusters = Annotated[
    str,
    Parameter(
        help="How many clusters: auto takes the elbow of the inertia curve, classes as many as there are classes; or a number."
    ),
]
FeatureLabels = Annotated[
    str | None,
    Parameter(help="Labels of the rows, FILE or FILE:COLUMN, CSV or Parquet: by its column id if it has one, else by row."),
]


def km(
    features: Features,
    /,
    *,
    out: Output,
    clusters: Clusters = "auto",
    labels: FeatureLabels = None,
    normalize: bool = False,
    restarts: Annotated[int, at_least(1)] = 1,
    sample: Annotated[int | None, at_least(2)] = None,
    plot: Output | None = None,
    wait: Wait = False,
    seed: Seed = 0,
    workers: Workers = None,
    executor: Literal["serial", "processes", "ray"] = "serial",
    address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Score feature vectors without labels, by k-means.

    Takes features that were made elsewhere. Writes FILE with id, km and cluster for each row, and FILE.json with the number of
    clusters, the inertia curve and what was asked. Of features that do not fit memory a sample is fitted.

    For example:
        dataprune km features.npy --out km.parquet
        dataprune km shards/ --clusters 100 --sample 200000 --out km.parquet

    Args:
        out: Write id, km, cluster: .parquet or .csv.
        normalize: Divide each row by its length first.
        restarts: Starts to try; the best is taken.
        sample: Fit the centres on so many rows, drawn by the seed.
        plot: Draw the inertia curve, .png.
        executor: Who assigns rows to centres: this process, --workers processes, or Ray, where every node sees FEATURES.
    """
    from dataprune.data import read_features
    from dataprune.report.figures import write_plot
    from dataprune.report.run_figures import inertia_data
    from dataprune.run.clusters import ClusterSettings, score_features
    from dataprune.tables import TABLES, check_output
    from dataprune.workers import ExecutorConfig

    check_output(out, TABLES)
    if plot is not None:
        check_output(plot, (".png",), name="plot")
        if clusters != "auto":
            raise invalid("plot", "go with --clusters auto, for which the inertia curve is made", f"--clusters {clusters}")
    file = read_features(features)
    if not quiet:
        say(f"read {display_text(features)}: {pluralise(file.rows, 'row')} of {pluralise(file.width, 'column')}")
    n_classes = None if labels is None else len(labels_of(file, labels)[1])
    settings = ClusterSettings(clusters, n_classes, seed, restarts, sample, normalize)
    found, nearest, distance = score_features(file, settings, out, ExecutorConfig(executor, workers, address=address), wait=wait)
    if not quiet:
        say_clusters(found)
        say_farthest(file, distance, nearest)
    warn_all(found.notes)
    if plot is not None and found.curve is not None:
        write_plot(inertia_data(found.curve.clusters, found.curve.inertia, found.k, found.elbow), plot)
    if not quiet:
        say(f"written: {out}, and {out.name}.json with the number of clusters and the curve" + (f"; {plot}" if plot else ""))
        say(f"next: dataprune prune RUN --by {shlex.quote(f'{out}:km')} --keep 0.7 --out kept.csv")


def labels_of(file: "FeatureFile", spec: str) -> "tuple[np.ndarray, tuple[str, ...]]":
    """Read the labels of a feature file's rows: class indices, and the names of the classes."""
    from dataprune.data.labels import read_labels

    aligned = read_labels(spec).align(file.ids.tolist(), ())
    warn_all(aligned.notes)
    return aligned.labels, aligned.classes


def say_clusters(found: "FeaturesRecord") -> None:
    """Report how many clusters there are, why, and how well they fit."""
    curve, n_rows = found.curve, found.rows_fitted
    why = {"auto": "no elbow", "classes": "the number of classes"}.get(found.asked, "as asked")
    if curve is not None:
        why = f"{'the elbow' if found.elbow else 'no elbow'} of the inertia curve over {curve.clusters[0]} ... {curve.clusters[-1]}"
        why += f", from {pluralise(curve.rows, 'row')}"
    say(f"clusters: {found.k} ({why})")
    went = f"{pluralise(found.iterations, 'iteration')}{'' if found.converged else ', not converged'}"
    say(
        f"inertia: {found.inertia:.6g}, {found.inertia / n_rows:.4g} a row, over {pluralise(n_rows, 'row')}; {went}; "
        f"clusters of {min(found.sizes):,} ... {max(found.sizes):,} rows"
    )


def say_farthest(file: "FeatureFile", distance: "np.ndarray", nearest: "np.ndarray") -> None:
    """Print the rows that lie farthest from their centre."""
    import numpy as np

    say("hardest by km:")
    rows = np.argsort(-distance, kind="stable")[:N_HARDEST].tolist()
    say_columns([(f"{distance[row]:.4g}", f"cluster {nearest[row]}", file.ids[row]) for row in rows])
