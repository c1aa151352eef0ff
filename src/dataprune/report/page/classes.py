"""Which classes are hard, and which are taken for which?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from dataprune.report.page.answers import confusion
from dataprune.report.page.material import ReportData
from dataprune.report.page.scene import Box, Mark, Scene, Words

MOST_IN_MATRIX = 30
MOST_PAIRS = 8
SHOWN_OF_A_PAIR = 6
WHOSE = {
    "out": "answers of networks that did not train on the example",
    "in": "answers of the networks that trained on these examples (in-sample: too kind; score with --folds for others)",
    "all": "answers of all networks, most of which trained on the example (too kind; score with --folds for others)",
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A given label, the answer it met, how often, and the examples where that answer was surest."""

    given: int
    predicted: int
    count: int
    rows: Int64[np.ndarray, " shown"]


def class_rows(material: ReportData) -> list[dict[str, Any]]:
    """Return of each class how many examples it has, how often the ensemble is right, how hard it is and how many labels are suspect.

    Classes without any example have a row too, with nothing measured in it.
    """
    labels, predicted, n_classes = material.labels, material.answers.predicted, len(material.classes)
    counts = np.bincount(labels, minlength=n_classes)
    right = np.bincount(labels, weights=predicted == labels, minlength=n_classes)
    hard = np.bincount(labels, weights=material.score.values, minlength=n_classes)
    flagged = np.bincount(labels[material.suspect_rows], minlength=n_classes)
    wrong = predicted != labels
    taken_for = _most_frequent(labels[wrong], predicted[wrong], n_classes)
    rows = []
    for index, name in enumerate(material.class_names):
        n = int(counts[index])
        rows.append(
            {
                "name": name,
                "count": n,
                "accuracy": round(float(right[index]) / n, 4) if n else None,
                "difficulty": float(f"{hard[index] / n:.4g}") if n else None,
                "suspects": int(flagged[index]) if material.suspects is not None else None,
                "suspect_share": round(int(flagged[index]) / n, 4) if n and material.suspects is not None else None,
                "taken_for": material.class_names[taken_for[index][0]] if index in taken_for else "",
                "taken_count": taken_for[index][1] if index in taken_for else 0,
            }
        )
    return rows


def matrix_of(material: ReportData) -> tuple[list[int], Int64[np.ndarray, "given predicted"]]:
    """Count given labels against answers, for all classes, or where these are too many for the thirty that are missed most often.

    Returns:
        The classes' indices, and the counts among these.
    """
    labels, predicted, n_classes = material.labels, material.answers.predicted, len(material.classes)
    chosen = np.arange(n_classes)
    if n_classes > MOST_IN_MATRIX:
        missed = np.bincount(labels[predicted != labels], minlength=n_classes)
        chosen = np.sort(np.argsort(-missed, kind="stable")[:MOST_IN_MATRIX])
    place = np.full(n_classes, -1)
    place[chosen] = np.arange(len(chosen))
    inside = (place[labels] >= 0) & (place[predicted] >= 0)
    counts = confusion(place[labels[inside]], place[predicted[inside]].astype(np.int32), len(chosen))
    return chosen.tolist(), counts


def confused_pairs(material: ReportData) -> list[Pair]:
    """Return the pairs of given label and other answer that occur most often, with the examples where the answer was surest."""
    labels, answers = material.labels, material.answers
    wrong = np.flatnonzero(answers.predicted != labels)
    code = labels[wrong] * len(material.classes) + answers.predicted[wrong]
    codes, counts = np.unique(code, return_counts=True)
    pairs = []
    for place in np.argsort(-counts, kind="stable")[:MOST_PAIRS].tolist():
        rows = wrong[code == codes[place]]
        surest = rows[np.argsort(-answers.top_probabilities[rows, 0], kind="stable")[:SHOWN_OF_A_PAIR]]
        given, predicted = divmod(int(codes[place]), len(material.classes))
        pairs.append(Pair(given, predicted, int(counts[place]), surest))
    return pairs


def confusion_scene(names: list[str], counts: Int64[np.ndarray, "given predicted"]) -> Scene:
    """Draw a confusion matrix as a picture; each row is coloured by its shares."""
    cell, longest = 40.0 if len(names) <= 12 else 24.0, max(map(len, names))
    left, top = 30.0 + 7.0 * min(20, longest), 48.0 + 6.5 * min(18, longest)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    marks: list[Mark] = [Words(8, 18, "answer (columns) to the given label (rows)", "ink", size=12.0)]
    for i, name in enumerate(names):
        marks.append(Words(left - 8, top + cell * (i + 0.6), name[:20], "ink", "end"))
        marks.append(Words(left + cell * (i + 0.6), top - 8, name[:18], "ink", "start", 11.0, True))
        for j in range(len(names)):
            box = (left + cell * j + 0.5, top + cell * i + 0.5, cell - 1, cell - 1)
            if counts[i, j]:
                role = "heat" if i == j else "cold"
                marks.append(Box(*box, role, 0.08 + 0.7 * float(np.sqrt(shares[i, j]))))
            if cell > 30 and counts[i, j]:
                marks.append(Words(box[0] + cell / 2, box[1] + cell * 0.6, f"{counts[i, j]}", "ink", "middle", 10.0))
    side = cell * len(names)
    described = f"{int(np.trace(counts)):,} of {int(counts.sum()):,} labels are what the ensemble answers."
    return Scene(
        "confusion", max(330.0, left + side + 40), top + side + 20, tuple(marks), "Given labels against answers", described
    )


def _most_frequent(given: np.ndarray, answered: np.ndarray, n_classes: int) -> dict[int, tuple[int, int]]:
    """Find for each class the other class that it is taken for most often, and how often."""
    codes, counts = np.unique(given * n_classes + answered, return_counts=True)
    best: dict[int, tuple[int, int]] = {}
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        label, other = divmod(code, n_classes)
        if label not in best or count > best[label][1]:
            best[label] = (other, count)
    return best
