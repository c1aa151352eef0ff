"""How do labels that were made wrong on purpose get into a file, and the matrix that says how out of one?"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from dataprune import store, tables
from dataprune.errors import invalid
from dataprune.tables.files import reading, regular


def write_noisy(out: Path, ids: np.ndarray, given: Int64[np.ndarray, " examples"], truth: Int64[np.ndarray, " examples"]) -> None:
    """Write `id, label, clean_label` as .csv or .parquet, a row for each example.

    Raises:
        MachineError: no room, or no permission.
    """
    with store.writing(out) as temporary:
        tables.write_table(temporary, {"id": ids, "label": given, "clean_label": truth})


def read_matrix(path: Path) -> Float64[np.ndarray, "rows columns"]:
    """Read a matrix of shares: .npy, or .csv without a header.

    Raises:
        InputError: no such file, another ending, cells that are no numbers, rows of different lengths.
    """
    if path.suffix.lower() not in (".csv", ".npy"):
        raise invalid("matrix", "end in .csv or .npy", repr(str(path)))
    with reading(regular(path), "matrix of numbers: a row a line, commas between them, no header"):
        if path.suffix.lower() == ".npy":
            found = tables.read_npy(path).astype(np.float64)
        else:
            found = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
    if found.ndim != 2:
        raise invalid("matrix", "have rows and columns", f"an array of shape {found.shape} in {path}")
    return found
