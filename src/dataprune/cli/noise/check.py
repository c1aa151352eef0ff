"""`dataprune noise check`: measures a finding against known labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataprune.cli.lines import pluralise, say, say_columns, warn
from dataprune.cli.noise.find import GivenLabels, Probabilities, RunOrNone, found_in
from dataprune.cli.options import Seed
from dataprune.errors import InputError

if TYPE_CHECKING:
    from dataprune.noise import Evaluation, Suspects

FEW_CLASSES = 20


def check(
    truth: Annotated[
        str,
        typer.Option(
            metavar="FILE[:COLUMN]",
            help="The true labels, CSV or Parquet: by its column id if it has one, else by row; clean_label if no column is named.",
            show_default=False,
        ),
    ],
    run_folder: RunOrNone = None,
    suspects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead of RUN: what dataprune noise find wrote.", show_default=False),
    ] = None,
    probabilities: Probabilities = None,
    labels: GivenLabels = None,
    seed: Seed = 0,
) -> None:
    """Measure how well the wrong labels of RUN are found, where the true ones are known.

    Takes a run, a table of dataprune noise find, or probabilities of your own, and the true labels. Prints how well the score
    ranks, how good the flags are, how far off the estimate is, whether probabilities mean what they say, and all of it by class.

    \b
    Example:
        dataprune noise check run --truth noisy.csv:clean_label
    """
    from dataprune import noise
    from dataprune.run.suspects import read_suspects, read_truth

    if suspects is not None and (run_folder is not None or probabilities is not None):
        raise InputError("give one of RUN, --suspects FILE and --probabilities FILE.")
    found = read_suspects(suspects) if suspects is not None else found_in(run_folder, probabilities, labels, seed)
    true = read_truth(truth, found)
    say_checked(noise.evaluate(found, true))
    say_by_class(noise.evaluate_classes(found, true), found)


def say_checked(checked: "Evaluation") -> None:
    """Report what the finding is worth."""
    n = checked.n_examples
    say(f"wrong labels: {checked.n_wrong:,} of {n:,} ({checked.n_wrong / n:.1%})")
    verdict = "holds the true number" if checked.covers else "does not hold the true number"
    off = f", {checked.n_estimated / checked.n_wrong - 1:+.0%}" if checked.n_wrong else ""
    say(f"estimated: {checked.n_estimated:,.0f}{off}; the interval {checked.n_low:,.0f} to {checked.n_high:,.0f} {verdict}")
    say(f"flagged: {checked.n_flagged:,} ({checked.n_flagged / n:.1%})")
    say(f"expected calibration error of the probabilities: {checked.calibration_error:.3f}")
    if not checked.n_wrong:
        warn("no label is wrong, so there is nothing to rank or to find: AUROC, precision and the like do not exist")
        return
    rows = [
        ("AUROC", f"{checked.auroc:.3f}"),
        ("average precision", f"{checked.average_precision:.3f}"),
        (f"precision of the first {checked.n_wrong:,}", f"{checked.precision_at_count:.3f}"),
        ("precision of the flags", f"{checked.precision:.3f}"),
        ("recall of the flags", f"{checked.recall:.3f}"),
        ("F1 of the flags", f"{checked.f1:.3f}"),
        ("F1 of the best threshold", f"{checked.best_f1:.3f}"),
        ("wrong labels whose suggestion is right", f"{checked.suggestion_accuracy:.3f}"),
    ]
    say_columns(rows, right=(1,))
    say(f"with every flagged label made its suggestion, {checked.n_better:+,} labels would be right ({checked.n_better / n:+.2%})")


def say_by_class(parts: "tuple[Evaluation, ...]", found: "Suspects") -> None:
    """Print a line for each given label; of many classes those with the most wrong labels."""
    shown = sorted(range(len(parts)), key=lambda label: -parts[label].n_wrong)[:FEW_CLASSES]
    rows: list[tuple[str, ...]] = [("labelled", "examples", "wrong", "estimated", "flagged", "precision", "recall", "AP")]
    for label in sorted(shown):
        part = parts[label]
        figures = [_figure(value) for value in (part.precision, part.recall, part.average_precision)]
        rows.append(
            (
                found.classes[label],
                f"{part.n_examples:,}",
                f"{part.n_wrong:,}",
                f"{part.n_estimated:,.0f}",
                f"{part.n_flagged:,}",
                *figures,
            )
        )
    say("by given label:")
    say_columns(rows, right=range(1, 8))
    if len(parts) > len(shown):
        say(f"  and {pluralise(len(parts) - len(shown), 'other class')}")


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
