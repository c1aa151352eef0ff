"""Which classes are hard, and which are taken for which."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataprune.report.page.data import ReportData

MOST_IN_MATRIX = 30
MOST_PAIRS = 8
SHOWN_OF_A_PAIR = 6
WHOSE = {
    "out": "predictions of networks that did not train on the example",
    "in": "predictions of the networks that trained on these examples: optimistic (in-sample), score with --folds for others",
    "all": "predictions of all networks, most of which trained on the example: optimistic (in-sample), score with --folds",
}


@dataclass(frozen=True)
class ClassRow:
    """A class: examples, accuracy, mean of the leading score, suspects and their share, and the class it is most often taken for.

    None where nothing was measured, as in a class without any example.
    """

    name: str
    count: int
    accuracy: float | None
    difficulty: float | None
    suspects: int | None
    suspect_share: float | None
    taken_for: str
    taken_count: int


@dataclass(frozen=True, eq=False)
class Confusion:
    """A given label, another that was predicted, how often, and the examples where that prediction was surest."""

    given: int
    predicted: int
    count: int
    rows: Int64[np.ndarray, " shown"]


def class_rows(data: ReportData) -> list[ClassRow]:
    """Return a row for each class, those without examples too."""
    labels, predicted, n_classes = data.labels, data.predictions.predicted, len(data.classes)
    counts = np.bincount(labels, minlength=n_classes)
    right = np.bincount(labels, weights=predicted == labels, minlength=n_classes)
    hard = np.bincount(labels, weights=data.score.values, minlength=n_classes)
    flagged = np.bincount(labels[data.suspect_rows], minlength=n_classes)
    wrong = predicted != labels
    taken_for = _most_frequent(labels[wrong], predicted[wrong], n_classes)
    rows = []
    for index, name in enumerate(data.class_names):
        n, (other, times) = int(counts[index]), taken_for.get(index, (-1, 0))
        accuracy = round(float(right[index]) / n, 4) if n else None
        difficulty = float(f"{hard[index] / n:.4g}") if n else None
        suspects = None if data.suspects is None else int(flagged[index])
        share = round(suspects / n, 4) if n and suspects is not None else None
        rows.append(ClassRow(name, n, accuracy, difficulty, suspects, share, data.class_names[other] if times else "", times))
    return rows


def matrix_of(data: ReportData) -> tuple[list[int], Int64[np.ndarray, "given predicted"]]:
    """Count given labels against predictions: of all classes, or of many for the thirty that are missed most often.

    Returns:
        The classes' indices, and the counts among these.
    """
    labels, predicted, n_classes = data.labels, data.predictions.predicted, len(data.classes)
    chosen = np.arange(n_classes)
    if n_classes > MOST_IN_MATRIX:
        missed = np.bincount(labels[predicted != labels], minlength=n_classes)
        chosen = np.sort(np.argsort(-missed, kind="stable")[:MOST_IN_MATRIX])
    place = np.full(n_classes, -1)
    place[chosen] = np.arange(len(chosen))
    inside = (place[labels] >= 0) & (place[predicted] >= 0)
    code = place[labels[inside]] * len(chosen) + place[predicted[inside]]
    return chosen.tolist(), np.bincount(code, minlength=len(chosen) ** 2).reshape(len(chosen), len(chosen)).astype(np.int64)


def confusions(data: ReportData) -> list[Confusion]:
    """Return the pairs of given label and other prediction that occur most often."""
    labels, predicted, n_classes = data.labels, data.predictions.predicted, len(data.classes)
    wrong = np.flatnonzero(predicted != labels)
    code = labels[wrong] * n_classes + predicted[wrong]
    codes, counts = np.unique(code, return_counts=True)
    found = []
    for place in np.argsort(-counts, kind="stable")[:MOST_PAIRS].tolist():
        rows = wrong[code == codes[place]]
        surest = rows[np.argsort(-data.predictions.top_probabilities[rows, 0], kind="stable")[:SHOWN_OF_A_PAIR]]
        found.append(Confusion(*divmod(int(codes[place]), n_classes), int(counts[place]), surest))
    return found


def _most_frequent(given: np.ndarray, predicted: np.ndarray, n_classes: int) -> dict[int, tuple[int, int]]:
    """Find for each class the other class that it is taken for most often, and how often."""
    codes, counts = np.unique(given * n_classes + predicted, return_counts=True)
    best: dict[int, tuple[int, int]] = {}
    for place in np.argsort(counts[::-1], kind="stable").tolist():  # of equals the lower class last
        label, other = divmod(int(codes[::-1][place]), n_classes)
        best[label] = (other, int(counts[::-1][place]))
    return best
