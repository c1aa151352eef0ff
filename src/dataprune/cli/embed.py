"""`dataprune embed`: features of pictures, learned without labels or taken from elsewhere."""

import math
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dataprune.cli.lines import duration, pluralise, say, warn
from dataprune.cli.options import Data, ImageSize, Labels, OnError, Quiet, Seed, Workers
from dataprune.errors import InputError, invalid

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from dataprune.data import Dataset, Splits
    from dataprune.run import Embedding, EmbedProgress, EmbedSettings, Run
    from dataprune.run.manifest import EmbeddingManifest
    from dataprune.training.settings import Hardware

Asked = Literal["low", "medium", "high"]


def embed(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Write features there: .parquet, which names the rows, or .npy; a .json beside it says how they were made.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="swav learns from the pictures, without labels; trace takes what the last layer of a run's first network sees "
            "(with --run); pixels takes principal components (a control); module:function takes a batch of pictures "
            "(B, H, W, Ch) uint8 and gives (B, D) numbers.",
        ),
    ] = "swav",
    effort: Annotated[
        Asked | None,
        typer.Option(help="For swav: how much to spend. Width and epochs follow from it. Default: medium.", show_default=False),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For swav: fast (the default for colour), fast-gray, report (ResNet-18, two full crops, 200 epochs), or "
            "module:function.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For swav: the network, as for dataprune score. For trace: its name again, if it is module:function.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="NUMBER", help="For swav: passes over the set. Default: by --effort and size.", show_default=False
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="For swav: examples a step. Default: the recipe's.", show_default=False),
    ] = None,
    layer: Annotated[
        Literal["backbone", "prototypes"] | None,
        typer.Option(
            help="For swav: what the network's last layer sees, or the scores of the prototypes. Default: backbone.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="For trace: a folder made by dataprune score.", show_default=False)
    ] = None,
    components: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="For pixels: how many. Default: 128.", show_default=False)
    ] = None,
    image_size: ImageSize = None,
    labels: Labels = None,
    on_error: OnError = "fail",
    wait: Annotated[bool, typer.Option("--wait", help="If another process works on FILE, wait for it.")] = False,
    seed: Seed = 0,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where to train: cpu, cuda, cuda:1, mps. Default: cuda if there is one.", show_default=False
        ),
    ] = None,
    workers: Workers = None,
    executor: Annotated[
        Literal["serial", "processes"] | None,
        typer.Option(help="Train in this process, or in one beside it. Default: beside it on a CPU.", show_default=False),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a feature vector of every picture of DATA.

    Writes FILE, a row for each example in the order of the source, for dataprune km, dataprune map and dataprune score --features.
    Where there are labels, says how good the features are: how often the 20 nearest training examples name the class of a test
    example, beside the same for the bare pixels. Labels take no part in the features. Interrupted, the same command goes on.

    \b
    Examples:
        dataprune embed flowers --out features.parquet
        dataprune embed flowers --method trace --run run --out features.npy
    """
    from dataprune.cli.progress import reading_progress
    from dataprune.cli.score import say_data
    from dataprune.run import EmbedSettings, check_features_out, open_run
    from dataprune.training.settings import Hardware, SwavSettings
    from dataprune.training.swav.recipe import swav_recipe_named

    only_swav = {"effort": effort, "recipe": recipe, "epochs": epochs, "batch": batch, "layer": layer}
    _check_options(method, only_swav, components, model)
    check_features_out(out)  # before what may take long
    if recipe is not None:
        swav_recipe_named(recipe)
    swav = SwavSettings(effort or "medium", recipe, model, epochs, batch, layer or "backbone", seed)
    settings = EmbedSettings(method, swav, **({} if components is None else {"components": components}), model=model)
    opened = None if run is None else open_run(run)
    with reading_progress(quiet) as progress:
        splits = read_for(opened, data, labels=labels, image_size=image_size, on_error=on_error, workers=workers, progress=progress)
    say_data(data, splits.train, quiet)
    made = make(
        splits.train, out, settings, Hardware(device, executor, workers), test=splits.test, run=opened, wait=wait, quiet=quiet
    )
    if not quiet:
        shape = f"{pluralise(len(splits.train), 'row')} of {pluralise(made.manifest.columns, 'column')}"
        say(f"written: {out}, {shape}; how: {out.with_suffix('.json')}")
        normalize = "" if method == "swav" else " --normalize"  # those are of length one already
        say(f"next: dataprune km {shlex.quote(str(out))}{normalize} --out km.parquet")


def _check_options(method: str, only_swav: dict[str, Any], components: int | None, model: str | None) -> None:
    """Refuse an option that the method would pass over."""
    given = [name for name, value in only_swav.items() if value is not None]
    if given and method != "swav":
        raise invalid(given[0], "go with --method swav", f"--method {method}")
    if components is not None and method != "pixels":
        raise invalid("components", "go with --method pixels", f"--method {method}")
    if model is not None and method not in ("swav", "trace"):
        raise invalid("model", "go with --method swav or trace", f"--method {method}")


def read_for(
    run: "Run | None",
    data: str,
    *,
    labels: str | None,
    image_size: int | None,
    on_error: Literal["fail", "skip"],
    workers: int | None,
    test: str | None = None,
    progress: "ReadingProgress | None" = None,
) -> "Splits":
    """Read all splits of DATA; for a run as it was read for it, with the run's labels."""
    from dataclasses import replace

    from dataprune.data import read_splits

    how: dict[str, Any] = {"image_size": image_size, "on_error": on_error} if run is None else dict(run.manifest.read)
    if run is not None and (image_size is not None or labels is not None):
        name = "labels" if image_size is None else "image_size"
        raise InputError(f"`{name}` must be left out with --run: the run says how its data were read and which labels they have.")
    splits = read_splits(data, labels=labels, workers=workers, test=test, progress=progress, **how)
    if run is None or len(splits.train) != len(run.labels):
        return splits
    return replace(splits, train=splits.train.with_labels(run.labels, run.classes))


def make(
    dataset: "Dataset",
    out: Path,
    settings: "EmbedSettings",
    hardware: "Hardware",
    *,
    test: "Dataset | None" = None,
    run: "Run | None" = None,
    wait: bool = False,
    quiet: bool = False,
) -> "Embedding":
    """Make features, with progress and price on stdout, then what they cost and how good they are."""
    from dataprune.run import embed as make_features

    with LearningProgress(settings, quiet) as progress:
        made = make_features(dataset, out, settings, hardware, test=test, run=run, wait=wait, listener=progress)
    if quiet:
        return made
    if not progress.heard and settings.method == "swav":
        say(f"{out} is finished since {made.manifest.finished}: nothing had to be trained")
    elif settings.method == "swav":
        spent = made.manifest.cost[0]
        say(
            f"cost: {duration(spent.wall_seconds)} on the clock, {spent.examples_seen:,} examples seen, "
            f"{spent.flops:.2g} floating-point operations"
        )
    _say_quality(made.manifest)
    return made


def _say_quality(made: "EmbeddingManifest") -> None:
    quality = made.quality
    if "explained_variance" in made.about:
        say(f"{pluralise(made.columns, 'component')} hold {100 * made.about['explained_variance']:.1f} % of the variance")
    if quality is None:
        say("quality: not measured, there are no labels")
        return
    pixels = quality.pixels_knn_accuracy
    control = "" if pixels is None else f"; of the bare pixels {100 * pixels:.1f} %"
    how = (
        f"{quality.queries:,} test examples"
        if quality.against == "test"
        else "each example among the others, as no test split is there"
    )
    say(f"quality: the {quality.neighbours} nearest name the class of {100 * quality.knn_accuracy:.1f} % ({how}){control}")
    if pixels is not None and quality.knn_accuracy < pixels:
        warn("these features tell classes apart worse than bare pixels do; try more --epochs, or another --method")


class LearningProgress:
    """Listens to a training: prints the price, then each epoch, or moves a bar. Use as a context."""

    def __init__(self, settings: "EmbedSettings", quiet: bool) -> None:
        self.heard = False
        self._quiet = quiet
        self._bar: Bar | None = None
        self._seconds: float | None = None  # of an epoch, as the price has it
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> "LearningProgress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: "EmbedProgress") -> None:
        """Take in one message."""
        from dataprune.cli.progress import bar_on_terminal

        self.heard = True
        if self._quiet:
            return
        if progress.price is not None:
            seconds = progress.price.seconds
            self._seconds = None if math.isnan(seconds) else seconds / progress.total
            took = ", under a minute" if math.isnan(seconds) else f", about {duration(seconds)}"
            price = f"{took}, {progress.price.flops:.2g} floating-point operations"
            say(f"to train: {pluralise(progress.total, 'epoch')} without labels{price}")
            self._bar = bar_on_terminal()
            if self._bar is not None:
                self._bar.add_task("training", total=progress.total, done="", left="")
                self._bar.start()
        if progress.epoch is not None:
            if self._first is None and progress.done > 1:
                say(f"gone on after epoch {progress.done - 1} of {progress.total}")
            self._first = self._first or (progress.done, time.monotonic())
            said = f"epoch {progress.done}/{progress.total}: loss {progress.epoch.loss:.3f}"
            if self._bar is None:
                say(f"{said}, {duration(progress.epoch.seconds)}{self._left(progress)}")
            else:
                self._bar.update(self._bar.task_ids[0], completed=progress.done, done=said, left=self._left(progress))

    def _left(self, progress: "EmbedProgress") -> str:
        """Estimate the rest from the epochs since the first that was heard, at first from the price."""
        rest = progress.total - progress.done
        assert self._first is not None
        since, begun = self._first
        each = (time.monotonic() - begun) / (progress.done - since) if progress.done > since else self._seconds
        return "" if rest == 0 or each is None else f", about {duration(each * rest)} left"
