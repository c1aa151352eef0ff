"""What `dataprune noise` says of a finding: the estimate, the most suspect, and what it is worth where the truth is known."""

from itertools import islice

import dataprune as dp
from dataprune.cli.lines import say, say_columns, warn
from dataprune.errors import percent
from dataprune.report.text import display_text, pluralise

N_SHOWN = 10
WORTH_LOOKING = (10, 20, 50)
BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2)
FEW_CLASSES = 20
LONGEST_REASON = 240


def say_estimate(found: "dp.Suspects") -> None:
    """Report how many labels are wrong, how sure that is, and what looking at so many would find."""
    from dataprune.noise.words import accuracy_in_words, counts_in_words

    n = len(found)
    say(
        accuracy_in_words(found),
        f"judged: {pluralise(n, 'label')}, {pluralise(found.n_classes, 'class')}; {found.method}",
        counts_in_words(found),
    )
    if found.n_wrong is None:
        return
    counts = (*WORTH_LOOKING, len(found.flagged), *(round(share * n) for share in BUDGETS))
    budgets = sorted({count for count in counts if 1 <= count <= n})
    say("what is expected when the most suspect are looked at:")
    rows = [("looked at", "are wrong", "between")]
    for count in budgets:
        wrong = found.expected_wrong(count)
        said = () if wrong is None else (f"{wrong[0]:,.0f}", f"{wrong[1]:,.0f} and {wrong[2]:,.0f}")
        if said and (said != rows[-1][1:] or count == len(found.flagged)):  # more looks that find no more are no news
            rows.append((f"{count:,}", *said))
    say_columns(rows, right=(0, 1))


def say_most_suspect(found: "dp.Suspects") -> None:
    """Print the most suspect labels, each with the reason; then those that an identical example contradicts: one of both is wrong.

    Of two that contradict each other only the likelier one is among the first.
    """
    order, partner, probable = found.order.tolist(), found.contradicted_by, set(found.probable.tolist())
    first = (row for row in order if partner is None or partner[row] < 0 or row in probable)
    say("most suspect:")
    _say_reasons(found, list(islice(first, N_SHOWN)))
    if partner is not None and (rows := [row for row in order if partner[row] >= 0]):
        more = ", first" if len(rows) > N_SHOWN else ""
        say(f"labelled differently from an identical example: {pluralise(len(rows), 'label')}{more}")
        _say_reasons(found, rows[:N_SHOWN])


def _say_reasons(found: "dp.Suspects", rows: list[int]) -> None:
    cells: list[tuple[object, ...]] = [("wrong", "labelled", "rather", "id", "because")]
    for row in rows:
        names = [display_text(found.classes[label], 30) for label in (found.labels[row], found.suggested_label[row])]
        named = display_text(found.ids[row] if found.texts is None else f"{found.ids[row]}: {found.texts[row]}", 50)
        cells.append((found.chance_in_words(row) or "?", *names, named, found.reason[row]))
    say_columns(cells, right=(0,), most=LONGEST_REASON)


def say_checked(checked: "dp.Evaluation") -> None:
    """Report what the finding is worth."""
    n = checked.n_examples
    say(f"wrong labels: {checked.n_wrong:,} of {n:,} ({percent(checked.n_wrong / n, 1)})")
    verdict = "holds the true number" if checked.covers else "does not hold the true number"
    if checked.n_estimated == checked.n_estimated:
        off = f", {percent(checked.n_estimated / checked.n_wrong - 1, sign='+')}" if checked.n_wrong else ""
        say(f"estimated: {checked.n_estimated:,.0f}{off}; the interval {checked.n_low:,.0f} to {checked.n_high:,.0f} {verdict}")
    else:
        say("estimated: no number, since the evidence carries none")
    say(f"flagged: {checked.n_flagged:,} ({percent(checked.n_flagged / n, 1)})")
    say(f"expected calibration error of the probabilities: {checked.calibration_error:.3f}")
    if not checked.n_wrong:
        warn("no label is wrong, so there is nothing to rank or to find: AUROC, precision and the like do not exist")
        return
    rows = {
        "AUROC": checked.auroc,
        "average precision": checked.average_precision,
        f"precision of the first {checked.n_wrong:,}": checked.precision_at_count,
        "precision of the flags": checked.precision,
        "recall of the flags": checked.recall,
        "F1 of the flags": checked.f1,
        "F1 of the best threshold": checked.best_f1,
        "wrong labels whose suggestion is right": checked.suggestion_accuracy,
    }
    say_columns([(name, f"{value:.3f}") for name, value in rows.items()], right=(1,))
    better, which = checked.n_better, "more" if checked.n_better >= 0 else "fewer"
    say(f"every flagged label made its suggestion: {abs(better):,} {which} correct labels ({percent(better / n, 2, '+')})")


def say_by_class(parts: "tuple[dp.Evaluation, ...]", found: "dp.Suspects") -> None:
    """Print a line for each given label; of many classes those with the most wrong labels."""
    shown = sorted(range(len(parts)), key=lambda label: -parts[label].n_wrong)[:FEW_CLASSES]
    rows: list[tuple[str, ...]] = [("labelled", "examples", "wrong", "estimated", "flagged", "precision", "recall", "AP")]
    for label in sorted(shown):
        part = parts[label]
        counts = [f"{count:,.0f}" for count in (part.n_examples, part.n_wrong, part.n_estimated, part.n_flagged)]
        figures = ["-" if value != value else f"{value:.3f}" for value in (part.precision, part.recall, part.average_precision)]
        rows.append((found.classes[label], *counts, *figures))
    say("by given label:")
    say_columns(rows, right=range(1, 8))
    if len(parts) > len(shown):
        say(f"  and {pluralise(len(parts) - len(shown), 'other class')}")
