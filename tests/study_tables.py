"""Made-up trials of a study, with known truths, for the tests of statistics, advice and plots."""

import numpy as np

SEVEN = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def trials_of(rows, epochs=20, **columns):
    """Return the columns of trials.parquet from rows (score, strategy, keep, start, seed, accuracy)."""
    score, strategy, keep, start, seed, accuracy = (list(one) for one in zip(*rows, strict=True))
    keep, accuracy, n = np.array(keep), np.array(accuracy, float), len(rows)
    n_train = np.round(1000 * keep).astype(np.int64)
    return {
        "trial": np.array([f"t{row}" for row in range(n)], object),
        "score": np.array(score, object),
        "strategy": np.array(strategy, object),
        "keep": keep,
        "start": np.array(start, float),
        "n_train": n_train,
        "seed": np.array(seed),
        "epochs": np.full(n, epochs),
        "steps": n_train * epochs // 100,
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
        "train_seconds": n_train / 100,
        "examples_seen": n_train * epochs,
        "flops": n_train * epochs * 10**6,
        "device": np.array(["cpu"] * n, object),
        "status": np.array(["ok"] * n, object),
        "error": np.array([""] * n, object),
    } | {name: np.array(values) for name, values in columns.items()}


def sweep_rows(scores=("el2n", "std", "forget"), sizes=SEVEN, seeds=3, noise=0.002, gain=0.01, seed=0):
    """Return a sweep in which each score gains a little at few dropped and collapses at many."""
    draw, rows = np.random.default_rng(seed), []
    for s in range(seeds):
        rows.append(("all", "all", 1.0, 0.0, s, 0.93))
        for keep in sizes:
            dropped = 1 - keep
            rows.append(("random", "random", keep, 0.0, s, 0.93 - 0.1 * dropped**2))
            rows += [(score, "hardest", keep, 0.0, s, 0.93 + gain * dropped - 0.4 * dropped**4) for score in scores]
    return [(*row[:5], row[5] + noise * draw.normal()) for row in rows]


def easy_rows(scores=("el2n", "std"), seeds=3, seed=1):
    """Return the easiest kept, at nine sizes."""
    draw = np.random.default_rng(seed)
    sizes = (*SEVEN, 0.2, 0.1)
    rows = [(score, "easiest", keep, 0.0, s, 0.9 - 0.4 * (1 - keep)) for s in range(seeds) for score in scores for keep in sizes]
    return [(*row[:5], row[5] + 0.002 * draw.normal()) for row in rows]


def window_rows(scores=("el2n", "std"), seeds=3, drop=0.0, seed=2):
    """Return a window of 40 % from seven starts, with its controls; `drop` is what wrong labels cost the hardest."""
    draw, rows = np.random.default_rng(seed), []
    for s in range(seeds):
        rows += [("all", "all", 1.0, 0.0, s, 0.93 - drop), ("random", "random", 0.4, 0.0, s, 0.9 - drop)]
        for score in scores:
            rows += [(score, "window", 0.4, start / 10, s, 0.75 + 0.02 * start - drop * (start > 4)) for start in range(7)]
    return [(*row[:5], row[5] + 0.003 * draw.normal()) for row in rows]
