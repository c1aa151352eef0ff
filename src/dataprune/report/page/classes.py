"""Which classes are hard, and which are taken for which."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

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
    """A class; `difficulty` is the mean leading score, `suspects` are labels that are probably wrong. None was not measured."""

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


def frequent_pairs(given: Int[np.ndarray, " n"], other: Int[np.ndarray, " n"], n_classes: int) -> list[tuple[int, int, int]]:
    """Count pairs of classes as (given, other, count), the most frequent first; of equals the lower classes."""
    codes, counts = np.unique(given * n_classes + other, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(*divmod(code, n_classes), n) for code, n in zip(codes[order].tolist(), counts[order].tolist(), strict=True)]


def class_rows(data: ReportData) -> list[ClassRow]:
    """Return a row for each class, those without examples too."""
    labels, predicted, n_classes = data.labels, data.predictions.predicted, len(data.classes)
    counts = np.bincount(labels, minlength=n_classes)
    right = np.bincount(labels, weights=predicted == labels, minlength=n_classes)
    hard = np.bincount(labels, weights=data.score.values, minlength=n_classes)
    flagged = np.bincount(labels[data.probable], minlength=n_classes)
    wrong = predicted != labels
    taken_for: dict[int, tuple[str, int]] = {}
    for given, other, times in frequent_pairs(labels[wrong], predicted[wrong], n_classes):
        taken_for.setdefault(given, (data.class_names[other], times))
    rows = []
    for index, (name, n) in enumerate(zip(data.class_names, counts.tolist(), strict=True)):
        accuracy = round(float(right[index]) / n, 4) if n else None
        difficulty = float(f"{hard[index] / n:.4g}") if n else None
        suspects = None if data.suspects is None else int(flagged[index])
        share = round(suspects / n, 4) if n and suspects is not None else None
        rows.append(ClassRow(name, n, accuracy, difficulty, suspects, share, *taken_for.get(index, ("", 0))))
    return rows


def matrix_of(data: ReportData) -> tuple[list[int], Int64[np.ndarray, "given predicted"]]:
    """Return classes, and given labels counted against predictions among these: all, or the thirty that are missed most often."""
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
    predicted = data.predictions.predicted
    wrong = np.flatnonzero(predicted != data.labels)
    found = []
    for given, other, count in frequent_pairs(data.labels[wrong], predicted[wrong], len(data.classes))[:MOST_PAIRS]:
        rows = wrong[(data.labels[wrong] == given) & (predicted[wrong] == other)]
        surest = np.argsort(-data.predictions.top_probabilities[rows, 0], kind="stable")[:SHOWN_OF_A_PAIR]
        found.append(Confusion(given, other, count, rows[surest]))
    return found
