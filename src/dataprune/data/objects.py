"""Data set objects of other libraries: torch's map-style data sets, and Hugging Face's."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from dataprune.data.arrays import from_arrays
from dataprune.data.dataset import Dataset
from dataprune.data.decode import BadPicture, to_rgb
from dataprune.data.labels import are_absent, encode_splits
from dataprune.data.source import CHUNK, SPLIT_NAMES, Chunk, Part, Pictures, Read, Source, read_file, read_stored, row_ids
from dataprune.errors import InputError, MachineError, invalid

_READ_AGAIN = 16  # a random flip of the first item stays hidden with probability 2⁻¹⁶
_READ_TWICE = 8  # so many other items, for what does not touch the first


def from_torch(dataset: Any, *, ids: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """Make a data set of a map-style torch `Dataset` whose items are (picture, label).

    A picture may be a Pillow picture (becomes RGB), or a tensor or array: uint8, or floating point in [0, 1], which is multiplied
    by 255 and rounded; channels first or last, or none. A floating-point vector is a row of features. All must have one size.

    Args:     dataset: has `__len__` and `__getitem__`, and no augmentation. ids: by default the row numbers.
              classes: by default `dataset.classes`, else the indices as text.
    Raises:   InputError if an item differs when it is read again, sizes differ, values are outside [0, 1], or labels do not fit.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise invalid("dataset", "be a map-style data set with `__len__` and `__getitem__`", type(dataset).__name__)
    if len(dataset) == 0:
        raise InputError("the data hold no example")
    first, label = _torch_item(dataset, 0)
    _refuse_augmented(dataset)
    x = np.empty((len(dataset), *first.shape), first.dtype)
    x[0] = first
    labels = [label]
    for row in range(1, len(dataset)):
        pixels, label = _torch_item(dataset, row)
        if pixels.shape != first.shape or pixels.dtype != first.dtype:
            cure = "Resize them all to one size first."
            raise invalid(f"picture {row}", f"have the shape of the first, {first.shape}", pixels.shape, cure)
        x[row] = pixels
        labels.append(label)
    missing = [row for row, label in enumerate(labels) if label is None]
    if missing and len(missing) < len(labels):
        raise invalid("labels", "be there for every example", f"none in row {missing[0]}")
    if missing:
        return from_arrays(x, None, ids=ids)
    return from_arrays(x, np.asarray(labels), ids=ids, classes=getattr(dataset, "classes", None) if classes is None else classes)


def is_huggingface(thing: Any) -> bool:
    """Return whether an object is a `datasets.Dataset` or a `DatasetDict` of them, without importing the library."""
    return all(hasattr(_one_of(thing), name) for name in ("cast_column", "column_names", "features", "__len__"))


def load_huggingface(name: str) -> Source:
    """Load `hf:NAME` through Hugging Face's library; raise MachineError without it, or without a network."""
    try:
        import datasets
    except ImportError:
        raise MachineError(f"hf:{name} needs Hugging Face's library: pip install 'dataprune[huggingface]'.") from None
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # noqa: BLE001 the library raises many kinds for a name that is none
        kind = MachineError if isinstance(error, ConnectionError | TimeoutError) else InputError
        raise kind(f"cannot load hf:{name}: {' '.join(str(error).split())[:200]}") from None
    return huggingface_source(loaded, path=f"hf:{name}")


def huggingface_source(thing: Any, image: str | None = None, label: str | None = None, path: str = "") -> Source:
    """List the splits of a `datasets.Dataset` or `DatasetDict`; by default of `image` and `label`, or the only such columns."""
    image, label = image or _column(thing, "image", "Image"), label or _column(thing, "label", "ClassLabel")
    splits = {str(name): part for name, part in thing.items()} if isinstance(thing, dict) else {"train": thing}
    named = {SPLIT_NAMES[name]: part for name, part in splits.items() if name in SPLIT_NAMES}
    if "train" not in named:
        raise invalid("data set", "have a split `train`", ", ".join(splits) or "none")
    features = named["train"].features or {}
    classes = tuple(getattr(features.get(label), "names", None) or ())
    values = {split: np.asarray(part[label]) for split, part in named.items() if label in part.column_names}
    labels, classes = encode_splits({split: array for split, array in values.items() if not are_absent(array)}, classes)
    parts = {split: _huggingface_part(part, image, labels.get(split)) for split, part in named.items()}
    return Source("huggingface", path, parts, classes)


