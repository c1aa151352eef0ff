"""Which examples does somebody else's data set object hold: torch's or Hugging Face's?"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataprune.data.arrays import from_arrays
from dataprune.data.dataset import Dataset
from dataprune.data.decode import BadPicture, to_rgb
from dataprune.data.parts import CHUNK, Part, Pictures, Source, encode, indices, row_ids, size_of
from dataprune.errors import InputError, MachineError, invalid

_READ_AGAIN = 16  # a random flip of the first item goes unseen with probability 2⁻¹⁶
_READ_TWICE = 8  # so many other items, for what does not touch the first
_EXTRA = "pip install 'dataprune[huggingface]'"

_log = logging.getLogger(__name__)


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
    first, labels = _torch_item(dataset, 0)
    _refuse_augmented(dataset)
    x = np.empty((len(dataset), *first.shape), first.dtype)
    y: list[Any] = [labels]
    x[0] = first
    for row in range(1, len(dataset)):
        pixels, label = _torch_item(dataset, row)
        if pixels.shape != first.shape or pixels.dtype != first.dtype:
            raise invalid(
                f"picture {row}",
                f"have the shape of the first, {first.shape}",
                str(pixels.shape),
                "Resize them all to one size first.",
            )
        x[row] = pixels
        y.append(label)
    told = classes if classes is not None else getattr(dataset, "classes", None)
    if any(label is None for label in y):
        if not all(label is None for label in y):
            raise invalid(
                "labels", "be there for every example", f"none in row {next(row for row, label in enumerate(y) if label is None)}"
            )
        return from_arrays(x, None, ids=ids)
    return from_arrays(x, np.asarray(y), ids=ids, classes=told)


def _torch_item(dataset: Any, row: int) -> tuple[np.ndarray, Any]:
    item = dataset[row]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise invalid(f"item {row}", "be (picture, label)", type(item).__name__)
    label = item[1]
    label = label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label
    return _pixels(item[0], row), label


def _pixels(picture: Any, row: int) -> np.ndarray:
    from PIL import Image

    if isinstance(picture, Image.Image):
        try:
            return to_rgb(picture)
        except BadPicture as bad:
            raise InputError(f"picture {row}: {bad}") from None
    is_tensor = hasattr(picture, "detach")
    array = np.asarray(picture.detach().cpu() if is_tensor else picture)
    if array.ndim == 1 and array.dtype.kind in "iuf":
        return array.astype(np.float32)
    if array.ndim not in (2, 3):
        raise invalid(f"picture {row}", "have two or three dimensions", f"shape {array.shape}")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise invalid(
                f"picture {row}",
                "be in [0, 1] where it is floating point",
                f"{array.min():.3g} to {array.max():.3g}",
                "Leave out the normalisation.",
            )
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise invalid(f"picture {row}", "be uint8 or floating point", str(array.dtype))
    if array.ndim == 2:
        return array[:, :, None]
    # A tensor is channels first by torch's custom, an array channels last; the other is taken where only it makes sense.
    could_be_first, could_be_last = array.shape[0] <= 4, array.shape[2] <= 4
    return array.transpose(1, 2, 0) if could_be_first and (is_tensor or not could_be_last) else array


def _refuse_augmented(dataset: Any) -> None:
    for row in sorted({0, *np.linspace(0, len(dataset) - 1, _READ_TWICE + 1).astype(int).tolist()}):
        once = _torch_item(dataset, row)[0]
        times = _READ_AGAIN if row == 0 else 1
        if not all(np.array_equal(once, _torch_item(dataset, row)[0]) for _ in range(times)):
            raise InputError(
                f"item {row} of the data set differs when it is read again: give it without augmentation "
                "(no random transforms); dataprune augments on its own while it trains."
            )


@dataclass(frozen=True)
class _HuggingFaceChunk:
    """Rows of a `datasets.Dataset`; it stays in this process."""

    start: int
    count: int
    dataset: Any
    column: str

    def blobs(self) -> Iterator[bytes | BadPicture]:
        """Yield the bytes as they are stored, undecoded."""
        for item in self.dataset[self.start : self.start + self.count][self.column]:
            data, path = (item or {}).get("bytes"), (item or {}).get("path")
            if data is None and path:
                from dataprune.data.parts import FileChunk

                yield next(FileChunk(0, (path,)).blobs())
            else:
                yield data if data is not None else BadPicture("has neither bytes nor a path")

    def sizes(self) -> Iterator[tuple[int, int] | BadPicture]:
        """Read the headers."""
        yield from (size_of(blob) for blob in self.blobs())


def is_huggingface(thing: Any) -> bool:
    """Return whether an object is a `datasets.Dataset` or a `DatasetDict` of them, without importing the library."""
    one = next(iter(thing.values()), None) if isinstance(thing, dict) else thing
    return all(hasattr(one, name) for name in ("cast_column", "column_names", "features", "__len__"))


def load_huggingface(name: str) -> Source:
    """Load `hf:NAME` through Hugging Face's library.

    Raises:   MachineError without the extra or a network. InputError if there is no such data set, or it has no pictures.
    """
    try:
        import datasets
    except ImportError:
        raise MachineError(f"hf:{name} needs Hugging Face's library: {_EXTRA}.") from None
    try:
        loaded = datasets.load_dataset(name)
    except (ConnectionError, TimeoutError) as error:
        raise MachineError(f"cannot load hf:{name}: {' '.join(str(error).split())[:200]}") from None
    except Exception as error:  # noqa: BLE001 the library raises many kinds for a name that is none
        raise InputError(f"cannot load hf:{name}: {' '.join(str(error).split())[:200]}") from None
    return huggingface_source(loaded, *columns(loaded), f"hf:{name}")


def columns(thing: Any) -> tuple[str, str]:
    """Find the columns of pictures and labels: `image` and `label`, else the only ones of their type."""
    one = next(iter(thing.values())) if isinstance(thing, dict) else thing
    return _column(one, "image", "Image"), _column(one, "label", "ClassLabel")


def _column(dataset: Any, usual: str, kind: str) -> str:
    fitting = [name for name, feature in (dataset.features or {}).items() if type(feature).__name__ == kind]
    return fitting[0] if usual not in dataset.column_names and len(fitting) == 1 else usual


def huggingface_source(thing: Any, image: str, label: str, path: str = "") -> Source:
    """List the splits of a `datasets.Dataset` or `DatasetDict`.

    Raises:   InputError if the columns are not there.
    """
    splits = {str(name): part for name, part in thing.items()} if isinstance(thing, dict) else {"train": thing}
    told = {("validation" if name in ("val", "valid") else name): part for name, part in splits.items()}
    told = {name: part for name, part in told.items() if name in ("train", "validation", "test")}
    if "train" not in told:
        raise invalid("data set", "have a split `train`", ", ".join(splits) or "none")
    feature = _feature(told["train"], label)
    names = tuple(getattr(feature, "names", None) or ())
    values = {split: np.asarray(part[label]) for split, part in told.items() if label in part.column_names}
    values = {split: array for split, array in values.items() if not (array.dtype.kind in "if" and (array == -1).all())}
    if names:
        labels = {split: indices(array, f"label of {split}", len(names)) for split, array in values.items()}
    else:
        encoded, names = encode(list(values.values())) if values else ([], ())
        labels = dict(zip(values, encoded, strict=True))
    parts = {split: _huggingface_part(part, image, labels.get(split)) for split, part in told.items()}
    return Source("huggingface", path, parts, names)


def _feature(dataset: Any, label: str) -> Any:
    return dataset.features.get(label) if dataset.features else None


def _huggingface_part(dataset: Any, image: str, labels: np.ndarray | None) -> Part:
    import datasets

    if image not in dataset.column_names:
        raise invalid("image", f"be one of the columns {', '.join(dataset.column_names)}", repr(image))
    raw = dataset.cast_column(image, datasets.Image(decode=False)).select_columns([image])
    count = len(raw)
    chunks = tuple(_HuggingFaceChunk(start, min(CHUNK, count - start), raw, image) for start in range(0, count, CHUNK))
    identity = (f"huggingface {hashlib.sha256(str(dataset._fingerprint).encode()).hexdigest()}", image, str(count))
    return Part(row_ids(count), labels, Pictures(chunks, count, identity, 0, portable=False))
