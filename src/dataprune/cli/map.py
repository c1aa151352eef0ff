"""`dataprune map`: feature vectors as points in two dimensions, coloured by what is known of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dataprune.cli.km import Clusters, FeatureLabels, Features, labels_of
from dataprune.cli.lines import say
from dataprune.cli.options import Output, Seed, at_least, is_file
from dataprune.cli.reading import warn_all
from dataprune.errors import InputError, invalid
from dataprune.report.text import display_text, pluralise

if TYPE_CHECKING:
    import numpy as np

    from dataprune.data import FeatureFile
    from dataprune.run import Run


def map_(
    features: Features,
    /,
    *,
    out: Output,
    color: str = "cluster",
    labels: FeatureLabels = None,
    run: Path | None = None,
    clusters: Clusters = "auto",
    sample: Annotated[int, at_least(4)] = 5000,
    seed: Seed = 0,
) -> None:
    """Draw a map of feature vectors: what is near is alike.

    Takes features that were made elsewhere, and lays out a sample of them by t-SNE. Distances between far groups mean little.

    For example:
        dataprune map features.npy --color label --labels labels.csv --out map.png
        dataprune map features.npy --color el2n --run run --out map.png

    Args:
        out: Map to write, .png.
        color: What colours the points: label (of --labels or --run), cluster (by k-means), a score of --run, or FILE:COLUMN.
        run: A run of the same examples: its labels, its scores.
        sample: Draw so many examples, chosen by the seed.
    """
    import numpy as np

    from dataprune.clustering import take
    from dataprune.data import read_features
    from dataprune.report.figures import write_plot
    from dataprune.report.maps import map_data
    from dataprune.run import open_run
    from dataprune.streams import generator
    from dataprune.tables import check_output

    check_output(out, (".png",))
    file = read_features(features)
    opened = None if run is None else open_run(run)
    say(f"read {display_text(features)}: {pluralise(file.rows, 'row')} of {pluralise(file.width, 'column')}")
    if color == "cluster":
        groups, names, values = (*clusters_of(file, clusters, labels, opened, seed), None)
    elif color == "label":
        groups, names, values = (*given_labels(file, labels, opened), None)
    else:
        groups, names, values = None, (), given_score(file, color, opened)
    rows = np.arange(file.rows)
    if sample < file.rows:
        rows = np.sort(generator(seed, "map", "sample").choice(file.rows, sample, replace=False))
    some_groups, some_values = (None if one is None else one[rows] for one in (groups, values))
    write_plot(map_data(take(file, rows), color, some_groups, names, some_values, seed), out)
    say(f"written: {out}, {pluralise(len(rows), 'example')} coloured by {display_text(color)}")


def clusters_of(
    file: "FeatureFile", asked: str, labels: str | None, run: "Run | None", seed: int
) -> "tuple[np.ndarray, tuple[str, ...]]":
    """Cut the features into clusters, and name these by their numbers."""
    from dataprune.clustering import assign
    from dataprune.run import ClusterSettings, cluster

    n_classes = None if labels is None and run is None else len(given_labels(file, labels, run)[1])
    found = cluster(file, ClusterSettings(asked, n_classes, seed))
    warn_all(found.notes)
    return assign(file, found.clusters.centres)[0], tuple(f"cluster {number}" for number in range(found.k))


def given_labels(file: "FeatureFile", labels: str | None, run: "Run | None") -> "tuple[np.ndarray, tuple[str, ...]]":
    """Find the label of each row, in the file of labels or in the run."""
    if labels is not None:
        return labels_of(file, labels)
    if run is None:
        raise InputError("`--color label` needs labels: give --labels FILE:COLUMN or --run RUN.")
    return in_rows(file, run, run.labels), run.classes


def given_score(file: "FeatureFile", color: str, run: "Run | None") -> "np.ndarray":
    """Find the score of each row, in a file or in the run."""
    from dataprune.run.own_scores import score_of_file

    if run is not None and color in run.scores:
        return in_rows(file, run, run.scores[color].values)
    if ":" not in color and not is_file(color):
        if run is None:
            raise invalid("color", "be label, cluster, FILE:COLUMN, or with --run RUN a score", repr(color))
        return run.scores[color].values  # refuses it, and says what there is
    return score_of_file(color, file.ids).values


def in_rows(file: "FeatureFile", run: "Run", values: "np.ndarray") -> "np.ndarray":
    """Bring values of a run's examples into the order of the file's rows, which must be the same examples."""
    import numpy as np

    from dataprune.run import match

    matched = match(file, run.ids)
    if matched.n_left_out:
        raise invalid("features", f"hold the examples of {run.path} only", f"{matched.n_left_out} rows of others")
    ordered = np.empty_like(values)
    ordered[matched.place] = values
    return ordered
