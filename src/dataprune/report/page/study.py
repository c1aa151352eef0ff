"""What stands on the page of a study?

Joins the sections into one structure that JSON can hold, and the pictures drawn from it. Knows what to say when trials are missing.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune.report.page.build import Options, Page
from dataprune.report.page.findings import spent
from dataprune.report.page.study_curves import curve_scenes
from dataprune.report.page.study_findings import study_findings
from dataprune.report.page.study_tables import Columns, Tables, cells_of, finished, plain, price_rows, saving_rows
from dataprune.report.text import shown
from dataprune.study.cells import EXTRAS

TRIAL_COLUMNS = (
    *("trial", "score", "strategy", *EXTRAS, "keep", "start", "n_train", "seed", "epochs", "steps"),
    *("validation_accuracy", "test_accuracy", "train_seconds", "device", "status", "error"),
)
SUMMARY_COLUMNS = ("score", "strategy", *EXTRAS, "keep", "start", "n_seeds")


def study_page(study: Tables, options: Options) -> Page:
    """Put the page of a study together."""
    rows = cells_of(study)
    missing = _missing(study)
    scenes = {scene.name: scene for scene in curve_scenes(rows)}
    context = {
        "title": shown(options.title or f"What the study {shown(study.name, 60)} shows", 200),
        "summary": _summary(study),
        "findings": [asdict(one) for one in study_findings(rows, study)],
        "cautions": list(missing.values()),
        "missing": missing,
        "cells": rows,
        "measure": study.measure.replace("_", " "),
        "overall": [shown(one, 600) for one in study.overall],
        "advice": [
            {"keep": keep, "what": shown(what, 200), "why": [shown(one, 600) for one in why]} for keep, what, why in study.advice
        ],
        "prices": saving_rows(study.prices),
        "price_notes": [shown(one, 600) for one in study.price_notes],
        "reads_test": study.measure == "test_accuracy",
        "notes": [shown(one, 600) for one in study.notes],
        "cell_columns": [name for name in SUMMARY_COLUMNS if any(row.get(name) not in (None, "") for row in rows)],
        "price": price_rows(study.trials, study.measure),
        "trial_columns": [name for name in TRIAL_COLUMNS if name in study.trials],
        "trials": trial_rows(study.trials),
        "spec": shown_lines(study.spec),
    }
    return Page("study", context, {}, scenes)


def trial_rows(trials: Columns) -> list[list[Any]]:
    """Give every trial as a row of plain values."""
    names = [name for name in TRIAL_COLUMNS if name in trials]
    n = len(trials["keep"])
    columns = [[_cell(name, plain(value)) for value in trials[name].tolist()] for name in names]
    return [[column[row] for column in columns] for row in range(n)]


def shown_lines(text: str) -> str:
    """Show a text of several lines harmlessly."""
    return "\n".join(shown(line, 400) for line in text.splitlines()[:400])


def _missing(study: Tables) -> dict[str, str]:
    done = finished(study.trials, study.measure)
    n = len(done)
    found: dict[str, str] = {}
    if not done.all():
        status = np.array([str(one) for one in study.trials.get("status", np.full(n, "not finished")).tolist()])
        kinds, counts = np.unique(status[~done], return_counts=True)
        said = ", ".join(f"{count:,} {shown(kind, 40)}" for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True))
        found["trials"] = f"{n - int(done.sum()):,} of {n:,} trials have no result ({said}); the same command goes on with them."
    if not study.is_finished and done.all():
        found["trials"] = "The study is not finished; the same command goes on with it."
    if study.summary is None:
        found["summary"] = "The study has no summary yet: means are shown without intervals, and there are no verdicts."
    return found


def _summary(study: Tables) -> str:
    done, trials = finished(study.trials, study.measure), study.trials
    seeds = len({plain(one) for one in trials["seed"].tolist()}) if "seed" in trials else 1
    seconds = float(np.nansum(np.asarray(trials["train_seconds"], np.float64)[done])) if "train_seconds" in trials else 0.0
    sizes = len({round(float(one), 9) for one in trials["keep"].tolist()})
    scores = sorted({shown(one, 40) for one in trials["score"].tolist() if one})
    text = f"{int(done.sum()):,} trainings with {seeds} {'seed' if seeds == 1 else 'seeds'} on {sizes} sizes of the training set"
    text += f", chosen by {', '.join(scores)}" if scores else ""
    judged = (
        "Accuracies are on test data, which no choice was made on."
        if study.measure == "test_accuracy"
        else "Accuracies are on validation data."
    )
    return f"{text}; {spent(seconds)} of training. {judged}"


def _cell(name: str, value: Any) -> Any:
    if name == "trial" and isinstance(value, str):
        return value[:12]
    return float(f"{value:.6g}") if isinstance(value, float) else value
