"""What a study says in three sentences that a person can act upon: what can go, whether scores beat chance, what it costs."""

import numpy as np

from dataprune.report.page.findings import Finding
from dataprune.report.page.study_data import NOTHING, StudyReportData, size_costs
from dataprune.report.text import percent, spent
from dataprune.study.summary import Verdict


def study_findings(study: StudyReportData) -> list[Finding]:
    """Return the three findings of a study."""
    return [_droppable(study), _against_random(study), _cost(study)]


def _droppable(study: StudyReportData) -> Finding:
    summary = study.summary
    no_loss = NOTHING if summary is None else summary.no_loss
    if summary is None or no_loss is not None:
        return Finding("How much can be dropped is not known", f"Because {no_loss}.", link="#verdicts")
    most = f"{100 * summary.tolerance:g} point{'' if summary.tolerance == 0.01 else 's'}"
    able = [one for one in summary.droppable if one.keep < 1]
    if not able:
        text = (
            f"By no rule and at no size is the loss against all data shown to be at most {most}; more seeds narrow the intervals."
        )
        return Finding("Nothing is shown to be droppable", text, link="#verdicts")
    best = min(able, key=lambda one: (one.keep, one.loss))
    text = (
        f"Kept {percent(best.keep)} by {best.name}: accuracy differs from all data by {points(-best.loss)}, and the loss is at "
        f"most {100 * best.at_most:.1f} points (95 % confidence, over the {len(summary.droppable)} curves together)."
    )
    return Finding(f"{percent(1 - best.keep)} can be dropped within {most}", text, link="#curves")


def _against_random(study: StudyReportData) -> Finding:
    summary = study.summary
    verdicts = [] if summary is None else summary.table["verdict"].tolist()
    better, worse, same = (verdicts.count(one) for one in (Verdict.BETTER, Verdict.WORSE, Verdict.SAME))
    if summary is None or not better + worse + same:
        no_interval = NOTHING if summary is None else summary.no_interval
        why = no_interval or "no score was tried beside a random set of the same size"
        return Finding("No verdict against random", f"Because {why}.", link="#verdicts")
    gains = summary.table["minus_random"]
    best = int(np.nanargmax(gains))
    text = (
        f"Of {better + worse + same} comparisons with a random set of the same size {better} are better, {worse} worse, and "
        f"{same} not distinguishable from it. The best of them: {summary.cells[best].name} at "
        f"{percent(summary.cells[best].keep)}, {points(float(gains[best]))}."
    )
    title = "Chance beats scores" if worse > better else "Scores are no better than chance here"
    return Finding("Scores beat chance" if better > worse else title, text, link="#verdicts")


def _cost(study: StudyReportData) -> Finding:
    rows = [row for row in size_costs(study) if row.share is not None]
    if len(rows) < 2:
        return Finding("No saving is known", "Trainings on sets of different size are needed for a cost.", link="#cost")
    first, last = rows[0], rows[-1]
    title = f"Training on {percent(last.keep)} takes {percent(last.share or 0.0)} of the work"
    took = ["an unknown time" if row.train_seconds is None else spent(row.train_seconds) for row in (last, first)]
    text = f"It took {took[0]}, on {percent(first.keep)} it took {took[1]} (seconds also depend on what else the machine did)."
    return Finding(title, f"{text} {_scoring(study)}".strip(), link="#cost")


def _scoring(study: StudyReportData) -> str:
    """Return what scoring costs beside that, where it is known."""
    costs = study.costs
    if costs is None or not (costs.scoring.flops > 0 and costs.everything.flops > 0):
        return ""
    return f"Scoring comes on top, once: as much as {costs.scoring.flops / costs.everything.flops:.2g} trainings on all data."


def points(value: float) -> str:
    """Write a difference of accuracies in points.

    Example:
        >>> points(0.0123), points(-0.004)
        ('+1.2 points', '−0.4 points')
    """
    digits = f"{abs(value) * 100:.1f}"
    return f"{'' if digits == '0.0' else '−' if value < 0 else '+'}{digits} points"
