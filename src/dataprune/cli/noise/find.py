"""`dataprune noise find`: judges every label of a run."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataprune.cli.lines import pluralise, say, say_columns, warn
from dataprune.cli.options import Quiet, Seed
from dataprune.errors import InputError

if TYPE_CHECKING:
    from dataprune.noise import Suspects

N_SHOWN = 10
BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2)

RunOrNone = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="A folder made by dataprune score, best with --folds 5.", show_default=False)
]
Probabilities = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead of RUN: class probabilities of a model of your own that did not see the examples, .npy (examples, classes).",
        show_default=False,
    ),
]
GivenLabels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:COLUMN]",
        help="With --probabilities: the labels they judge, a row for each, CSV or Parquet.",
        show_default=False,
    ),
]


def find(
    run_folder: RunOrNone = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a row for each example, .csv or .parquet.", show_default=False),
    ] = None,
    probabilities: Probabilities = None,
    labels: GivenLabels = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Judge every label of RUN: which are suspect, what they should be, and how many are wrong in all.

    Takes a run, best one with --folds, whose networks speak of examples they did not see; or probabilities of your own. Writes FILE
    with id, label, suggested_label, probability (that the label is wrong), score, rank, is_suspect and reason, and FILE.json with
    the estimate. Without --out it only says what it finds.

    \b
    Examples:
        dataprune score flowers/train --folds 5 --repeats 2 --out run
        dataprune noise find run --out suspects.csv
    """
    from dataprune.run.suspects import write_suspects
    from dataprune.tables import TABLES, check_output

    if out is not None:
        check_output(out, TABLES)
    found = found_in(run_folder, probabilities, labels, seed)
    if out is not None:
        write_suspects(found, out)
    for note in found.notes:
        warn(note)
    if quiet:
        return
    say_estimate(found)
    say_suspects(found)
    say_conflicts(found)
    if out is not None:
        say(f"written: {out}, a row for each example, and {out.name}.json with the estimate")
        run = "" if run_folder is None else f" {shlex.quote(str(run_folder))}"
        file = shlex.quote(str(out))
        say(f"next: dataprune noise apply{run} --relabel --suspects {file} --out cleaned.csv")
        say(f"or: fill in the column decision (keep, drop or relabel), then dataprune noise apply{run} --decisions {file}")
    elif run_folder is not None:
        say(f"nothing was written; add --out suspects.csv to: {shlex.join(['dataprune', 'noise', 'find', str(run_folder)])}")


def found_in(run_folder: Path | None, probabilities: Path | None, labels: str | None, seed: int) -> "Suspects":
    """Judge the labels of a run, or of probabilities made elsewhere."""
    from dataprune import noise
    from dataprune.run import open_run
    from dataprune.run.suspects import evidence_of_file, suspects_of

    if (run_folder is None) == (probabilities is None):
        raise InputError("give either a RUN, or --probabilities FILE with --labels FILE.")
    if run_folder is not None:
        if labels is not None:
            raise InputError("`--labels` goes with --probabilities; a run has its labels in it. Score again to judge others.")
        return suspects_of(open_run(run_folder), seed=seed)
    assert probabilities is not None
    if labels is None:
        raise InputError("`--probabilities` needs the labels to judge. Give --labels FILE.")
    return noise.find(evidence_of_file(probabilities, labels), seed=seed)


def say_estimate(found: "Suspects") -> None:
    """Report how many labels are wrong, how sure that is, and what looking at so many would find."""
    n = len(found)
    say(f"judged: {pluralise(n, 'label')}, {pluralise(found.n_classes, 'class')}; {found.method}")
    interval = f"95 % interval {found.n_wrong_low:,.0f} to {found.n_wrong_high:,.0f}"
    say(f"wrong labels, estimated: {found.n_wrong:,.0f} ({found.n_wrong / n:.1%}), {interval}")
    flagged = int(found.is_suspect.sum())
    if found.looks_clean:
        say("the set looks clean: it shows no more than sets without any wrong label do")
    share = f"; {found.probability[found.is_suspect].mean():.0%} of them are expected to be wrong" if flagged else ""
    say(f"flagged: {pluralise(flagged, 'label')}{share}")
    if found.looks_clean and not flagged:
        return
    budgets = [max(1, round(share * n)) for share in BUDGETS if share * n >= 1]
    rows = [
        (f"{count:,}", f"{found.expected_precision(count):.0%}", f"{found.expected_precision(count) * count:,.0f}")
        for count in budgets
    ]
    say("what is expected when the most suspect are looked at:")
    say_columns([("looked at", "are wrong", "found"), *rows], right=(0, 1, 2))


def say_suspects(found: "Suspects") -> None:
    """Print the most suspect labels, each with the reason."""
    rows = [row for row in found.order[:N_SHOWN].tolist() if found.is_suspect[row]]
    if not rows:
        return
    say("most suspect:")
    cells = [("wrong", "labelled", "rather", "id", "because")]
    for row in rows:
        names = found.classes[found.labels[row]], found.classes[found.suggested_label[row]]
        cells.append((f"{found.probability[row]:.0%}", *names, str(found.ids[row]), str(found.reason[row])))
    say_columns(cells, right=(0,))


def say_conflicts(found: "Suspects") -> None:
    """Print the labels that an identical example contradicts: one of the two is wrong, whatever networks say."""
    if found.contradicted_by is None:
        return
    rows = [row for row in found.order.tolist() if found.contradicted_by[row] >= 0]
    if not rows:
        return
    say(
        f"labelled otherwise than an identical example: {pluralise(len(rows), 'label')}"
        + (", first" if len(rows) > N_SHOWN else "")
    )
    say_columns(
        [
            (f"{found.probability[row]:.0%}", found.classes[found.labels[row]], str(found.ids[row]), str(found.reason[row]))
            for row in rows[:N_SHOWN]
        ],
        right=(0,),
    )
