"""Measure a finding of wrong labels against the true labels, with the metrics of scikit-learn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64
from numpy.typing import ArrayLike

from dataprune.errors import invalid
from dataprune.noise.evidence import Labels, Values
from dataprune.noise.suspects import Suspects
from dataprune.trace.member import checked_labels

BINS = 10


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a finding is worth. What needs both right and wrong labels is NaN where one kind is missing.

    Attributes:
        n_examples, n_wrong: how many were judged, and how many of their labels are wrong.
        n_estimated, n_low, n_high, n_flagged: how many the finding says, its interval, and how many it flags; NaN where it gives no
            number.
        auroc: chance that a wrong label has a higher score than a right one, ties by half.
        average_precision: mean of the precision at each wrong label, from the highest score down; ties are taken together.
        precision_at_count: share of wrong labels among as many of the highest scores as there are wrong labels.
        precision, recall, f1: of the flags.
        best_f1: the highest F1 of any threshold on the score.
        calibration_error: expected calibration error of `probability`, ten bins of equal width.
        suggestion_accuracy: share of wrong labels whose suggested label is the true one.
        n_better: how many more labels would be right if every flagged one became its suggestion (negative: fewer).
    """

    n_examples: int
    n_wrong: int
    n_estimated: float
    n_low: float
    n_high: float
    n_flagged: int
    auroc: float
    average_precision: float
    precision_at_count: float
    precision: float
    recall: float
    f1: float
    best_f1: float
    calibration_error: float
    suggestion_accuracy: float
    n_better: int

    @property
    def covers(self) -> bool:
        """Whether the interval of the estimate holds the true number."""
        return self.n_low <= self.n_wrong <= self.n_high


def evaluate_suspects(suspects: Suspects, truth: ArrayLike) -> Evaluation:
    """Measure a finding against true labels, class indices in its order.

    Source: expected calibration error: Naeini et al. 2015, AAAI, with bins of equal width.
    """
    true = checked_labels(truth, suspects.n_classes)
    if len(true) != len(suspects):
        raise invalid("truth", f"have one label for each of the {len(suspects)} examples", len(true))
    estimate = (suspects.n_wrong, suspects.n_wrong_low, suspects.n_wrong_high)
    return _evaluated(suspects, true, np.ones(len(true), bool), estimate if suspects.n_wrong is not None else (None,) * 3)


def evaluate_classes(suspects: Suspects, truth: ArrayLike) -> tuple[Evaluation, ...]:
    """Measure a finding for the examples of each given label apart; the truth is class indices in the finding's order. Of a class
    that no example is labelled with, `n_examples` is 0. The estimate of a class is the sum of its probabilities, without an
    interval."""
    true = checked_labels(truth, suspects.n_classes)
    parts = []
    for label in range(suspects.n_classes):
        rows = suspects.labels == label
        estimated = None if suspects.n_wrong is None else float(suspects.probability[rows].sum())
        parts.append(_evaluated(suspects, true, rows, (estimated, estimated, estimated)))
    return tuple(parts)


def _evaluated(
    suspects: Suspects, true: Labels, rows: Bool[np.ndarray, " examples"], estimate: tuple[float | None, ...]
) -> Evaluation:
    from sklearn.metrics import average_precision_score, roc_auc_score

    wrong = (suspects.labels != true)[rows]
    flagged, score = suspects.is_suspect[rows], suspects.score[rows]
    suggested_right = (suspects.suggested_label == true)[rows]
    n_wrong, n_flagged, n_found = int(wrong.sum()), int(flagged.sum()), int((wrong & flagged).sum())
    n_estimated, n_low, n_high = (float("nan") if value is None else value for value in estimate)
    has_both = 0 < n_wrong < len(wrong)
    found, taken = _curve(score, wrong)
    return Evaluation(
        n_examples=len(wrong),
        n_wrong=n_wrong,
        n_estimated=n_estimated,
        n_low=n_low,
        n_high=n_high,
        n_flagged=n_flagged,
        auroc=float(roc_auc_score(wrong, score)) if has_both else float("nan"),
        average_precision=float(average_precision_score(wrong, score)) if n_wrong else float("nan"),
        # Of a tie at the end its share is counted.
        precision_at_count=_ratio(float(np.interp(n_wrong, np.append(0, taken), np.append(0, found))), n_wrong),
        precision=_ratio(n_found, n_flagged),
        recall=_ratio(n_found, n_wrong),
        f1=_ratio(2 * n_found, n_flagged + n_wrong),
        best_f1=float((2 * found / (taken + n_wrong)).max()) if n_wrong else float("nan"),
        calibration_error=_calibration_error(suspects.probability[rows], wrong),
        suggestion_accuracy=_ratio(int((suggested_right & wrong).sum()), n_wrong),
        n_better=int((suggested_right & wrong & flagged).sum()) - int((~wrong & flagged).sum()),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _curve(
    score: Values, wrong: Bool[np.ndarray, " examples"]
) -> tuple[Int64[np.ndarray, " thresholds"], Int64[np.ndarray, " thresholds"]]:
    """Count, for each different score from the highest on, the wrong labels and all examples that have at least that score."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if len(order) else np.zeros(0, np.int64)
    return np.cumsum(wrong[order])[last], last + 1


def _calibration_error(probability: Values, wrong: Bool[np.ndarray, " examples"]) -> float:
    if not len(wrong):
        return float("nan")
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=probability - wrong, minlength=BINS)
    return float(np.abs(gaps).sum() / len(wrong))
