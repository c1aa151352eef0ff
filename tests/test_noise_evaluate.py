"""A finding measured against true labels: by hand, and against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from dataprune.errors import InputError
from dataprune.noise import Suspects, evaluate_classes, evaluate_suspects


def suspects(labels, score, flags=None, probability=None, suggested=None, interval=(2.0, 1.0, 3.0), n_classes=3):
    labels, score = np.asarray(labels), np.asarray(score, float)
    n = len(labels)
    return Suspects(
        ids=np.array([str(row) for row in range(n)], dtype=np.dtypes.StringDType()),
        labels=labels,
        suggested_label=(labels + 1) % n_classes if suggested is None else np.asarray(suggested),
        probability=np.full(n, 0.5) if probability is None else np.asarray(probability, float),
        score=score,
        is_suspect=score > 0 if flags is None else np.asarray(flags, bool),
        reason=np.full(n, "", dtype=object),
        n_wrong=interval[0],
        n_wrong_low=interval[1],
        n_wrong_high=interval[2],
        classes=tuple("abc"[:n_classes]),
        sampling="out",
        method="by hand",
    )


def test_four_examples_by_hand():
    # In order of suspicion: wrong, right, wrong, right.
    found = suspects([0, 1, 2, 0], [4, 3, 2, 1], flags=[1, 1, 0, 0], probability=[0.95, 0.55, 0.55, 0.05], suggested=[1, 0, 1, 1])
    checked = evaluate_suspects(found, [1, 1, 0, 0])
    assert (checked.n_examples, checked.n_wrong, checked.n_flagged) == (4, 2, 2)
    assert checked.auroc == pytest.approx(3 / 4)
    assert checked.average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert checked.precision_at_count == pytest.approx(1 / 2)
    assert (checked.precision, checked.recall, checked.f1) == (0.5, 0.5, 0.5)
    assert checked.best_f1 == pytest.approx(4 / 5)
    # Bins .9-1: |.95 − 1|; .5-.6: |1.1 − 1|; 0-.1: |.05 − 0|.
    assert checked.calibration_error == pytest.approx((0.05 + 0.1 + 0.05) / 4)
    assert checked.suggestion_accuracy == pytest.approx(1 / 2)
    # The first flag becomes right, the second was right and no longer is.
    assert checked.n_better == 0
    assert checked.covers


def test_an_interval_that_misses():
    assert not evaluate_suspects(suspects([0, 1], [1, 0], interval=(1.5, 1.1, 2.0)), [1, 1]).covers


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans())
def test_against_scikit_learn(seed, ties):
    draw = np.random.default_rng(seed)
    labels, truth = draw.integers(0, 3, (2, 40))
    truth[:2] = labels[0], (labels[1] + 1) % 3
    score = draw.normal(size=40) + (labels != truth)
    score = np.round(score) if ties else score
    found, wrong = suspects(labels, score), labels != truth
    checked = evaluate_suspects(found, truth)
    assert checked.auroc == pytest.approx(roc_auc_score(wrong, score))
    assert checked.average_precision == pytest.approx(average_precision_score(wrong, score))
    assert checked.f1 == pytest.approx(f1_score(wrong, score > 0))
    precision, recall, _ = precision_recall_curve(wrong, score)
    with np.errstate(invalid="ignore"):
        assert checked.best_f1 == pytest.approx(np.nanmax(2 * precision * recall / (precision + recall)))
    order = draw.permutation(40)
    again = evaluate_suspects(suspects(labels[order], score[order]), truth[order])
    assert again.average_precision == pytest.approx(checked.average_precision)


def test_where_no_label_is_wrong_there_is_nothing_to_find():
    checked = evaluate_suspects(suspects([0, 1, 2], [1, -1, -2]), [0, 1, 2])
    assert checked.n_wrong == 0
    assert np.isnan([checked.auroc, checked.average_precision, checked.precision_at_count, checked.recall, checked.best_f1]).all()
    assert checked.precision == 0
    assert checked.n_better == -1


def test_by_class_of_the_given_label():
    found = suspects([0, 0, 1, 1], [4, 3, 2, -1], probability=[0.9, 0.1, 0.6, 0.2])
    parts = evaluate_classes(found, [1, 0, 2, 1])
    assert [part.n_examples for part in parts] == [2, 2, 0]
    assert [part.n_wrong for part in parts] == [1, 1, 0]
    assert [part.n_flagged for part in parts] == [2, 1, 0]
    assert parts[0].n_estimated == pytest.approx(1.0)
    assert parts[1].auroc == 1.0
    assert np.isnan(parts[2].calibration_error)


def test_a_truth_of_another_set_is_refused():
    found = suspects([0, 1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="`truth` must have one label for each of the 3 examples, got 2"):
        evaluate_suspects(found, [0, 1])
    with pytest.raises(InputError, match=r"`labels` must be in 0 \.\.\. 2, got 3"):
        evaluate_suspects(found, [0, 1, 3])


def test_a_finding_shows_itself_in_a_notebook():
    found = suspects([0, 1], [1, 0])
    assert repr(found) == "Suspects(2 labels, 3 classes: 2 (1 to 3) wrong, 1 flagged)"
    vague = replace(found, n_wrong=None, n_wrong_low=0.0, n_wrong_high=1.1, why_no_count="fits_disagree")
    assert vague.count_in_words == "no number: hardly any to half"
    assert replace(vague, n_wrong_low=None).count_in_words == "no number"
    assert not vague.are_few
    assert np.isnan(evaluate_suspects(vague, [0, 1]).n_estimated)
    assert "<td>a</td>" in found._repr_html_()
    assert found.to_pandas()["is_suspect"].tolist() == [True, False]
