"""Data set objects of other libraries: torch's map-style data sets, and Hugging Face's."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data.arrays import as_array, of_arrays
from dataprune.data.columns import Columns, label_column
from dataprune.data.dataset import Dataset
from dataprune.data.decode import BadPicture, is_deep, to_rgb
from dataprune.data.labels import are_absent, as_column, encode_splits
from dataprune.data.pixels import FAINT, UNIT_NOTE, Layout
from dataprune.data.recorded import records_source
from dataprune.data.source import CHUNK, Chunk, Part, Pictures, Read, Source, by_split, read_file, read_stored, row_ids
from dataprune.errors import InputError, MachineError, invalid, join_some

_READ_AGAIN = 16  # a random flip of the first item stays hidden with probability 2⁻¹⁶
_READ_TWICE = 8  # so many other items, for what does not touch the first


def from_torch(dataset: Any, *, ids: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """Make a data set of a map-style torch `Dataset` whose items are (picture, label).

    A picture may be a Pillow picture (becomes RGB; gray with 16 bits), a tensor (channels first), or an array as `from_arrays`
    takes it; a vector is a row of features. All must have one size, and are read alike: see `Dataset.notes`.

    Args:     dataset: has `__len__` and `__getitem__`, and no augmentation. ids: by default the row numbers.
              classes: by default `dataset.classes`, else the indices as text.
    Raises:   InputError if an item differs when it is read again, sizes differ, or as `from_arrays`.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise invalid("dataset", "be a map-style data set with `__len__` and `__getitem__`", type(dataset).__name__)
    if len(dataset) == 0:
        raise InputError("the data hold no example")
    _refuse_augmented(dataset)
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


def is_huggingface(thing: Any) -> bool:
    """Return whether an object is a `datasets.Dataset` or a `DatasetDict` of them, without importing the library."""
    return all(hasattr(_one_of(thing), name) for name in ("cast_column", "column_names", "features", "__len__"))


def load_huggingface(name: str, columns: Columns) -> Source:
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
    return huggingface_source(loaded, columns, path=f"hf:{name}")


def huggingface_source(thing: Any, columns: Columns, path: str = "") -> Source:
    """List the splits of a `datasets.Dataset` or `DatasetDict`: of the columns that are named, else of those by name and type."""
    splits = {str(name): part for name, part in thing.items()} if isinstance(thing, dict) else {"train": thing}
    named = by_split(splits, "the data set")
    if "train" not in named:
        raise invalid("data set", "have a split `train`", ", ".join(splits) or "none")
    left = [name for name in splits if name not in named.values()]
    notes = [f"splits that are not used: {join_some(left)}"] if left else []
    train = splits[named["train"]]
    if train.format["type"] == "custom":
        notes.append("the transform of the data set is not applied: its columns are read as they are stored")
    stored = {split: splits[name].with_format(None) for split, name in named.items()}
    image = columns.image or _column(train, "image", "Image")
    no_image = columns.text is not None or (columns.image is None and image not in train.column_names)
    if no_image and (records := _records(stored, columns, path, notes)):
        return records
    names = [name for name in train.column_names if name != image]
    typed = [name for name in names if type((train.features or {}).get(name)).__name__ == "ClassLabel"]
    label, said = label_column(names, lambda name: _values(stored["train"], name), columns.label, typed)
    classes = tuple(getattr((train.features or {}).get(label), "names", None) or ())
    values = {split: _values(part, label) for split, part in stored.items() if label and label in part.column_names}
    labels, classes = encode_splits({split: array for split, array in values.items() if not are_absent(array)}, classes)
    parts = {split: _huggingface_part(part, image, labels.get(split)) for split, part in stored.items()}
    return Source("huggingface", path, parts, classes, (*notes, *said))


def _records(stored: dict[str, Any], columns: Columns, path: str, notes: list[str]) -> Source | None:
    """Return the texts or rows of splits, with the names of the classes where their type says them."""
    features = stored["train"].features or {}
    typed = [name for name in features if type(features[name]).__name__ == "ClassLabel"]
    if columns.label is None and len(typed) == 1:
        columns = replace(columns, label=typed[0])
    cells = {split: {name: _values(part, name) for name in part.column_names} for split, part in stored.items()}
    classes = tuple(getattr(features.get(columns.label), "names", None) or ())
    if classes and columns.label is not None:  # −1 stands for none
        for sheet in cells.values():
            given = sheet[columns.label].tolist() if columns.label in sheet else []
            sheet[columns.label] = as_column([None if label == -1 else label for label in given])
    found = records_source("huggingface", path, cells, columns, classes)
    return None if found is None else replace(found, notes=(*notes, *found.notes))


