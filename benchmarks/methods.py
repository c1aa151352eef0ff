"""Which score and strategy keep most accuracy at small sizes, with and without a tenth of the labels wrong; ranked.

    python benchmarks/methods.py DATA [--rows 0:5000] [--image-size 96] [--encoder NAME] [--scores NAMES] [--strategies NAMES]
        [--keep 0.1,0.2,0.4] [--dynamic infobatch,rs2] [--device cuda] [--workers 8] [--out DIR]

Three seeds, balanced, the default model and recipe; with an encoder a linear head on its vectors. Each strategy and kept set costs
the same training; what it needs beside (scores of networks, or features) stands in its line. Resumable with the same --out.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import record
from studies import figures_of

from dataprune.data import Splits, read_splits
from dataprune.encoders import Encoding, encode_splits
from dataprune.study.presets import preset, with_sweeps
from dataprune.study.runner import run_study
from dataprune.training.settings import Hardware


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--rows", default=None, help="of train, FIRST:LAST")
    parser.add_argument("--test-rows", default=None, help="of test, FIRST:LAST")
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--encoder", default=None)
    parser.add_argument("--scores", type=words, default=None)
    parser.add_argument("--strategies", type=words, default=None)
    parser.add_argument("--keep", type=lambda text: tuple(map(float, text.split(","))), default=None)
    parser.add_argument("--dynamic", type=words, default=None, help="compare these, with random of the same cost")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default=None)
    asked = parser.parse_args()
    hardware = Hardware(asked.device, "serial" if asked.workers == 1 else "processes", asked.workers)
    splits = read_splits(asked.data, image_size=asked.image_size)
    train, test = splits.train, splits.test
    if asked.rows:
        train = train.take(np.arange(*map(int, asked.rows.split(":"))))
    if asked.test_rows and test is not None:
        test = test.take(np.arange(*map(int, asked.test_rows.split(":"))))
    splits = Splits(train, splits.validation, test)
    if asked.encoder:
        splits = encode_splits(splits, asked.encoder, Encoding(asked.device, asked.workers))
    spec = preset("dynamic" if asked.dynamic else "methods")
    changes = {"scores": asked.scores, "dynamic": asked.dynamic, "seeds": asked.seeds}
    spec = replace(spec, **{name: given for name, given in changes.items() if given is not None})
    if not asked.dynamic:
        spec = with_sweeps(spec, asked.keep, None, asked.strategies)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        made = run_study(splits, spec, Path(asked.out or temporary), None, hardware)
        figures = figures_of(made, time.perf_counter() - begun)
    figures |= {
        "data": Path(asked.data).name,
        "preset": spec.preset,
        "encoder": asked.encoder or "",
        "n_train": int(made.trials["n_train"].max()),
    }
    figures["ranks"] = [vars(one) for one in made.summary.ranks]
    record("study", figures, asked.device)


if __name__ == "__main__":
    main()
