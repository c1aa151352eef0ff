"""What the templates say of a run, section by section, as plain JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune.report.charts import Matrix
from dataprune.report.page.choice import Choice, Options
from dataprune.report.page.classes import WHOSE, class_rows, matrix_of
from dataprune.report.page.data import ReportData
from dataprune.report.page.findings import findings, summary, took
from dataprune.report.run_figures import Distribution
from dataprune.report.text import capitalise, display_text
from dataprune.run.manifest import RunSpec
from dataprune.scores import FEATURE_SCORES, SCORES

MOST_SKIPPED = 50
MOST_SUSPECT_PAIRS = 6
OWN_SCORES = {"median_distance": "distance to the median feature vector of the class, as the first network sees it"}
MEMORISED = "The networks have memorised the labels they trained on, so this page ranks by aum, which looks at all epochs."


def run_context(
    data: ReportData,
    options: Options,
    chosen: Choice,
    payload: dict[str, Any],
    spreads: Sequence[Distribution],
    correlations: Matrix,
) -> dict[str, Any]:
    """Return what the templates say of a run."""
    manifest = data.manifest
    return {
        "title": display_text(options.title or f"Data report: {display_text(data.name, 60)}", 200),
        "summary": summary(data),
        "findings": [asdict(one) for one in findings(data)],
        "cautions": [capitalise(display_text(note, 600)) for note in manifest.notes],
        "leading": data.leading,
        "leading_why": MEMORISED if manifest.memorised and data.leading == "aum" else "",
        "things": data.things,
        "is_pictures": manifest.data.kind == "images",
        "class_names": data.class_names,
        "whose": WHOSE[data.predictions.which],
        "missing": {name: display_text(reason, 600) for name, reason in data.missing.items()},
        "suspects": _suspects(data, chosen),
        "duplicates": _duplicates(data, chosen),
        "scores": _scores(data),
        "correlation": _correlation(correlations),
        "distributions": [_distribution(one) for one in spreads],
        "classes": [asdict(one) for one in class_rows(data)],
        "confused": _confused(data, chosen),
        "matrix": _matrix(data),
        "epochs": _epochs(data),
        "held_out": bool(np.isfinite(data.predictions.held_out).any()),
        "when": manifest.spec.when,
        "features_are": data.features_are,
        "clusters": None if manifest.features is None else manifest.features.k,
        "made": _made(data),
        "skipped": [[display_text(one.path, 200), display_text(one.reason, 200)] for one in manifest.skipped[:MOST_SKIPPED]],
        "n_skipped": len(manifest.skipped),
        "n_pictures": sum(1 for picture in payload["examples"]["picture"] if picture),
        "n_examples": len(data),
        "max_pictures": options.max_pictures,
        "side": _side(data),
    }


def _suspects(data: ReportData, chosen: Choice) -> dict[str, Any]:
    found, total = data.suspects, len(data.suspect_rows)
    if found is None:
        return {"is_there": False, "total": 0, "shown": 0, "notes": []}
    return {
        "is_there": True,
        "total": total,
        "shown": len(chosen.suspects),
        "estimate": [round(float(value)) for value in (found.n_wrong_low, found.n_wrong, found.n_wrong_high)],
        "notes": [capitalise(display_text(note, 600)) for note in found.notes],
        "pairs": _suspect_pairs(data),
    }


def _suspect_pairs(data: ReportData) -> list[dict[str, Any]]:
    """Count which label is suspected to be which, the most frequent first."""
    rows, found, names = data.suspect_rows, data.suspects, data.class_names
    if found is None or not len(rows):
        return []
    codes, counts = np.unique(data.labels[rows] * len(names) + found.suggested_label[rows], return_counts=True)
    best = np.argsort(-counts, kind="stable")[:MOST_SUSPECT_PAIRS].tolist()
    pairs = [(*divmod(int(codes[place]), len(names)), int(counts[place])) for place in best]
    return [{"given": names[given], "to": names[other], "count": count} for given, other, count in pairs]


def _duplicates(data: ReportData, chosen: Choice) -> dict[str, Any]:
    pairs = data.duplicates
    if pairs is None:
        return {"is_there": False, "total": 0, "pairs": []}
    rows = [
        {
            "e": chosen.wanted.at(data.pair_rows[i]),
            "kind": "exact" if pairs.is_exact[i] else "near",
            "distance": float(f"{pairs.distance[i]:.3g}"),
            "labels": [data.name_of(int(pairs.labels[i])), data.name_of(int(pairs.other_labels[i]))],
            "splits": [display_text(pairs.split[i], 20), display_text(pairs.other_split[i], 20)],
            "conflict": bool(pairs.is_conflict[i]),
            "leak": bool(pairs.is_leak[i]),
        }
        for i in range(chosen.n_pairs)
    ]
    conflicts, leaks, exact = (int(one.sum()) for one in (pairs.is_conflict, pairs.is_leak, pairs.is_exact))
    return {"is_there": True, "total": len(pairs), "conflicts": conflicts, "leaks": leaks, "exact": exact, "pairs": rows}


def _scores(data: ReportData) -> list[dict[str, Any]]:
    rows = []
    for name, score in data.scores.items():
        low, middle, high = (float(f"{value:.4g}") for value in np.quantile(score.values, (0, 0.5, 1)))
        formula = SCORES[name].formula if name in SCORES else FEATURE_SCORES.get(name) or OWN_SCORES.get(name, "")
        harder = "larger" if score.harder > 0 else "smaller"
        rows.append({"name": name, "formula": formula, "harder": harder, "low": low, "median": middle, "high": high})
    return rows


def _correlation(data: Matrix) -> dict[str, Any]:
    values = data.strength.tolist()
    levels = [["" if not np.isfinite(value) else _level(value) for value in row] for row in values]
    cells = [
        [{"text": text, "level": level} for text, level in zip(*row, strict=True)] for row in zip(data.texts, levels, strict=True)
    ]
    return {"names": data.rows, "cells": cells, "about": f"{data.title}: {data.description}"}


def _distribution(data: Distribution) -> dict[str, Any]:
    quantiles = [[float(f"{value:.4g}") for value in values] for values in data.quantiles.tolist()]
    rows = [{"name": row, "quantiles": values} for row, values in zip(data.names, quantiles, strict=True)]
    return {"name": data.score, "rows": rows, "n_left_out": data.n_left_out}


def _confused(data: ReportData, chosen: Choice) -> list[dict[str, Any]]:
    names = data.class_names
    return [
        {"given": names[one.given], "to": names[one.predicted], "count": one.count, "e": chosen.wanted.at(one.rows)}
        for one in chosen.confused
    ]


def _matrix(data: ReportData) -> dict[str, Any]:
    chosen, counts = matrix_of(data)
    shares = np.sqrt(counts / np.maximum(1, np.bincount(data.labels, minlength=len(data.classes))[chosen, None]))
    signed = np.where(np.eye(len(chosen), dtype=bool), shares, -shares)
    cells = [
        [{"count": count, "level": _level(share)} for count, share in zip(*row, strict=True)]
        for row in zip(counts.tolist(), signed.tolist(), strict=True)
    ]
    return {"names": [data.class_names[index] for index in chosen], "cells": cells, "of": len(data.classes)}


def _level(value: float) -> str:
    """Name the style of a coloured cell: h0 ... h9 for 0 ... 1, n0 ... n9 below 0."""
    return f"{'n' if value < 0 else 'h'}{min(9, int(abs(value) * 10))}"


def _epochs(data: ReportData) -> list[dict[str, Any]]:
    top = data.predictions
    columns = {"vote": top.vote, "trained": top.trained, "held_out": top.held_out, "changed": top.changed}
    return [
        {"epoch": epoch + 1}
        | {name: round(float(values[epoch]), 4) if np.isfinite(values[epoch]) else None for name, values in columns.items()}
        for epoch in range(len(top.vote))
    ]


def _made(data: ReportData) -> list[list[str]]:
    """Return how the run was made: settings, cost, versions; no path and no host."""
    manifest, spec = data.manifest, data.manifest.spec
    recipe = {key: value for key, value in spec.plain["recipe"].items() if value not in ([], None)}
    rows = [
        ["fingerprint of the data", spec.data[:16]],
        ["networks", f"{spec.members} × {spec.epochs} epochs, {display_text(spec.model, 60)}"],
        ["recipe", ", ".join(f"{key} {display_text(value, 40)}" for key, value in recipe.items())],
        ["folds", _folds(spec)],
        ["seed", str(spec.seed)],
        ["recorded", "on clean pictures after each epoch" if spec.when == "clean" else "while training"],
    ]
    for phase in manifest.cost:
        operations = f", {phase.flops:.2g} floating-point operations" if phase.flops else ""
        rows.append([f"cost: {phase.phase}", f"{took(phase)}{operations}"])
    failed = [one for one in manifest.members if one.status != "ok"]
    rows += [[f"member {one.member}", display_text(f"{one.status}: {one.reason}", 300)] for one in failed]
    rows += [[f"no {name}", display_text(reason, 300)] for name, reason in data.scores.absent.items()]
    rows.append(["machine", f"{manifest.machine.device}, {'bit-exact' if manifest.machine.bit_exact else 'not bit-exact'}"])
    rows.append(["versions", ", ".join(f"{name} {display_text(version, 30)}" for name, version in manifest.versions.items())])
    return [*rows, ["finished", display_text(manifest.finished, 40)]]


def _folds(spec: RunSpec) -> str:
    if not spec.folds:
        return "none: every network saw every example"
    again = f", {spec.rounds} rounds, the later ones without suspects" if spec.rounds > 1 else ""
    return f"{spec.folds} × {spec.repeats}{again}"


def _side(data: ReportData) -> str:
    """Return how pictures are enlarged: tiny ones in squares, others smoothly."""
    if data.images is None:
        return "none"
    longest = max(data.images.shape[1:3])
    return "tiny" if longest <= 16 else "small" if longest <= 48 else "large"
