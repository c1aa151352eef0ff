"""The page of a run before it is HTML: what the templates say, what its script needs, its plots."""

from dataclasses import asdict
from typing import Any

import numpy as np

from dataprune import store
from dataprune.errors import join_some, percent
from dataprune.noise.words import accuracy_in_words, counts_in_words
from dataprune.report import run_figures
from dataprune.report.charts import Matrix
from dataprune.report.figures import Plot
from dataprune.report.maps import class_counts, map_data
from dataprune.report.page.data import ReportData
from dataprune.report.page.examples import MOST_CLASS_GALLERIES, MOST_ODD, Choice, choose, pictures, records
from dataprune.report.page.findings import WHOSE, class_rows, findings, frequent_pairs, matrix_of, summary, took
from dataprune.report.page.render import Options, Page, script_json
from dataprune.report.text import capitalise, display_text, eyes, operations, pluralise
from dataprune.scores import FEATURE_SCORES, SCORES

MOST_SKIPPED = 50
MOST_SUSPECT_PAIRS = 6
OWN_SCORES = {"median_distance": "distance to the median feature vector of the class, as the first network sees it"}
MEMORISED = "The networks have memorised the labels they trained on, so this page ranks by aum, which looks at all epochs."


def run_page(data: ReportData, options: Options) -> Page:
    """Put the page of a run together."""
    chosen = choose(data, options.max_pictures)
    payload = _payload(data, chosen)
    spreads = [run_figures.distribution_data(one, data.labels, data.class_names) for one in data.scores.values()]
    plots: dict[str, Plot] = {f"distribution-{one.score}": one for one in spreads}
    plots |= {} if chosen.map is None else {"map": chosen.map}
    plots["epochs"] = run_figures.epochs_data(data.predictions)
    plots |= _feature_plots(data, chosen)
    classes, counts = matrix_of(data)
    correlations = run_figures.correlation_data(data.scores)
    confusion = run_figures.confusion_data([data.class_names[one] for one in classes], counts)
    found, left_out = pictures(data, chosen.wanted.rows, options, len(script_json(payload)))
    payload["examples"]["picture"] = found
    context = _context(data, options, chosen, left_out) | {
        "n_pictures": sum(map(bool, found)),
        "correlation": _table(correlations),
        "matrix": _table(confusion) | {"of": len(data.classes), "classes": classes},
        "distributions": spreads,
    }
    return Page("run", context, payload, plots, {"correlations": correlations, "confusion": confusion})


def _payload(data: ReportData, chosen: Choice) -> dict[str, Any]:
    at, suspects, n_classes = chosen.wanted.at, data.suspects, len(data.classes)
    examples = records(data, chosen.wanted.rows)
    found, places = chosen.map, {}
    if found is not None:
        by_class = None if n_classes > MOST_CLASS_GALLERIES else class_counts(found, data.labels, n_classes)
        places = {"binned": found.is_binned, "classes": by_class}

    return {
        "key": store.json_digest(data.manifest.spec.plain)[:24],
        "classes": data.class_names,
        "names": list(data.classes),
        "leading": data.leading,
        "examples": examples,
        "suspects": [
            {
                "e": chosen.wanted.place[row],
                "n": number,
                "to": int(suspects.suggested_label[row]),
                "p": None if suspects.n_wrong is None else round(float(suspects.probability[row]), 3),
                "said": suspects.chance_in_words(row).replace(" %", "\u00a0%"),
                "why": display_text(suspects.reason[row], 300).replace(" %", "\u00a0%"),
            }
            for number, row in enumerate(chosen.suspects.tolist(), start=1)
            if suspects is not None
        ],
        "harder": {name: score.harder for name, score in data.scores.items()},
        **_twins(data, chosen),
        "decided": [[chosen.wanted.place[row], word, label] for row, word, label in data.decided if row in chosen.wanted.place],
        "mapped": [chosen.wanted.place.get(row, -1) for row in chosen.mapped.tolist()],
        "map": None if found is None else {**places, "lists": [at(rows) for rows in found.rows], "counts": found.counts.tolist()},
    }


