"""k-means against scikit-learn's: from one start, and each with its own.

    python benchmarks/kmeans.py [--rows 50000] [--columns 512] [--clusters 100] [--iterations 20] [--threads 2] [--rounds 3]

The two alternate within one run and the medians are compared. Marks: from one start a ratio of at most 1.1; with its own start at
least 2.5 times faster at an inertia within 0.5 %.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from record import record
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dataprune.kmeans import fit


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("rows", 50_000), ("columns", 512), ("clusters", 100), ("iterations", 20), ("threads", 2), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    draw = np.random.default_rng(0)
    middles = draw.normal(size=(asked.clusters, asked.columns)) * 0.5
    x = (middles[draw.integers(0, asked.clusters, asked.rows)] + draw.normal(size=(asked.rows, asked.columns))).astype(np.float32)
    start = x[draw.choice(asked.rows, asked.clusters, replace=False)]
    about = {"tolerance": 0.0, "iterations": asked.iterations, "workers": asked.threads}

    def theirs(init: object) -> float:
        found = KMeans(asked.clusters, init=init, n_init=1, max_iter=asked.iterations, tol=0, algorithm="lloyd", random_state=0)
        return float(found.fit(x).inertia_)

    works: dict[str, Callable[[], float]] = {
        "ours, given start": lambda: fit(x, asked.clusters, start=start, **about).inertia,
        "scikit-learn, given start": lambda: theirs(start),
        "ours": lambda: fit(x, asked.clusters, **about).inertia,
        "scikit-learn": lambda: theirs("k-means++"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    inertia: dict[str, float] = {}
    with threadpool_limits(asked.threads):
        for number in range(asked.rounds + 1):
            for name, work in works.items():
                begun = time.perf_counter()
                inertia[name] = work()
                if number:  # the first round warms up
                    seconds[name].append(time.perf_counter() - begun)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    record(
        "k-means against scikit-learn",
        {
            "seconds": {name: round(value, 3) for name, value in median.items()},
            "given_start_ratio": round(median["ours, given start"] / median["scikit-learn, given start"], 3),
            "given_start_inertia_off": inertia["ours, given start"] / inertia["scikit-learn, given start"] - 1,
            "own_start_times_faster": round(median["scikit-learn"] / median["ours"], 2),
            "own_start_inertia_off": inertia["ours"] / inertia["scikit-learn"] - 1,
        },
    )


if __name__ == "__main__":
    main()
