"""How do worker processes see a data set without a copy of it each?

Knows which arrays lie in a file already and which must be written to one. Does not know what workers do with them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dataprune import store, tables
from dataprune.data.dataset import Dataset


@dataclass(frozen=True)
class Shared:
    """Where inputs and labels lie as npy files: small, and fit to be sent to another process."""

    inputs: Path
    labels: Path | None


def share(dataset: Dataset, folder: Path) -> Shared:
    """Describe a data set for other processes: mapped arrays by their own file, others written once to `folder`.

    Raises:   MachineError if the folder cannot be written, or is full.
    """
    labels = None if dataset.labels is None else _placed(dataset.labels, folder / "labels.npy")
    return Shared(_placed(dataset.inputs, folder / "inputs.npy"), labels)


def open_shared(shared: Shared) -> tuple[np.ndarray, Int64[np.ndarray, " examples"] | None]:
    """Open what `share` described: read-only maps of the inputs and of the labels."""
    labels = None if shared.labels is None else tables.read_npy(shared.labels, mmap=True)
    return tables.read_npy(shared.inputs, mmap=True), labels


def _placed(array: np.ndarray, target: Path) -> Path:
    own = getattr(array, "filename", None)
    if own is not None and _is_all_of(array, Path(own)):
        return Path(own)
    with store.writing(target, array.nbytes) as path:
        tables.write_npy(path, array)
    return target


def _is_all_of(array: np.ndarray, path: Path) -> bool:
    """Say whether a map shows all of an npy file: a slice of one keeps the file's name, but not its shape."""
    if path.suffix != ".npy" or not path.is_file() or not array.flags.c_contiguous:
        return False
    whole = tables.read_npy(path, mmap=True)
    return isinstance(whole, np.memmap) and whole.shape == array.shape and whole.dtype == array.dtype
