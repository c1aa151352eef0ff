"""What does DATA mean, and what data set comes of it?"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data import cache, objects
from dataprune.data.arrays import from_arrays, read_digits, read_npy, read_npz
from dataprune.data.cifar import is_cifar, read_cifar
from dataprune.data.dataset import IDS, Dataset, Origin, Skipped, Splits
from dataprune.data.decode import fit_square
from dataprune.data.folders import read_folder
from dataprune.data.labels import LabelFile, read_labels
from dataprune.data.parquet import has_layout, read_parquet
from dataprune.data.parts import SPLITS, Part, Source, plain, refuse_bad
from dataprune.errors import InputError, invalid, join_some, unknown_choice

MAX_SIZE = 4096
_KINDS = "a folder, a .parquet, .npz or .npy file, hf:NAME or digits"


@dataclass(frozen=True)
class _Options:
    """How a source is read."""

    labels: str | None
    image_size: int | None
    on_error: str
    workers: int | None
    progress: Callable[[int, int], None] | None

    def __post_init__(self) -> None:
        if self.on_error not in ("fail", "skip"):
            raise unknown_choice("on_error", self.on_error, ("fail", "skip"))
        size = self.image_size
        if size is not None and (not isinstance(size, int | np.integer) or isinstance(size, bool) or not 1 <= size <= MAX_SIZE):
            raise invalid("image_size", f"be a whole number of pixels from 1 to {MAX_SIZE}", size)


def read(
    source: Any,
    *,
    split: str = "train",
    labels: str | Path | None = None,
    image_size: int | None = None,
    on_error: str = "fail",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read one split of a source, by default the training split; a source without splits is all train.

    Pictures in files are decoded once into the cache, as RGB squares of one size; arrays keep their shape and channels.

    Args:
        source: a folder (`class/*.jpg`, or `train/ test/ [validation/]` with classes inside, or flat), a Parquet file or folder
            in the Hugging Face layout, `.npz` (`x`, `y`), `.npy`, a folder of CIFAR-10/100 files, `hf:NAME`, `digits`; or an
            object: a torch or Hugging Face data set, an array, a tuple `(x, y)`, a `Dataset`.
        split: train, validation or test, as far as the source has them.
        labels: `FILE[:COLUMN]` that replaces the given labels, by `id` or by row.
        image_size: side in pixels; by default the pictures' own if they are equal squares up to 128, else their median short side,
            at most 128. The size follows the training split also when another is read.
        on_error: `fail` on items that cannot be used, or `skip` them into `Dataset.skipped`.
        workers: processes that decode, by default one a core; few pictures are decoded in this process.
        progress: called with (done, all) while decoding.
    Raises:
        InputError: the source is missing, empty, or of no known kind; bad items under `fail`; labels that do not fit.
        MachineError: the cache cannot be written, or is full; an extra is missing.

    Example:
        >>> read("digits")
        Dataset(1,437 examples, images (8, 8, 1), 10 classes)
    """
    options = _Options(None if labels is None else os.fspath(labels), image_size, on_error, workers, progress)
    given = _as_dataset(source)
    if given is not None:
        if split != "train":
            raise invalid("split", "be train for data in memory", repr(split))
        return _adapted(given, options)
    found = _find(source, options)
    return _open(found, split, options, None if options.labels is None else read_labels(options.labels))


def read_splits(
    source: Any,
    *,
    labels: str | Path | None = None,
    image_size: int | None = None,
    on_error: str = "fail",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    test: Any = None,
) -> Splits:
    """Read all splits of a source; options are those of `read`. All splits share their classes and the size of the pictures.

    `labels` replaces those of train; other splits take theirs from it only if they have none and the file has ids.

    Args:     test: a source of its own for the test split (its `test`, or else all of it), in place of the source's.
    Raises:   InputError as `read`, and if `test` differs from train in shape.
    """
    options = _Options(None if labels is None else os.fspath(labels), image_size, on_error, workers, progress)
    given = _as_dataset(source)
    if given is not None:
        splits = Splits(_adapted(given, options))
    else:
        found = _find(source, options)
        file = None if options.labels is None else read_labels(options.labels)
        opened = {"train": _open(found, "train", options, file)}
        for split in SPLITS[1:]:
            if split in found.parts and not (split == "test" and test is not None):
                theirs = file if file is not None and file.names is not None and found.parts[split].labels is None else None
                opened[split] = _open(found, split, options, theirs)
        splits = _agreeing(Splits(opened["train"], opened.get("validation"), opened.get("test")))
    return splits if test is None else _with_test(splits, test, options)


def from_huggingface(dataset: Any, *, image: str = "image", label: str = "label") -> Dataset:
    """Make a data set of a `datasets.Dataset`: its pictures are decoded once into the cache, class names are taken over.

    Args:     dataset: has a column of pictures and mostly one of labels. image, label: their names.
    Raises:   InputError if a column is missing or a picture cannot be decoded. MachineError if the cache cannot be written.
    """
    if not objects.is_huggingface(dataset) or isinstance(dataset, Mapping):
        raise invalid("dataset", "be a datasets.Dataset", type(dataset).__name__, "Of a DatasetDict give one split.")
    found = objects.huggingface_source(dataset, image, label)
    return _open(found, "train", _Options(None, None, "fail", None, None), None)


