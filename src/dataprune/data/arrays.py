"""Arrays as data sets: npy, npz, the built-in digits, and arrays in memory."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from dataprune import store, tables
from dataprune.data.dataset import IDS, Dataset, Origin
from dataprune.data.labels import encode_splits, resolve
from dataprune.data.source import Part, Source, row_ids
from dataprune.errors import InputError, invalid, join_some

DIGITS_TRAIN = 1437
_BLOCK = 65536  # rows looked at together when features are checked
_NPZ_NAMES = {"train": ("", "_train"), "validation": ("_validation", "_val", "_valid"), "test": ("_test",)}


def from_arrays(
    x: np.ndarray,
    y: Sequence[Any] | np.ndarray | None = None,
    *,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Make a data set of arrays. They are not copied where their type and order already fit: do not change them afterwards.

    Args:
        x: uint8 pictures (N, H, W) or (N, H, W, channels), or numbers (N, D), which become float32 features.
        y: class indices from 0 on, or names; none for data without labels.
        ids: unique texts, by default the row numbers.
        classes: names of the classes by index; by default the names in `y`, sorted, or the indices as text.
    Raises:   InputError for other shapes and types, NaN or infinity in features (with rows), labels that do not fit.

    Example:
        >>> from_arrays(np.zeros((3, 8, 8), np.uint8), [0, 1, 1])
        Dataset(3 examples, images (8, 8, 1), 2 classes)
    """
    inputs = _as_inputs(x if isinstance(x, np.memmap) else np.asarray(x), "x")
    names = np.asarray(row_ids(len(inputs)) if ids is None else [str(name) for name in ids], IDS)
    known = tuple(map(str, () if classes is None else classes))
    labels, known = (None, ()) if y is None else resolve(_one_column(np.asarray(y), "y", len(inputs)), known)
    images, features = (inputs, None) if inputs.ndim == 4 else (None, inputs)
    return Dataset(labels, names, known, images, features, origin=Origin("arrays", "", "train"))


def read_npy(path: Path) -> Source:
    """Read features (N, D) or pictures from a .npy file; what already has the right type stays memory-mapped."""
    inputs = _as_inputs(tables.read_npy(store.as_written(path), mmap=True), path.name)
    return Source("npy", os.path.realpath(path), {"train": Part(row_ids(len(inputs)), inputs=inputs)})


def read_npz(path: Path) -> Source:
    """Read `x` (or `x_train`), `y` and, where they are, `x_test`, `y_test`, `x_validation`, `y_validation` from a .npz file."""
    arrays = tables.read_npz(path)
    inputs: dict[str, np.ndarray] = {}
    given: dict[str, np.ndarray] = {}
    for split, endings in _NPZ_NAMES.items():
        ending = next((ending for ending in endings if f"x{ending}" in arrays), None)
        if ending is None:
            continue
        inputs[split] = _as_inputs(arrays[f"x{ending}"], f"x{ending}")
        if f"y{ending}" in arrays:
            given[split] = _one_column(arrays[f"y{ending}"], f"y{ending}", len(inputs[split]))
    if "train" not in inputs:
        raise invalid(path.name, "hold an array `x` (and `y`)", f"the arrays {join_some(sorted(arrays))}")
    if len({array.shape[1:] for array in inputs.values()}) > 1:
        shapes = join_some(f"{split} {array.shape[1:]}" for split, array in inputs.items())
        raise InputError(f"{path.name}: the splits differ in shape: {shapes}.")
    labels, classes = encode_splits(given)
    parts = {split: Part(row_ids(len(array)), labels.get(split), inputs=array) for split, array in inputs.items()}
    return Source("npz", os.path.realpath(path), parts, classes)


def read_digits() -> Source:
    """Return scikit-learn's digits: 8 × 8 gray pictures, 0…16 scaled to 0…255.

    The first 1,437 rows are train, the last 360 test (other writers, mostly); an id is the row number in the whole set.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, :, :, None]
    labels, ids = digits.target.astype(np.int64), row_ids(len(pixels))
    cuts = {"train": slice(0, DIGITS_TRAIN), "test": slice(DIGITS_TRAIN, None)}
    parts = {split: Part(ids[cut], labels[cut], inputs=pixels[cut]) for split, cut in cuts.items()}
    return Source("digits", "digits", parts, tuple("0123456789"))


def _as_inputs(x: np.ndarray, name: str) -> UInt8[np.ndarray, "n height width channels"] | Float32[np.ndarray, "n features"]:
    """Bring an array into one of the two forms: uint8 pictures with channels last, or finite float32 features."""
    if x.ndim == 2 and x.dtype.kind in "iufb":
        return _features(x, name)
    if x.ndim not in (3, 4):
        raise invalid(name, "have shape (N, D), (N, H, W) or (N, H, W, channels)", f"shape {x.shape}")
    if x.dtype != np.uint8:
        raise invalid(name, "be uint8 where it holds pictures", x.dtype, "Scale to 0–255: (255 * x).round().astype('uint8').")
    if 0 in x.shape[1:]:
        raise invalid(name, "hold pictures with pixels", f"shape {x.shape}")
    if x.ndim == 4 and x.shape[3] > 4 and x.shape[1] in (1, 3, 4):
        raise invalid(name, "have its channels last", f"shape {x.shape}", f"Use {name}.transpose(0, 2, 3, 1).")
    pixels = np.require(x, np.uint8, "C")  # what fits stays as it is, also as a memory map
    return pixels if x.ndim == 4 else pixels[:, :, :, None]


def _features(x: np.ndarray, name: str) -> Float32[np.ndarray, "n features"]:
    if x.shape[1] == 0:
        raise invalid(name, "have at least one column", f"shape {x.shape}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused with its row
        features = np.require(x, np.float32, "C")
    if x.dtype.kind == "f":
        blocks = range(0, len(features), _BLOCK)
        bad = np.concatenate([[], *(s + np.flatnonzero(~np.isfinite(features[s : s + _BLOCK]).all(axis=1)) for s in blocks)])
        if len(bad):
            raise invalid(name, "be finite", f"NaN or infinity in row {join_some(bad[:5].astype(int).tolist(), len(bad))}")
    return features


def _one_column(y: np.ndarray, name: str, n: int) -> np.ndarray:
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or len(y) != n:
        raise invalid(name, f"hold one label for each of the {n} examples", f"shape {y.shape}")
    return y
