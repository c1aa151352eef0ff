"""`dataprune embed`: features of pictures, learned without labels or taken from elsewhere."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import dataprune as dp
from dataprune.cli.lines import duration, operations, say, warn
from dataprune.cli.options import FLAT, Data, Device, Output, Quiet, Reading, Wait, Workers, at_least, read_all, say_data
from dataprune.cli.progress import Progress, learning
from dataprune.errors import invalid
from dataprune.report.text import pluralise
from dataprune.training.settings import Hardware, SwavSettings


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
) -> None:
    """Make a feature vector of every picture of DATA.

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
    from dataprune.run.embed import check_features_out
    from dataprune.training.swav.recipe import swav_recipe_named

    hardware = Hardware(device, executor, workers)
    _check_options(encoder, swav, components)
    check_features_out(out)  # before what may take long
    if swav.recipe is not None:
        swav_recipe_named(swav.recipe)
    chosen = {} if components is None else {"components": components}
    settings = dp.EmbedSettings(encoder, swav, model=swav.model if encoder == "trace" else None, **chosen)
    opened = None if run is None else dp.open_run(run)
    splits = read_all(data, reading, workers, run=opened)
    say_data(data, splits.train)
    made = make(splits.train, out, settings, hardware, test=splits.test, run=opened, wait=wait)
    shape = f"{pluralise(len(splits.train), 'row')} of {pluralise(made.manifest.columns, 'column')}"
    say(f"written: {out}, {shape}; how: {out.with_suffix('.json')}")
    normalize = "" if made.manifest.asked["encoder"] == "swav" else " --normalize"  # those are of length one already
    say(f"next: dataprune km {shlex.quote(str(out))}{normalize} --out km.parquet")


def _check_options(encoder: str, swav: SwavSettings, components: int | None) -> None:
    """Refuse an option that the encoder would not look at."""
    for name in ("effort", "recipe", "epochs", "batch", "layer"):
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
        past = f"{out} is finished since {made.manifest.finished}: nothing had to be trained"
        say(f"cost: {cost}" if progress.heard else past)
    quality, variance = made.manifest.quality, made.manifest.about.get("explained_variance")
    if variance is not None:
        say(f"{pluralise(made.manifest.columns, 'component')} hold {100 * variance:.1f} % of the variance")
    if quality is None:
        say("quality: not measured, there are no labels")
        return made
    pixels, accuracy = quality.pixels_knn_accuracy, quality.knn_accuracy
    control = "" if pixels is None else f"; of the bare pixels {100 * pixels:.1f} %"
    is_tested = quality.against == "test"
    how = f"{quality.queries:,} test examples" if is_tested else "each example among the others, as no test split is there"
    say(f"quality: the {quality.neighbours} nearest name the class of {100 * accuracy:.1f} % ({how}){control}")
    if pixels is not None and accuracy < pixels:
        warn("these features tell classes apart worse than bare pixels do; try more --epochs, or another --encoder")
    return made
