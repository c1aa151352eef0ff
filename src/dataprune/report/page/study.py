"""What stands on the page of a study?

Joins the sections into one structure that JSON can hold, and the pictures drawn from it. Knows what to say when trials are missing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune.report.page.build import Options, Page
from dataprune.report.page.findings import spent
from dataprune.report.page.study_curves import curve_scenes
from dataprune.report.page.study_epochs import epoch_scenes
from dataprune.report.page.study_findings import study_findings
from dataprune.report.page.study_tables import Columns, StudyReportData, cells_of, finished, plain, price_rows, saving_rows
from dataprune.report.text import capitalise, display_text
from dataprune.study.auc import CurveArea
from dataprune.study.results_table import ALL, EXTRAS, RANDOM

TRIAL_COLUMNS = (
    *("trial", "score", "strategy", *EXTRAS, "keep", "start", "n_train", "seed", "epochs", "steps"),
    *("validation_accuracy", "test_accuracy", "train_seconds", "device", "status", "error"),
)
SUMMARY_COLUMNS = ("score", "strategy", *EXTRAS, "keep", "start", "n_seeds")
ALWAYS = ("keep", "seed", "n_seeds", "status")
UNSAID = (None, "", 0)
HEADINGS = {"n_train": "examples"}


def study_page(study: StudyReportData, options: Options) -> Page:
    """Put the page of a study together."""
    rows = cells_of(study)
    missing = _missing(study)
    curves = curve_scenes(rows)
    by_epoch = epoch_scenes(rows, study.epochs) if len(study.epochs) == len(rows) else {}
    context = {
        "title": display_text(options.title or f"What the study {display_text(study.name, 60)} shows", 200),
        "summary": _summary(study),
        "findings": [asdict(one) for one in study_findings(rows, study)],
        "cautions": [*missing.values(), *(capitalise(display_text(one, 600)) for one in study.cautions)],
        "missing": missing,
        "curves": [scene.name for scene in curves],
        "by_epoch": [{"name": scene.name, "title": title} for title, scene in by_epoch.items()],
        "cells": rows,
        "cell_columns": _columns(rows, SUMMARY_COLUMNS),
        "arms": arm_rows(study.arms),
        "areas": area_rows(study.areas),
        "measure": study.measure.replace("_", " "),
        "overall": [capitalise(display_text(one, 600)) for one in study.overall],
        "advice": [
            {"keep": keep, "what": display_text(what, 200), "why": [capitalise(display_text(one, 600)) for one in why]}
            for keep, what, why in study.advice
        ],
        "prices": saving_rows(study.prices),
        "price_notes": [capitalise(display_text(one, 600)) for one in study.price_notes],
        "reads_test": study.measure == "test_accuracy",
        "notes": [capitalise(display_text(one, 600)) for one in study.notes],
        "price": price_rows(study.trials, study.measure),
        **trial_table(study.trials),
        "made": study.made,
        "spec": shown_lines(study.spec),
    }
    return Page("study", context, {}, {scene.name: scene for scene in (*curves, *by_epoch.values())})


def trial_table(trials: Columns) -> dict[str, Any]:
    """Return every trial as a row of texts, without the columns in which nothing stands, and which columns are numbers."""
    plainly = {name: [plain(value) for value in trials[name].tolist()] for name in TRIAL_COLUMNS if name in trials}
    said = {name: values for name, values in plainly.items() if name in ALWAYS or any(one not in UNSAID for one in values)}
    numbers = [any(isinstance(value, int | float) for value in values) for values in said.values()]
    columns = [[_cell(name, value) for value in values] for name, values in said.items()]
    return {
        "trial_columns": list(zip([HEADINGS.get(name, name.replace("_", " ")) for name in said], numbers, strict=True)),
        "trials": [list(row) for row in zip(*columns, strict=True)],
    }


def arm_rows(arms: Columns | None) -> list[dict[str, Any]]:
    """Return for each cell what changes from the first arm to another."""
    if arms is None:
        return []
    return [{name: plain(values[row]) for name, values in arms.items()} for row in range(len(arms["keep"]))]


def area_rows(areas: Sequence[CurveArea]) -> list[dict[str, Any]]:
    """Return the area under each curve, and why one is not known."""
    return [{key: plain(value) for key, value in vars(area).items()} | {"absent": str(area.absent or "")} for area in areas]


def _columns(rows: list[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Leave out the columns in which nothing stands."""
    return [name for name in names if name in ALWAYS or any(row.get(name) not in UNSAID for row in rows)]


def shown_lines(text: str) -> str:
    """Show a text of several lines harmlessly."""
    return "\n".join(display_text(line, 400) for line in text.splitlines()[:400])


def _missing(study: StudyReportData) -> dict[str, str]:
    done = finished(study.trials, study.measure)
    n = len(done)
    found: dict[str, str] = {}
    if not done.all():
        status = np.array([str(one) for one in study.trials.get("status", np.full(n, "not finished")).tolist()])
        kinds, counts = np.unique(status[~done], return_counts=True)
        said = ", ".join(f"{count:,} {display_text(kind, 40)}" for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True))
        found["trials"] = f"{n - int(done.sum()):,} of {n:,} trials have no result ({said}); the same command goes on with them."
    if not study.is_finished and done.all():
        found["trials"] = "The study is not finished; the same command goes on with it."
    if study.summary is None:
        found["summary"] = "The study has no summary yet: means are shown without intervals, and there are no verdicts."
    return found


def _summary(study: StudyReportData) -> str:
    done, trials = finished(study.trials, study.measure), study.trials
    seeds = len({plain(one) for one in trials["seed"].tolist()}) if "seed" in trials else 1
    seconds = float(np.nansum(np.asarray(trials["train_seconds"], np.float64)[done])) if "train_seconds" in trials else 0.0
    sizes = len({round(float(one), 9) for one in trials["keep"].tolist()})
    scores = sorted({display_text(one, 40) for one in trials["score"].tolist() if one and one not in (ALL, RANDOM)})
    on = f"{sizes} {'size' if sizes == 1 else 'sizes'} of the training set"
    text = f"{int(done.sum()):,} trainings with {seeds} {'seed' if seeds == 1 else 'seeds'} on {on}"
    chosen = ", ".join(scores[:-1]) + (" and " if len(scores) > 1 else "") + "".join(scores[-1:])
    text += f", chosen by {chosen}" if scores and not _compares_recipes(trials) else ""
    judged = (
        "Accuracies are on test data, which no choice was made on."
        if study.measure == "test_accuracy"
        else "Accuracies are on validation data."
    )
    return f"{text}; {spent(seconds)} of training. {judged}"


def _compares_recipes(trials: Columns) -> bool:
    return "recipe" in set(trials["strategy"].tolist())


def _cell(name: str, value: Any) -> str:
    if value in UNSAID and name not in ALWAYS:
        return "–" if value is None else ""
    if name == "trial":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith("accuracy") else f"{value:.1f}" if name.endswith("seconds") else f"{value:g}"
    return str(value)
