"""What does a study say, in three sentences that a person can act upon: what can go, whether scores beat chance, what it costs?"""

from typing import Any

from dataprune.report.page.findings import Finding, percent, spent
from dataprune.report.page.study_curves import name_of
from dataprune.report.page.study_tables import Tables, price_rows


def study_findings(rows: list[dict[str, Any]], study: Tables) -> list[Finding]:
    """Give the three findings of a study.

    Args:
        rows: the cells, as `cells_of` gives them.
        study: the rest.
    """
    return [_droppable(study), _against_random(rows, study), _price(study)]


def _droppable(study: Tables) -> Finding:
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


def _against_random(rows: list[dict[str, Any]], study: Tables) -> Finding:
    verdicts = [str(row["verdict"]) for row in rows if row.get("verdict")]
    better = sum(one.startswith("better") for one in verdicts)
    worse = sum(one.startswith("worse") for one in verdicts)
    same = sum(one.startswith("not to be told") for one in verdicts)
    if not better + worse + same:
        why = study.no_interval or "no score was tried beside a random set of the same size"
        return Finding("No verdict against random", f"Because {why}.", link="#verdicts")
    best = max((row for row in rows if row.get("minus_random") is not None), key=lambda row: row["minus_random"])
    text = (
        f"Of {better + worse + same} comparisons with a random set of the same size {better} are better, {worse} worse, and "
        f"{same} not to be told from it. The largest gain: {name_of(best)} at "
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


def _price(study: Tables) -> Finding:
    rows = price_rows(study.trials, study.measure)
    priced = [row for row in rows if row.get("share") is not None]
    if len(priced) < 2:
        return Finding("No saving to be told", "Trainings on sets of different size are needed for a price.", link="#price")
    last = priced[-1]
    text = (
        f"A training on {percent(last['keep'])} took {spent(last['train_seconds'])}, {percent(last['share'])} of the "
        f"{spent(priced[0]['train_seconds'])} on {percent(priced[0]['keep'])}. What scoring cost "
        "stands in the report of the run; it comes on top, once."
    )
    return Finding(f"Training on {percent(last['keep'])} takes {percent(last['share'])} of the time", text, link="#price")


def points(value: float | None) -> str:
    """Write a difference of accuracies in points.

    Example:
        >>> points(0.0123), points(-0.004), points(None)
        ('+1.2 points', '−0.4 points', '–')
    """
    if value is None:
        return "–"
    return f"{'−' if value < 0 else '+'}{abs(value) * 100:.1f} points"
