"""Two members in two processes against one after the other, one thread each.

    python benchmarks/parallel.py [--examples 6000] [--epochs 3]

Measured twice: by whole wall time (starting processes included) and by the epochs alone. The mark is 1.85 on two idle cores.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from record import record

from dataprune.data import from_arrays
from dataprune.training.ensemble import Ensemble, EpochDone, train_members
from dataprune.training.recipes import RECIPES
from dataprune.workers import ExecutorConfig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=6_000)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (asked.examples, 32, 32, 3), dtype=np.uint8)
    dataset = from_arrays(images, rng.integers(0, 10, asked.examples))
    ensemble = Ensemble("proxy", RECIPES["fast"], members=2, epochs=asked.epochs, n_classes=10)
    measured = {}
    for executor_config, workers in ((ExecutorConfig("serial"), 1), (ExecutorConfig("processes", 2), 2)):
        heard: list[EpochDone] = []
        with tempfile.TemporaryDirectory() as scratch:
            begun = time.perf_counter()
            outcomes = list(
                train_members(dataset, ensemble, [0, 1], Path(scratch), executor_config=executor_config, on_message=heard.append)
            )
            wall = time.perf_counter() - begun
        assert all(outcome.error is None for outcome in outcomes)
        later = [message.seconds for message in heard if message.epoch > 1]
        measured[executor_config.executor] = (wall, sum(later) / len(later) / workers)
    record(
        "two members at once",
        {
            "wall_ratio": round(measured["serial"][0] / measured["processes"][0], 3),
            "epoch_ratio": round(measured["serial"][1] / measured["processes"][1], 3),
            "serial_seconds": round(measured["serial"][0], 1),
            "processes_seconds": round(measured["processes"][0], 1),
        },
    )


if __name__ == "__main__":
    main()
