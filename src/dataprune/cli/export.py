"""`dataprune export`: what other tools take from a run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dataprune.cli.lines import pluralise, say
from dataprune.cli.options import RunFolder
from dataprune.errors import invalid


def export(
    run_folder: RunFolder,
    probabilities: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Write the class probabilities here, .npy (examples, classes), float32.", show_default=False
        ),
    ],
    which: Annotated[
        Literal["all", "in", "out"],
        typer.Option(help="The mean over all networks, over those trained on the example, or over those that were not (--folds)."),
    ] = "all",
) -> None:
    """Write the class probabilities of RUN.

    Takes a run. Writes FILE with a row for each example, in the order of RUN/scores.parquet, which also holds ids and labels.

    \b
    Example:
        dataprune export run --probabilities p.npy --which out
    """
    from dataprune.run import open_run, write_probabilities

    if probabilities.suffix.lower() != ".npy":
        raise invalid("probabilities", "end in .npy", repr(str(probabilities)))
    run = open_run(run_folder)
    shape = write_probabilities(run, probabilities, which)
    say(f"written: {probabilities}, {pluralise(shape[0], 'row')} of {pluralise(shape[1], 'class')}, mean over {_WHOM[which]}")


_WHOM = {"all": "all networks", "in": "the networks trained on the example", "out": "the networks not trained on the example"}
