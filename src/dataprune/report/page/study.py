"""The page of a study before it is HTML: three findings that a person can act upon, what the templates say, and its plots."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune.errors import InputError, StoreError, join_some, percent
from dataprune.report.charts import Chart
from dataprune.report.page.findings import Finding
from dataprune.report.page.render import Options, Page
from dataprune.report.study_figures import epoch_curves, epoch_plots, numbered, study_plots
from dataprune.report.text import capitalise, display_text, duration, pluralise
from dataprune.study.advice import advise, overall, situation_from
from dataprune.study.cost import UNKNOWN, StudyCosts
from dataprune.study.metric import ACCURACY, Amount, Metric
from dataprune.study.multiplier import HEADINGS as MULTIPLIER
from dataprune.study.results_table import ALL, EXTRAS, RANDOM, Cell
from dataprune.study.spec import to_toml
from dataprune.study.study import OK, Study
from dataprune.study.summary import Summary, Verdict

NOTHING = "no training has ended yet"
UNFINISHED = "what scoring has cost is known once the study is finished"
SEVERAL = "each arm was scored on its own, so scoring has no single cost"
TRIAL_COLUMNS = (
    *("trial", "score", "strategy", *EXTRAS, "keep", "start", "n_train", "seed", "epochs", "steps"),
    *("validation_accuracy", "test_accuracy", "train_seconds", "device", "status", "error"),
)
SUMMARY_COLUMNS = ("score", "strategy", *EXTRAS, "keep", "start", "n_seeds")
ALWAYS = ("keep", "seed", "n_seeds", "status")
EMPTY = (None, "", 0)
HEADINGS = {"n_train": "examples"}


def study_page(study: Study, options: Options) -> Page:
    """Put the page of a study together, finished or not."""
    summary, by_epoch, costs, rows = None, dict[str, Chart](), None, list[dict[str, Any]]()
    context: dict[str, Any] = {name: [] for name in ("overall", "advice", "arms", "areas", "notes", "multipliers")}
    with suppress(InputError):  # no training has ended
        summary = study.summary
    if summary is not None:
        with suppress(StoreError):  # a trial's file is damaged: `dataprune verify` names it
            by_epoch = epoch_plots(summary.cells, epoch_curves(study))
        costs = study.costs
        rows = plain_rows({**summary.table, "accuracy": summary.table[study.measure]})
        context = _told(study, summary)
    curves = {} if summary is None else study_plots(summary)
    by_name, missing = numbered(by_epoch), _missing(study, summary)
    names = dict.fromkeys(display_text(name, 60) for name in (study.path.resolve().name, study.spec.preset))  # often the same
    title = options.title or f"Study: {', '.join(names)}"
    context |= {
        "title": display_text(title, 200),
        "summary": _summary(study),
        "findings": [asdict(one) for one in (_droppable(summary), _against_random(summary), _cost(costs, summary))],
        "cautions": [*missing.values(), *_sentences(() if study.manifest is None else study.manifest.notes)],
        "missing": missing,
        "curves": list(curves),
        "by_epoch": [{"name": name, "title": what} for name, what in zip(by_name, by_epoch, strict=True)],
        "cells": rows,
        "cell_columns": [name for name in SUMMARY_COLUMNS if name in ALWAYS or any(row.get(name) not in EMPTY for row in rows)],
        "metric": ACCURACY if summary is None else summary.metric,
        "costs": [] if costs is None else _cost_rows(costs),
        "cost_notes": [] if costs is None else _sentences([*costs.notes, *_unknown_scoring(study)]),
        **trial_table(study),
        "multiplier_columns": MULTIPLIER,
        "made": _made(study),
        "spec": "\n".join(display_text(line, 400) for line in to_toml(study.spec).splitlines()[:400]),
    }
    return Page("study", context, {}, {**curves, **by_name})


def _told(study: Study, summary: Summary) -> dict[str, Any]:
    """Return what the page says of trainings that have ended: areas, what arms differ by, advice, notes."""
    situation = situation_from(study.trials)
    sizes = sorted({round(float(keep), 6) for keep in study.trials["keep"] if keep < 1}, reverse=True)
    advised = advise(situation, sizes or (1.0,), summary)
    areas = [{key: plain(value) for key, value in vars(one).items()} | {"absent": str(one.absent or "")} for one in summary.areas]
    return {
        "areas": areas,
        "arms": plain_rows(summary.arms),
        "overall": _sentences(overall(situation, summary)),
        "advice": [{"keep": one.keep, "what": display_text(one, 200), "why": _sentences(one.reasons)} for one in advised],
        "notes": _sentences(summary.notes),
        "multipliers": [[display_text(word, 80) for word in one.words(study.costs)] for one in summary.multipliers],
    }


def trial_table(study: Study) -> dict[str, Any]:
    """Return every trial as a row of texts, without the columns in which nothing stands, and which columns are numbers."""
    names = dict.fromkeys((*TRIAL_COLUMNS[:-3], study.measure, *TRIAL_COLUMNS[-3:]))
    every = {name: [plain(value) for value in study.trials[name].tolist()] for name in names if name in study.trials}
    shown = {name: values for name, values in every.items() if name in ALWAYS or any(one not in EMPTY for one in values)}
    numbers = [any(isinstance(value, int | float) for value in values) for values in shown.values()]
    columns = [[_cell(name, value) for value in values] for name, values in shown.items()]
    return {
        "trial_columns": list(zip([HEADINGS.get(name, name.replace("_", " ")) for name in shown], numbers, strict=True)),
        "trials": [list(row) for row in zip(*columns, strict=True)],
    }


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


def plain_rows(columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return the rows of a table as plain JSON."""
    return [dict(zip(columns, map(plain, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def _ended(study: Study) -> np.ndarray:
    """Return which trials have ended with an accuracy."""
    return np.asarray(np.isfinite(np.asarray(study.trials[study.measure], np.float64)) & (study.trials["status"] == OK))


def _sentences(notes: Sequence[object]) -> list[str]:
    return [re.sub(r"(?<![\w.-])-(?=\d)", "−", capitalise(display_text(note, 600))) for note in notes]


def _missing(study: Study, summary: Summary | None) -> dict[str, str]:
    ended, found = _ended(study), dict[str, str]()
    n, n_open = len(ended), int((~ended).sum())
    if n_open:
        kinds, counts = np.unique(np.asarray(study.trials["status"], str)[~ended], return_counts=True)
        parts = ", ".join(f"{count:,} {display_text(kind, 40)}" for kind, count in zip(kinds.tolist(), counts, strict=True))
        found["trials"] = f"{n_open:,} of {n:,} trials have no result ({parts}); the same command goes on with them."
    elif not study.is_finished:
        found["trials"] = "The study is not finished; the same command goes on with it."
    return found if summary is not None else found | {"summary": f"{capitalise(NOTHING)}, so there are no curves and no verdicts."}


def _summary(study: Study) -> str:
    ended, trials = _ended(study), study.trials
    sizes = len(set(np.asarray(trials["keep"], np.float64).round(9).tolist()))
    scores = sorted({display_text(one, 40) for one in trials["score"].tolist() if one not in ("", ALL, RANDOM)})
    by = ", chosen by " + " and ".join(filter(None, (", ".join(scores[:-1]), scores[-1]))) if scores else ""
    train = pluralise(int(np.max(trials["n_train"])), "training example")
    seconds = float(np.nansum(np.asarray(trials["train_seconds"], np.float64)[ended]))
    judged = (
        "what the trainer reports"
        if study.spec.trainer
        else "test data, which no training saw; which rule is best was chosen on them"
    )
    return (
        f"{pluralise(int(ended.sum()), 'training')} with {pluralise(len(set(trials['seed'].tolist())), 'seed')} on "
        f"{pluralise(sizes, 'size')} of {train}{by}; {duration(seconds)} of training. "
        f"Judged on {judged}."
    )


def _cell(name: str, value: Any) -> str:
    if value in EMPTY and name not in ALWAYS:
        return "–" if value is None else ""
    if name == "trial":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith("accuracy") else f"{value:.1f}" if name.endswith("seconds") else f"{value:g}"
    return str(value)


def _droppable(summary: Summary | None) -> Finding:
    no_loss = NOTHING if summary is None else summary.no_loss
    if summary is None or no_loss is not None:
        return Finding("How much can be dropped is not known", f"Because {no_loss}.", link="#verdicts")
    metric, most = summary.metric, f"{Amount(summary.tolerance, summary.metric):g}"
    able = [one for one in summary.droppable if one.keep < 1]
    if not able:
        text = (
            f"By no rule is the loss against all data shown to be at most {most} at the largest size, and smaller ones are tested "
            "only after it; more seeds narrow the intervals."
        )
        return Finding("Nothing is shown to be droppable", text, link="#verdicts")
    best = min(able, key=lambda one: (one.keep, one.loss))
    gain, lost = _amount(-best.loss if metric.higher else best.loss, metric), f"{Amount(best.at_most, metric):1}"
    text = (
        f"Kept {percent(best.keep)} by {best.name}: {metric.name} differs from all data by {gain}, and at most {lost} are lost "
        f"(95 % confidence, over the {len(summary.droppable)} curves together)."
    )
    return Finding(f"{percent(1 - best.keep)} can be dropped within {most}", text, link="#curves")


def _against_random(summary: Summary | None) -> Finding:
    verdicts = [] if summary is None else summary.table["verdict"].tolist()
    better, worse, same = (verdicts.count(one) for one in (Verdict.BETTER, Verdict.WORSE, Verdict.SAME))
    if summary is None or not better + worse + same:
        why = NOTHING if summary is None else summary.no_interval or "no score was tried beside a random set of the same size"
        return Finding("No verdict against random", f"Because {why}.", link="#verdicts")
    gains = summary.table["minus_random"]
    best = int(np.nanargmax(gains if summary.metric.higher else -gains))
    text = (
        f"Of {better + worse + same} comparisons with a random set of the same size {better} are better, {worse} worse, and "
        f"{same} not distinguishable from it. The best of them: {summary.cells[best].name} at "
        f"{percent(summary.cells[best].keep)}, {_amount(float(gains[best]), summary.metric)}."
    )
    return Finding(_who_wins(summary.cells, verdicts, better + worse + same), text, link="#verdicts")


def _who_wins(cells: Sequence[Cell], verdicts: Sequence[Verdict], n: int) -> str:
    """Name a winner of more than half of the `n` comparisons; else at which sizes there is one."""
    said = []
    for words, verdict in (("Scores beat chance", Verdict.BETTER), ("Chance beats scores", Verdict.WORSE)):
        if 2 * verdicts.count(verdict) > n:
            return words
        kept = sorted({cell.keep for cell, one in zip(cells, verdicts, strict=True) if one == verdict}, reverse=True)
        said += [f"{words} at {join_some(map(percent, kept), most=3)}"] if kept else []
    return capitalise("; ".join(said).lower()) or "Scores are no better than chance here"


def _unknown_scoring(study: Study) -> list[str]:
    if study.manifest is None:
        return [UNFINISHED]
    return [SEVERAL] if len(study.manifest.scoring) > 1 else []


def _cost_rows(costs: StudyCosts) -> list[dict[str, Any]]:
    rows: list[tuple[Any, ...]] = [
        ("scoring", None, costs.scoring, UNKNOWN, "–"),
        ("all data", 1.0, costs.everything, UNKNOWN, "–"),
    ]
    for one in costs.cells:
        paid = "–" if one.cell.is_random or one.pays_after is None else f"{one.pays_after:,}"
        if one.saved[costs.measure] <= 0 and not one.cell.is_random:
            paid = "never"
        rows.append((one.cell.name, one.cell.keep, one.training, one.saved, paid))
    names = ("what", "keep", "flops", "saved_flops", "seconds", "saved_seconds", "paid")
    figures = [(what, keep, cost.flops, saved.flops, cost.seconds, saved.seconds, paid) for what, keep, cost, saved, paid in rows]
    return [dict(zip(names, map(plain, one), strict=True)) for one in figures]


def _cost(costs: StudyCosts | None, summary: Summary | None) -> Finding:
    """Return what a training costs on the smallest set that is shown to be as good, or where there is none on the smallest."""
    smaller = [] if costs is None else [one for one in costs.cells if one.cell.keep < 1 and one.training[costs.measure] > 0]
    if costs is None or not smaller or not costs.everything[costs.measure] > 0:
        return Finding("No saving is known", "Trainings on all data and on smaller sets are needed for a cost.", link="#cost")
    safe = {(one.arm, one.name, one.keep) for one in summary.droppable} if summary else set()
    shown = [one for one in smaller if (one.cell.arm, one.cell.name, one.cell.keep) in safe]
    smallest, everything = min(shown or smaller, key=lambda one: one.cell.keep), costs.everything
    share, keep = smallest.training[costs.measure] / everything[costs.measure], percent(smallest.cell.keep)
    took = [duration(one.seconds) if one.seconds > 0 else "an unknown time" for one in (smallest.training, everything)]
    text = f"It took {took[0]}, on all data it took {took[1]} (seconds also depend on what else the machine did)."
    if costs.scoring.flops > 0 and everything.flops > 0 and not smallest.cell.is_random:
        times = costs.scoring.flops / everything.flops
        text += f" Scoring comes on top, once: as many operations as {times:.2g} trainings on all data."
    return Finding(f"Training on {keep} takes {percent(share)} of the work", text, link="#cost")


def _amount(value: float, metric: Metric) -> str:
    return f"{Amount(value, metric):+1}".replace("-", "−")


def _made(study: Study) -> list[tuple[str, str]]:
    """Return how a study was made: data, recipe, seeds, versions; no path and no host."""
    spec, settings, manifest = study.spec, study.settings, study.manifest
    given = {key: one for key, one in sorted(vars(settings.recipe).items()) if key != "name" and one not in ((), None)}
    yes = {key: ("no", "yes")[one] if isinstance(one, bool) else one for key, one in given.items()}
    recipe = ", ".join(f"{key.replace('_', ' ')} {one}" for key, one in yes.items())
    rows = [
        ("data", f"fingerprint {study.data[:16]}"),
        ("trainer" if spec.trainer else "model", settings.model),
        ("metric", spec.metric if spec.trainer else ""),
        ("recipe", "" if spec.trainer else f"{settings.recipe.name}: {recipe}"),
        ("epochs", f"{settings.epochs}, the same for every training" if settings.budget == "epochs" and settings.epochs else ""),
        ("steps", f"as many as {settings.epochs} epochs on all data" if settings.budget == "steps" else ""),
        ("seeds", ", ".join(map(str, spec.training_seeds))),
        ("judged on", "what the trainer reports" if spec.trainer else "test, read once a training"),
        ("device", settings.made_with.get("device", "")),
    ]
    if manifest is not None:
        data = manifest.data
        sizes = f"{data.n_train:,} for train, {data.n_validation:,} for validation, {data.n_test:,} for test"
        cut = f"{percent(data.cut_test)} for test, before scoring" if data.cut_test else ""
        versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
        rows = [("examples", sizes), ("cut from train", cut), *rows, ("versions", versions), ("finished", manifest.finished)]
    return [(term, display_text(words, 400)) for term, words in rows if words]
