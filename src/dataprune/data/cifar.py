"""CIFAR-10 and CIFAR-100 as their authors ship them: binary files, or pickles of Python 2 and 3."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data import pickles
from dataprune.data.classes import indices
from dataprune.data.source import Part, Source, plain, row_ids
from dataprune.errors import InputError, invalid, one_line

SIDE = 32
_PIXEL_BYTES = 3 * SIDE * SIDE
_MAX_BYTES = 2**30  # the largest of the authors' files has 155 MB

_Read = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def read_cifar(folder: Path) -> Source | None:
    """Read CIFAR-10 (`data_batch_*`, `test_batch`) or CIFAR-100 (`train`, `test`; fine labels), binary or Python files, if any.

    An id is the row number in the split, counted over the batches in their order.
    """
    form = _form(folder)
    if form is None:
        return None
    splits, classes, read = form
    parts = {}
    for split, files in splits.items():
        batches = [read(file) for file in files]
        pixels = np.concatenate([pixels for pixels, _ in batches])
        labels = indices(np.concatenate([labels for _, labels in batches]), f"labels of {split}", len(classes))
        parts[split] = Part(row_ids(len(pixels)), labels, inputs=pixels)
    missing = 5 - len(splits["train"]) if splits["train"][0].name.startswith("data_batch") else 0
    notes = (f"{missing} of the 5 training batches of CIFAR-10 are not in {folder.name}",) if missing else ()
    return Source("cifar", os.path.realpath(folder), parts, classes, notes)


def _form(folder: Path) -> tuple[dict[str, list[Path]], tuple[str, ...], _Read] | None:
    """Tell by the names which of the four forms it is: the files of each split, the classes, and how to read a file."""

    def splits(train: list[str], test: str, needed: str = "") -> dict[str, list[Path]]:
        asked = {"train": [folder / name for name in train], "test": [folder / test]}
        found = {split: there for split, files in asked.items() if (there := [file for file in files if file.is_file()])}
        return found if "train" in found and (not needed or (folder / needed).is_file()) else {}

    batches = [f"data_batch_{number}" for number in range(1, 6)]
    if files := splits([f"{name}.bin" for name in batches], "test_batch.bin"):
        return files, _names_in_text(folder / "batches.meta.txt", 10), partial(_binary, n_labels=1)
    if files := splits(["train.bin"], "test.bin", "fine_label_names.txt"):
        return files, _names_in_text(folder / "fine_label_names.txt", 100), partial(_binary, n_labels=2)
    if files := splits(batches, "test_batch", "batches.meta"):
        return files, _names_in_pickle(folder / "batches.meta", "label_names", 10), partial(_pickled, key="labels")
    if files := splits(["train"], "test", "meta"):
        return files, _names_in_pickle(folder / "meta", "fine_label_names", 100), partial(_pickled, key="fine_labels")
    return None


def _names_in_text(file: Path, count: int) -> tuple[str, ...]:
    if not file.is_file():
        return tuple(map(str, range(count)))
    return tuple(line.strip() for line in _text(_bytes_of(file)).splitlines() if line.strip())


def _names_in_pickle(file: Path, key: str, count: int) -> tuple[str, ...]:
    names = _entries(file).get(key, [str(index) for index in range(count)])
    if not isinstance(names, list | tuple) or not all(isinstance(name, str | bytes) for name in names):
        raise invalid(plain(file), f"hold a list `{key}` of names", type(names).__name__)
    return tuple(map(_text, names))


def _binary(file: Path, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Read records of one or two label bytes (coarse, fine) and 3072 pixel bytes, channel by channel."""
    data = np.frombuffer(_bytes_of(file), dtype=np.uint8)
    record = n_labels + _PIXEL_BYTES
    if len(data) == 0 or len(data) % record:
        raise invalid(plain(file), f"have a whole number of {record}-byte records", f"{len(data)} bytes", "Download it again.")
    rows = data.reshape(-1, record)
    return _channels_last(rows[:, n_labels:]), rows[:, n_labels - 1].astype(np.int64)


def _pickled(file: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    entries = _entries(file)
    if "data" not in entries or key not in entries:
        raise invalid(plain(file), f"hold `data` and `{key}`", ", ".join(sorted(entries)) or "nothing")
    pixels, labels = _array(file, "data", entries["data"]), _array(file, key, entries[key])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXEL_BYTES:
        raise invalid(plain(file), f"hold uint8 `data` of shape (N, {_PIXEL_BYTES})", f"{pixels.dtype} {pixels.shape}")
    if labels.shape != (len(pixels),):
        raise invalid(plain(file), f"hold one label for each of {len(pixels)} pictures", f"shape {labels.shape}")
    return _channels_last(pixels), labels


def _array(file: Path, key: str, value: object) -> np.ndarray:
    """Return an array, or make one of a list of numbers; a list of lists may unfold to any size."""
    if isinstance(value, list | tuple) and all(isinstance(one, int | float | str | bytes) for one in value):
        return np.asarray(value)
    if isinstance(value, np.ndarray):
        return value
    raise invalid(plain(file), f"hold an array or a list of numbers as `{key}`", type(value).__name__)


def _channels_last(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _bytes_of(file: Path) -> bytes:
    try:
        if (size := file.stat().st_size) > _MAX_BYTES:
            raise invalid(plain(file), f"have at most {_MAX_BYTES >> 20} MB", f"{size >> 20} MB")
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {plain(file)}: {error.strerror}.") from None


def _entries(file: Path) -> dict[str, Any]:
    """Read a pickled dictionary; keys become text (Python 2 wrote bytes)."""
    try:
        loaded = pickles.loads(_bytes_of(file))
    except InputError as error:
        raise InputError(f"{plain(file)}: {error}") from None
    except Exception as error:  # noqa: BLE001 a damaged pickle fails in any way
        raise InputError(f"{plain(file)} is no readable CIFAR file: {one_line(error)}.") from None
    if not isinstance(loaded, dict):
        raise invalid(plain(file), "hold a dictionary", type(loaded).__name__)
    return {_text(key): value.value if isinstance(value, pickles.Array) else value for key, value in loaded.items()}


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
