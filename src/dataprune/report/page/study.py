"""What stands on the page of a study?

Reads the study's two tables and its spec. Knows their columns, and what to say when trials are missing; statistics are the study's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.errors import InputError
from dataprune.report.page.build import Options, Page
from dataprune.report.page.findings import Finding, percent, spent
from dataprune.report.page.study_curves import EXTRAS, curve_scenes, name_of
from dataprune.report.text import shown
from dataprune.study.advice import Advice, advise, overall, situation_from
from dataprune.study.cost import prices, scoring_cost
from dataprune.study.opened import open_study
from dataprune.study.spec import to_toml

TOLERANCE = 0.01  # a point of accuracy counts as no loss
DONE = ("ok", "done", "finished", "complete", "completed")
TRIAL_COLUMNS = (
    *("trial", "score", "strategy", *EXTRAS, "keep", "start", "n_train", "seed", "epochs", "steps"),
    *("validation_accuracy", "test_accuracy", "train_seconds", "device", "status", "error"),
)
SUMMARY_COLUMNS = ("score", "strategy", *EXTRAS, "keep", "start", "n_seeds")

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Tables:
    """A study as its page needs it.

    Attributes:
        name: of its folder.
        trials: the columns of `trials.parquet`.
        summary: the columns of `summary.parquet`; None where nothing has ended.
        spec: what was asked, as TOML.
        measure: the column of the accuracy that is judged.
        overall: whether pruning pays at all, reason by reason.
        advice: for each size what to do, and why.
        prices: a row for scoring, all data and each cell; None where scoring has no price, or several.
        notes: what the numbers mean and what they leave out.
        is_finished: whether every trial has ended.
    """

    name: str
    trials: Columns
    summary: Columns | None
    spec: str
    measure: str = "test_accuracy"
    overall: tuple[str, ...] = ()
    advice: tuple[tuple[float, str, tuple[str, ...]], ...] = ()
    prices: Columns | None = None
    notes: tuple[str, ...] = ()
    is_finished: bool = True


def open_tables(folder: Path) -> Tables:
    """Read a study, finished or not.

    Raises:
        InputError: it has trained nothing yet.
        StoreError: it is damaged.
    """
    study = open_study(folder)
    try:
        summary = study.summary
    except InputError:  # no training has ended
        summary = None
    scoring = [scoring_cost({"cost": phases}) for phases in study.info.get("scoring", [])]
    price = None if summary is None or len(scoring) != 1 else prices(study.trials, scoring[0], study.measure).table()
    situation = situation_from(study.trials)
    sizes = sorted({round(float(keep), 6) for keep in study.trials["keep"] if keep < 1}, reverse=True)
    advice = () if summary is None else advise(situation, sizes or (1.0,), summary)
    return Tables(
        study.path.resolve().name,
        study.trials,
        None if summary is None else summary.table,
        to_toml(study.spec),
        study.measure,
        tuple(str(reason) for reason in overall(situation, summary)),
        tuple((one.keep, advice_of(one), tuple(str(reason) for reason in one.reasons)) for one in advice),
        price,
        () if summary is None else summary.notes,
        study.is_finished,
    )


def advice_of(advice: Advice) -> str:
    """Say in short what is advised at a size."""
    return "keep all" if advice.strategy == "all" else f"{advice.strategy}{f' by {advice.by}' if advice.by else ''}"


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
        "notes": [shown(one, 600) for one in study.notes],
        "cell_columns": [name for name in SUMMARY_COLUMNS if any(row.get(name) not in (None, "") for row in rows)],
        "price": price_rows(study.trials, study.measure),
        "trial_columns": [name for name in TRIAL_COLUMNS if name in study.trials],
        "trials": trial_rows(study.trials),
        "spec": shown_lines(study.spec),
    }
    return Page("study", context, {}, scenes)


def cells_of(study: Tables) -> list[dict[str, Any]]:
    """Give a row for each cell: of the summary, or where there is none yet the plain means of the finished trials."""
    if study.summary is not None:
        n = len(study.summary["keep"])
        columns = {"accuracy" if name == study.measure else name: values for name, values in study.summary.items()}
        return [{name: plain(values[row]) for name, values in columns.items()} for row in range(n)]
    grouped: dict[tuple[Any, ...], list[float]] = {}
    names = [name for name in ("score", "strategy", *EXTRAS, "keep", "start") if name in study.trials]
    for row in np.flatnonzero(finished(study.trials, study.measure)).tolist():
        key = tuple(plain(study.trials[name][row]) for name in names)
        grouped.setdefault(key, []).append(float(study.trials[study.measure][row]))
    empty = dict.fromkeys(("low", "high", "minus_random", "minus_all", "verdict"))
    return [
        {**dict(zip(names, key, strict=True)), "n_seeds": len(values), "accuracy": float(np.mean(values)), **empty}
        for key, values in grouped.items()
    ]


def finished(trials: Columns, measure: str) -> np.ndarray:
    """Say which trials have ended with an accuracy."""
    status = [str(one).lower() for one in trials["status"].tolist()] if "status" in trials else ["ok"] * len(trials["keep"])
    ended = np.array([one in DONE for one in status], bool)
    return np.asarray(np.isfinite(np.asarray(trials[measure], np.float64)) & ended)


def study_findings(rows: list[dict[str, Any]], study: Tables) -> list[Finding]:
    """Give the three findings of a study: what can go, whether scores beat chance, what it costs."""
    return [_droppable(rows), _against_random(rows), _price(study)]


def price_rows(trials: Columns, measure: str = "test_accuracy") -> list[dict[str, Any]]:
    """Say for each size what a training took on average, and of that on the largest size how much."""
    done = finished(trials, measure)
    keeps = np.asarray(trials["keep"], np.float64).round(9)
    names = [name for name in ("train_seconds", "examples_seen", "flops") if name in trials]
    rows: list[dict[str, Any]] = []
    for keep in sorted({float(one) for one in keeps[done].tolist()}, reverse=True):
        inside = done & (keeps == keep)
        means = {name: float(np.nanmean(np.asarray(trials[name], np.float64)[inside])) for name in names}
        rows.append({"keep": keep, "count": int(inside.sum()), **means})
    for row in rows:
        base = rows[0].get("train_seconds") or 0.0
        row["share"] = row["train_seconds"] / base if base and "train_seconds" in row else None
    return rows


def saving_rows(prices: Columns | None) -> list[dict[str, Any]]:
    """Give for each cell what one training saves, and with how many trainings scoring is paid for."""
    if prices is None:
        return []
    names = ("what", "keep", "start", "seconds", "saved_seconds", "flops", "saved_flops", "pays_after_flops")
    return [{name: plain(prices[name][row]) for name in names} for row in range(len(prices["what"]))]


def trial_rows(trials: Columns) -> list[list[Any]]:
    """Give every trial as a row of plain values."""
    names = [name for name in TRIAL_COLUMNS if name in trials]
    n = len(trials["keep"])
    columns = [[_cell(name, plain(value)) for value in trials[name].tolist()] for name in names]
    return [[column[row] for column in columns] for row in range(n)]


def plain(value: Any) -> Any:
    """Make a table's cell plain JSON: NaN and missing become None, texts harmless.

    Example:
        >>> plain(np.float64("nan")), plain(np.int64(3)), plain("a\\nb")
        (None, 3, 'a\\\\nb')
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return shown(value, 300) if isinstance(value, str) else value


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


