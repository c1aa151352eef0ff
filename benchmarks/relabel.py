"""Does acting on the suspects help? Trains on given, dropped, relabelled and true labels and compares on a clean test set.

    python benchmarks/relabel.py DATA --labels FILE:COLUMN --truth FILE:COLUMN --run RUN [--rows A:B] [--seeds 3] [--epochs 10]
    python benchmarks/relabel.py DATA --inject 0.2 --run RUN     (labels made wrong here, uniformly, by seed 0)

RUN is scored with the same labels, best with folds; where it is not there it is made, with five folds. One recipe, one network for
each arm and seed; all arms of a seed share initial weights and augmentation. Intervals are of Student's t over the seeds, those of
differences over the paired differences. The test set is looked at once for each network, at its end.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import record
from scipy import stats

import dataprune as dp
from dataprune import noise
from dataprune.noise.decide import CONFIDENCE, Decisions, decide
from dataprune.run.run import open_run
from dataprune.run.suspects import find_suspects
from dataprune.workers import Job, Report, run_jobs

ARMS = ("given", "dropped", "relabelled", "true")


@dataclass(frozen=True)
class Trial:
    """One network: what it is trained on, and what it is asked at the end."""

    arm: str
    seed: int
    epochs: int
    train: dp.Dataset
    labels: np.ndarray
    trained_on: np.ndarray
    test: dp.Dataset


def accuracy(trial: Trial, report: Report) -> float:
    """Train one network and give its accuracy on the test set."""
    from dataprune.training.fit import Fit, Training
    from dataprune.training.inputs import Inputs
    from dataprune.training.plan import default_recipe
    from dataprune.training.recipes import recipe_named

    recipe = recipe_named(default_recipe(trial.train))
    training = Training("proxy", recipe, trial.epochs, trial.seed, trial.train.n_classes)
    # One array for both sets: they are normalised alike, and only the first is trained on.
    inputs = Inputs(np.concatenate([trial.train.inputs, trial.test.inputs]), recipe.normalise, "cpu")
    assert trial.test.labels is not None
    n = len(trial.train)
    fit = Fit(
        training,
        inputs,
        np.concatenate([trial.labels, trial.test.labels]),
        np.concatenate([trial.trained_on, np.zeros(len(trial.test), bool)]),
    )
    for _ in range(trial.epochs):
        fit.train_epoch()
    right = sum(int((logits.argmax(1) == fit.labels[rows]).sum()) for rows, logits, _ in fit.predict(np.arange(n, len(inputs))))
    return right / len(trial.test)


def interval(values: np.ndarray) -> dict[str, float]:
    """Return mean and 95 % interval in per cent."""
    half = (
        float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    )
    mean = float(values.mean())
    return {name: round(100 * value, 2) for name, value in (("mean", mean), ("low", mean - half), ("high", mean + half))}


def read(asked: argparse.Namespace) -> tuple[dp.Dataset, np.ndarray, dp.Dataset]:
    """Return the training set with the labels in question, its true labels, and the test set."""
    splits = dp.read_splits(asked.data)
    train, test = splits.train, splits.test
    if test is None or train.labels is None:
        raise SystemExit("DATA needs labels and a test split.")
    truth = train.labels
    if asked.truth:
        train, true = (dp.read(asked.data, labels=one) for one in (asked.labels, asked.truth))
        assert true.labels is not None
        truth = true.labels
    if asked.rows:
        first, last = (int(part) for part in asked.rows.split(":"))
        train, truth = train.take(np.arange(first, last)), truth[first:last]
    if asked.inject:
        train = train.with_labels(noise.inject_noise(truth, asked.inject, n_classes=train.n_classes, ids=train.ids))
    return train, truth, test


def arms(
    asked: argparse.Namespace, train: dp.Dataset, truth: np.ndarray
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Decisions]:
    """Return labels and rows trained on for each arm, and what was relabelled."""
    settings = dp.Settings(folds=asked.folds, repeats=asked.repeats)
    run = open_run(asked.run) if (Path(asked.run) / "run.json").exists() else dp.score(train, asked.run, settings)
    assert train.labels is not None
    if not np.array_equal(run.labels, train.labels):
        raise SystemExit(f"{asked.run} was scored with other labels.")
    found = find_suspects(run)
    dropped, relabelled = decide(found, "drop"), decide(found, "relabel", confidence=asked.confidence)
    everything = np.ones(len(train), bool)
    stays = everything.copy()
    stays[dropped.decision == "drop"] = False
    return {
        "given": (train.labels, everything),
        "dropped": (train.labels, stays),
        "relabelled": (relabelled.labels, everything),
        "true": (truth, everything),
    }, relabelled


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    for name in ("labels", "truth", "rows"):
        parser.add_argument(f"--{name}", default=None)
    parser.add_argument("--run", required=True)
    parser.add_argument("--inject", type=float, default=None)
    parser.add_argument("--confidence", type=float, default=CONFIDENCE)
    for name, default in (("seeds", 3), ("epochs", 10), ("folds", 5), ("repeats", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    train, truth, test = read(asked)
    of_arm, relabelled = arms(asked, train, truth)
    jobs = [
        Job(f"{arm} {seed}", accuracy, Trial(arm, seed, asked.epochs, train, *of_arm[arm], test))
        for seed in range(asked.seeds)
        for arm in ARMS
    ]
    found: dict[str, float] = {}
    for done in run_jobs(jobs):
        if done.error:
            raise SystemExit(f"{done.key}: {done.error}")
        found[done.key] = done.value
    by_arm = {arm: np.array([found[f"{arm} {seed}"] for seed in range(asked.seeds)]) for arm in ARMS}
    assert train.labels is not None
    record(
        "acting on suspects",
        {
            "n_examples": len(train),
            "n_test": len(test),
            "seeds": asked.seeds,
            "epochs": asked.epochs,
            "confidence": asked.confidence,
            "right_labels_given": round(float((train.labels == truth).mean()), 4),
            "right_labels_relabelled": round(float((relabelled.labels == truth).mean()), 4),
            "n_relabelled": relabelled.count("relabel"),
            "n_dropped": int((~of_arm["dropped"][1]).sum()),
            "test_accuracy": {arm: interval(values) for arm, values in by_arm.items()},
            "minus_given": {arm: interval(by_arm[arm] - by_arm["given"]) for arm in ARMS[1:]},
        },
    )


if __name__ == "__main__":
    main()
