"""Data sets as worker processes see them: by files that all map, without a copy each."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from dataprune import store, tables
from dataprune.data.dataset import Dataset
from dataprune.errors import MachineError, join_some
from dataprune.workers import Pool


@dataclass(frozen=True)
class DataHandle:
    """Where inputs, labels and mirrored vectors lie as npy files; or the arrays, for machines that see no file."""

    inputs: Path | np.ndarray
    labels: Path | np.ndarray | None
    mirrored: Path | np.ndarray | None = None


class Shared(NamedTuple):
    """What networks see of a data set, their labels, and what they see of the mirrored pictures where that is an encoder's."""

    inputs: np.ndarray
    labels: Int64[np.ndarray, " examples"] | None
    mirrored: np.ndarray | None


def share(dataset: Dataset, folder: Path) -> DataHandle:
    """Describe a data set for other processes: mapped arrays by their own file, others written once to `folder`."""
    arrays = {"inputs": dataset.inputs, "labels": dataset.labels, "mirrored": dataset.mirrored}
    return DataHandle(*(None if one is None else _placed(one, folder / f"{name}.npy") for name, one in arrays.items()))  # type: ignore[arg-type]


def data_handle(dataset: Dataset, folder: Path, pool: Pool) -> DataHandle:
    """Describe a data set for a pool: by files that all its machines see, else as arrays that travel with the jobs. Arrays that are
    too large for that are a MachineError."""
    shared = share(dataset, folder)
    unseen = pool.nodes_without([path for path in vars(shared).values() if isinstance(path, Path)])
    if not unseen:
        return shared
    arrays = (dataset.inputs, dataset.labels, dataset.mirrored)
    most, needed = pool.max_payload_bytes(), sum(one.nbytes for one in arrays if one is not None)
    if most is not None and needed > most:
        raise MachineError(
            f"{shared.inputs} cannot be seen on {join_some(unseen, most=3)}, and its {needed >> 20:,} MB are more than the "
            f"{most >> 20:,} MB (a fifth of the object store) that may travel. Put $DATAPRUNE_CACHE and the output where all see."
        )
    return DataHandle(*(None if one is None else np.ascontiguousarray(one) for one in arrays))  # type: ignore[arg-type]


def open_shared(shared: DataHandle) -> Shared:
    """Open what `share` described: read-only maps, or the arrays that came along."""
    return Shared(*(tables.read_npy(one, mmap=True) if isinstance(one, Path) else one for one in vars(shared).values()))


def _placed(array: np.ndarray, target: Path) -> Path:
    own = Path(getattr(array, "filename", None) or "")
    if own.suffix == ".npy" and own.is_file() and array.flags.c_contiguous:
        whole = tables.read_npy(own, mmap=True)  # a slice of a map keeps the file's name, but not its shape
        if isinstance(whole, np.memmap) and (whole.shape, whole.dtype) == (array.shape, array.dtype):
            return own
    with store.writing(target, array.nbytes) as path:
        tables.write_npy(path, array)
    return target
