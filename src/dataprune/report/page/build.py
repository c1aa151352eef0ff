"""What stands on the page of a run?

Joins the sections into one structure that JSON can hold, and the pictures drawn from it. Knows what is important enough to carry a
picture; does not know HTML, files or where the material came from.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from dataprune import store
from dataprune.report.page import cartography, classes, curves, distributions, findings, galleries
from dataprune.report.page.examples import PictureList, neighbours, records, wanted
from dataprune.report.page.layout import feature_map
from dataprune.report.page.material import Pairs, ReportData
from dataprune.report.page.scene import Scene
from dataprune.report.text import capitalise, display_text
from dataprune.run.manifest import RunSpec
from dataprune.scores import FEATURE_SCORES, SCORES, correlations
from dataprune.streams import tie_break

MOST_DUPLICATES = 60
MOST_CLASS_GALLERIES = 60
FEWEST_SUSPECTS = 200
MOST_SKIPPED = 50
OWN_SCORES = {"median_distance": "distance to the median feature vector of the class, as the first network sees it"}


@dataclass(frozen=True)
class Options:
    """What a person may ask of a page.

    Attributes:
        title: its headline; None makes one.
        max_pictures: how many pictures it embeds at most.
        is_static: without any script.
    """

    title: str | None = None
    max_pictures: int = 3000
    is_static: bool = False


@dataclass(frozen=True, eq=False)
class Page:
    """A page before it is HTML.

    Attributes:
        kind: "run" or "study".
        context: what the templates say, plain JSON.
        payload: what the script needs, plain JSON.
        scenes: the pictures, by name.
    """

    kind: str
    context: dict[str, Any]
    payload: dict[str, Any] = field(default_factory=dict)
    scenes: dict[str, Scene] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Choice:
    """The rows that each section shows."""

    suspects: Int64[np.ndarray, " shown"]
    pairs: Pairs | None
    confused: list[classes.Pair]
    ends: dict[str, galleries.Ends]
    class_ends: list[galleries.Ends]
    map: cartography.Cartography | None
    near: dict[int, list[int]]
    wanted: PictureList


def run_page(material: ReportData, options: Options) -> Page:
    """Put the page of a run together."""
    ties = tie_break([str(one) for one in material.ids.tolist()], 0)
    chosen = _choose(material, options, ties)
    payload = _payload(material, options, chosen)
    spreads = [distributions.distribution_data(one, material.labels, material.class_names) for one in material.scores.values()]
    scenes = _scenes(material, chosen, spreads)
    title = options.title or f"What the data of {display_text(material.name, 60)} show"
    why = findings.leading_score(material.manifest.memorised, list(material.scores))[1]
    context = {
        "title": display_text(title, 200),
        "summary": findings.summary(material),
        "findings": [asdict(one) for one in findings.findings(material)],
        "cautions": [capitalise(display_text(note, 600)) for note in material.manifest.notes],
        "leading": material.leading,
        "leading_why": why,
        "things": material.things,
        "is_pictures": material.manifest.data.kind == "images",
        "class_names": material.class_names,
        "whose": classes.WHOSE[material.answers.which],
        "missing": {name: display_text(reason, 600) for name, reason in material.missing.items()},
        "suspects": _suspects_section(material, chosen),
        "duplicates": _duplicates_section(material, chosen),
        "scores": _scores_section(material),
        "correlation": _correlation_section(material),
        "distributions": [_distribution_row(one) for one in spreads],
        "classes": classes.class_rows(material),
        "confused": _confused_section(material, chosen),
        "matrix": _matrix_section(material),
        "epochs": curves.epoch_rows(material.answers),
        "held_out": bool(np.isfinite(material.answers.held_out).any()),
        "when": material.manifest.spec.when,
        "features_are": material.features_are,
        "clusters": None if material.manifest.features is None else material.manifest.features.k,
        "made": _made(material),
        "skipped": [
            [display_text(item.path, 200), display_text(item.reason, 200)] for item in material.manifest.skipped[:MOST_SKIPPED]
        ],
        "n_skipped": len(material.manifest.skipped),
        "n_pictures": sum(1 for picture in payload["examples"]["picture"] if picture),
        "n_examples": len(material),
        "max_pictures": options.max_pictures,
        "side": _side(material),
    }
    return Page("run", context, payload, scenes)


def _choose(material: ReportData, options: Options, ties: np.ndarray) -> _Choice:
    """Decide which rows are shown, and in which order they get pictures."""
    most_suspects = max(FEWEST_SUSPECTS, options.max_pictures // 3)
    suspects = material.suspect_rows[:most_suspects]
    pairs = _first_pairs(material.duplicates)
    confused = classes.confused_pairs(material)
    ends = {name: galleries.ends(score, ties) for name, score in material.scores.items()}
    n_classes = len(material.classes)
    by_class = galleries.class_ends(material.score, material.labels, n_classes, ties) if n_classes <= MOST_CLASS_GALLERIES else []
    found_map = None
    if {"variability", "confidence"} <= set(material.scores):
        flagged = np.zeros(len(material), bool)
        flagged[material.suspect_rows] = True
        variability, confidence = (material.scores[name].values.astype(np.float64) for name in ("variability", "confidence"))
        found_map = cartography.map_of(variability, confidence, flagged, ties)
    leading = ends[material.leading]
    asked = [suspects]
    asked += [] if pairs is None else [np.stack([pairs.row, pairs.other_row], axis=1).ravel()]
    asked += [leading.hardest, leading.easiest, *(pair.rows for pair in confused)]
    asked += [part for end in by_class for part in (end.hardest, end.easiest)]
    asked += _of_cells(found_map, 0)
    asked += [part for end in ends.values() for part in (end.hardest, end.easiest)]
    asked += [rows for place in range(1, cartography.SHOWN_OF_A_CELL) for rows in _of_cells(found_map, place)]
    first = wanted(asked)
    near = neighbours(material, first)
    every = wanted([first.rows, *(np.array(rows, np.int64) for rows in near.values())])
    return _Choice(suspects, pairs, confused, ends, by_class, found_map, near, every)


def _of_cells(found: cartography.Cartography | None, place: int) -> list[Int64[np.ndarray, " _"]]:
    """Return of each cell of the map the example at a place, in one array."""
    return [] if found is None else [np.array([rows[place] for rows in found.rows if len(rows) > place], np.int64)]


def _first_pairs(pairs: Pairs | None) -> Pairs | None:
    """Return the pairs that are shown: conflicts first, then those across splits, then exact ones."""
    if pairs is None:
        return None
    exact = np.array([kind == "exact" for kind in pairs.kind], bool)
    order = np.lexsort((pairs.distance, ~exact, ~pairs.is_leak, ~pairs.is_conflict))[:MOST_DUPLICATES].tolist()
    return Pairs(
        [pairs.id[place] for place in order],
        [pairs.other_id[place] for place in order],
        pairs.row[order],
        pairs.other_row[order],
        [pairs.kind[place] for place in order],
        pairs.label[order],
        pairs.other_label[order],
        [pairs.split[place] for place in order],
        [pairs.other_split[place] for place in order],
        pairs.distance[order],
    )


def _payload(material: ReportData, options: Options, chosen: _Choice) -> dict[str, Any]:
    at = chosen.wanted.at
    examples = records(material, chosen.wanted.rows, options.max_pictures)
    examples["near"] = {str(chosen.wanted.place[row]): at(rows) for row, rows in chosen.near.items()}
    found, n_classes = chosen.map, len(material.classes)
    return {
        "key": _key(material),
        "classes": material.class_names,
        "names": list(material.classes),
        "harder": {name: score.harder for name, score in material.scores.items()},
        "leading": material.leading,
        "examples": examples,
        "suspects": _suspect_items(material, chosen),
        "galleries": {name: _ends(chosen.ends[name], chosen) for name in _leading_first(material)},
        "by_class": [_ends(end, chosen) for end in chosen.class_ends],
        "map": None
        if found is None
        else {
            "binned": found.is_binned,
            "lists": [at(rows) for rows in found.rows],
            "counts": found.counts.tolist(),
            "classes": cartography.class_counts(found, material.labels, n_classes) if n_classes <= MOST_CLASS_GALLERIES else None,
        },
    }


def _leading_first(material: ReportData) -> list[str]:
    return sorted(material.scores, key=lambda name: name != material.leading)


def _ends(ends: galleries.Ends, chosen: _Choice) -> dict[str, list[int]]:
    return {"hardest": chosen.wanted.at(ends.hardest), "easiest": chosen.wanted.at(ends.easiest)}


def _key(material: ReportData) -> str:
    """Name the run, so that decisions about one are never shown in the page of another."""
    return hashlib.sha256(store.canonical_json(material.manifest.spec.plain).encode()).hexdigest()[:24]


def _suspect_items(material: ReportData, chosen: _Choice) -> list[dict[str, Any]]:
    found = material.suspects
    if found is None:
        return []
    probability, suggested = np.asarray(found.probability), np.asarray(found.suggested_label)
    items = []
    for number, row in enumerate(chosen.suspects.tolist(), start=1):
        items.append(
            {
                "e": chosen.wanted.place[row],
                "n": number,
                "to": int(suggested[row]),
                "p": round(float(probability[row]), 3),
                "why": display_text(found.reason[row], 300),
            }
        )
    return items


def _suspects_section(material: ReportData, chosen: _Choice) -> dict[str, Any]:
    found = material.suspects
    total = len(material.suspect_rows)
    if found is None:
        return {"is_there": False, "total": 0, "shown": 0, "notes": []}
    return {
        "is_there": True,
        "total": total,
        "shown": len(chosen.suspects),
        "estimate": [round(float(value)) for value in (found.n_wrong_low, found.n_wrong, found.n_wrong_high)],
        "notes": [display_text(note, 600) for note in found.notes],
        "pairs": _suspect_pairs(material),
    }


def _suspect_pairs(material: ReportData) -> list[dict[str, Any]]:
    """Count which label is suspected to be which, the commonest first."""
    rows, found, names = material.suspect_rows, material.suspects, material.class_names
    if found is None or not len(rows):
        return []
    codes, counts = np.unique(material.labels[rows] * len(names) + np.asarray(found.suggested_label)[rows], return_counts=True)
    best = np.argsort(-counts, kind="stable")[:6]
    return [
        {"given": names[int(codes[place]) // len(names)], "to": names[int(codes[place]) % len(names)], "count": int(counts[place])}
        for place in best
    ]


def _duplicates_section(material: ReportData, chosen: _Choice) -> dict[str, Any]:
    pairs, every = chosen.pairs, material.duplicates
    if pairs is None or every is None:
        return {"is_there": False, "total": 0, "pairs": []}
    place = chosen.wanted.place
    rows = [
        {
            "e": [place[int(pairs.row[i])], place[int(pairs.other_row[i])]],
            "kind": pairs.kind[i],
            "distance": float(f"{pairs.distance[i]:.3g}"),
            "labels": [material.name_of(int(pairs.label[i])), material.name_of(int(pairs.other_label[i]))],
            "splits": [display_text(pairs.split[i], 20), display_text(pairs.other_split[i], 20)],
            "conflict": bool(pairs.is_conflict[i]),
            "leak": bool(pairs.is_leak[i]),
        }
        for i in range(len(pairs))
    ]
    return {
        "is_there": True,
        "total": len(every),
        "conflicts": int(every.is_conflict.sum()),
        "leaks": int(every.is_leak.sum()),
        "exact": sum(kind == "exact" for kind in every.kind),
        "pairs": rows,
    }


def _scores_section(material: ReportData) -> list[dict[str, Any]]:
    rows = []
    for name, score in material.scores.items():
        low, middle, high = (float(f"{value:.4g}") for value in np.quantile(score.values, (0, 0.5, 1)))
        formula = SCORES[name].formula if name in SCORES else FEATURE_SCORES.get(name) or OWN_SCORES.get(name, "")
        direction = "larger" if score.harder > 0 else "smaller"
        rows.append({"name": name, "formula": formula, "harder": direction, "low": low, "median": middle, "high": high})
    return rows


def _correlation_section(material: ReportData) -> dict[str, Any]:
    names, matrix, kind = _correlations(material)
    cells = [[{"text": distributions.said(value), "level": _level(value)} for value in row] for row in matrix.tolist()]
    constant = [name for name, value in zip(names, np.diag(matrix).tolist(), strict=True) if not np.isfinite(value)]
    return {"names": names, "cells": cells, "kind": kind, "constant": constant}


def _correlations(material: ReportData) -> tuple[list[str], Float64[np.ndarray, "scores scores"], str]:
    """Return the scores, their correlations, and whose kind these are: ranks of very many examples take too long."""
    kind: Literal["spearman", "pearson"] = "spearman" if len(material) <= 100_000 else "pearson"
    names, matrix = correlations(material.scores, kind)
    return list(names), matrix, f"{kind.capitalize()}'s"


def _level(value: float) -> str:
    """Name the style of a coloured cell: h0 ... h9 for 0 ... 1, n0 ... n9 below 0."""
    if not np.isfinite(value):
        return ""
    return f"{'h' if value >= 0 else 'n'}{min(9, int(abs(value) * 10))}"


def _distribution_row(data: distributions.Distribution) -> dict[str, Any]:
    rows = [
        {"name": row, "quantiles": [float(f"{value:.4g}") for value in values]}
        for row, values in zip(data.names, data.quantiles.tolist(), strict=True)
    ]
    return {"name": data.score, "rows": rows, "n_left_out": data.n_left_out}


def _confused_section(material: ReportData, chosen: _Choice) -> list[dict[str, Any]]:
    names = material.class_names
    return [
        {"given": names[pair.given], "to": names[pair.predicted], "count": pair.count, "e": chosen.wanted.at(pair.rows)}
        for pair in chosen.confused
    ]


def _matrix_section(material: ReportData) -> dict[str, Any]:
    chosen, counts = classes.matrix_of(material)
    shares = counts / np.maximum(1, np.bincount(material.labels, minlength=len(material.classes))[chosen, None])
    cells = [
        [
            {"count": int(counts[i, j]), "level": ("h" if i == j else "n") + str(min(9, int(np.sqrt(shares[i, j]) * 10)))}
            for j in range(len(chosen))
        ]
        for i in range(len(chosen))
    ]
    return {"names": [material.class_names[index] for index in chosen], "cells": cells, "of": len(material.classes)}


def _folds(spec: RunSpec) -> str:
    if not spec.folds:
        return "none: every network saw every example"
    again = f", {spec.rounds} rounds, the later ones without suspects" if spec.rounds > 1 else ""
    return f"{spec.folds} × {spec.repeats}{again}"


def _made(material: ReportData) -> list[list[str]]:
    """Return how the run was made: settings, cost, versions; no path and no host."""
    manifest, spec = material.manifest, material.manifest.spec
    rows = [
        ["fingerprint of the data", spec.data[:16]],
        ["networks", f"{spec.members} × {spec.epochs} epochs, {display_text(spec.model, 60)}"],
        [
            "recipe",
            ", ".join(f"{key} {display_text(value, 40)}" for key, value in spec.plain["recipe"].items() if value not in ([], None)),
        ],
        ["folds", _folds(spec)],
        ["seed", str(spec.seed)],
        ["recorded", "on clean pictures after each epoch" if spec.when == "clean" else "while training"],
    ]
    for phase in manifest.cost:
        operations = f", {phase.flops:.2g} floating-point operations" if phase.flops else ""
        rows.append([f"cost: {phase.phase}", f"{findings.took(phase)}{operations}"])
    rows += [
        [f"member {one.member}", display_text(f"{one.status}: {one.reason}", 300)] for one in manifest.members if one.status != "ok"
    ]
    rows += [[f"no {name}", display_text(reason, 300)] for name, reason in material.scores.absent.items()]
    rows.append(["machine", f"{manifest.machine.device}, {'bit-exact' if manifest.machine.bit_exact else 'not bit-exact'}"])
    rows.append(["versions", ", ".join(f"{name} {display_text(version, 30)}" for name, version in manifest.versions.items())])
    rows.append(["finished", display_text(manifest.finished, 40)])
    return rows


def _scenes(material: ReportData, chosen: _Choice, spreads: list[distributions.Distribution]) -> dict[str, Scene]:
    scenes = [distributions.distribution_scene(one) for one in spreads]
    if chosen.map is not None:
        scenes.append(cartography.map_scene(chosen.map))
    scenes.append(distributions.correlation_scene(*_correlations(material)))
    shown_classes, counts = classes.matrix_of(material)
    scenes.append(classes.confusion_scene([material.class_names[index] for index in shown_classes], counts))
    scenes.append(curves.epochs_scene(material.answers))
    record = material.manifest.features
    if record is not None and (inertia := curves.inertia_scene(record)) is not None:
        scenes.append(inertia)
    if material.features is not None and (laid_out := feature_map(material)) is not None:
        scenes.append(laid_out)
    return {scene.name: scene for scene in scenes}


def _side(material: ReportData) -> str:
    """Return how pictures are enlarged: tiny ones in squares, others smoothly."""
    if material.images is None:
        return "none"
    return "tiny" if max(material.images.shape[1:3]) <= 16 else "small" if max(material.images.shape[1:3]) <= 48 else "large"
