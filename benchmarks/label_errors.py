"""Files of cleanlab/label-errors: published probabilities of a test set, its labels, and votes of people on what was suspected."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MOST_CONFIRMING = 2  # of five people, where an error is verified


@dataclass(frozen=True, eq=False)
class Judged:
    """A set of N labels with K classes, and the rows of it that people judged."""

    p: np.ndarray  # (N, K) out-of-sample probabilities
    labels: np.ndarray  # (N,)
    rows: np.ndarray  # of what was judged
    is_error: np.ndarray  # for each of them


def read(folder: Path, name: str) -> Judged | None:
    """Read a set; None, and a line that says so, where the list of files is missing by which the votes name rows."""
    votes = json.loads((folder / f"{name}_mturk.json").read_text())
    rows = [one["id"] for one in votes]
    if not all(isinstance(row, int) for row in rows):
        listed = folder / f"{name}_test_set_index_to_filename.json"
        if not listed.exists():
            print(f"{name}: left out, for {listed.name} is not there")
            return None
        # The list names some files twice, with another rating; none of those was judged.
        row_of = {file.rsplit("_", 1)[0]: row for row, file in enumerate(json.loads(listed.read_text()))}
        rows = [row_of[one.removeprefix("test/").rsplit("_", 1)[0]] for one in rows]
    p = np.clip(np.load(folder / f"{name}_test_set_pyx.npy").astype(np.float64), 0, 1)
    labels = np.load(folder / f"{name}_test_set_original_labels.npy").astype(np.int64)
    is_error = np.array([one["mturk"]["given"] <= MOST_CONFIRMING for one in votes])
    return Judged(p / p.sum(axis=1, keepdims=True), labels, np.array(rows), is_error)
