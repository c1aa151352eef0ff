"""Arrays as data sets: npy, npz, the built-in digits, arrays in memory, and the items of torch's data sets."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dataprune import store, tables
from dataprune.blocks import as_array
from dataprune.data.classes import class_notes, encode_splits, indices, resolve
from dataprune.data.dataset import IDS, Dataset, Origin
from dataprune.data.decode import BadPicture, is_deep, to_rgb
from dataprune.data.pixels import FAINT, MOST_CHANNELS, UNIT_NOTE, Layout, as_pictures
from dataprune.data.source import SPLIT_NAMES, SPLITS, Part, Source, row_ids
from dataprune.errors import InputError, invalid, join_some

DIGITS_TRAIN = 1437
_BLOCK = 65536  # rows looked at together when features are checked
_SQUARE = 8  # pictures in rows are at least so large
_INPUTS = ("x", "image", "images", "img", "imgs", "data", "features", "inputs", "pixels")
_READ_AGAIN = 16  # a random flip of the first item stays hidden with probability 2⁻¹⁶
_READ_TWICE = 8  # so many other items, for what does not touch the first
_LABELS = ("y", "label", "labels", "target", "targets")


def from_arrays(
    x: Sequence[Any] | np.ndarray,
    y: Sequence[Any] | np.ndarray | None = None,
    *,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Make a data set of arrays or tensors. They are not copied where type and order already fit: do not change them afterwards.

    Args:
        x: pictures (N, H, W), (N, H, W, channels) or (N, channels, H, W), or numbers (N, D), which become float32 features.
            Pictures become uint8 with channels last; `notes` say how. What is not certain is refused.
        y: class indices from 0 on, or names, (N,) or (N, 1); or one-hot rows (N, K); none for data without labels.
        ids: unique texts, by default the row numbers.
        classes: names of the classes by index; by default the names in `y`, sorted, or the indices as text.
    Raises:   InputError for other shapes and values, NaN or infinity (in features with rows), labels that do not fit.

    Example:
        >>> from_arrays(np.zeros((3, 8, 8), np.uint8), [0, 1, 1])
        Dataset(3 examples, images (8, 8, 1), 2 classes)
    """
    return of_arrays(as_array(x, "x"), y, ids, classes, "torch" if hasattr(x, "detach") else "unknown")


def of_arrays(
    x: np.ndarray, y: Any, ids: Sequence[str] | None, classes: Sequence[str] | None, layout: Layout, notes: tuple[str, ...] = ()
) -> Dataset:
    given, said = _as_inputs({"x": x}, layout)
    inputs, notes = given["x"], (*notes, *said)
    names = np.asarray(row_ids(len(inputs)) if ids is None else [str(name) for name in ids], IDS)
    known, labels = tuple(map(str, () if classes is None else classes)), None
    if y is not None:
        column, said = _one_column(as_array(y, "y"), "y", len(inputs))
        are_indices = known and column.dtype.kind in "iufb"
        labels, known = (indices(column, "y", len(known)), known) if are_indices else resolve(column, known)
        notes += (*said, *class_notes(labels, known, "train"))
    images, features = (inputs, None) if inputs.ndim == 4 else (None, inputs)
    origin = Origin("arrays", "", "train")
    return Dataset(labels, names, () if labels is None else known, images, features, origin=origin, notes=notes)


def read_npy(path: Path) -> Source:
    """Read features (N, D) or pictures from a .npy file; what already has the right type stays memory-mapped."""
    inputs, notes = _as_inputs({path.name: tables.read_npy(store.as_written(path), mmap=True)})
    part = Part(row_ids(len(inputs[path.name])), inputs=inputs[path.name])
    return Source("npy", os.path.realpath(path), {"train": part}, notes=notes)


def read_npz(path: Path) -> Source:
    """Read the inputs and labels of all splits from a .npz file, by the names of its arrays. Inputs are called x, images, data or
    features, labels y, labels or targets, alone or with a word for the split before or after (`x_test`, `train_images`); or both
    lie there without names, as `arr_0` and `arr_1`."""
    arrays = tables.read_npz(path)
    names = _named(arrays, path.name)
    inputs, notes = _as_inputs({x: arrays[x] for x, _ in names.values()})
    if len({one.shape[1:] for one in inputs.values()}) > 1:
        shapes = join_some(f"{split} {inputs[x].shape[1:]}" for split, (x, _) in names.items())
        raise InputError(f"{path.name}: the splits differ in shape: {shapes}.")
    given: dict[str, np.ndarray] = {}
    for split, (x, y) in names.items():
        if y is not None:
            given[split], said = _one_column(arrays[y], y, len(inputs[x]))
            notes += said
    labels, classes = encode_splits(given)
    parts = {split: Part(row_ids(len(inputs[x])), labels.get(split), inputs=inputs[x]) for split, (x, _) in names.items()}
    passed = [f"`{name}` {array.shape}" for name, array in arrays.items() if not any(name in pair for pair in names.values())]
    notes += (f"passed over in {path.name}: {join_some(passed)}",) if passed else ()
    return Source("npz", os.path.realpath(path), parts, classes, notes)


