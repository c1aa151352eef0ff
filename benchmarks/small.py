"""How should small sets be trained? Accuracy on examples that no network saw, by batch, optimiser steps and learning rate.

    python benchmarks/small.py DATA_FOLDER RESULTS.jsonl [--judge] [--sizes 300 600 1200 2500] [--only NAME ...]
    python benchmarks/small.py --table RESULTS.jsonl [--judge]

Slices of flowers, CIFAR-10 and digits; a network learns from four fifths of a slice, as a member of five folds does, and is asked
about examples outside of all slices. One set of slices chooses, `--judge` takes another. What is in RESULTS is not trained again.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import dataprune as dp
from dataprune.training.fit import Fit, Training, one_thread
from dataprune.training.inputs import Inputs
from dataprune.training.plan import default_recipe, sized
from dataprune.training.recipes import batches_of, recipe_named

SIZES = (300, 600, 1200, 2500)
N_ASKED = 1000
SLICES = {False: (0, 1), True: (10, 11, 12)}


@dataclass(frozen=True)
class Way:
    """How a slice is trained: `steps` None is 15 epochs, as long as small sets had before; `batch` None is by size, as today."""

    batch: int | None
    steps: int | None
    rate: float = 1.0  # times the recipe's

    def __str__(self) -> str:
        if self.batch is None:
            return "by size"
        length = "15 epochs" if self.steps is None else f"{self.steps} steps"
        return f"batch {self.batch}, {length}" + ("" if self.rate == 1 else f", rate x {self.rate:g}")


WAYS = (
    Way(128, None),
    Way(32, 400),
    Way(64, 400),
    Way(32, 400, 0.5),
    Way(16, 400, 0.5),
    Way(32, 800),
    Way(64, 800),
    Way(128, 400),
    Way(None, None),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("results", type=Path)
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--only", nargs="*", default=("digits", "flowers", "cifar10", "vectors"))
    parser.add_argument("--ways", type=int, nargs="*", default=range(len(WAYS)))
    asked = parser.parse_args()
    if not asked.table:
        done = {tuple(one["key"]) for one in read(asked.results)}
        sets = {name: dataset(name, asked.data) for name in asked.only}
        for slice_, size, way, name in order(asked):
            key = (name, size, str(way), slice_)
            if key not in done and size <= len(sets[name]) - 200:
                found = trained(sets[name], size, way, slice_) | {"key": key}
                with asked.results.open("a") as file:
                    file.write(json.dumps(found) + "\n")
    print(table(read(asked.results), SLICES[asked.judge]))


def order(asked: argparse.Namespace) -> Iterator[tuple[int, int, Way, str]]:
    """Yield what is trained, so that after any time all sizes and ways have been tried about as often."""
    for slice_ in SLICES[asked.judge]:
        for size in asked.sizes:
            for way in asked.ways:
                for name in asked.only:
                    yield slice_, size, WAYS[way], name


def dataset(name: str, folder: Path) -> dp.Dataset:
    """Read a set; of `vectors` the pixels of digits as bare numbers."""
    if name == "vectors":
        digits = dp.read("digits")
        assert isinstance(digits.content, np.ndarray)
        assert digits.labels is not None
        return dp.from_arrays(digits.content.reshape(len(digits), -1).astype(np.float32), digits.labels, classes=digits.classes)
    places = {"digits": "digits", "flowers": str(folder / "flowers"), "cifar10": str(folder / "cifar10" / "train.parquet")}
    return dp.read(places[name])


def trained(data: dp.Dataset, size: int, way: Way, slice_: int) -> dict[str, float]:
    """Train on four fifths of a slice; return the accuracy on others, the seconds and the epochs."""
    rng = np.random.default_rng([slice_, size])
    rows = rng.permutation(len(data))
    asked = rows[size : size + N_ASKED]
    part = data.take(np.sort(np.concatenate([rows[:size], asked])))
    is_slice = np.isin(part.ids, data.ids[rows[:size]])
    trained_on = is_slice & (np.random.default_rng([slice_, size, 1]).permutation(len(part)) % 5 > 0)
    recipe = sized(recipe_named(default_recipe(data, "proxy" if data.features is None else "mlp")), int(trained_on.sum()), 10)
    assert recipe.epochs is not None
    epochs = recipe.epochs
    if way.batch is not None:
        a_epoch = batches_of(int(trained_on.sum()), way.batch)
        epochs = 15 if way.steps is None else max(15 * (way.batch == 128), -(-way.steps // a_epoch))
        recipe = replace(recipe, batch=way.batch, learning_rate=recipe.learning_rate * way.rate)
    model = "proxy" if data.features is None else "mlp"
    begun = time.process_time()
    assert part.labels is not None
    with one_thread("cpu"):
        fit = Fit(
            Training(model, recipe, epochs, slice_, data.n_classes), Inputs(part.inputs, "own", "cpu"), part.labels, trained_on
        )
        for _ in range(epochs):
            fit.train_epoch()
        seconds = time.process_time() - begun
        right = [logits.argmax(1).numpy() == part.labels[at.numpy()] for at, logits, _ in fit.predict()]
    right_of = np.concatenate(right)
    return {
        "new": float(right_of[~is_slice].mean()),
        "known": float(right_of[trained_on].mean()),
        "seconds": seconds,
        "epochs": epochs,
    }


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(found: list[dict[str, Any]], slices: tuple[int, ...]) -> str:
    """Return a row for each set and way, a column for each size: the mean accuracy over slices, and seconds."""
    cells = defaultdict(list)
    for one in found:
        name, size, way, slice_ = one["key"]
        if slice_ in slices:
            cells[name, way, size].append((one["new"], one["known"], one["seconds"]))
    sizes = sorted({size for _, _, size in cells})
    lines = ["| set | way | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|---|" + "---|" * len(sizes)]
    for name, way in sorted({(name, way) for name, way, _ in cells}):
        means = [np.mean(cells[name, way, size], axis=0) if cells[name, way, size] else None for size in sizes]
        shown = ["" if mean is None else f"{mean[0]:.3f} ({mean[2]:.0f} s)" for mean in means]
        lines.append(f"| {name} | {way} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
