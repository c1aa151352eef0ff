"""k-means beside scikit-learn with its own start and faiss, on one thread each: time and inertia; and over Parquet shards.

    python benchmarks/kmeans.py [--rows 50000] [--columns 512] [--clusters 100] [--iterations 20] [--rounds 3]
    python benchmarks/kmeans.py --stream [--rows 5000000] [--columns 128] [--clusters 100] [--iterations 5]

In memory they alternate within one run and the medians are compared; faiss where it is installed. Mark, against scikit-learn: an
inertia within 0.5 % in no more time.
The stream is measured at a tenth of the rows and at all of them, in a fresh process each: fitting, and assigning all rows.
Marks: a peak of memory under 4 GB, and at most 11 times the seconds of assignment for 10 times the rows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from record import record

from dataprune.clustering import assign, fit

SHARD_ROWS = 250_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stream", action="store_true")
    streams = {"rows": 5_000_000, "columns": 128, "iterations": 5} if "--stream" in sys.argv else {}
    for name, default in (("rows", 50_000), ("columns", 512), ("clusters", 100), ("iterations", 20), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=streams.get(name, default))
    parser.add_argument("--shards", type=Path, help=argparse.SUPPRESS)  # of the fresh process that is measured
    asked = parser.parse_args()
    if asked.shards is not None:
        streamed(asked)
    elif asked.stream:
        stream(asked)
    else:
        against_others(asked)


def stream(asked: argparse.Namespace) -> None:
    """Make shards in a temporary folder, and measure two sizes of them."""
    found = {}
    for rows in (asked.rows // 10, asked.rows):
        with tempfile.TemporaryDirectory() as folder:
            make_shards(Path(folder), rows, asked.columns, asked.clusters)
            command = [sys.executable, __file__, "--shards", folder]
            command += [f"--{name}={getattr(asked, name)}" for name in ("clusters", "iterations")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[rows] = json.loads(done.stdout)
            print(rows, found[rows], flush=True)
    small, large = found.values()
    ratio = {what: round(large[what] / small[what], 2) for what in small if what.endswith("seconds")}
    record("k-means over Parquet shards", {"by_rows": found, "times_the_seconds_for_10_times_the_rows": ratio})


def make_shards(folder: Path, rows: int, columns: int, clusters: int) -> None:
    import pyarrow
    import pyarrow.parquet

    middles = np.random.default_rng(0).normal(size=(clusters, columns))
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        draw = np.random.default_rng((1, number))
        n_rows = min(SHARD_ROWS, rows - start)
        x = (middles[draw.integers(0, clusters, n_rows)] + draw.normal(size=(n_rows, columns))).astype(np.float32)
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), columns)
        pyarrow.parquet.write_table(pyarrow.table({"vector": column}), folder / f"part-{number:03d}.parquet", row_group_size=2**16)


def streamed(asked: argparse.Namespace) -> None:
    """Fit and assign the shards in this process, and print the seconds and the peak of its memory."""
    from dataprune.data import read_features

    file = read_features(asked.shards)
    marks = [(time.perf_counter(), time.process_time())]
    sum(len(block) for block in file)
    marks.append((time.perf_counter(), time.process_time()))
    found = fit(file, asked.clusters, iterations=asked.iterations)
    marks.append((time.perf_counter(), time.process_time()))
    assign(file, found.centres)
    marks.append((time.perf_counter(), time.process_time()))
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    spent = zip(("read", "fit", "assign"), np.diff(marks, axis=0).round(2).tolist(), strict=True)
    seconds = {f"{what}_{how}seconds": value for what, both in spent for how, value in zip(("", "cpu_"), both, strict=True)}
    print(json.dumps({**seconds, "iterations": found.iterations, "peak_megabytes": peak // 1024}))


def against_others(asked: argparse.Namespace) -> None:
    """Measure them in turn."""
    from threadpoolctl import threadpool_limits

    works = contestants(asked)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    inertia: dict[str, float] = {}
    with threadpool_limits(1):
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
            "time_ratio": {name: round(median["ours"] / value, 3) for name, value in median.items()},
            "inertia_off": {name: float(f"{inertia['ours'] / value - 1:.3g}") for name, value in inertia.items()},
        },
    )


def contestants(asked: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Return what is measured: each clusters the same made-up points and gives its inertia."""
    from sklearn.cluster import KMeans

    draw = np.random.default_rng(0)
    middles = draw.normal(size=(asked.clusters, asked.columns)) * 0.5
    x = (middles[draw.integers(0, asked.clusters, asked.rows)] + draw.normal(size=(asked.rows, asked.columns))).astype(np.float32)

    def theirs() -> float:
        return float(KMeans(asked.clusters, n_init=1, max_iter=asked.iterations, random_state=0).fit(x).inertia_)

    works: dict[str, Callable[[], float]] = {
        "ours": lambda: fit(x, asked.clusters, iterations=asked.iterations).inertia,
        "scikit-learn": theirs,
    }
    if find_spec("faiss") is not None:
        works["faiss"] = lambda: faiss_inertia(x, asked)
    return works


def faiss_inertia(x: Float32[np.ndarray, "rows columns"], asked: argparse.Namespace) -> float:
    """Have faiss do the same passes on all the rows, from its own start."""
    import faiss

    faiss.omp_set_num_threads(1)
    found = faiss.Kmeans(x.shape[1], asked.clusters, niter=asked.iterations, max_points_per_centroid=len(x), seed=1)
    found.train(x)
    distances, _ = found.index.search(x, 1)
    return float(distances.sum(dtype=np.float64))


if __name__ == "__main__":
    main()
