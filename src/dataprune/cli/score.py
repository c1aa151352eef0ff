"""`dataprune score`: trains an ensemble on a set and scores every example."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataprune.cli.lines import complain, duration, pluralise, say, say_columns, warn
from dataprune.cli.options import Address, Data, Gpus, ImageSize, Labels, OnError, Quiet, Seed, Workers
from dataprune.errors import join_some
from dataprune.report.text import display_text

if TYPE_CHECKING:
    from dataprune.data import Dataset, FeatureFile
    from dataprune.run import Run
    from dataprune.scores import Score
    from dataprune.training.settings import Hardware, Settings

N_HARDEST = 5


def score(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            metavar="RUN", help="Folder for the results; made if it is not there. One folder, one run.", show_default=False
        ),
    ],
    effort: Annotated[
        Literal["low", "medium", "high"],
        typer.Option(help="How much to spend. Members and epochs follow from it and from the size of the set."),
    ] = "medium",
    members: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="Networks in the ensemble. Default: by --effort.", show_default=False),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="NUMBER", help="Passes over the set for each network. Default: by --effort and size.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="proxy (a fast convnet, the default), proxy-wide, simple, resnet18, plain18; mlp (the default) or "
            "linear for features; or module:function.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How networks are trained: fast (the default for colour), fast-gray, fast-plain, fast-plain-gray, fast-vectors, "
            "report-cifar10, report-cifar100, report-photos, or module:function.",
            show_default=False,
        ),
    ] = None,
    image_size: ImageSize = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Examples a step. Default: the recipe's.", show_default=False)
    ] = None,
    when: Annotated[
        Literal["clean", "online"],
        typer.Option(help="Record on clean pictures after each epoch, or (cheaper, noisier) on augmented ones while training."),
    ] = "clean",
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Train each member on all folds but one, so that every example has answers of networks that did not see it.",
        ),
    ] = 0,
    repeats: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="How often the set is cut into folds; folds x repeats members.")
    ] = 1,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="With 2, train as many members again, without the labels that the first ones call wrong; finds wrong labels best.",
        ),
    ] = 1,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|swav",
            help="Features of the examples made elsewhere (.npy, Parquet, or a folder of them; by id if they have one, else by "
            "row), or swav to learn some from the pictures: adds km, km_cosine and prototype_distance, also to a finished run.",
            show_default=False,
        ),
    ] = None,
    clusters: Annotated[
        str, typer.Option(metavar="auto|classes|NUMBER", help="For --features: how many clusters, as for dataprune km.")
    ] = "auto",
    labels: Labels = None,
    on_error: OnError = "fail",
    extend: Annotated[bool, typer.Option("--extend", help="Add members to a finished run, up to --members.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="If another process works on RUN, wait for it.")] = False,
    seed: Seed = 0,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where to train: cpu, cuda, cuda:1, mps. Default: cuda if there is one.", show_default=False
        ),
    ] = None,
    workers: Workers = None,
    executor: Annotated[
        Literal["serial", "processes", "ray"] | None,
        typer.Option(
            help="Members one after the other, side by side, or on Ray. Default: processes on a CPU, else serial.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    gpus: Gpus = None,
    quiet: Quiet = False,
) -> None:
    """Train a few networks on DATA and score every example.

    Takes a set of labelled pictures or feature vectors. Writes RUN/scores.parquet, a row for each example with its difficulty by
    several measures, and what dataprune prune needs. Interrupted, the same command goes on where it was; finished, it
    returns at once.

    \b
    Example:
        dataprune score flowers/train --out run
    """
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.run import check_out
    from dataprune.training.recipes import recipe_named
    from dataprune.training.settings import Hardware, Settings

    check_out(out)  # before what may take long
    if recipe is not None:
        recipe_named(recipe)
    settings = Settings(effort, members, epochs, model, recipe, batch, when, folds, repeats, rounds, seed)
    hardware = Hardware(device, executor, workers, address, gpus)
    dataset = read_data(data, labels, image_size, on_error, workers, quiet)
    refuse_output_inside_data(dataset, out)
    learns = features is not None and str(features) == "swav"
    if learns:
        check_learnable(dataset, seed)
    file = None if features is None or learns else features_of(features, dataset)
    run = train(dataset, out, settings, hardware, extend=extend, wait=wait, quiet=quiet)
    if learns:
        file = learned_features(dataset, run, seed, hardware, wait, quiet)
    if file is not None:
        run = add_scores_of(file, run, clusters, seed, workers, quiet)
    if not quiet:
        say_scores(run)
        say_hardest(run.scores["el2n"], run, N_HARDEST)
        say(f"scores: {out / 'scores.parquet'}, a row for each example")
        say(f"about the run: {out / 'run.json'}")
        say(f"next: dataprune prune {shlex.quote(str(out))} --keep 0.7 --out kept.csv")
    if any(member.status == "failed" for member in run.manifest.members):
        raise typer.Exit(1)


def check_learnable(dataset: "Dataset", seed: int) -> None:
    """See before any training that features can be learned from the data."""
    from dataprune.training.settings import SwavSettings
    from dataprune.training.swav.recipe import plan_swav

    plan_swav(dataset, SwavSettings(seed=seed))


def learned_features(dataset: "Dataset", run: "Run", seed: int, hardware: "Hardware", wait: bool, quiet: bool) -> "FeatureFile":
    """Learn features of the run's pictures into the run's folder, where they belong to no identity."""
    from dataprune.cli.embed import make
    from dataprune.data import read_features
    from dataprune.run import FEATURES, EmbedSettings
    from dataprune.training.settings import SwavSettings

    (run.path / FEATURES).mkdir(exist_ok=True)
    path = run.path / FEATURES / "swav.npy"
    make(dataset, path, EmbedSettings(swav=SwavSettings(seed=seed)), hardware, wait=wait, quiet=quiet)
    return read_features(path)


def features_of(path: Path, dataset: "Dataset") -> "FeatureFile":
    """Open a feature file, and see before any training that it has a row for every example."""
    from dataprune.data import read_features
    from dataprune.run import match

    file = read_features(path)
    excluded = match(file, dataset.ids).n_left_out
    if excluded:
        warn(f"{path} has {pluralise(excluded, 'row')} for ids that are not in the data; they are left out")
    return file


def add_scores_of(file: "FeatureFile", run: "Run", clusters: str, seed: int, workers: int | None, quiet: bool) -> "Run":
    """Add the scores of features to the run, and say into how many clusters these were cut."""
    from dataprune.run import add_features

    run = add_features(run, file, clusters, seed=seed)
    record = run.manifest.features
    assert record is not None, "just added"
    if not quiet:
        why = "the elbow of the inertia curve" if record.elbow else "no elbow" if record.curve else f"asked: {clusters}"
        say(f"features: {file.path}, {pluralise(file.width, 'column')}; k-means with {pluralise(record.k, 'cluster')} ({why})")
    for note in record.notes:
        warn(note)
    return run


def read_data(
    data: str, labels: str | None, image_size: int | None, on_error: Literal["fail", "skip"], workers: int | None, quiet: bool
) -> "Dataset":
    """Read DATA with a bar, and say what it holds."""
    from dataprune.cli.progress import reading_progress
    from dataprune.data import read

    with reading_progress(quiet) as progress:
        dataset = read(data, labels=labels, image_size=image_size, on_error=on_error, workers=workers, progress=progress)
    say_data(data, dataset, quiet)
    return dataset


def say_data(data: str, dataset: "Dataset", quiet: bool) -> None:
    """Report what was read, what a person should know about it, and what was left out."""
    if not quiet:
        say(f"read {display_text(data)}: {', '.join(_contents(dataset))}")
    for note in dataset.notes:
        warn(note)
    if dataset.skipped:
        bad = join_some((f"{display_text(item.path)} ({display_text(item.reason)})" for item in dataset.skipped), most=3)
        warn(f"left out {pluralise(len(dataset.skipped), 'item')} that cannot be used: {bad}")


def _contents(dataset: "Dataset") -> list[str]:
    contents = [pluralise(len(dataset), "example")]
    contents.append(pluralise(dataset.n_classes, "class") if dataset.labels is not None else "no labels")
    if dataset.images is None:
        contents.append(f"features of {pluralise(dataset.inputs.shape[1], 'column')}")
    else:
        height, width, channels = dataset.images.shape[1:]
        contents.append(f"pictures of {height} x {width} pixels in {pluralise(channels, 'channel')}")
    if dataset.origin is not None:
        contents.append(f"source: {dataset.origin.kind}, split {dataset.origin.split}")
    return contents


def train(
    dataset: "Dataset",
    out: Path,
    settings: "Settings",
    hardware: "Hardware",
    *,
    extend: bool = False,
    wait: bool = False,
    quiet: bool = False,
) -> "Run":
    """Make the run, with progress and price on stdout, what failed on stderr, and afterwards what it cost."""
    from dataprune.cli.progress import TrainingProgress
    from dataprune.run import score as make_run
    from dataprune.training.plan import plan

    with TrainingProgress(plan(dataset, settings).ensemble, quiet) as progress:
        run = make_run(dataset, out, settings, hardware, extend=extend, wait=wait, listener=progress)
    if not quiet and progress.trained:
        say_cost(run)
    elif not quiet:
        say(f"{out} is finished since {run.manifest.finished}: nothing had to be trained")
    for note in run.manifest.notes:
        if note not in dataset.notes:
            warn(note)
    for member in run.manifest.members:
        if member.status != "ok":
            say_of = complain if member.status == "failed" else warn
            say_of(f"member {member.member} ({member.status}): {member.reason}")
    return run


def say_cost(run: "Run") -> None:
    """Report what training cost, from the run's own record."""
    spent = run.manifest.phase("train")
    assert spent is not None, "every run has one"
    say(
        f"cost: {duration(spent.wall_seconds)} on the clock, {duration(spent.seconds)} of members, "
        f"{spent.examples_seen:,} examples seen, {spent.flops:.2g} floating-point operations"
    )


def say_scores(run: "Run") -> None:
    """Print a line for each score: its range and its direction; then the scores that are absent, with the reason."""
    import numpy as np

    rows: list[tuple[str, ...]] = [("score", "min", "median", "max", "harder means")]
    for name, one in run.scores.items():
        low, middle, high = (f"{value:.4g}" for value in np.quantile(one.values, (0, 0.5, 1)))
        rows.append((name, low, middle, high, "larger" if one.harder > 0 else "smaller"))
    say_columns(rows, right=(1, 2, 3))
    for name, reason in run.scores.absent.items():
        say(f"no {name}: {reason}")


def say_hardest(score: "Score", run: "Run", count: int) -> None:
    """Print the hardest examples by a score, with their labels."""
    import numpy as np

    say(f"hardest by {score.name}:")
    rows = np.argsort(-score.difficulty, kind="stable")[:count]
    names = [run.classes[label] for label in run.labels[rows].tolist()]
    values = [f"{value:.4g}" for value in score.values[rows].tolist()]
    say_columns([(value, name, example) for value, name, example in zip(values, names, run.ids[rows].tolist(), strict=True)])
