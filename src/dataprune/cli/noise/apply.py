"""`dataprune noise apply`: a cleaned set out of a finding, or out of what a person decided."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataprune.cli.lines import say, several, warn
from dataprune.cli.options import Quiet, RunFolder
from dataprune.errors import InputError, listed, must
from dataprune.report.text import shown

if TYPE_CHECKING:
    from dataprune.noise.decide import Decisions
    from dataprune.noise.suspects import Suspects
    from dataprune.run import Run


def apply(
    run_folder: RunFolder,
    drop: Annotated[bool, typer.Option("--drop", help="Leave out every suspect.")] = False,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Give suspects the suggested label, where it is sure enough; keep the others.")
    ] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Do what this .csv or .parquet file says: columns id and decision (keep, drop or relabel; empty keeps), "
            "and new_label if a new label is not to be the suggested one.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            metavar="PROBABILITY",
            help="For --relabel: the least probability that the suggested label is right. Default: 0.9.",
            show_default=False,
        ),
    ] = None,
    suspects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What dataprune noise find wrote. Default: find anew.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write id, label, given_label, decision: .csv or .parquet, which --labels takes.",
            show_default=False,
        ),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the pictures that stay into a new folder DIR/class/.", show_default=False),
    ] = None,
    link_to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The same with symbolic links, which take no space.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Where the data lie now, if they were moved.", show_default=False)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a cleaned set: without the suspects, or with better labels.

    Takes a scored run and one of --drop, --relabel and --decisions. Writes a file of labels, or a folder of pictures under their
    new labels; never touches the source. Without --out, --copy-to or --link-to it only says what would be done.

    \b
    Examples:
        dataprune noise apply run --relabel --out cleaned.csv
        dataprune noise apply run --decisions cleaned.csv --copy-to flowers-clean
    """
    from dataprune.noise.decide import CONFIDENCE, decide
    from dataprune.run import check_new, open_run
    from dataprune.run.cleaned import check_labels_file, read_decisions, write_cleaned, write_labels

    asked = [name for name, given in (("--drop", drop), ("--relabel", relabel), ("--decisions", decisions is not None)) if given]
    if len(asked) != 1:
        raise InputError(f"give one of --drop, --relabel and --decisions, got {listed(asked) if asked else 'none'}.")
    if relabel and suspects is not None:
        cure = "The file does not hold how sure the new labels are; without it the run is judged anew, with the same result."
        raise must("suspects", "be left out with --relabel", str(suspects), cure)
    if confidence is not None and not relabel:
        raise must("confidence", "go with --relabel", asked[0])
    if out is not None:
        check_labels_file(out)
    folders: list[tuple[Path, Literal["copy", "link"]]] = []
    folders += [(copy_to, "copy")] if copy_to is not None else []
    folders += [(link_to, "link")] if link_to is not None else []
    for folder, _ in folders:
        check_new(folder)
    if copy_to is not None and copy_to == link_to:
        raise must("--link-to", "be another folder than --copy-to", str(link_to))
    run = open_run(run_folder)
    if decisions is not None:
        found = None if suspects is None else finding(run, suspects)
        decided = read_decisions(decisions, run.ids.tolist(), run.labels, run.classes, found)
    else:
        decided = decide(
            finding(run, suspects), "drop" if drop else "relabel", confidence=CONFIDENCE if confidence is None else confidence
        )
    dataset = run.dataset(data) if folders else None
    if out is not None:
        write_labels(decided, out)
    for folder, how in folders:
        assert dataset is not None
        write_cleaned(decided, dataset, folder, how)
    say_decided(decided, CONFIDENCE if confidence is None else confidence, quiet=quiet)
    if quiet:
        return
    if out is not None:
        say(f"written: {out}")
        say(f"next: dataprune score DATA --labels {shlex.quote(str(out))} --out RUN2")
    for folder, how in folders:
        say(f"written: {folder}, {'copies' if how == 'copy' else 'links'} in a folder for each class")
    if out is None and not folders:
        say("nothing was written; add --out cleaned.csv, or --copy-to DIR")


def finding(run: "Run", suspects: Path | None) -> "Suspects":
    """Read a finding about this run's examples, or find anew.

    Raises:
        InputError: the file is of other examples or other labels.
    """
    import numpy as np

    from dataprune.run.suspects import read_suspects, suspects_of

    if suspects is None:
        return suspects_of(run)
    found = read_suspects(suspects)
    if not np.array_equal(found.ids.astype(np.dtypes.StringDType()), run.ids) or not np.array_equal(found.labels, run.labels):
        raise must("suspects", f"be what was found in {run.path}", f"other examples or labels in {suspects}", "Find again.")
    return found


def say_decided(decided: "Decisions", confidence: float, *, quiet: bool) -> None:
    """Say what was done to how many, and warn of classes that lose everything."""
    import numpy as np

    if not quiet:
        parts = [
            f"{decided.count('drop'):,} dropped",
            f"{decided.count('relabel'):,} relabelled",
            f"{decided.count('keep'):,} kept as they are",
        ]
        say(f"of {several(len(decided), 'example')}: {', '.join(parts)}")
        if decided.n_left:
            say(f"among those kept: {several(decided.n_left, 'suspect')} whose suggested label is less than {confidence:g} sure")
    before = np.bincount(decided.given, minlength=len(decided.classes))
    after = np.bincount(decided.labels[decided.rows], minlength=len(decided.classes))
    lost = np.flatnonzero((after == 0) & (before > 0)).tolist()
    if lost:
        warn(f"nothing is left of {several(len(lost), 'class')}: {listed(shown(decided.classes[index], 30) for index in lost)}")
