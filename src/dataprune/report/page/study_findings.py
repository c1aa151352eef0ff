"""What does a study say, in three sentences that a person can act upon: what can go, whether scores beat chance, what it costs?"""

from typing import Any

from dataprune.report.page.findings import Finding, percent, spent
from dataprune.report.page.study_curves import name_of
from dataprune.report.page.study_tables import StudyReportData, price_rows
from dataprune.study.summary import Verdict


def study_findings(rows: list[dict[str, Any]], study: StudyReportData) -> list[Finding]:
    """Return the three findings of a study.

    Args:
        rows: the cells, as `cells_of` gives them.
        study: the rest.
    """
    return [_droppable(study), _against_random(rows, study), _price(study)]


def _droppable(study: StudyReportData) -> Finding:
    most = f"{100 * study.tolerance:g} point{'' if study.tolerance == 0.01 else 's'}"
    if study.no_loss:
        return Finding("How much can be dropped cannot be told", f"Because {study.no_loss}.", link="#verdicts")
    able = [one for one in study.droppable if one.keep < 1]
    if not able:
        text = (
            f"By no rule and at no size is the loss against all data shown to be at most {most}; more seeds narrow the intervals."
        )
        return Finding("Nothing is shown to be droppable", text, link="#verdicts")
    best = min(able, key=lambda one: (one.keep, one.loss))
    text = (
        f"Kept {percent(best.keep)} by {best.name}: accuracy differs from all data by {points(-best.loss)}, and the loss is at "
        f"most {100 * best.at_most:.1f} points (95 % confidence, over the {len(study.droppable)} curves together)."
    )
    return Finding(f"{percent(1 - best.keep)} can be dropped within {most}", text, link="#curves")


def _against_random(rows: list[dict[str, Any]], study: StudyReportData) -> Finding:
    verdicts = [str(row["verdict"]) for row in rows if row.get("verdict")]
    better = sum(one == Verdict.BETTER for one in verdicts)
    worse = sum(one == Verdict.WORSE for one in verdicts)
    same = sum(one == Verdict.SAME for one in verdicts)
    if not better + worse + same:
        why = study.no_interval or "no score was tried beside a random set of the same size"
        return Finding("No verdict against random", f"Because {why}.", link="#verdicts")
    best = max((row for row in rows if row.get("minus_random") is not None), key=lambda row: row["minus_random"])
    text = (
        f"Of {better + worse + same} comparisons with a random set of the same size {better} are better, {worse} worse, and "
        f"{same} not distinguishable from it. The best of them: {name_of(best)} at "
        f"{percent(best['keep'])}, {points(best['minus_random'])}."
    )
    title = (
        "Scores beat chance"
        if better > worse
        else "Chance beats scores"
        if worse > better
        else "Scores are no better than chance here"
    )
    return Finding(title, text, link="#verdicts")


def _price(study: StudyReportData) -> Finding:
    rows = [row for row in price_rows(study.trials, study.measure) if row["share"] is not None]
    if len(rows) < 2:
        return Finding("No saving to be told", "Trainings on sets of different size are needed for a price.", link="#price")
    first, last = rows[0], rows[-1]
    title = f"Training on {percent(last['keep'])} takes {percent(last['share'])} of the work"
    took = [spent(row["train_seconds"]) if row.get("train_seconds") else "a time that is not known" for row in (last, first)]
    text = f"It took {took[0]}, on {percent(first['keep'])} it took {took[1]} (seconds also tell what else the machine did)."
    return Finding(title, f"{text} {_scoring(study)}".strip(), link="#price")


def _scoring(study: StudyReportData) -> str:
    """Return what scoring costs beside that, where it is known."""
    table = study.prices
    if table is None or not {"scoring", "all data"} <= set(table["what"].tolist()):
        return ""
    flops = dict(zip(table["what"].tolist(), table["flops"].tolist(), strict=True))
    if not (flops["scoring"] > 0 and flops["all data"] > 0):
        return ""
    return f"Scoring comes on top, once: as much as {flops['scoring'] / flops['all data']:.2g} trainings on all data."


def points(value: float | None) -> str:
    """Write a difference of accuracies in points.

    Example:
        >>> points(0.0123), points(-0.004), points(None)
        ('+1.2 points', '−0.4 points', '–')
    """
    if value is None:
        return "–"
    said = f"{abs(value) * 100:.1f}"
    return f"{'' if said == '0.0' else '−' if value < 0 else '+'}{said} points"