def _as_dataset(source: Any) -> Dataset | None:
    """Turn data in memory into a data set; None for all that is found on a disk or split by its own library."""
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | os.PathLike) or objects.is_huggingface(source):
        return None
    if isinstance(source, np.ndarray):
        return from_arrays(source)
    if (
        isinstance(source, tuple)
        and len(source) == 2
        and all(hasattr(part, "__array__") or isinstance(part, list) for part in source)
    ):
        return from_arrays(np.asarray(source[0]), np.asarray(source[1]))
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, dict | list | tuple):
        return objects.from_torch(source)
    raise invalid("DATA", f"be {_KINDS}, or a data set object", type(source).__name__)


def _find(source: Any, options: _Options) -> Source:
    """Tell what kind of source a name means, and list it."""
    if not isinstance(source, str | os.PathLike):
        return objects.huggingface_source(source, *objects.columns(source))
    text = os.fspath(source)
    if text == "digits":
        return read_digits()
    if text.startswith("hf:"):
        return objects.load_huggingface(text.removeprefix("hf:"))
    path = Path(text)
    if not text or not os.path.lexists(path):
        raise invalid("DATA", f"be {_KINDS}", f"{plain(text)!r}, which does not exist")
    if path.is_dir():
        return _find_in_folder(path, options)
    readers: dict[str, Callable[[Path], Source]] = {".parquet": read_parquet, ".npy": read_npy, ".npz": read_npz}
    if not path.is_file() or path.suffix.lower() not in readers:
        what = f"the file {plain(text)}" if path.is_file() else f"{plain(text)}, which is no regular file"
        raise invalid("DATA", f"be {_KINDS}", what)
    return readers[path.suffix.lower()](path)


def _find_in_folder(path: Path, options: _Options) -> Source:
    try:
        if is_cifar(path):
            return read_cifar(path)
        if has_layout(path):
            return read_parquet(path)
    except PermissionError as error:
        raise InputError(f"cannot list {plain(path)}: {error.strerror}.") from None
    return read_folder(path, labelled=options.labels is not None)


def _open(found: Source, split: str, options: _Options, file: LabelFile | None) -> Dataset:
    """Build the data set of one split: label, decode, judge."""
    part = found.part(split)
    labels, classes, notes = part.labels, found.classes, [*found.notes, *part.notes]
    if file is not None:
        labels, classes, more = file.labels_of(part.ids, classes)
        notes += more
    where = f"{plain(found.path) or found.kind} ({split})"
    if not part.ids:
        refuse_bad(part.bad, where)
        raise InputError(f"{where} holds no example.")
    skipped, rows, pack = list(part.bad), np.arange(len(part.ids)), None
    if part.pictures is not None:
        pack = cache.open_pack(
            part.pictures, _size(found, split, part, options), workers=options.workers, progress=options.progress
        )
        skipped += [Skipped(part.ids[row], reason) for row, reason in pack.skipped]
        if pack.images is None:
            refuse_bad(skipped, where)
        rows = np.delete(rows, [row for row, _ in pack.skipped])
        notes += [note for note in (cache.cache_root()[1],) if note]
        inputs = pack.images
    else:
        inputs = _sized(part.inputs, options.image_size)
    if options.on_error == "fail":
        refuse_bad(skipped, where)  # all of them in one message, those found by listing and those found by decoding
    assert inputs is not None
    labels = None if labels is None else labels[rows]
    notes += _class_notes(labels, classes, split)
    dataset = Dataset(
        labels=labels,
        ids=np.asarray([part.ids[row] for row in rows.tolist()], dtype=IDS),
        classes=() if labels is None else classes,
        images=inputs if inputs.ndim == 4 else None,
        features=inputs if inputs.ndim == 2 else None,
        origin=_origin(found, split, options, file),
        paths=_paths(part, rows),
        skipped=tuple(skipped),
        notes=tuple(notes),
        pack=None if pack is None else pack.folder,
        known_digest=None if pack is None else pack.digest,
    )
    return dataset if file is None else _without_dropped(dataset, file)


def _without_dropped(dataset: Dataset, file: LabelFile) -> Dataset:
    """Leave out the examples that a file of labels drops, and say so."""
    stays = file.stays(dataset.ids.tolist())
    if stays is None:
        return dataset
    if not stays.any():
        raise invalid("labels", "keep at least one example", f"none in {file.source}")
    note = f"{len(stays) - stays.sum():,} of {len(stays):,} examples are left out, as the column decision of {file.source} says"
    return replace(dataset.take(np.flatnonzero(stays)), notes=(*dataset.notes, note))


def _size(found: Source, split: str, part: Part, options: _Options) -> int | None:
    """Return the size that was asked for; else every split has the size that the training split would choose."""
    train = found.parts["train"].pictures if "train" in found.parts else None
    if options.image_size is not None or split == "train" or train is None or train.count == 0:
        return options.image_size
    from dataprune.data.packing import choose_size

    return cache.known_size(train, None) or choose_size(train, options.workers)


