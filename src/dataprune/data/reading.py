"""Reading: from whatever DATA names, or an object that holds data, to a `Dataset` or all `Splits`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data import objects, pack
from dataprune.data.arrays import from_arrays, read_digits, read_npy, read_npz
from dataprune.data.cifar import read_cifar
from dataprune.data.columns import Columns
from dataprune.data.dataset import IDS, Dataset, EncoderRecord, Origin, Skipped, Splits
from dataprune.data.decode import FITS, Fit, digest_of, fit_square
from dataprune.data.folders import read_folder
from dataprune.data.labels import LabelFile, class_notes, read_labels
from dataprune.data.parquet import read_parquet
from dataprune.data.pixels import Scale
from dataprune.data.source import SPLITS, Part, Source, plain, refuse_bad
from dataprune.data.table import read_beside, read_table, read_tables
from dataprune.data.tars import COMPRESSED, ENDING, read_tars
from dataprune.data.vectors import vectors_of
from dataprune.data.walk import walk
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.tables import READABLE

READERS: dict[str, Callable[[Path], Source]] = {".npy": read_npy, ".npz": read_npz}
"""The readers of files without columns, by their ending; those with columns, and folders, are told apart in `_find`."""

MAX_SIZE = 4096
_KINDS = f"a folder, a file that ends in {', '.join((*READABLE, *READERS, ENDING))}, hf:NAME or digits"
_OBJECTS = "In Python also: a torch or Hugging Face data set, an array, a tuple (x, y), a Dataset."


@dataclass(frozen=True)
class _Options:
    """How a source is read."""

    labels: LabelFile | None = None
    image_size: int | None = None
    on_error: str = "fail"
    workers: int | None = None
    progress: pack.Progress | None = None
    fit: Fit = "crop"
    scale: Scale | None = None  # of 16-bit pictures, where another source says it
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise unknown_choice("fit", self.fit, FITS)
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
    fit: Fit = "crop",
    image_column: str | None = None,
    label_column: str | None = None,
    text_column: str | None = None,
) -> Dataset:
    """Read one split of a source, by default the training split; a source without splits is all train.

    Pictures in files are decoded once into the cache, as RGB squares of one size; arrays keep their shape and channels.

    Args:
        source: a folder (`class/*.jpg`, or `train/ test/ [validation/]` with classes inside, or flat), a Parquet file or folder
            in the Hugging Face layout, `.npz` (`x`, `y`), `.npy`, a folder of CIFAR-10/100 files, `hf:NAME`, `digits`; or an
            object: a torch or Hugging Face data set, an array, a tuple `(x, y)`, a `Dataset`.
        split: train, validation or test, as far as the source has them.
        labels: `FILE[:COLUMN]` that replaces the given labels, by the column that names the examples, else by row.
        image_size: side in pixels; by default the pictures' own if they are equal squares up to 128, else their median short side,
            at most 128. The size follows the training split also when another is read.
        on_error: `fail` on items that cannot be used, or `skip` them into `Dataset.skipped`.
        workers: processes that decode, by default one a core; few pictures are decoded in this process.
        progress: called with (done, all) while decoding.
        fit: how pictures become squares: `crop` cuts out the centre, `pad` adds black borders, `stretch` changes their proportions.
        image_column: column of a table that names or holds the pictures; by default the one that does.
        label_column: column of a table with the labels; by default the one that is called so.
        text_column: column of a table with texts; by default the one that is called so. A table of neither pictures nor texts is
            read as rows of numbers, categories and dates.
    Raises:
        InputError: the source is missing, empty, or of no known kind; bad items under `fail`; labels that do not fit.
        MachineError: the cache cannot be written, or is full; an extra is missing.

    Example:
        >>> read("digits")
        Dataset(1,437 examples, images (8, 8, 1), 10 classes)
    """
    file = None if labels is None else read_labels(os.fspath(labels))
    options = _Options(file, image_size, on_error, workers, progress, fit, columns=Columns(image_column, label_column, text_column))
    if (given := _in_memory(source)) is None:
        return _open(_find(source, options), split, options)
    if split != "train":
        raise invalid("split", "be train for data in memory", repr(split))
    _refuse_columns(options)
    return _adapted(given, options)


def read_splits(
    source: Any,
    *,
    labels: str | Path | None = None,
    image_size: int | None = None,
    on_error: str = "fail",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    text_column: str | None = None,
    test: Any = None,
    fit: Fit = "crop",
) -> Splits:
    """Read all splits of a source; options are those of `read`. All splits share their classes and the size of the pictures.

    `labels` replaces those of train; other splits take theirs from it only if they have none and the file has ids.

    Args:     test: a source of its own for the test split (its `test`, or else all of it), in place of the source's.
    Raises:   InputError as `read`, and if `test` differs from train in shape.
    """
    file = None if labels is None else read_labels(os.fspath(labels))
    options = _Options(file, image_size, on_error, workers, progress, fit, columns=Columns(image_column, label_column, text_column))
    if (given := _in_memory(source)) is not None:
        _refuse_columns(options)
        splits = Splits(_adapted(given, options))
    else:
        found = _find(source, options)
        opened = {"train": _open(found, "train", options)}
        for split in SPLITS[1:]:
            if split in found.parts and not (split == "test" and test is not None):
                part = found.parts[split]
                fits = file is not None and part.labels is None and file.names_all(part.ids)
                opened[split] = _open(found, split, options if fits else replace(options, labels=None))
        splits = Splits(**opened)
    return splits if test is None else splits.with_test(_read_test(test, splits.train, options))


def from_huggingface(dataset: Any, *, image: str = "image", label: str = "label") -> Dataset:
    """Make a data set of a `datasets.Dataset`: its pictures are decoded once into the cache, class names are taken over.

    Args:     image, label: names of its columns of pictures and of labels; the second may be missing.
    Raises:   InputError if a column is missing or a picture cannot be decoded. MachineError if the cache cannot be written.
    """
    if not objects.is_huggingface(dataset) or isinstance(dataset, Mapping):
        raise invalid("dataset", "be a datasets.Dataset", type(dataset).__name__, "Of a DatasetDict give one split.")
    return _open(objects.huggingface_source(dataset, Columns(image, label)), "train", _Options())


def _in_memory(source: Any) -> Dataset | None:
    """Turn data in memory into a data set; None for all that is found on a disk or split by its own library."""
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | os.PathLike) or objects.is_huggingface(source):
        return None
    if isinstance(source, np.ndarray) or (hasattr(source, "detach") and hasattr(source, "ndim")):
        return from_arrays(source)
    is_pair = isinstance(source, tuple) and len(source) == 2
    if is_pair and all(hasattr(part, "__array__") or isinstance(part, list) for part in source):
        return from_arrays(*source)
    is_map = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if is_map and not isinstance(source, dict | list | tuple | bytes | bytearray) and not hasattr(source, "iloc"):
        return objects.from_torch(source)
    raise invalid("DATA", f"be {_KINDS}, or a data set object", type(source).__name__, _OBJECTS)


def _find(source: Any, options: _Options) -> Source:
    """Return what lies under a name, or in a data set of Hugging Face's, listed and not yet decoded."""
    columns = options.columns
    if not isinstance(source, str | os.PathLike):
        return objects.huggingface_source(source, columns)
    text = os.fspath(source)
    if text.startswith("hf:"):
        return objects.load_huggingface(text.removeprefix("hf:"), columns)
    path = Path(text)
    if text != "digits" and (not text or not os.path.lexists(path)):
        raise invalid("DATA", f"be {_KINDS}", f"{plain(text)!r}, which does not exist")
    if text != "digits" and path.is_dir():
        return _find_in(path, options)
    ending = path.suffix.lower()
    if path.is_file() and ending in READABLE:
        packed = read_parquet({path.name: text}, os.path.realpath(path), columns, False) if ending == ".parquet" else None
        return packed or read_table(path, columns)
    if path.is_file() and text.lower().endswith((ENDING, *COMPRESSED)):
        return read_tars({path.name: text}, os.path.realpath(path), columns, False)
    _refuse_columns(options)
    if text == "digits":
        return read_digits()
    if not path.is_file() or ending not in READERS:
        got = f"the file {plain(text)}" if path.is_file() else f"{plain(text)}, which is no regular file"
        raise invalid("DATA", f"be {_KINDS}", got)
    return READERS[ending](path)


