"""What is known about a study when its page is written?

Reads the study's tables, its spec and what follows from them. Knows their columns; statistics, prices and advice are the study's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.errors import InputError, StoreError
from dataprune.report.page.findings import percent
from dataprune.report.text import display_text
from dataprune.study.advice import Advice, advise, overall, situation_from
from dataprune.study.auc import CurveArea
from dataprune.study.cost import scoring_cost, study_costs
from dataprune.study.results_table import EXTRAS, cell_table
from dataprune.study.spec import to_toml
from dataprune.study.study import Study, open_study
from dataprune.study.summary import TOLERANCE, Droppable

DONE = ("ok", "done", "finished", "complete", "completed")
NOTHING = "no training has ended yet"

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class StudyReportData:
    """A study as its page needs it.

    Attributes:
        name: of its folder.
        trials: the columns of `trials.parquet`.
        summary: the columns of `summary.parquet`; None where nothing has ended.
        spec: what was asked, as TOML.
        measure: the column of the accuracy that is judged.
        droppable: for each curve over sizes the most that can be dropped.
        tolerance: a loss that counts as none.
        no_loss: why the most that can be dropped cannot be told; "" where it can.
        no_interval: why there are no intervals; "" where there are.
        overall: whether pruning pays at all, reason by reason.
        advice: for each size what to do, and why.
        prices: a row for scoring, all data and each cell; None where scoring has no price, or several.
        price_notes: what the prices leave out.
        notes: what the numbers mean and what they leave out.
        epochs: for each row of the summary the accuracies on validation by epoch of its seeds; None where they cannot be joined.
        arms: what a cell changes from the first arm to another; no rows for a study of one arm.
        areas: under each curve.
        made: how it was made, in terms and words.
        cautions: what the study says of its data.
        is_finished: whether every trial has ended.
    """

    name: str
    trials: Columns
    summary: Columns | None
    spec: str
    measure: str = "test_accuracy"
    droppable: tuple[Droppable, ...] = ()
    tolerance: float = TOLERANCE
    no_loss: str = ""
    no_interval: str = ""
    overall: tuple[str, ...] = ()
    advice: tuple[tuple[float, str, tuple[str, ...]], ...] = ()
    prices: Columns | None = None
    price_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    epochs: tuple[np.ndarray | None, ...] = ()
    arms: Columns | None = None
    areas: tuple[CurveArea, ...] = ()
    made: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()
    is_finished: bool = True


def open_tables(folder: Path) -> StudyReportData:
    """Read a study, finished or not.

    Raises:
        InputError: it has trained nothing yet.
        StoreError: it is damaged.
    """
    study = open_study(folder)
    about: dict[str, Any] = {"measure": study.measure, "tolerance": study.spec.tolerance, "is_finished": study.is_finished}
    about |= {"made": _made(study), "cautions": () if study.manifest is None else study.manifest.notes}
    name, spec = study.path.resolve().name, to_toml(study.spec)
    try:
        summary = study.summary
    except InputError:  # no training has ended
        return StudyReportData(name, study.trials, None, spec, no_loss=NOTHING, no_interval=NOTHING, **about)
    scoring = [] if study.manifest is None else [scoring_cost(phases) for phases in study.manifest.scoring]
    price = None if len(scoring) != 1 else study_costs(study.trials, scoring[0], study.measure)
    situation = situation_from(study.trials)
    sizes = sorted({round(float(keep), 6) for keep in study.trials["keep"] if keep < 1}, reverse=True)
    advice = advise(situation, sizes or (1.0,), summary)
    return StudyReportData(
        name,
        study.trials,
        summary.table,
        spec,
        droppable=summary.droppable,
        no_loss=str(summary.no_loss or ""),
        no_interval=str(summary.no_interval or ""),
        overall=tuple(str(reason) for reason in overall(situation, summary)),
        advice=tuple((one.keep, advice_of(one), tuple(str(reason) for reason in one.reasons)) for one in advice),
        prices=None if price is None else price.table(),
        price_notes=(_no_price(study.is_finished),) if price is None else tuple(map(str, price.notes)),
        notes=tuple(map(str, summary.notes)),
        epochs=_epochs(study),
        arms=summary.arms,
        areas=summary.areas,
        **about,
    )


def advice_of(advice: Advice) -> str:
    """Return in short what is advised at a size."""
    return "keep all" if advice.strategy == "all" else f"{advice.strategy}{f' by {advice.by}' if advice.by else ''}"


def cells_of(study: StudyReportData) -> list[dict[str, Any]]:
    """Return a row for each cell: of the summary, or where there is none yet the plain means of the finished trials."""
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
    """Return which trials have ended with an accuracy."""
    status = [str(one).lower() for one in trials["status"].tolist()] if "status" in trials else ["ok"] * len(trials["keep"])
    ended = np.array([one in DONE for one in status], bool)
    return np.asarray(np.isfinite(np.asarray(trials[measure], np.float64)) & ended)


def price_rows(trials: Columns, measure: str = "test_accuracy") -> list[dict[str, Any]]:
    """Return for each size what a training took on average, and which share that is of the work on the largest size."""
    done = finished(trials, measure)
    keeps = np.asarray(trials["keep"], np.float64).round(9)
    names = [name for name in ("train_seconds", "examples_seen", "flops") if name in trials]
    rows: list[dict[str, Any]] = []
    for keep in sorted({float(one) for one in keeps[done].tolist()}, reverse=True):
        inside = done & (keeps == keep)
        means = {name: plain(np.asarray(trials[name], np.float64)[inside].mean()) for name in names}
        rows.append({"keep": keep, "count": int(inside.sum()), **means})
    measures = [name for name in ("flops", "train_seconds") if rows and all(row.get(name) for row in rows)]
    for row in rows:  # operations are the fairer measure: seconds also tell what else the machine did
        row["share"] = row[measures[0]] / rows[0][measures[0]] if measures else None
    return rows


def saving_rows(prices: Columns | None) -> list[dict[str, Any]]:
    """Return for each cell what one training saves, and with how many trainings scoring is paid for."""
    if prices is None:
        return []
    names = ("what", "keep", "start", "seconds", "saved_seconds", "flops", "saved_flops", "pays_after_flops")
    return [{name: plain(prices[name][row]) for name in names} for row in range(len(prices["what"]))]


def plain(value: Any) -> Any:
    """Make a table's cell plain JSON: NaN and missing become None, texts harmless.

    Example:
        >>> plain(np.float64("nan")), plain(np.int64(3)), plain("a\\nb")
        (None, 3, 'a\\\\nb')
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return display_text(value, 300) if isinstance(value, str) else value