def _droppable(rows: list[dict[str, Any]]) -> Finding:
    able = [
        row
        for row in rows
        if row["keep"] < 1
        and row.get("minus_all_low") is not None
        and row["minus_all_low"] >= -TOLERANCE
        and row.get("verdict") != "all data"
    ]
    if not able:
        judged = any(row.get("minus_all_low") is not None for row in rows)
        text = (
            "At no size is the loss against all data shown to be below one point; more seeds narrow the intervals."
            if judged
            else "There is no comparison with a training on all data."
        )
        return Finding("Nothing is shown to be droppable", text, link="#verdicts")
    best = min(able, key=lambda row: (row["keep"], -(row["minus_all"] or 0.0)))
    text = (
        f"Kept {percent(best['keep'])} by {name_of(best)}: accuracy differs from all data by {points(best['minus_all'])} "
        f"({points(best['minus_all_low'])} to {points(best['minus_all_high'])}, 95 % interval, for one size alone)."
    )
    return Finding(f"{percent(1 - best['keep'])} can be dropped within a point", text, link="#curves")


def _against_random(rows: list[dict[str, Any]]) -> Finding:
    verdicts = [str(row["verdict"]) for row in rows if row.get("verdict")]
    better = sum(one.startswith("better") for one in verdicts)
    worse = sum(one.startswith("worse") for one in verdicts)
    same = sum(one.startswith("not to be told") for one in verdicts)
    if not better + worse + same:
        return Finding("No verdict against random", "There are no random controls, or too few seeds.", link="#verdicts")
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


def _cell(name: str, value: Any) -> Any:
    if name == "trial" and isinstance(value, str):
        return value[:12]
    return float(f"{value:.6g}") if isinstance(value, float) else value