def _sized(inputs: np.ndarray | None, size: int | None) -> np.ndarray:
    """Resize pictures that came as arrays, where that was asked for."""
    assert inputs is not None
    if size is None or (inputs.ndim == 4 and inputs.shape[1:3] == (size, size)):
        return inputs
    if inputs.ndim == 2:
        raise invalid("image_size", "be left out for feature vectors", size)
    resized = np.empty((len(inputs), size, size, inputs.shape[3]), np.uint8)
    for row, pixels in enumerate(inputs):
        resized[row] = fit_square(pixels, size)
    return resized


def _adapted(dataset: Dataset, options: _Options) -> Dataset:
    """Apply what was asked for to data that were in memory already."""
    if options.image_size is not None:
        inputs = _sized(dataset.inputs, options.image_size)
        if inputs is not dataset.inputs:
            dataset = replace(dataset, images=inputs, pack=None, known_digest=None)
    if options.labels is not None:
        file = read_labels(options.labels)
        labels, classes, notes = file.labels_of(dataset.ids.tolist(), dataset.classes)
        dataset = _without_dropped(replace(dataset.with_labels(labels, classes), notes=(*dataset.notes, *notes)), file)
    return dataset


def _origin(found: Source, split: str, options: _Options, file: LabelFile | None) -> Origin:
    asked = {"split": split, "image_size": options.image_size, "on_error": options.on_error}
    usual = {"split": "train", "image_size": None, "on_error": "fail"}
    told: dict[str, Any] = {name: value for name, value in asked.items() if value != usual[name]}
    if file is not None:
        told["labels"] = os.path.abspath(file.source)  # noqa: PTH100 a column may follow the file's name
    return Origin(found.kind, found.path, split, told)


def _paths(part: Part, rows: np.ndarray) -> np.ndarray | None:
    if part.paths is None:
        return None
    paths = np.empty(len(rows), dtype=object)
    paths[:] = [Path(part.paths[row]) for row in rows.tolist()]
    return paths


def _class_notes(labels: np.ndarray | None, classes: tuple[str, ...], split: str) -> list[str]:
    """Name classes with no example, and in train those with one."""
    if labels is None:
        return []
    counts = np.bincount(labels, minlength=len(classes))
    empty = [repr(classes[index]) for index in np.flatnonzero(counts == 0)]
    single = [repr(classes[index]) for index in np.flatnonzero(counts == 1)]
    notes = [f"no example in {split} of class {join_some(empty)}"] if empty else []
    return notes + ([f"one example only in {split} of class {join_some(single)}"] if single and split == "train" else [])


def _agreeing(splits: Splits) -> Splits:
    """Check that the splits can be used together."""
    for name, other in (("validation", splits.validation), ("test", splits.test)):
        if other is not None and other.inputs.shape[1:] != splits.train.inputs.shape[1:]:
            raise invalid(
                name, f"have examples of the shape of train, {splits.train.inputs.shape[1:]}", str(other.inputs.shape[1:])
            )
    return splits


def _with_test(splits: Splits, test: Any, options: _Options) -> Splits:
    """Read the test split from a source of its own and bring the classes together by name."""
    train = splits.train
    square = train.images is not None and train.images.shape[1] == train.images.shape[2]
    theirs = replace(
        options, labels=None, image_size=train.images.shape[1] if square and train.images is not None else options.image_size
    )
    given = _as_dataset(test)
    if given is not None:
        apart = _adapted(given, theirs)
    else:
        found = _find(test, theirs)
        apart = _open(found, "test" if "test" in found.parts else "train", theirs, None)
    joined = _agreeing(Splits(train, splits.validation, apart))
    if apart.labels is None or train.labels is None or apart.classes == train.classes:
        return joined
    return _with_shared_classes(joined, apart)


def _with_shared_classes(splits: Splits, apart: Dataset) -> Splits:
    """Return all splits the classes of train, followed by those that only the test split has."""
    train, classes = splits.train, list(splits.train.classes)
    assert apart.labels is not None
    plain_indices = tuple(str(index) for index in range(apart.n_classes))
    if apart.classes == plain_indices and apart.n_classes <= train.n_classes:
        names = train.classes  # the test split has indices without names
        return replace(splits, test=apart.with_labels(apart.labels, names))
    used = set(np.unique(apart.labels).tolist())
    only = [name for index, name in enumerate(apart.classes) if name not in classes and index in used]
    classes += only
    place = {name: index for index, name in enumerate(classes)}
    mapped = np.array([place.get(name, -1) for name in apart.classes], dtype=np.int64)[apart.labels]
    note = (f"no example in train of class {join_some(map(repr, only))}",) if only else ()
    return Splits(
        train=replace(train.with_labels(train.labels, classes), notes=train.notes + note) if only else train,
        validation=None if splits.validation is None else splits.validation.with_labels(splits.validation.labels, classes),
        test=apart.with_labels(mapped, classes),
    )