def _epochs(study: Study) -> tuple[np.ndarray | None, ...]:
    """Join the curves of each cell's seeds."""
    found: list[np.ndarray | None] = []
    try:
        every = study.results
    except StoreError:  # a trial's file is damaged: `dataprune verify` names it
        return ()
    for rows in cell_table(study.trials, study.measure).rows:
        results = [every[row] for row in rows if row >= 0]
        curves = [one.validation for one in results if one is not None and one.validation]
        found.append(np.array(curves, np.float64) if curves and len(set(map(len, curves))) == 1 else None)
    return tuple(found)


def _made(study: Study) -> tuple[tuple[str, str], ...]:
    """Return how a study was made: data, recipe, seeds, versions; no path and no host."""
    spec, settings, manifest = study.spec, study.settings, study.manifest
    sizes = [] if manifest is None else [(name, getattr(manifest.data, f"n_{name}")) for name in ("train", "validation", "test")]
    cut = 0.0 if manifest is None else manifest.data.cut_test
    rows = [
        ("examples", ", ".join(f"{count:,} for {name}" for name, count in sizes)),
        ("cut from train", f"{percent(cut)} for test, before scoring" if cut else ""),
        ("data", f"fingerprint {study.data[:16]}"),
        ("model", settings.model),
        ("recipe", f"{settings.recipe.name}: {_fields(vars(settings.recipe))}"),
        ("epochs", f"{settings.epochs}, the same for every training" if settings.budget == "epochs" else ""),
        ("steps", f"as many as {settings.epochs} epochs on all data" if settings.budget == "steps" else ""),
        ("seeds", ", ".join(map(str, spec.training_seeds))),
        ("judged on", "test, read once a training" if spec.judge == "test" else "validation, since a choice is made"),
        ("device", settings.made_with.get("device", "")),
        ("versions", "" if manifest is None else ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
        ("finished", "" if manifest is None else manifest.finished),
    ]
    return tuple((term, display_text(words, 400)) for term, words in rows if words)


def _fields(recipe: Mapping[str, Any]) -> str:
    said = {key: value for key, value in recipe.items() if key != "name" and value not in ((), None)}
    words = {True: "yes", False: "no"}
    return ", ".join(
        f"{key.replace('_', ' ')} {words[value] if isinstance(value, bool) else value}" for key, value in sorted(said.items())
    )


def _no_price(is_finished: bool) -> str:
    """Return why it is left out what is saved."""
    if not is_finished:
        return "what is saved is said once the study is finished"
    return "what is saved is left out: each arm was scored apart, so scoring has no one price"
