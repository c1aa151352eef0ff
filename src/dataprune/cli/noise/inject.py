"""`dataprune noise inject`: makes some labels of a set wrong and keeps the truth."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from dataprune.cli.lines import pluralise, say, say_columns
from dataprune.cli.options import Data, ImageSize, Labels, OnError, Quiet, Seed
from dataprune.cli.score import read_data
from dataprune.errors import InputError
from dataprune.report.text import display_text

MOST_PAIRS = 5


def inject(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write id, label, clean_label: .csv or .parquet.", show_default=False)],
    rate: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="Fraction made wrong, above 0 and below 1. Not with matrix.", show_default=False),
    ] = None,
    kind: Annotated[
        Literal["uniform", "per-class", "pairwise", "look-alike", "matrix"],
        typer.Option(
            help="uniform: into any other class; per-class: the same, as many of each class; pairwise: each class into the next; "
            "look-alike: pairs of CIFAR-10 that people confuse; matrix: as --matrix says."
        ),
    ] = "uniform",
    matrix: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For matrix: a .csv without a header, or .npy: row i, column j is the share of class i that is labelled j.",
            show_default=False,
        ),
    ] = None,
    labels: Labels = None,
    image_size: ImageSize = None,
    on_error: OnError = "fail",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Make an exact number of labels of DATA wrong, and keep the truth.

    Takes a labelled set, which stays as it is. Writes FILE with the wrong labels among right ones in the column label and the true
    ones in clean_label, a row for each example. Commands take it with --labels FILE:label.

    \b
    Example:
        dataprune noise inject flowers/train --rate 0.1 --out noisy.csv
        dataprune score flowers/train --labels noisy.csv:label --folds 5 --out run
    """
    from dataprune import noise
    from dataprune.run.export import read_matrix, write_noisy
    from dataprune.tables import TABLES, check_output

    check_output(out, TABLES)
    shares = None if matrix is None else read_matrix(matrix)
    dataset = read_data(data, labels, image_size, on_error, None, quiet)
    if dataset.labels is None:
        raise InputError("the data have no labels that could be made wrong. Give --labels FILE.")
    given = noise.inject(
        dataset.labels, rate, kind, n_classes=dataset.n_classes, ids=dataset.ids.tolist(), matrix=shares, seed=seed
    )
    write_noisy(out, dataset.ids, given, dataset.labels)
    if quiet:
        return
    changed = given != dataset.labels
    say(f"made wrong: {pluralise(int(changed.sum()), 'label')} of {len(given):,} ({changed.mean():.1%}), {kind}, seed {seed}")
    _say_pairs(dataset.labels[changed].tolist(), given[changed].tolist(), dataset.classes)
    say(f"written: {out}, with the true labels in the column clean_label")
    words = shlex.join(["dataprune", "score", data, "--labels", f"{out}:label", "--folds", "5", "--out", "run"])
    say(f"next: {display_text(words, 500)}")


def _say_pairs(true: list[int], given: list[int], classes: tuple[str, ...]) -> None:
    """Report which classes became which, the most frequent first."""
    from collections import Counter

    pairs = Counter(zip(true, given, strict=True)).most_common()
    say_columns([(f"{count:,}", f"{classes[old]} labelled {classes[new]}") for (old, new), count in pairs[:MOST_PAIRS]], right=(0,))
    if len(pairs) > MOST_PAIRS:
        say(f"  and {pluralise(len(pairs) - MOST_PAIRS, 'other pair')}")