def _refuse_columns(options: _Options) -> None:
    if options.columns.asked:
        raise invalid(options.columns.asked, "be left out for data without columns", repr(options.columns))


def _find_in(folder: Path, options: _Options) -> Source:
    """Return what lies in a folder: CIFAR files, else Parquet files of pictures, else pictures with or without tables."""
    columns = options.columns
    try:
        if not columns.asked and (cifar := read_cifar(folder)):
            return cifar
        found = walk(folder)
    except PermissionError as error:
        raise InputError(f"cannot list {plain(folder)}: {error.strerror}.") from None
    packed = {name: f"{found.base}/{name}" for name in found.others if name.lower().endswith(".parquet")}
    if packed and (source := read_parquet(packed, found.base, columns, True)):
        return source
    tars = {name: f"{found.base}/{name}" for name in found.others if name.lower().endswith((ENDING, *COMPRESSED))}
    if tars and not found.files:
        return read_tars(tars, found.base, columns, True)
    if not found.files and (source := read_tables(found, columns)):
        return source
    beside, said = read_beside(found, columns) if options.labels is None or columns.asked else (None, [])
    if beside is not None:
        return beside
    source = read_folder(folder, found, labelled=options.labels is not None)
    return replace(source, notes=(*source.notes, *said))


def _open(found: Source, split: str, options: _Options) -> Dataset:
    """Build the data set of one split: align labels, decode, refuse or skip what cannot be used."""
    if split not in found.parts:
        there = ", ".join(name for name in SPLITS if name in found.parts)
        raise invalid("split", f"be one of {there}", repr(split), f"{found.path} has no other split.")
    part = found.parts[split]
    where = f"{plain(found.path) or found.kind} ({split})"
    labels, classes, keep, notes = part.labels, found.classes, None, [*found.notes, *part.notes]
    if options.labels is not None:
        aligned = options.labels.align(part.ids, classes)
        labels, classes, keep = aligned.labels, aligned.classes, aligned.keep
        notes += aligned.notes
    if not part.ids:
        refuse_bad(part.bad, where)
        raise InputError(f"{where} holds no example.")
    opened = None
    skipped, rows = list(part.bad), np.arange(len(part.ids))
    if part.pictures is not None:
        opened = pack.open_pack(part.pictures, _form(found, split, options), options.workers, options.progress)
        skipped += [Skipped(part.ids[row], reason) for row, reason in opened.skipped]
        rows = np.delete(rows, [row for row, _ in opened.skipped])
        notes += filter(None, [*opened.notes, pack.cache_root()[1]])
    if options.on_error == "fail" or not len(rows):
        refuse_bad(skipped, where)  # all of them in one message, those found by listing and those found by decoding
    if labels is not None:
        labels = labels[rows]
        notes += class_notes(labels, classes, split)
    inputs, encoder = _inputs(found, part, options) if opened is None else (opened.images, None)
    assert inputs is not None
    dataset = Dataset(
        labels=labels,
        ids=np.asarray([part.ids[row] for row in rows.tolist()], dtype=IDS),
        classes=() if labels is None else classes,
        images=inputs if inputs.ndim == 4 else None,
        features=inputs if inputs.ndim == 2 else None,
        records=part.records,
        encoder=encoder,
        origin=_origin(found, split, options),
        paths=None if part.paths is None else np.array([Path(part.paths[row]) for row in rows.tolist()], object),
        skipped=tuple(skipped),
        notes=tuple(notes),
        pack=None if opened is None else opened.folder,
        known_digest=None if opened is None else opened.digest,
        digests=_digests(part, inputs) if opened is None else opened.digests,
    )
    return dataset if keep is None else _without_dropped(dataset, keep[rows], options)


