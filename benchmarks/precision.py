"""Does it move a score whether clean pictures are looked at in bfloat16 or in float32? And what does either cost?

    python benchmarks/precision.py DATA [--labels FILE:COLUMN] [--rows A:B] [--members 2] [--epochs 10]

Networks are trained in bfloat16 and looked at in both after each epoch. For every score: the rank correlation of the two, over all
examples and over the easier half. The mark: 0.9995 for every score, else the clean pass stays in float32.
"""

import argparse
import time
from typing import Any

import numpy as np
from record import record
from scipy.stats import spearmanr

import dataprune as dp
from dataprune.precision import Precision
from dataprune.trace import Recorder, Trace
from dataprune.training.fit import Fit, Training, one_thread
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import RECIPES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--labels", default=None)
    parser.add_argument("--rows", default=None)
    for name, default in (("members", 2), ("epochs", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    data = dp.read(asked.data, labels=asked.labels)
    if asked.rows:
        data = data.take(np.arange(*(int(part) for part in asked.rows.split(":"))))
    assert data.labels is not None
    traces: dict[Precision, list[Any]] = {"fp32": [], "bf16": []}
    seconds = {"train fp32": 0.0, "train bf16": 0.0, "look fp32": 0.0, "look bf16": 0.0}
    with one_thread("cpu"):
        inputs = Inputs(data.inputs, "own", "cpu")
        for seed in range(asked.members):
            training = Training("proxy", RECIPES["fast"], asked.epochs, seed, data.n_classes, precision="bf16")
            fit = Fit(training, inputs, data.labels, np.ones(len(data), bool))
            recorders = {name: Recorder(data.labels, data.n_classes, asked.epochs) for name in traces}
            for epoch in range(asked.epochs):
                begun = time.process_time()
                fit.train_epoch()
                seconds["train bf16"] += time.process_time() - begun
                for name, recorder in recorders.items():
                    fit.look, begun = name, time.process_time()
                    seen = list(fit.predict())
                    seconds[f"look {name}"] += time.process_time() - begun
                    for rows, logits, features in seen:
                        recorder.update(rows, logits, epoch, features)
            for name, recorder in recorders.items():
                traces[name].append(recorder.finish())
    scores = {name: dp.score_trace(Trace(members, data.labels, data.ids)) for name, members in traces.items()}
    found = {}
    for name in scores["fp32"]:
        one, other = scores["fp32"][name].difficulty, scores["bf16"][name].difficulty
        easy = one <= np.median(one)
        found[name] = [round(float(spearmanr(one[of], other[of]).statistic), 6) for of in (slice(None), easy)]
    record("bfloat16 against float32", {"n_examples": len(data), "rank_correlation": found, "processor_seconds": seconds})


if __name__ == "__main__":
    main()