def _twins(data: ReportData, chosen: Choice) -> dict[str, Any]:
    """Return the duplicates of each example that is shown as one, and those of them that are not the first of their group."""
    twins: dict[int, list[int]] = {}
    at = [chosen.wanted.at(pair) for pair in data.pair_rows[: chosen.n_pairs]]
    for one, other in at:
        twins.setdefault(one, []).append(other)
        twins.setdefault(other, []).append(one)
    return {"twins": twins, "copies": sorted({other for _, other in at})}


def _feature_plots(data: ReportData, chosen: Choice) -> dict[str, Plot]:
    """Lay a sample of the vectors out by t-SNE, coloured by label; and the inertia curve, where one was measured."""
    plots: dict[str, Plot] = {}
    record, rows = data.manifest.features, chosen.mapped
    if data.features is not None and len(rows):
        plots["features"] = map_data(np.asarray(data.features[rows]), "label", data.labels[rows], tuple(data.class_names))
    if record is not None and record.curve is not None and len(record.curve.clusters) > 1:
        clusters, inertia = np.array(record.curve.clusters), np.array(record.curve.inertia)
        plots["inertia"] = run_figures.inertia_data(clusters, inertia, record.k, record.elbow, record.asked)
    return plots


def _context(data: ReportData, options: Options, chosen: Choice, left_out: str) -> dict[str, Any]:
    manifest, names, told = data.manifest, data.class_names, data.predictions
    missing = {**data.missing, **({"thumbnails": left_out} if left_out else {})}
    longest = 0 if data.images is None else max(data.images.shape[1:3])
    cautions, skipped = [*data.gone, *([left_out] if left_out else [])], manifest.skipped
    if skipped:
        shown = join_some((f"{one.path} ({one.reason})" for one in skipped), most=3)
        cautions.append(f"left out of the data, as they could not be used: {pluralise(len(skipped), 'item')}, {shown}")
    return {
        "title": display_text(options.title or f"Data report: {display_text(data.name, 60)}", 200),
        "summary": summary(data),
        "findings": [asdict(one) for one in findings(data)],
        "cautions": [capitalise(display_text(note, 600)) for note in (*cautions, *manifest.notes)],
        "leading": data.leading,
        "leading_why": MEMORISED if manifest.memorised and data.leading == "aum" else "",
        "things": data.things,
        "is_pictures": manifest.data.kind == "images",
        "class_names": names,
        "whose": WHOSE[told.which],
        "missing": {name: display_text(reason, 600) for name, reason in missing.items()},
        "suspects": _suspects(data, chosen),
        "duplicates": _duplicates(data, chosen),
        "issues": _issues(data, chosen),
        "scores": _scores(data),
        "classes": [asdict(one) for one in class_rows(data)],
        "galleries": {
            name: {"hardest": chosen.wanted.at(one.hardest), "easiest": chosen.wanted.at(one.easiest)}
            for name, one in chosen.ends.items()
        },
        "of_class": len(data.classes) <= MOST_CLASS_GALLERIES,
        "n_decided": len(data.decided),
        "epochs": list(zip(told.vote, told.trained, told.held_out, told.changed, strict=True)),
        "held_out": bool(np.isfinite(told.held_out).any()),
        "when": manifest.spec.when,
        "features_are": data.features_are,
        "clusters": None if manifest.features is None else manifest.features.k,
        "made": _made(data),
        "skipped": [[display_text(one.path, 200), display_text(one.reason, 200)] for one in skipped[:MOST_SKIPPED]],
        "n_skipped": len(skipped),
        "n_examples": len(data),
        "n_mapped": len(chosen.mapped),
        "max_pictures": options.max_pictures,
        "side": "none" if not longest else "tiny" if longest <= 16 else "small" if longest <= 48 else "large",  # how it is enlarged
    }


def _suspects(data: ReportData, chosen: Choice) -> dict[str, Any]:
    found, probable, names = data.suspects, data.probable, data.class_names
    if found is None:
        return {"is_there": False, "total": 0, "shown": 0, "notes": []}
    looks_like = frequent_pairs(data.labels[probable], found.suggested_label[probable], len(names))[:MOST_SUSPECT_PAIRS]
    return {
        "is_there": True,
        "total": len(found.flagged),
        "shown": len(chosen.suspects),
        "accuracy": accuracy_in_words(found),
        "counts": capitalise(counts_in_words(found)),
        "notes": [capitalise(display_text(note, 600)) for note in found.notes],
        "pairs": [
            {"given": names[given], "to": names[other], "count": count}
            for given, other, count in looks_like
            if looks_like[0][-1] > 1
        ],
    }


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
    counts = {"total": len(pairs), "conflicts": conflicts, "leaks": leaks, "exact": exact}
    return {"is_there": True, **counts, "among": " and ".join(["train", *data.beyond]), "pairs": rows}