def _without_dropped(dataset: Dataset, keep: np.ndarray, options: _Options) -> Dataset:
    """Leave out the examples that a file of labels drops, with a note of how many."""
    assert options.labels is not None
    if not keep.any():
        raise invalid("labels", "keep at least one example", f"none in {options.labels.sheet.source}")
    file, n_dropped = options.labels.sheet.source, len(keep) - keep.sum()
    note = f"{n_dropped:,} of {len(keep):,} examples are left out, as the column decision of {file} says"
    return replace(dataset.take(np.flatnonzero(keep)), notes=(*dataset.notes, note))


def _form(found: Source, split: str, options: _Options) -> pack.Form:
    """Return the form that was asked for; else every split has the size and the scale that the training split would choose."""
    train = found.parts["train"].pictures if "train" in found.parts else None
    asked = pack.Form(options.image_size, options.fit, options.scale)
    if split == "train" or train is None or train.count == 0:
        return asked
    return pack.measured(train, asked, options.workers)


def _inputs(found: Source, part: Part, options: _Options) -> tuple[np.ndarray, EncoderRecord | None]:
    """Return what is in memory already, or vectors of texts and rows by what was fitted on train."""
    if part.records is None:
        return _resized(part.inputs, options), None
    if options.image_size is not None:
        raise invalid("image_size", "be left out for texts and rows", options.image_size)
    train = found.parts["train"].records if "train" in found.parts else None
    return vectors_of(train or part.records, part.records)


