"""`dataprune embed`, `km` and `map`: features made, scored without labels, and drawn as a map."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import dataprune as dp
from dataprune.cli import options
from dataprune.cli.lines import say, say_columns, say_file, warn
from dataprune.cli.options import FLAT, Address, Data, Device, Output, Overwrite, Quiet, Reading, Seed, Wait, Workers, at_least
from dataprune.cli.progress import Progress, learning
from dataprune.errors import InputError, invalid, percent
from dataprune.report.text import display_text, duration, operations, pluralise
from dataprune.training.settings import Hardware, SwavSettings

if TYPE_CHECKING:
    import numpy as np


def embed(
    data: Data,
    /,
    *,
    out: Output,
    encoder: str = "auto",
    swav: Annotated[SwavSettings, FLAT] = SwavSettings(),
    run: Path | None = None,
    components: Annotated[int | None, at_least(1)] = None,
    reading: Annotated[Reading, FLAT] = Reading(),
    wait: Wait = False,
    device: Device = None,
    workers: Workers = None,
    executor: Literal["serial", "processes"] | None = None,
    quiet: Quiet = False,
) -> object:
    """Make a feature vector of every picture or text of DATA.

    Writes FILE, a row for each example in the order of the source, for dataprune km, dataprune map and dataprune score --features.
    Where there are labels, says how good the features are: how often the 20 nearest training examples name the class of a test
    example, beside the same for the bare pixels. Labels take no part in the features. Interrupted, the same command goes on.

    For example:
        dataprune embed flowers --out features.parquet
        dataprune embed flowers --encoder trace --run run --out features.npy

    Args:
        out: Write features there: .parquet, which names the rows, or .npy; a .json beside it says how they were made.
        encoder: swav learns from the pictures, without labels; trace takes what the last layer of a run's first network sees (with
            --run); pixels takes principal components (a control); others as for dataprune score. Default: auto, the built-in one
            for colour photographs, if it is installed, else swav.
        run: For trace: a folder made by dataprune score.
        components: For pixels: how many. Default: 128.
        executor: Train in this process, or in one beside it. Default: beside it on a CPU.
    """
    from dataprune.run.embed import work_folder
    from dataprune.training.swav.recipe import swav_recipe_named

    hardware = Hardware(device, executor, workers)
    _check_options(encoder, swav, components)
    work_folder(out).check()  # before what may take long
    if swav.recipe is not None:
        swav_recipe_named(swav.recipe)
    chosen = {} if components is None else {"components": components}
    settings = dp.EmbedSettings(encoder, swav, model=swav.model if encoder == "trace" else None, **chosen)
    opened = None if run is None else dp.open_run(run)
    splits = options.read_all(data, reading, workers, run=opened)
    options.say_data(data, splits.train)
    made = make(splits.train, out, settings, hardware, test=splits.test, run=opened, wait=wait)
    shape = f"{pluralise(len(splits.train), 'row')} of {pluralise(made.manifest.columns, 'column')}"
    say_file(out, f"{shape}; how: {out.with_suffix('.json')}")
    normalize = "" if made.manifest.asked["encoder"] == "swav" else " --normalize"  # those are of length one already
    say(f"next: dataprune km {shlex.quote(str(out))}{normalize} --out km.parquet")
    return made


def _check_options(encoder: str, swav: SwavSettings, components: int | None) -> None:
    for name in ("effort", "recipe", "epochs", "batch"):
        if encoder not in ("auto", "swav") and getattr(swav, name) is not None:
            raise invalid(name, "go with --encoder swav", f"--encoder {encoder}")
    if components is not None and encoder != "pixels":
        raise invalid("components", "go with --encoder pixels", f"--encoder {encoder}")
    if swav.model is not None and encoder not in ("auto", "swav", "trace"):
        raise invalid("model", "go with --encoder swav or trace", f"--encoder {encoder}")


def make(
    dataset: "dp.Dataset",
    out: Path,
    settings: "dp.EmbedSettings",
    hardware: Hardware,
    *,
    test: "dp.Dataset | None" = None,
    run: "dp.Run | None" = None,
    wait: bool = False,
) -> "dp.Embedding":
    """Make features, with progress on stdout, then what they cost and how good they are."""
    with Progress("working") as progress:
        made = dp.embed(dataset, out, settings, hardware, test=test, run=run, wait=wait, listener=learning(progress))
    if made.manifest.asked["encoder"] == "swav":
        spent = made.manifest.cost[0]
        cost = f"{duration(spent.wall_seconds)} on the clock, {spent.examples_seen:,} examples seen, {operations(spent.flops)}"
        past = f"{out} was finished at {made.manifest.finished}: nothing had to be trained"
        say(f"cost: {cost}" if progress.heard else past)
    quality, variance = made.manifest.quality, made.manifest.about.get("explained_variance")
    if variance is not None:
        say(f"{pluralise(made.manifest.columns, 'component')} hold {percent(variance, 1)} of the variance")
    if quality is None:
        say("quality: not measured, there are no labels")
        return made
    pixels, accuracy = quality.pixels_knn_accuracy, quality.knn_accuracy
    control = "" if pixels is None else f"; of the bare pixels {percent(pixels, 1)}"
    is_tested = quality.against == "test"
    how = f"{quality.queries:,} test examples" if is_tested else "each example among the others, as no test split is there"
    say(f"quality: the {quality.neighbours} nearest name the class of {percent(accuracy, 1)} ({how}){control}")
    if pixels is not None and accuracy < pixels:
        warn("these features tell classes apart worse than bare pixels do; try more --epochs, or another --encoder")
    return made


N_HARDEST = 5

Features = Annotated[
    Path,
    Parameter(
        help="A .npy file (examples, dimensions), a Parquet file (a column of lists, or a column for each dimension; id names the "
        "rows), or a folder of such files, read in the order of their names. With --encoder: the data."
    ),
]


@dataclass(frozen=True)
class Cut:
    """Where features come from, and how they are cut.

    Attributes:
        encoder: Take the features that this encoder makes of the pictures of a data set, as for dataprune embed.
        clusters: How many clusters: auto takes the elbow of the inertia curve, classes as many as there are classes; or a number.
        labels: Labels of the rows, FILE or FILE:COLUMN, CSV or Parquet: by the column that names the rows, else by row.
    """

    encoder: str | None = None
    clusters: str = "auto"
    labels: str | None = None

    def read(self, features: Path) -> "dp.FeatureFile":
        """Open the features; with an encoder make those of the data first, in the cache."""
        from dataprune import store
        from dataprune.data.pack import cache_root

        if self.encoder is not None:
            dataset, folder = options.read_data(str(features), Reading()), cache_root()[0] / "features"
            folder.mkdir(parents=True, exist_ok=True)
            place = folder / f"{store.json_digest([self.encoder, dataset.fingerprint])[:24]}.parquet"
            features = make(dataset, place, dp.EmbedSettings(self.encoder), Hardware(), wait=True).path
        file = dp.read_features(features)
        say(f"read {display_text(features)}: {pluralise(file.rows, 'row')} of {pluralise(file.width, 'column')}")
        return file

    def labels_of(self, file: "dp.FeatureFile", run: "dp.Run | None" = None) -> "tuple[np.ndarray, tuple[str, ...]]":
        """Find the label of each row, in a file of labels or in the run: class indices, and the names of the classes."""
        from dataprune.data.labels import read_labels

        if self.labels is not None:
            aligned = read_labels(self.labels).align(file.ids.tolist(), ())
            warn(*aligned.notes)
            return aligned.labels, aligned.classes
        if run is None:
            raise InputError("`--color label` needs labels: give --labels FILE:COLUMN or --run RUN.")
        return _in_rows(file, run, run.labels), run.classes


def km(
    features: Features,
    /,
    *,
    out: Output,
    cut: Annotated[Cut, FLAT] = Cut(),
    normalize: bool = False,
    restarts: Annotated[int, at_least(1)] = 1,
    sample: Annotated[int | None, at_least(2)] = None,
    plot: Output | None = None,
    wait: Wait = False,
    overwrite: Annotated[
        bool, Parameter(help="Replace a picture of `--plot` that is another. FILE of other settings never is.")
    ] = False,
    seed: Seed = 0,
    workers: Workers = None,
    executor: Literal["serial", "processes", "ray"] = "serial",
    address: Address = None,
    quiet: Quiet = False,
) -> object:
    """Score feature vectors without labels, by k-means.

    Takes features that were made elsewhere, or makes them by an encoder. Writes FILE with id, km and cluster for each row, and
    FILE.json with the number of clusters, the inertia curve and what was asked. Where features do not fit memory, the centres are
    fitted on a sample.

    For example:
        dataprune km features.npy --out km.parquet
        dataprune km flowers --encoder auto --out km.parquet
        dataprune km shards/ --clusters 100 --sample 200000 --out km.parquet

    Args:
        out: Write id, km, cluster: .parquet or .csv.
        normalize: Cluster the directions in which rows lie from their mean. Always so with --encoder.
        restarts: Starts to try; the best is taken.
        sample: Fit the centres on this many rows, drawn by the seed.
        plot: Draw the inertia curve, .png.
        executor: What assigns rows to centres: this process, --workers processes, or Ray, where every node sees FEATURES.
    """
    import numpy as np

    from dataprune.report.figures import check_ours, write_plot
    from dataprune.report.run_figures import inertia_data
    from dataprune.run.clusters import ClusterSettings, score_features
    from dataprune.tables import TABLES, check_output
    from dataprune.workers import ExecutorConfig

    check_output(out, TABLES)
    if plot is not None:
        check_output(plot, (".png",), name="plot")
        check_ours(plot, overwrite=overwrite)
        if cut.clusters != "auto":
            raise invalid("plot", "go with --clusters auto, for which the inertia curve is made", f"--clusters {cut.clusters}")
    file = cut.read(features)
    n_classes = None if cut.labels is None else len(cut.labels_of(file)[1])
    settings = ClusterSettings(cut.clusters, n_classes, seed, restarts, sample, normalize or cut.encoder is not None)
    found, nearest, distance = score_features(file, settings, out, ExecutorConfig(executor, workers, address=address), wait=wait)
    curve, why = found.curve, {"auto": "no elbow", "classes": "the number of classes"}.get(found.asked, "as asked")
    if curve is not None:
        why = f"{'the elbow' if found.elbow else 'no elbow'} of the inertia curve over {curve.clusters[0]} ... {curve.clusters[-1]}"
        why += f", from {pluralise(curve.rows, 'row')}"
    say(f"clusters: {found.k} ({why})")
    say(
        f"inertia: {found.inertia:.6g}, {found.inertia / found.rows_fitted:.4g} a row, over {pluralise(found.rows_fitted, 'row')}; "
        f"{pluralise(found.iterations, 'iteration')}{'' if found.converged else ', not converged'}; "
        f"clusters of {min(found.sizes):,} ... {max(found.sizes):,} rows"
    )
    say("hardest by km:")
    rows = np.argsort(-distance, kind="stable")[:N_HARDEST].tolist()
    say_columns([(f"{distance[row]:.4g}", f"cluster {nearest[row]}", file.ids[row]) for row in rows])
    warn(*found.notes)
    if plot is not None and curve is not None:
        write_plot(inertia_data(curve.clusters, curve.inertia, found.k, found.elbow), plot)
    say_file(out, f"and {out.name}.json with the number of clusters and the curve")
    if plot is not None:
        say_file(plot)
    say(f"next: dataprune prune RUN --by {shlex.quote(f'{out}:km')} --keep 0.7 --out kept.csv")
    return found


def map_(
    features: Features,
    /,
    *,
    out: Output,
    color: str = "cluster",
    cut: Annotated[Cut, FLAT] = Cut(),
    run: Path | None = None,
    sample: Annotated[int, at_least(4)] = 5000,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> object:
    """Draw a map of feature vectors: what is near is alike.

    Takes features that were made elsewhere, or makes them by an encoder, and lays out a sample of them by t-SNE. Distances between
    far groups mean little.

    For example:
        dataprune map features.npy --color label --labels labels.csv --out map.png
        dataprune map features.npy --color el2n --run run --out map.png

    Args:
        out: Map to write, .png.
        color: What colours the points: label (of --labels or --run), cluster (by k-means), a score of --run, or FILE:COLUMN.
        run: A run of the same examples: its labels, its scores.
        sample: Draw this many examples, chosen by the seed.
    """
    import numpy as np

    from dataprune.clustering import assign, take
    from dataprune.report.figures import check_ours, write_plot
    from dataprune.report.maps import map_data
    from dataprune.run.clusters import ClusterSettings, cluster
    from dataprune.run.own_scores import known_score, score_of_file
    from dataprune.streams import generator
    from dataprune.tables import check_output

    check_output(out, (".png",))
    check_ours(out, overwrite=overwrite)
    opened = None if run is None else dp.open_run(run)
    file = cut.read(features)
    names: tuple[str, ...] = ()
    groups = values = None
    if color == "cluster":
        n_classes = None if cut.labels is None and run is None else len(cut.labels_of(file, opened)[1])
        found = cluster(file, ClusterSettings(cut.clusters, n_classes, seed))
        warn(*found.notes)
        groups, names = assign(file, found.clusters.centres)[0], tuple(f"cluster {number}" for number in range(found.k))
    elif color == "label":
        groups, names = cut.labels_of(file, opened)
    elif ":" in color or options.is_file(color):
        values = score_of_file(color, file.ids).values
    elif opened is not None:
        values = _in_rows(file, opened, known_score(opened, color).values)
    else:
        raise invalid("color", "be label, cluster, FILE:COLUMN, or with --run RUN a score", repr(color))
    rows = np.arange(file.rows)
    if sample < file.rows:
        rows = np.sort(generator(seed, "map", "sample").choice(file.rows, sample, replace=False))
    some_groups, some_values = (None if one is None else one[rows] for one in (groups, values))
    write_plot(map_data(take(file, rows), color, some_groups, names, some_values, seed), out)
    say_file(out, f"{pluralise(len(rows), 'example')} coloured by {display_text(color)}")
    return {"n_shown": len(rows)}


def _in_rows(file: "dp.FeatureFile", run: "dp.Run", values: "np.ndarray") -> "np.ndarray":
    """Bring values of a run's examples into the order of the file's rows, which must be the same examples."""
    from dataprune.run.features import match

    matched = match(file, run.ids)
    if matched.n_left_out:
        raise invalid("features", f"hold the examples of {run.path} only", f"{matched.n_left_out} rows of others")
    return matched.in_rows(values)