def read_digits() -> Source:
    """Return scikit-learn's digits: 8 × 8 gray pictures, 0…16 scaled to 0…255. The first 1,437 rows are train, the last 360 test
    (other writers, mostly); an id is the row number in the whole set."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, :, :, None]
    labels, ids = digits.target.astype(np.int64), row_ids(len(pixels))
    cuts = {"train": slice(0, DIGITS_TRAIN), "test": slice(DIGITS_TRAIN, None)}
    parts = {split: Part(ids[cut], labels[cut], inputs=pixels[cut]) for split, cut in cuts.items()}
    return Source("digits", "digits", parts, tuple("0123456789"))


def _named(arrays: dict[str, np.ndarray], file: str) -> dict[str, tuple[str, str | None]]:
    found: dict[tuple[str, str], list[str]] = {}
    for name in arrays:
        words = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.sub(r"^([xyXY])(?=t|v)", r"\1_", name)).lower())
        splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
        stem = "_".join(word for word in words if word not in SPLIT_NAMES)
        role = "x" if stem in _INPUTS else "y" if stem in _LABELS else ""
        if role and len(splits) <= 1:
            found.setdefault((splits.pop() if splits else "train", role), []).append(name)
    if not found and {"arr_0"} <= set(arrays) <= {"arr_0", "arr_1"}:
        by_size = sorted(arrays, key=lambda name: -arrays[name].ndim)
        found = {("train", role): [name] for role, name in zip("xy", by_size, strict=False)}
    for (split, role), names in found.items():
        exact = [name for name in names if name.lower() == role]  # what is called so is meant, whatever lies beside it
        if len(names) > 1 and not exact:
            raise invalid(file, f"hold one `{role}` for {split}", join_some(names), f"Call the one that is meant `{role}`.")
        found[split, role] = exact[:1] or names
    if ("train", "x") not in found:
        raise invalid(file, "hold `x` (and `y`)", f"{join_some(sorted(arrays))}", "Use np.savez(FILE, x=..., y=..., x_test=...).")
    return {split: (found[split, "x"][0], found.get((split, "y"), [None])[0]) for split in SPLITS if (split, "x") in found}


def _as_inputs(arrays: Mapping[str, np.ndarray], layout: Layout = "unknown") -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Bring arrays into one of the two forms: uint8 pictures with channels last, or finite float32 features; say what was done."""
    pictures, notes = {}, []
    for name, x in arrays.items():
        if x.ndim not in (2, 3, 4) or x.dtype.kind not in "iufb":
            raise invalid(name, "hold numbers of shape (N, D), (N, H, W) or (N, H, W, channels)", f"{x.dtype} of shape {x.shape}")
        if x.ndim == 2:
            side = math.isqrt(x.shape[1])
            if x.dtype == np.uint8 and side >= _SQUARE and side**2 == x.shape[1]:
                cure = f"if it holds pictures of {side} × {side}, give {name}.reshape(-1, {side}, {side})"
                notes.append(f"`{name}` has rows of {side**2} bytes and is read as features; {cure}")
            continue
        if 0 in x.shape[1:]:
            raise invalid(name, "hold pictures with pixels", f"shape {x.shape}")
        if x.ndim == 3 and x.shape[2] <= MOST_CHANNELS < x.shape[1]:
            raise invalid(name, "have pictures of more than a few pixels a side", f"shape {x.shape}", f"Of one give {name}[None].")
        pictures[name] = x
    made, said = as_pictures(pictures, layout)
    return {name: made[name] if name in made else _features(x, name) for name, x in arrays.items()}, (*notes, *said)