def _resized(inputs: np.ndarray | None, options: _Options) -> np.ndarray:
    """Resize pictures that came as arrays, where that was asked for."""
    assert inputs is not None
    size = options.image_size
    if size is None or (inputs.ndim == 4 and inputs.shape[1:3] == (size, size)):
        return inputs
    if inputs.ndim == 2:
        raise invalid("image_size", "be left out for feature vectors", size)
    square = np.dtype((np.uint8, (size, size, inputs.shape[3])))
    return np.fromiter((fit_square(pixels, size, options.fit) for pixels in inputs), square, len(inputs))


def _digests(part: Part, inputs: np.ndarray) -> np.ndarray | None:
    """Return digests of records, and of whole pictures where they were resized."""
    if part.records is not None:
        return part.records.identities()
    given = part.inputs
    if given is None or given is inputs:
        return None
    return np.stack([np.frombuffer(digest_of(pixels), np.uint8) for pixels in given])


def _adapted(dataset: Dataset, options: _Options) -> Dataset:
    """Apply what was asked for to data that were in memory already."""
    inputs = _resized(dataset.inputs, options)
    if inputs is not dataset.inputs:
        digests = _digests(Part((), inputs=dataset.images), inputs) if dataset.digests is None else dataset.digests
        dataset = replace(dataset, images=inputs, pack=None, known_digest=None, digests=digests)
    if options.labels is None:
        return dataset
    aligned = options.labels.align(dataset.ids.tolist(), dataset.classes)
    dataset = replace(dataset.with_labels(aligned.labels, aligned.classes), notes=(*dataset.notes, *aligned.notes))
    return dataset if aligned.keep is None else _without_dropped(dataset, aligned.keep, options)


def _origin(found: Source, split: str, options: _Options) -> Origin:
    asked = {
        "split": (split, "train"),
        "image_size": (options.image_size, None),
        "on_error": (options.on_error, "fail"),
        "fit": (options.fit, "crop"),
        "image_column": (options.columns.image, None),
        "label_column": (options.columns.label, None),
        "text_column": (options.columns.text, None),
    }
    given: dict[str, Any] = {name: value for name, (value, usual) in asked.items() if value != usual}
    if options.labels is not None:
        given["labels"] = os.path.abspath(options.labels.sheet.source)  # noqa: PTH100 a column may follow the file's name
    return Origin(found.kind, found.path, split, given)


def _read_test(test: Any, train: Dataset, options: _Options) -> Dataset:
    """Read the test split from a source of its own, its pictures in the size of train's."""
    square = train.images is not None and train.images.shape[1] == train.images.shape[2]
    size = train.inputs.shape[1] if square else options.image_size
    options = replace(options, labels=None, image_size=size, scale=pack.scale_in(train.pack))
    if (given := _in_memory(test)) is not None:
        return _adapted(given, options)
    found = _find(test, options)
    return _open(found, "test" if "test" in found.parts else "train", options)
