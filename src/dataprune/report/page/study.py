"""What stands on the page of a study?

Reads the study's two tables and its spec. Knows their columns, and what to say when trials are missing; statistics are the study's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import tables
from dataprune.errors import StoreError
from dataprune.report.page.build import Options, Page
from dataprune.report.page.findings import Finding, percent, spent
from dataprune.report.page.scene import Axes, Dot, Line, Mark, Scene, Words, limits
from dataprune.report.text import shown
from dataprune.scores import SCORES

TRIALS, SUMMARY = "trials.parquet", "summary.parquet"
SPECS = ("study.toml", "spec.toml", "spec.json", "study.json")
TOLERANCE = 0.01  # a point of accuracy counts as no loss
WIDTH, HEIGHT = 760.0, 420.0
EXTRAS = ("arm", "order", "clusters", "stages", "recipe")
DONE = ("ok", "done", "finished", "complete", "completed")
TRIAL_COLUMNS = (
    *("trial", "score", "strategy", *EXTRAS, "keep", "start", "n_train", "seed", "epochs", "steps"),
    *("validation_accuracy", "test_accuracy", "train_seconds", "device", "status", "error"),
)
SUMMARY_COLUMNS = ("score", "strategy", *EXTRAS, "keep", "start", "n_seeds")

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Tables:
    """A study as it lies on disk; `summary` may not be there yet."""

    name: str
    trials: Columns
    summary: Columns | None
    spec: str


def is_study(folder: Path) -> bool:
    """Say whether a folder holds the tables of a study."""
    return (folder / TRIALS).is_file() or (folder / SUMMARY).is_file()


def open_tables(folder: Path) -> Tables:
    """Read the tables of a study.

    Raises:
        StoreError: the trials are missing.
    """
    if not (folder / TRIALS).is_file():
        raise StoreError(f"{folder} lacks {TRIALS}. Run the same `dataprune study` command again to restore it.")
    trials = tables.read_table(folder / TRIALS).columns
    summary = tables.read_table(folder / SUMMARY).columns if (folder / SUMMARY).is_file() else None
    return Tables(folder.resolve().name, trials, summary, _spec(folder))


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
        "cell_columns": [name for name in SUMMARY_COLUMNS if any(row.get(name) not in (None, "") for row in rows)],
        "price": price_rows(study.trials),
        "trial_columns": [name for name in TRIAL_COLUMNS if name in study.trials],
        "trials": trial_rows(study.trials),
        "spec": shown_lines(study.spec),
    }
    return Page("study", context, {}, scenes)


def cells_of(study: Tables) -> list[dict[str, Any]]:
    """Give a row for each cell: of the summary, or where there is none yet the plain means of the finished trials."""
    if study.summary is not None:
        n = len(study.summary["keep"])
        return [{name: plain(values[row]) for name, values in study.summary.items()} for row in range(n)]
    grouped: dict[tuple[Any, ...], list[float]] = {}
    names = [name for name in ("score", "strategy", *EXTRAS, "keep", "start") if name in study.trials]
    for row in np.flatnonzero(finished(study.trials)).tolist():
        key = tuple(plain(study.trials[name][row]) for name in names)
        grouped.setdefault(key, []).append(float(study.trials["test_accuracy"][row]))
    empty = dict.fromkeys(("low", "high", "minus_random", "minus_all", "verdict"))
    return [
        {**dict(zip(names, key, strict=True)), "n_seeds": len(values), "test_accuracy": float(np.mean(values)), **empty}
        for key, values in grouped.items()
    ]


def finished(trials: Columns) -> np.ndarray:
    """Say which trials have ended with an accuracy."""
    status = [str(one).lower() for one in trials["status"].tolist()] if "status" in trials else ["ok"] * len(trials["keep"])
    ended = np.array([one in DONE for one in status], bool)
    return np.asarray(np.isfinite(np.asarray(trials["test_accuracy"], np.float64)) & ended)


def study_findings(rows: list[dict[str, Any]], study: Tables) -> list[Finding]:
    """Give the three findings of a study: what can go, whether scores beat chance, what it costs."""
    return [_droppable(rows), _against_random(rows), _price(study.trials)]


def price_rows(trials: Columns) -> list[dict[str, Any]]:
    """Say for each size what a training took on average, and of that on the largest size how much."""
    done = finished(trials)
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


def trial_rows(trials: Columns) -> list[list[Any]]:
    """Give every trial as a row of plain values."""
    names = [name for name in TRIAL_COLUMNS if name in trials]
    n = len(trials["keep"])
    columns = [[_cell(name, plain(value)) for value in trials[name].tolist()] for name in names]
    return [[column[row] for column in columns] for row in range(n)]


def curve_scenes(rows: list[dict[str, Any]]) -> list[Scene]:
    """Draw accuracy against the kept share, and for windows against their start; both with intervals."""
    windows = [row for row in rows if row.get("strategy") == "window"]
    others = [row for row in rows if row.get("strategy") != "window"]
    scenes = []
    if len({row["keep"] for row in others}) > 1:
        scenes.append(_curves("curves", "Accuracy against the kept share", "kept share", "keep", others))
    if windows:
        controls = [row for row in others if _is_all(row)]
        scenes.append(
            _curves("windows", "Accuracy by where the window starts", "easiest share left out", "start", windows + controls)
        )
    return scenes


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


def name_of(row: Mapping[str, Any]) -> str:
    """Name the curve that a cell belongs to."""
    parts = [str(row[key]) for key in ("score", "strategy", *EXTRAS) if row.get(key) not in (None, "", "hardest")]
    return " ".join(dict.fromkeys(parts)) or "hardest"


def _spec(folder: Path) -> str:
    for name in SPECS:
        if (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8", errors="backslashreplace")
            if name.endswith(".json"):
                try:
                    return json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)
                except ValueError:
                    continue
            return text
    return ""


def _missing(study: Tables) -> dict[str, str]:
    done = finished(study.trials)
    n = len(done)
    found: dict[str, str] = {}
    if not done.all():
        status = np.array([str(one) for one in study.trials.get("status", np.full(n, "not finished")).tolist()])
        kinds, counts = np.unique(status[~done], return_counts=True)
        said = ", ".join(f"{count:,} {shown(kind, 40)}" for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True))
        found["trials"] = f"{n - int(done.sum()):,} of {n:,} trials have no result ({said}); the same command goes on with them."
    if study.summary is None:
        found["summary"] = "The study has no summary yet: means are shown without intervals, and there are no verdicts."
    return found


def _summary(study: Tables) -> str:
    done, trials = finished(study.trials), study.trials
    seeds = len({plain(one) for one in trials["seed"].tolist()}) if "seed" in trials else 1
    seconds = float(np.nansum(np.asarray(trials["train_seconds"], np.float64)[done])) if "train_seconds" in trials else 0.0
    sizes = len({round(float(one), 9) for one in trials["keep"].tolist()})
    scores = sorted({shown(one, 40) for one in trials["score"].tolist() if one})
    text = f"{int(done.sum()):,} trainings with {seeds} {'seed' if seeds == 1 else 'seeds'} on {sizes} sizes of the training set"
    text += f", chosen by {', '.join(scores)}" if scores else ""
    return f"{text}; {spent(seconds)} of training. Accuracies are on test data, which no choice was made on."


def _is_all(row: Mapping[str, Any]) -> bool:
    return row.get("verdict") == "all data" or (row.get("keep") == 1.0 and row.get("strategy") not in ("window",))


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


def _price(trials: Columns) -> Finding:
    rows = price_rows(trials)
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


def _curves(name: str, title: str, x_label: str, x: str, rows: list[dict[str, Any]]) -> Scene:
    whole = [row for row in rows if _is_all(row)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("test_accuracy") is not None and row not in whole:
            groups.setdefault(name_of(row), []).append(row)
    seen = [row for group in groups.values() for row in group] + whole
    ends = [value for row in seen for value in (row.get("low"), row.get("high"), row["test_accuracy"]) if value is not None]
    spots = [row[x] for group in groups.values() for row in group]
    axes = Axes(60, 34, WIDTH - 240, HEIGHT - 90, *limits(min(spots), max(spots)), *limits(min(ends), max(ends)))
    marks: list[Mark] = [*axes.frame(x_label, "", percent_x=True, percent_y=True), Words(8, 18, "test accuracy", "ink", size=12.0)]
    line = 44.0
    if whole:
        level = axes.y(float(whole[0]["test_accuracy"]))
        marks.append(Line(np.array([(axes.left, level), (axes.left + axes.width, level)]), "ink", 1.5, True))
        marks += [
            Line(np.array([(WIDTH - 170, line), (WIDTH - 148, line)]), "ink", 1.5, True),
            Words(WIDTH - 142, line + 4, "all data", "ink"),
        ]
        line += 20
    for number, (label, group) in enumerate(sorted(groups.items(), key=lambda item: ("random" in item[0], item[0]))):
        role, is_square = ("plain", False) if "random" in label else (_colour(group[0], number), number >= 10)
        group = sorted(group, key=lambda row: row[x])
        shift = 0.0 if "random" in label else (number % 5 - 2) * 2.0  # so that intervals at one size can be told apart
        at = axes.points([row[x] for row in group], [row["test_accuracy"] for row in group])
        marks.append(Line(at, role, 2.0, "random" in label))
        for row, (px, py) in zip(group, at.tolist(), strict=True):
            if row.get("low") is not None:
                ends_at = np.array([(px + shift, axes.y(row["low"])), (px + shift, axes.y(row["high"]))])
                marks.append(Line(ends_at, role, 1.0))
            marks.append(Dot(px, py, 3.2, role, is_square=is_square))
        if line < HEIGHT - 20:
            marks += [Line(np.array([(WIDTH - 170, line), (WIDTH - 148, line)]), role, 2.0, "random" in label)]
            marks.append(Words(WIDTH - 142, line + 4, label[:26], "ink"))
        line += 20
    described = "Lines are means over seeds, upright strokes their 95 % intervals; the numbers stand in the table of verdicts."
    return Scene(name, WIDTH, HEIGHT, tuple(marks), title, described)


def _colour(row: Mapping[str, Any], number: int) -> str:
    """Give a score the same colour in every plot."""
    names = list(SCORES)
    place = names.index(row["score"]) if row.get("score") in names else number
    return f"c{place % 10}"