def _features(x: np.ndarray, name: str) -> Float32[np.ndarray, "n features"]:
    if x.shape[1] == 0:
        raise invalid(name, "have at least one column", f"shape {x.shape}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused with its row
        features = np.require(x, np.float32, "C")
    blocks = range(0, len(features) if x.dtype.kind == "f" else 0, _BLOCK)
    bad = [s + row for s in blocks for row in np.flatnonzero(~np.isfinite(features[s : s + _BLOCK]).all(axis=1)).tolist()]
    if bad:
        raise invalid(name, "be finite", f"NaN or infinity in row {join_some(bad)}")
    return features


def _one_column(y: np.ndarray, name: str, n: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if y.ndim == 2 and y.shape[1] > 1 and len(y) == n and y.dtype.kind in "iufb":
        if ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all():
            return y.argmax(axis=1), (f"`{name}` is one-hot: read as the places of its ones, of {y.shape[1]} classes",)
        raise invalid(name, "hold one label for each example, or rows with a single 1 (no shares)", f"shape {y.shape}")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or len(y) != n:
        raise invalid(name, f"hold one label for each of the {n} examples", f"shape {y.shape}")
    return y, ()


def from_torch(dataset: Any, *, ids: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """Make a data set of a map-style torch `Dataset` without augmentation, whose items are (picture, label).

    A picture may be a Pillow picture (becomes RGB; gray with 16 bits), a tensor (channels first), or an array as `from_arrays`
    takes it; a vector is a row of features. All must have one size, and are read alike: see `Dataset.notes`.

    Args:     ids: by default the row numbers. classes: by default `dataset.classes`, else the indices as text.
    Raises:   InputError if an item differs when it is read again, sizes differ, or as `from_arrays`.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise invalid("dataset", "be a map-style data set with `__len__` and `__getitem__`", type(dataset).__name__)
    if len(dataset) == 0:
        raise InputError("the data hold no example")
    for row in sorted({0, *np.linspace(0, len(dataset) - 1, _READ_TWICE + 1).astype(int).tolist()}):
        once, times = _torch_item(dataset, row)[0], 1 if row else _READ_AGAIN
        if not all(np.array_equal(once, _torch_item(dataset, row)[0], equal_nan=True) for _ in range(times)):
            raise InputError(f"item {row} of the data set differs when it is read again. Give it without augmentation.")
    collected = _collected(dataset, as_unit=True) or _collected(dataset, as_unit=False)
    assert collected is not None
    x, labels, layout, notes = collected
    missing = [row for row, label in enumerate(labels) if label is None]
    if missing and len(missing) < len(labels):
        raise invalid("labels", "be there for every example", f"none in row {missing[0]}")
    y = None if missing else as_array(labels, "y")
    known = _class_names(dataset) if classes is None else classes
    return of_arrays(x, y, ids, None if y is None else known, layout, notes)


def _class_names(dataset: Any) -> Any:
    """Return the names of the classes of a data set, of what a `Subset` is of, or of all that were joined, where they agree."""
    if (names := getattr(dataset, "classes", None)) is not None:
        return names
    inner = [dataset.dataset] if hasattr(dataset, "dataset") else list(getattr(dataset, "datasets", ()))
    found = {tuple(names) if names is not None else None for names in map(_class_names, inner)}
    return found.pop() if len(found) == 1 else None


def _collected(dataset: Any, as_unit: bool) -> tuple[np.ndarray, list[Any], Layout, tuple[str, ...]] | None:
    """Read all items: inputs as they are, labels, and where pictures have their channels. With `as_unit`, numbers in [0, 1] become
    bytes at once, a quarter of the memory; None where others turn up, or next to none."""
    first, _, layout = _torch_item(dataset, 0)
    as_unit &= first.ndim > 1 and first.dtype.kind == "f"
    x, labels = np.empty((len(dataset), *first.shape), np.uint8 if as_unit else first.dtype), []
    for row in range(len(dataset)):
        pixels, label, how = _torch_item(dataset, row)
        if (pixels.shape, pixels.dtype, how) != (first.shape, first.dtype, layout):
            got = f"{pixels.dtype} of shape {pixels.shape}"
            raise invalid(f"picture {row}", f"be like the first, {first.dtype} of shape {first.shape}", got)
        if as_unit:
            if not (pixels.min() >= 0 and pixels.max() <= 1):
                return None
            pixels = np.rint(pixels * 255.0)
        x[row] = pixels
        labels.append(label)
    if as_unit and 0 < x.max() < FAINT:
        return None
    return x, labels, layout, (UNIT_NOTE.format("`x`", first.dtype),) if as_unit else ()


def _torch_item(dataset: Any, row: int) -> tuple[np.ndarray, Any, Layout]:
    """Return an item's numbers, its label, and where its channels are."""
    from PIL import Image

    item, name = dataset[row], f"picture {row}"
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise invalid(f"item {row}", "be (picture, label)", type(item).__name__)
    picture, label = item[:2]
    if hasattr(label, "ndim"):
        label = label.item() if label.ndim == 0 else as_array(label, f"label {row}")
    if isinstance(picture, Image.Image):
        try:
            return np.asarray(picture).astype(np.uint16) if is_deep(picture) else to_rgb(picture), label, "last"
        except BadPicture as bad:
            raise InputError(f"{name}: {bad}") from None
    array = as_array(picture, name)
    if array.ndim not in (1, 2, 3) or array.size == 0:
        raise invalid(name, "have one to three dimensions", f"shape {array.shape}")
    is_vector = array.ndim == 1 and array.dtype.kind in "iuf"
    return array.astype(np.float32) if is_vector else array, label, "torch" if hasattr(picture, "detach") else "unknown"
