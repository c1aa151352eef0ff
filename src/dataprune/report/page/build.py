"""The page of a run before it is HTML: what the templates say, what its script needs, its plots."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataprune import store
from dataprune.report import maps, run_figures
from dataprune.report.figures import Plot
from dataprune.report.page import map_svg
from dataprune.report.page.choice import MOST_CLASS_GALLERIES, Choice, Options, choose
from dataprune.report.page.classes import matrix_of
from dataprune.report.page.data import ReportData
from dataprune.report.page.examples import Ends, records
from dataprune.report.page.sections import run_context
from dataprune.report.text import display_text
from dataprune.streams import generator

MOST_MAPPED = 1500  # points of the map of features


@dataclass(frozen=True, eq=False)
class Page:
    """A page before it is HTML: what its template (run or study) says and its script needs, as plain JSON, and its plots by name.

    The page shows `tables` as such: they are plots in files only.
    """

    kind: str
    context: dict[str, Any]
    payload: dict[str, Any] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    tables: Mapping[str, Plot] = field(default_factory=dict)


def run_page(data: ReportData, options: Options) -> Page:
    """Put the page of a run together."""
    chosen = choose(data, options.max_pictures)
    payload = _payload(data, options, chosen)
    spreads = [run_figures.distribution_data(one, data.labels, data.class_names) for one in data.scores.values()]
    plots: dict[str, Plot] = {f"distribution-{one.score}": one for one in spreads}
    plots |= {} if chosen.map is None else {"map": chosen.map}
    top = data.predictions
    plots["epochs"] = run_figures.epochs_data(top.vote, top.trained, top.held_out, top.changed)
    plots |= _feature_plots(data)
    classes, counts = matrix_of(data)
    correlations = run_figures.correlation_data(data.scores)
    tables = {
        "correlations": correlations,
        "confusion": run_figures.confusion_data([data.class_names[one] for one in classes], counts),
    }
    return Page("run", run_context(data, options, chosen, payload, spreads, correlations), payload, plots, tables)


def _payload(data: ReportData, options: Options, chosen: Choice) -> dict[str, Any]:
    at = chosen.wanted.at
    examples = records(data, chosen.wanted.rows, options.max_pictures)
    examples["near"] = {str(chosen.wanted.place[row]): at(rows) for row, rows in chosen.near.items()}
    leading_first = sorted(data.scores, key=lambda name: name != data.leading)
    return {
        "key": hashlib.sha256(store.canonical_json(data.manifest.spec.plain).encode()).hexdigest()[:24],
        "classes": data.class_names,
        "names": list(data.classes),
        "leading": data.leading,
        "examples": examples,
        "suspects": _suspects(data, chosen),
        "galleries": {name: _gallery(chosen.ends[name], chosen) for name in leading_first},
        "by_class": [_gallery(one, chosen) for one in chosen.class_ends],
        "map": None if chosen.map is None else _map(data, chosen, chosen.map),
    }


def _suspects(data: ReportData, chosen: Choice) -> list[dict[str, Any]]:
    found = data.suspects
    if found is None:
        return []
    return [
        {
            "e": chosen.wanted.place[row],
            "n": number,
            "to": int(found.suggested_label[row]),
            "p": round(float(found.probability[row]), 3),
            "why": display_text(found.reason[row], 300),
        }
        for number, row in enumerate(chosen.suspects.tolist(), start=1)
    ]


def _gallery(one: Ends, chosen: Choice) -> dict[str, list[int]]:
    return {"hardest": chosen.wanted.at(one.hardest), "easiest": chosen.wanted.at(one.easiest)}


def _map(data: ReportData, chosen: Choice, found: map_svg.Cartography) -> dict[str, Any]:
    n_classes = len(data.classes)
    classes = map_svg.class_counts(found, data.labels, n_classes) if n_classes <= MOST_CLASS_GALLERIES else None
    lists = [chosen.wanted.at(rows) for rows in found.rows]
    return {"binned": found.is_binned, "lists": lists, "counts": found.counts.tolist(), "classes": classes}


def _feature_plots(data: ReportData) -> dict[str, Plot]:
    """Lay a sample of the vectors out by t-SNE, coloured by label; and the inertia curve, where one was measured."""
    plots: dict[str, Plot] = {}
    record, n = data.manifest.features, len(data)
    if data.features is not None and n >= maps.FEWEST:
        rows = np.arange(n)
        if n > MOST_MAPPED:
            rows = np.sort(generator(0, "page", "map").choice(n, MOST_MAPPED, replace=False))
        plots["features"] = maps.map_data(np.asarray(data.features[rows]), "label", data.labels[rows], tuple(data.class_names))
    if record is not None and record.curve is not None and len(record.curve.clusters) > 1:
        curve = record.curve
        plots["inertia"] = maps.inertia_data(
            np.array(curve.clusters), np.array(curve.inertia), record.k, record.elbow, record.asked
        )
    return plots
