"""How well are wrong labels found, where the true ones are known? The default, the plain ways, and cleanlab's default flags.

    python benchmarks/noise.py RUN --truth FILE[:COLUMN] [--rows A:B]                        a finished run
    python benchmarks/noise.py RUN --data DATA [--labels FILE:COLUMN] [--rows A:B] ...       makes RUN first: five folds, two rounds
    python benchmarks/noise.py RUN --data DATA --inject KIND:RATE [--truth FILE:COLUMN]      labels made wrong here, by seed 0

Truth is the labels of DATA where --inject is given without --truth. cleanlab sees the probabilities of the default's first view,
those of the networks that did not see the example. The marks stand in benchmarks/README.md.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import plain_ways as plain
from record import record
from sklearn.metrics import average_precision_score, roc_auc_score

import dataprune as dp
from dataprune import noise
from dataprune.run.evidence import evidence_of


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--data")
    parser.add_argument("--labels")
    parser.add_argument("--truth")
    parser.add_argument("--inject")
    parser.add_argument("--rows")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    rows = None if asked.rows is None else np.arange(*(int(part) for part in asked.rows.split(":")))
    truth = None if asked.truth is None else dp.read(asked.data, labels=asked.truth).labels
    truth = truth if truth is None or rows is None else truth[rows]
    if asked.data is not None:
        data = dp.read(asked.data, labels=asked.labels)
        data = data if rows is None else data.take(rows)
        truth = data.labels if truth is None else truth
        if asked.inject:
            assert truth is not None
            kind, rate = asked.inject.split(":")
            given = noise.inject_noise(truth, float(rate), kind, n_classes=data.n_classes, ids=data.ids.tolist())
            data = data.with_labels(given)
        dp.score(data, asked.run, dp.Settings(folds=asked.folds, repeats=asked.repeats, rounds=asked.rounds))
    assert truth is not None, "give --truth, or --data and --inject"
    record("wrong labels found", figures(dp.open_run(asked.run), truth))


def figures(run: dp.Run, truth: np.ndarray) -> dict[str, object]:
    begun = time.process_time()
    evidence = evidence_of(run)
    read = time.process_time()
    found = noise.find(evidence)
    seconds = {"read_cpu_seconds": round(read - begun, 1), "find_cpu_seconds": round(time.process_time() - read, 1)}
    wrong = evidence.labels != truth
    estimated, *interval = (None if one is None else round(one) for one in (found.n_wrong, found.n_wrong_low, found.n_wrong_high))
    result: dict[str, object] = {
        "set": Path(run.path).name,
        "n_examples": len(truth),
        "members": run.trace.n_members,
        "folds": run.manifest.spec.folds,
        "rounds": run.manifest.spec.rounds,
        "wrong": int(wrong.sum()),
        "estimated": estimated,
        "interval": interval,
        "why_no_count": found.why_no_count,
        "default": summary(noise.evaluate_suspects(found, truth)),
        **seconds,
    }
    if evidence.out_of_sample is not None:
        alone = noise.find(noise.Evidence(evidence.labels, out_of_sample=evidence.out_of_sample))
        result["unseen_alone"] = summary(noise.evaluate_suspects(alone, truth))
        joint = plain.confident_joint(evidence.out_of_sample, evidence.labels)
        result["confident_joint_count"] = round(float(joint.sum() - np.trace(joint)))
        result["flags"] = other_flags(evidence, wrong)
    if wrong.any():
        scores = plain.plain_scores(evidence)
        measures = (roc_auc_score, average_precision_score)
        result["plain_auroc_and_ap"] = {
            name: [round(float(measure(wrong, score)), 4) for measure in measures] for name, score in scores.items()
        }
    return result


def summary(checked: noise.Evaluation) -> dict[str, object]:
    names = ("auroc", "average_precision", "precision_at_count", "f1", "best_f1", "calibration_error", "suggestion_accuracy")
    values = {name: getattr(checked, name) for name in names}
    rounded = {name: None if np.isnan(value) else round(value, 4) for name, value in values.items()}
    return rounded | {"flagged": checked.n_flagged, "covers": checked.covers, "labels_put_right": checked.n_better}


def other_flags(evidence: noise.Evidence, wrong: np.ndarray) -> dict[str, list[float]]:
    """Return F1 and number of what cleanlab flags by default, where the prediction differs, and of a mixture of two normals."""
    from cleanlab.filter import find_label_issues

    assert evidence.out_of_sample is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags = {"cleanlab": find_label_issues(evidence.labels, evidence.out_of_sample)}
        if evidence.margin is not None:
            flags["mixture_of_margins"] = plain.mixture(-np.asarray(evidence.margin, np.float64)) > 0.5
    flags["prediction_differs"] = plain.prediction_differs(evidence.out_of_sample, evidence.labels)
    total = int(wrong.sum())
    return {
        name: [round(2 * int((flag & wrong).sum()) / max(1, int(flag.sum()) + total), 4), int(flag.sum())]
        for name, flag in flags.items()
    }


if __name__ == "__main__":
    main()
