"""The page of a study before it is HTML: three findings that a person can act upon, what the templates say, and its plots."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune.report.page.findings import Finding
from dataprune.report.page.render import Options, Page
from dataprune.report.page.study_data import NOTHING, StudyReportData, plain, plain_rows, size_costs
from dataprune.report.study_figures import epoch_plots, numbered, study_plots
from dataprune.report.text import capitalise, display_text, percent, pluralise, spent
from dataprune.study.results_table import ALL, EXTRAS, RANDOM
from dataprune.study.spec import to_toml
from dataprune.study.summary import Verdict

TRIAL_COLUMNS = (
    *("trial", "score", "strategy", *EXTRAS, "keep", "start", "n_train", "seed", "epochs", "steps"),
    *("validation_accuracy", "test_accuracy", "train_seconds", "device", "status", "error"),
)
SUMMARY_COLUMNS = ("score", "strategy", *EXTRAS, "keep", "start", "n_seeds")
ALWAYS = ("keep", "seed", "n_seeds", "status")
EMPTY = (None, "", 0)
HEADINGS = {"n_train": "examples"}


def study_page(study: StudyReportData, options: Options) -> Page:
    """Put the page of a study together."""
    summary = study.summary
    curves = {} if summary is None else study_plots(summary)
    by_epoch = {} if summary is None or not study.epochs else epoch_plots(summary.cells, study.epochs)
    by_name = numbered(by_epoch)
    rows, areas = [], []
    if summary is not None:
        rows = plain_rows({**summary.table, "accuracy": summary.table[study.measure]})
        areas = [
            {key: plain(value) for key, value in vars(one).items()} | {"absent": str(one.absent or "")} for one in summary.areas
        ]
    missing = _missing(study)
    context = {
        "title": display_text(
            options.title or f"Study: {display_text(study.name, 60)}, {display_text(study.spec.preset, 60)}", 200
        ),
        "summary": _summary(study),
        "findings": [asdict(one) for one in (_droppable(study), _against_random(study), _cost(study))],
        "cautions": [*missing.values(), *_sentences(study.cautions)],
        "missing": missing,
        "curves": list(curves),
        "by_epoch": [{"name": name, "title": title} for name, title in zip(by_name, by_epoch, strict=True)],
        "cells": rows,
        "cell_columns": [name for name in SUMMARY_COLUMNS if name in ALWAYS or any(row.get(name) not in EMPTY for row in rows)],
        "arms": [] if summary is None else plain_rows(summary.arms),
        "areas": areas,
        "measure": study.measure.replace("_", " "),
        "overall": _sentences(study.overall),
        "advice": [{"keep": one.keep, "what": display_text(one, 200), "why": _sentences(one.reasons)} for one in study.advice],
        "costs": [] if study.costs is None else plain_rows(study.costs.table()),
        "cost_notes": _sentences(study.cost_notes),
        "reads_test": study.measure == "test_accuracy",
        "notes": [] if summary is None else _sentences(summary.notes),
        "sizes": [asdict(one) for one in size_costs(study)],
        **trial_table(study),
        "made": study.made,
        "spec": "\n".join(display_text(line, 400) for line in to_toml(study.spec).splitlines()[:400]),
    }
    return Page("study", context, {}, {**curves, **by_name})


def trial_table(study: StudyReportData) -> dict[str, Any]:
    """Return every trial as a row of texts, without the columns in which nothing stands, and which columns are numbers."""
    every = {name: [plain(value) for value in study.trials[name].tolist()] for name in TRIAL_COLUMNS if name in study.trials}
    shown = {name: values for name, values in every.items() if name in ALWAYS or any(one not in EMPTY for one in values)}
    numbers = [any(isinstance(value, int | float) for value in values) for values in shown.values()]
    columns = [[_cell(name, value) for value in values] for name, values in shown.items()]
    return {
        "trial_columns": list(zip([HEADINGS.get(name, name.replace("_", " ")) for name in shown], numbers, strict=True)),
        "trials": [list(row) for row in zip(*columns, strict=True)],
    }


def _sentences(notes: Sequence[object]) -> list[str]:
    return [capitalise(display_text(note, 600)) for note in notes]


def _missing(study: StudyReportData) -> dict[str, str]:
    ended, found = study.ended, dict[str, str]()
    n = len(ended)
    if not ended.all():
        kinds, counts = np.unique(np.asarray(study.trials["status"], str)[~ended], return_counts=True)
        parts = ", ".join(f"{count:,} {display_text(kind, 40)}" for kind, count in zip(kinds.tolist(), counts, strict=True))
        found["trials"] = f"{n - int(ended.sum()):,} of {n:,} trials have no result ({parts}); the same command goes on with them."
    elif not study.is_finished:
        found["trials"] = "The study is not finished; the same command goes on with it."
    if study.summary is None:
        found["summary"] = "No training has ended yet, so there are no curves and no verdicts."
    return found


def _summary(study: StudyReportData) -> str:
    ended, trials = study.ended, study.trials
    sizes = len(set(np.asarray(trials["keep"], np.float64).round(9).tolist()))
    scores = sorted({display_text(one, 40) for one in trials["score"].tolist() if one not in ("", ALL, RANDOM)})
    by = ""
    if scores and "recipe" not in trials["strategy"].tolist():
        by = ", chosen by " + " and ".join(filter(None, (", ".join(scores[:-1]), scores[-1])))
    seconds = float(np.nansum(np.asarray(trials["train_seconds"], np.float64)[ended]))
    judged = "test data, which no choice was made on" if study.measure == "test_accuracy" else "validation data"
    return (
        f"{pluralise(int(ended.sum()), 'training')} with {pluralise(len(set(trials['seed'].tolist())), 'seed')} on "
        f"{pluralise(sizes, 'size')} of the training set{by}; {spent(seconds)} of training. Accuracies are on {judged}."
    )


def _cell(name: str, value: Any) -> str:
    if value in EMPTY and name not in ALWAYS:
        return "–" if value is None else ""
    if name == "trial":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith("accuracy") else f"{value:.1f}" if name.endswith("seconds") else f"{value:g}"
    return str(value)


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
    costs = study.costs
    if costs is not None and costs.scoring.flops > 0 and costs.everything.flops > 0:
        times = costs.scoring.flops / costs.everything.flops
        text += f" Scoring comes on top, once: as much as {times:.2g} trainings on all data."
    return Finding(title, text, link="#cost")


def points(value: float) -> str:
    """Write a difference of accuracies in points.

    Example:
        >>> points(0.0123), points(-0.004)
        ('+1.2 points', '−0.4 points')
    """
    digits = f"{abs(value) * 100:.1f}"
    return f"{'' if digits == '0.0' else '−' if value < 0 else '+'}{digits} points"
