"""How does a vector for each example get into a file?"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from dataprune.errors import invalid
from dataprune.tables.npy import write_npy

SUFFIXES = (".npy", ".parquet")
GROUP_VALUES = 2**22  # numbers of one row group, which is read at once


def write_vectors(path: Path, ids: Shaped[np.ndarray, " rows"], vectors: Float32[np.ndarray, "rows dimensions"]) -> None:
    """Write vectors as `.npy`, or as `.parquet` with the columns `id` (text) and `features` (lists of one length).

    Raises:
        InputError: another suffix.
    """
    if path.suffix.lower() == ".npy":
        write_npy(path, vectors)
    elif path.suffix.lower() == ".parquet":
        _write_parquet(path, ids, vectors)
    else:
        raise invalid(str(path), f"end in {' or '.join(SUFFIXES)}", repr(path.suffix))


def _write_parquet(path: Path, ids: Shaped[np.ndarray, " rows"], vectors: Float32[np.ndarray, "rows dimensions"]) -> None:
    import pyarrow
    import pyarrow.parquet

    width = vectors.shape[1]
    values = pyarrow.array(np.ascontiguousarray(vectors).reshape(-1))
    columns = {
        "id": pyarrow.array(ids.tolist(), pyarrow.string()),
        "features": pyarrow.FixedSizeListArray.from_arrays(values, width),
    }
    with path.open("wb") as file:
        pyarrow.parquet.write_table(pyarrow.table(columns), file, compression="zstd", row_group_size=max(1, GROUP_VALUES // width))
