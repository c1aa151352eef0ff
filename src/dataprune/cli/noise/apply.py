"""`dataprune noise apply`: a cleaned set out of a finding, or out of what a person decided."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataprune.cli.lines import pluralise, say, warn
from dataprune.cli.options import Quiet
from dataprune.errors import InputError, invalid, join_some
from dataprune.report.text import display_text

if TYPE_CHECKING:
    from dataprune.noise.decide import Decisions
    from dataprune.noise.suspects import Suspects
    from dataprune.run import Run
    from dataprune.run.export import Targets


def apply(
    run_folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="A folder made by dataprune score. Not needed with --suspects for a file of labels.",
            show_default=False,
        ),
    ] = None,
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
        dataprune noise apply run --decisions suspects.csv --copy-to flowers-clean
    """
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.noise.decide import CONFIDENCE, check_confidence, decide
    from dataprune.run import open_run
    from dataprune.run.decisions import read_decisions
    from dataprune.run.export import write_cleaned

    asked = [name for name, given in (("--drop", drop), ("--relabel", relabel), ("--decisions", decisions is not None)) if given]
    if len(asked) != 1:
        raise InputError(f"give one of --drop, --relabel and --decisions, got {join_some(asked) if asked else 'none'}.")
    if confidence is not None and not relabel:
        raise invalid("confidence", "go with --relabel", asked[0])
    sure = CONFIDENCE if confidence is None else confidence
    check_confidence(sure)
    targets = targets_of(out, copy_to, link_to)
    if run_folder is None and (suspects or decisions) is None:
        raise InputError("give a RUN; or, for a file of labels, --suspects FILE that dataprune noise find wrote.")
    if run_folder is None and targets.folders:
        raise InputError("--copy-to and --link-to need the RUN, which knows where the pictures lie.")
    run = None if run_folder is None else open_run(run_folder)
    found = None
    if decisions is None or suspects is not None or run is None:
        found = finding(run, decisions if suspects is None and run is None else suspects)
    judged = found if run is None else run
    assert judged is not None
    if decisions is not None:
        decided = read_decisions(decisions, judged.ids.tolist(), judged.labels, judged.classes, found)
    else:
        assert found is not None
        warn_of_decisions(suspects, asked[0])
        decided = decide(found, "drop" if drop else "relabel", confidence=sure)
    dataset = run.dataset(data) if run is not None and targets.folders else None
    if dataset is not None:
        for folder, how in targets.folders.items():
            refuse_output_inside_data(dataset, folder, f"--{how}-to")
    write_cleaned(decided, targets, dataset)
    say_decided(decided, sure, quiet=quiet)
    if decisions is not None and decided.count("keep") == len(decided):
        warn(f"{decisions} changes nothing: its column decision is empty or says keep in every row")
    if not quiet:
        say_written(targets, len(decided.rows))


def targets_of(out: Path | None, copy_to: Path | None, link_to: Path | None) -> "Targets":
    """Gather where to write, and refuse what cannot be written before any work."""
    from dataprune.run.export import Targets

    if copy_to is not None and copy_to == link_to:
        raise invalid("--link-to", "be another folder than --copy-to", str(link_to))
    folders: dict[Path, Literal["copy", "link"]] = {}
    folders |= {} if copy_to is None else {copy_to: "copy"}
    folders |= {} if link_to is None else {link_to: "link"}
    targets = Targets(out, folders)
    targets.check()
    return targets


def finding(run: "Run | None", suspects: Path | None) -> "Suspects":
    """Read a finding, about this run's examples if there is one, or find anew.

    Raises:
        InputError: the file is of other examples or other labels.
    """
    from dataprune.run.suspects import read_suspects, read_suspects_of, suspects_of

    if suspects is None:
        assert run is not None
        return suspects_of(run)
    return read_suspects(suspects) if run is None else read_suspects_of(run, suspects)


def warn_of_decisions(suspects: Path | None, asked: str) -> None:
    """Warn where a person has filled in decisions that are not read."""
    from dataprune.tables import column_names, read_table

    if suspects is None or "decision" not in column_names(suspects):
        return
    cells = read_table(suspects, ["decision"]).columns["decision"].tolist()
    filled = sum(bool(str(cell).strip()) for cell in cells)
    if filled:
        rows = pluralise(filled, "row")
        warn(f"{asked} does not look at the column decision of {suspects}, filled in {rows}; --decisions does")


def say_decided(decided: "Decisions", confidence: float, *, quiet: bool) -> None:
    """Report what was done to how many, and warn of classes that lose everything."""
    import numpy as np

    if not quiet:
        parts = [
            f"{decided.count('drop'):,} dropped",
            f"{decided.count('relabel'):,} relabelled",
            f"{decided.count('keep'):,} kept as they are",
        ]
        say(f"of {pluralise(len(decided), 'example')}: {', '.join(parts)}")
        if decided.n_left:
            say(f"among those kept: {pluralise(decided.n_left, 'suspect')} whose suggested label is less than {confidence:g} sure")
    before = np.bincount(decided.given, minlength=len(decided.classes))
    after = np.bincount(decided.labels[decided.rows], minlength=len(decided.classes))
    lost = np.flatnonzero((after == 0) & (before > 0)).tolist()
    if lost:
        warn(
            f"nothing is left of {pluralise(len(lost), 'class')}: {join_some(display_text(decided.classes[index], 30) for index in lost)}"
        )


def say_written(targets: "Targets", n_left: int) -> None:
    """Report what was written, and what it is for."""
    if targets.labels is not None:
        say(f"written: {targets.labels}")
    for folder, how in targets.folders.items():
        say(f"written: {folder}, {n_left:,} {'copies' if how == 'copy' else 'links'} in a folder for each class")
    if targets.labels is not None:
        say(f"next: dataprune score DATA --labels {shlex.quote(str(targets.labels))} --out RUN2")
    elif targets.folders:
        say(f"next: dataprune score {shlex.quote(str(next(iter(targets.folders))))} --out RUN2")
    if not targets.paths:
        say("nothing was written; add --out cleaned.csv, or --copy-to DIR")
