"""The page of a study before it is HTML: what the templates say, and its plots."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune.report.page.build import Page
from dataprune.report.page.choice import Options
from dataprune.report.page.study_data import StudyReportData, plain, plain_rows, size_costs
from dataprune.report.page.study_findings import study_findings
from dataprune.report.study_figures import epoch_plots, numbered, study_plots
from dataprune.report.text import capitalise, display_text, pluralise, spent
from dataprune.study.auc import CurveArea
from dataprune.study.results_table import ALL, EXTRAS, RANDOM
from dataprune.study.spec import to_toml

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
    rows = [] if summary is None else plain_rows({**summary.table, "accuracy": summary.table[study.measure]})
    missing = _missing(study)
    context = {
        "title": display_text(
            options.title or f"Study: {display_text(study.name, 60)}, {display_text(study.spec.preset, 60)}", 200
        ),
        "summary": _summary(study),
        "findings": [asdict(one) for one in study_findings(study)],
        "cautions": [*missing.values(), *_sentences(study.cautions)],
        "missing": missing,
        "curves": list(curves),
        "by_epoch": [{"name": name, "title": title} for name, title in zip(by_name, by_epoch, strict=True)],
        "cells": rows,
        "cell_columns": [name for name in SUMMARY_COLUMNS if name in ALWAYS or any(row.get(name) not in EMPTY for row in rows)],
        "arms": [] if summary is None else plain_rows(summary.arms),
        "areas": [] if summary is None else [_area(one) for one in summary.areas],
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


def _area(area: CurveArea) -> dict[str, Any]:
    return {key: plain(value) for key, value in vars(area).items()} | {"absent": str(area.absent or "")}


def _sentences(notes: Sequence[object]) -> list[str]:
    return [capitalise(display_text(note, 600)) for note in notes]


def _missing(study: StudyReportData) -> dict[str, str]:
    ended, found = study.ended, dict[str, str]()
    n = len(ended)
    if not ended.all():
        kinds, counts = np.unique(np.asarray(study.trials["status"], str)[~ended], return_counts=True)
        parts = ", ".join(
            f"{count:,} {display_text(kind, 40)}" for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)
        )
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
    compares_recipes = "recipe" in trials["strategy"].tolist()
    by = (
        ", chosen by " + " and ".join(filter(None, (", ".join(scores[:-1]), *scores[-1:])))
        if scores and not compares_recipes
        else ""
    )
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