def _collected(dataset: Any, as_unit: bool) -> tuple[np.ndarray, list[Any], Layout, tuple[str, ...]] | None:
    """Read all items: inputs as they are, labels, and where pictures have their channels.

    With `as_unit`, numbers in [0, 1] become bytes at once, a quarter of the memory; None where others turn up, or next to none.
    """
    first, _, layout = _torch_item(dataset, 0)
    as_unit &= first.ndim > 1 and first.dtype.kind == "f"
    x, labels = np.empty((len(dataset), *first.shape), np.uint8 if as_unit else first.dtype), []
    for row in range(len(dataset)):
        pixels, label, how = _torch_item(dataset, row)
        if (pixels.shape, pixels.dtype, how) != (first.shape, first.dtype, layout):
            what, cure = f"{pixels.dtype} of shape {pixels.shape}", "Bring them all to one size and type first."
            raise invalid(f"picture {row}", f"be like the first, {first.dtype} of shape {first.shape}", what, cure)
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
    item = dataset[row]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise invalid(f"item {row}", "be (picture, label)", type(item).__name__)
    label = item[1]
    if hasattr(label, "ndim"):
        label = label.item() if label.ndim == 0 else as_array(label, f"label {row}")
    pixels, layout = _pixels(item[0], f"picture {row}")
    return pixels, label, layout


def _pixels(picture: Any, name: str) -> tuple[np.ndarray, Layout]:
    from PIL import Image

    if isinstance(picture, Image.Image):
        if is_deep(picture):
            return np.asarray(picture).astype(np.uint16), "last"
        try:
            return to_rgb(picture), "last"
        except BadPicture as bad:
            raise InputError(f"{name}: {bad}") from None
    array = as_array(picture, name)
    if array.ndim not in (1, 2, 3) or array.size == 0:
        raise invalid(name, "have one to three dimensions", f"shape {array.shape}")
    is_vector = array.ndim == 1 and array.dtype.kind in "iuf"
    return array.astype(np.float32) if is_vector else array, "torch" if hasattr(picture, "detach") else "unknown"


def _refuse_augmented(dataset: Any) -> None:
    for row in sorted({0, *np.linspace(0, len(dataset) - 1, _READ_TWICE + 1).astype(int).tolist()}):
        once = _torch_item(dataset, row)[0]
        if not all(np.array_equal(once, _torch_item(dataset, row)[0], equal_nan=True) for _ in range(1 if row else _READ_AGAIN)):
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
    known = hashlib.sha256(str(dataset._fingerprint).encode()).hexdigest()
    identity = (f"huggingface {known}", image, str(count), *_states(raw, image))
    names = [str(name) for name in dataset["id"]] if "id" in dataset.column_names else []
    ids = names if names and len(set(names)) == len(names) else row_ids(count)
    return Part(ids, labels, Pictures(chunks, identity, 0, portable=False))


def _states(raw: Any, image: str) -> Iterator[str]:
    """Say which files outside the data set hold its pictures, in which state: its own fingerprint does not change with them."""
    for chunk in raw.data.column(image).chunks:
        for path, is_outside in zip(chunk.field("path").to_pylist(), chunk.field("bytes").is_null().to_pylist(), strict=True):
            if path and is_outside:
                with suppress(OSError, ValueError):
                    state = Path(path).stat()
                    yield f"{path}\0{state.st_size}\0{state.st_mtime_ns}"


def _values(dataset: Any, name: str) -> np.ndarray:
    """Return a column; lists in it stay lists."""
    return as_column(list(dataset[name]))


def _rows(dataset: Any, column: str, start: int) -> Iterator[Read]:
    """Read the pictures of a chunk as they are stored, in the data set or in files."""
    for item in dataset[start : start + CHUNK][column]:
        data, path = (item or {}).get("bytes"), (item or {}).get("path")
        if data is None and path:
            yield partial(read_file, path)
        else:
            yield partial(read_stored, data, "has neither bytes nor a path")