def _torch_item(dataset: Any, row: int) -> tuple[np.ndarray, Any]:
    item = dataset[row]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise invalid(f"item {row}", "be (picture, label)", type(item).__name__)
    label = item[1]
    label = label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label
    return _pixels(item[0], f"picture {row}"), label


def _pixels(picture: Any, name: str) -> np.ndarray:
    from PIL import Image

    if isinstance(picture, Image.Image):
        try:
            return to_rgb(picture)
        except BadPicture as bad:
            raise InputError(f"{name}: {bad}") from None
    is_tensor = hasattr(picture, "detach")
    array = np.asarray(picture.detach().cpu() if is_tensor else picture)
    if array.ndim == 1 and array.dtype.kind in "iuf":
        return array.astype(np.float32)
    if array.ndim not in (2, 3):
        raise invalid(name, "have two or three dimensions", f"shape {array.shape}")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            got = f"{array.min():.3g} to {array.max():.3g}"
            raise invalid(name, "be in [0, 1] where it is floating point", got, "Leave out the normalisation.")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise invalid(name, "be uint8 or floating point", str(array.dtype))
    if array.ndim == 2:
        return array[:, :, None]
    # A tensor is channels first by torch's custom, an array channels last; the other is taken where only it makes sense.
    could_be_first, could_be_last = array.shape[0] <= 4, array.shape[2] <= 4
    return array.transpose(1, 2, 0) if could_be_first and (is_tensor or not could_be_last) else array


def _refuse_augmented(dataset: Any) -> None:
    for row in sorted({0, *np.linspace(0, len(dataset) - 1, _READ_TWICE + 1).astype(int).tolist()}):
        once = _torch_item(dataset, row)[0]
        if not all(np.array_equal(once, _torch_item(dataset, row)[0]) for _ in range(1 if row else _READ_AGAIN)):
            cure = "Give it without augmentation (no random transforms): training augments by itself."
            raise InputError(f"item {row} of the data set differs when it is read again. {cure}")


def _one_of(thing: Any) -> Any:
    return next(iter(thing.values()), None) if isinstance(thing, dict) else thing


def _column(thing: Any, usual: str, kind: str) -> str:
    dataset = _one_of(thing)
    fitting = [name for name, feature in (dataset.features or {}).items() if type(feature).__name__ == kind]
    return fitting[0] if usual not in dataset.column_names and len(fitting) == 1 else usual


def _huggingface_part(dataset: Any, image: str, labels: np.ndarray | None) -> Part:
    import datasets

    if image not in dataset.column_names:
        raise invalid("image", f"be one of the columns {', '.join(dataset.column_names)}", repr(image))
    raw = dataset.cast_column(image, datasets.Image(decode=False)).select_columns([image])
    count, starts = len(raw), range(0, len(raw), CHUNK)
    chunks = tuple(Chunk(start, min(CHUNK, count - start), partial(_rows, raw, image, start)) for start in starts)
    identity = (f"huggingface {hashlib.sha256(str(dataset._fingerprint).encode()).hexdigest()}", image, str(count))
    return Part(row_ids(count), labels, Pictures(chunks, identity, 0, portable=False))


def _rows(dataset: Any, column: str, start: int) -> Iterator[Read]:
    """Read the pictures of a chunk as they are stored, in the data set or in files."""
    for item in dataset[start : start + CHUNK][column]:
        data, path = (item or {}).get("bytes"), (item or {}).get("path")
        if data is None and path:
            yield partial(read_file, path)
        else:
            yield partial(read_stored, data, "has neither bytes nor a path")