def _issues(data: ReportData, chosen: Choice) -> dict[str, Any] | None:
    """Return each kind of issue that was looked for, with the first of its examples, and what was not looked for."""
    if data.issues is None:
        return None
    kinds = [
        {"name": one.kind.replace("_", " "), "n": len(one), "words": one.words, "e": chosen.wanted.at(one.rows[:MOST_ODD])}
        for one in data.issues
    ]
    mixed = join_some(f"{display_text(a, 40)} and {display_text(b, 40)} ({percent(rate)})" for a, b, rate in data.issues.mixed)
    return {"kinds": kinds, "mixed": mixed, "absent": {name.replace("_", " "): why for name, why in data.issues.absent.items()}}


def _scores(data: ReportData) -> list[dict[str, Any]]:
    rows = []
    for name, score in data.scores.items():
        spec = SCORES.get(name) or FEATURE_SCORES.get(name)
        formula = OWN_SCORES.get(name, "") if spec is None else spec.formula
        quantiles = np.quantile(score.values, (0, 0.5, 1)).tolist()
        rows.append({"name": name, "formula": formula, "is_larger_harder": score.harder > 0, "quantiles": quantiles})
    return rows


def _table(data: Matrix) -> dict[str, Any]:
    """Write a matrix as cells with the name of their style: h0 ... h9 for 0 ... 1, n0 ... n9 below 0."""
    cells = [
        [
            {"text": text, "level": f"{'n' if value < 0 else 'h'}{min(9, int(abs(value) * 10))}" if np.isfinite(value) else ""}
            for text, value in zip(*row, strict=True)
        ]
        for row in zip(data.texts, data.strength.tolist(), strict=True)
    ]
    return {"names": data.rows, "cells": cells, "about": f"{data.title}: {data.description}"}


def _made(data: ReportData) -> list[list[str]]:
    """Return how the run was made: settings, cost, versions; no path and no host."""
    manifest, spec = data.manifest, data.manifest.spec
    recipe = {key: value for key, value in (spec.plain["recipe"] or {}).items() if value not in ([], None)}
    again = f", {spec.rounds} rounds, the later ones without suspects" if spec.rounds > 1 else ""
    rows = [
        ["fingerprint of the data", spec.data[:16]],
        ["networks", f"{spec.members} × {spec.epochs} epochs, {display_text(spec.model, 60)}"],
        ["judged by", eyes(spec.networks, data.accuracy)],
        ["recipe", ", ".join(f"{key} {display_text(value, 40)}" for key, value in recipe.items())],
        ["folds", f"{spec.folds} × {spec.repeats}{again}" if spec.folds else "none"],
        ["seed", str(spec.seed)],
        ["recorded", "on clean pictures after each epoch" if spec.when == "clean" else "while training"],
    ]
    if spec.weights:
        rows.insert(2, ["begun from weights", spec.weights[:16]])
    if spec.recipe is None:
        rows = [row for row in rows if row[0] not in ("recipe", "folds", "seed")]
    for phase in manifest.cost:
        rows.append([f"cost: {phase.phase}", took(phase) + (f", {operations(phase.flops)}" if phase.flops else "")])
    failed = [one for one in manifest.members if one.status != "ok"]
    rows += [[f"member {one.member}", display_text(f"{one.status}: {one.reason}", 300)] for one in failed]
    rows += [[f"no {name}", display_text(reason, 300)] for name, reason in data.scores.absent.items()]
    if manifest.machine.device:
        rows.append(["machine", f"{manifest.machine.device}, {'bit-exact' if manifest.machine.bit_exact else 'not bit-exact'}"])
    rows.append(["versions", ", ".join(f"{name} {display_text(version, 30)}" for name, version in manifest.versions.items())])
    return [*rows, ["finished", display_text(manifest.finished, 40)]]
