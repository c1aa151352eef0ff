"""Reading: from whatever DATA names, or an object that holds data, to a `Dataset` or all `Splits`."""

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store
from dataprune.data import pack, packed
from dataprune.data.arrays import from_arrays, from_torch, read_digits, read_npy, read_npz
from dataprune.data.cifar import read_cifar
from dataprune.data.classes import class_notes
from dataprune.data.dataset import IDS, Dataset, Origin, Skipped, Splits
from dataprune.data.decode import Fit, digest_of, fit_square
from dataprune.data.folders import read_folder
from dataprune.data.labels import Reading
from dataprune.data.source import SPLITS, Source, plain
from dataprune.data.table import read_beside, read_table, read_tables
from dataprune.data.tars import COMPRESSED, ENDING, read_tars
from dataprune.data.vectors import vectors_of
from dataprune.data.walk import walk
from dataprune.errors import InputError, StoreError, invalid, join_some
from dataprune.tables import READABLE

READERS: dict[str, Callable[[Path], Source]] = {".npy": read_npy, ".npz": read_npz}
"""The readers of files without columns, by their ending; those with columns, and folders, are told apart in `find_source`."""

_KINDS = f"a folder, a file that ends in {', '.join((*READABLE, *READERS, ENDING))}, hf:NAME or digits"
_OBJECTS = "In Python also: a torch or Hugging Face data set, an array, a tuple (x, y), a Dataset."


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
        source: a folder (`class/*.jpg`, or `train/ test/ [validation/]` with classes inside, or flat), a table of pictures, texts
            or rows, tar files of WebDataset, a Parquet file or folder in the Hugging Face layout, `.npz` (`x`, `y`), `.npy`,
            CIFAR-10/100 files, `hf:NAME`, `digits`; or a torch or Hugging Face data set, an array, `(x, y)`, a `Dataset`.
        split: train, validation or test, as far as the source has them.
        labels: `FILE[:COLUMN]` that replaces the given labels, by the column that names the examples, else by row.
        image_size: side in pixels; by default the pictures' own if they are equal squares up to 128, else their median short side,
            at most 128. The size follows the training split also when another is read.
        on_error: `fail` on items that cannot be used, or `skip` them into `Dataset.skipped`.
        workers: processes that decode, by default one a core; few pictures are decoded in this process.
        progress: called with (done, all) while decoding.
        fit: how pictures become squares: `crop` cuts out the centre, `pad` adds black borders, `stretch` changes their proportions.
        image_column, label_column, text_column: columns of a table that name or hold the pictures, the labels, the texts; by
            default those that do, or are called so. A table of neither pictures nor texts is read as rows of numbers, categories
            and dates.
    Raises:   InputError if the source is missing, empty, or of no known kind; for bad items under `fail`; labels that do not fit.
              MachineError if the cache cannot be written, or is full; an extra is missing.

    Example:
        >>> read("digits")
        Dataset(1,437 examples, images (8, 8, 1), 10 classes)
    """
    how = Reading(labels, image_size, on_error, workers, progress, fit, image_column, label_column, text_column)
    if (given := _in_memory(source, how)) is None:
        return _open(find_source(source, how), split, how)
    if split != "train":
        raise invalid("split", "be train for data in memory", repr(split))
    how.refuse_columns()
    return given


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
    how = Reading(labels, image_size, on_error, workers, progress, fit, image_column, label_column, text_column)
    if (given := _in_memory(source, how)) is not None:
        how.refuse_columns()
        splits = Splits(given)
    else:
        found, file = find_source(source, how), how.label_file
        opened = {"train": _open(found, "train", how)}
        for split in SPLITS[1:]:
            if split in found.parts and not (split == "test" and test is not None):
                part = found.parts[split]
                fits = file is not None and part.labels is None and file.names_all(part.ids)
                opened[split] = _open(found, split, how if fits else replace(how, labels=None))
        splits = Splits(**opened)
    if test is None:
        return splits
    train = splits.train  # whose size and scale the pictures of test take
    size = train.images.shape[1] if train.images is not None and train.images.shape[1] == train.images.shape[2] else image_size
    how = replace(how, labels=None, image_size=size, scale=pack.scale_in(train.pack))
    if (other := _in_memory(test, how)) is None:
        found = find_source(test, how)
        other = _open(found, "test" if "test" in found.parts else "train", how)
    return splits.with_test(other)


def other_splits(dataset: Dataset) -> list[str]:
    """Name the splits that the source of a data set has beside its own; none where it came as an object."""
    if (origin := dataset.origin) is None or not origin.path:
        return []
    how = Reading(**{name: value for name, value in origin.options.items() if name not in ("split", "labels")})
    parts = find_source(origin.path, how).parts
    return [split for split in SPLITS if split in parts and split != origin.split]


def from_huggingface(dataset: Any, *, image: str = "image", label: str = "label", ids: Sequence[str] | None = None) -> Dataset:
    """Make a data set of a `datasets.Dataset`: its pictures are decoded once into the cache, class names are taken over.

    Args:
        image, label: names of its columns of pictures and of labels; the second may be missing.
        ids: unique texts, one a row; by default its column `id`, else the row numbers.
    Raises:   InputError if a column is missing, a picture cannot be decoded, or ids do not fit. MachineError if the cache cannot be
              written.
    """
    if not packed.is_huggingface(dataset) or isinstance(dataset, Mapping):
        raise invalid("dataset", "be a datasets.Dataset", type(dataset).__name__, "Of a DatasetDict give one split.")
    how = Reading(image_column=image, label_column=label)
    found = _open(packed.huggingface_source(dataset, how), "train", how)
    return found if ids is None else replace(found, ids=np.asarray([str(one) for one in ids], IDS))


def _in_memory(source: Any, how: Reading) -> Dataset | None:
    """Turn data in memory into a data set; None for all that is found on a disk or split by its own library."""
    is_pair = isinstance(source, tuple) and len(source) == 2
    is_map = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if isinstance(source, str | os.PathLike) or (not isinstance(source, Dataset) and packed.is_huggingface(source)):
        return None
    if isinstance(source, Dataset):
        found = source
    elif isinstance(source, np.ndarray) or (hasattr(source, "detach") and hasattr(source, "ndim")):
        found = from_arrays(source)
    elif is_pair and all(hasattr(part, "__array__") or isinstance(part, list) for part in source):
        found = from_arrays(*source)
    elif is_map and not isinstance(source, dict | list | tuple | bytes | bytearray) and not hasattr(source, "iloc"):
        found = from_torch(source)
    else:
        raise invalid("DATA", f"be {_KINDS}, or a data set object", type(source).__name__, _OBJECTS)
    inputs, digests = _resized(found.inputs, how)
    if inputs is not found.inputs:
        digests = digests if found.digests is None else found.digests
        found = replace(found, images=inputs, pack=None, known_digest=None, digests=digests)
    if how.label_file is None:
        return found
    aligned = how.label_file.align(found.ids.tolist(), found.classes)
    found = replace(found.with_labels(aligned.labels, aligned.classes), notes=(*found.notes, *aligned.notes))
    return found if aligned.keep is None else _without_dropped(found, aligned.keep, how)


def find_source(source: Any, how: Reading) -> Source:
    """Return what lies under a name, or in a data set of Hugging Face's, listed and not yet decoded."""
    if not isinstance(source, str | os.PathLike):
        return packed.huggingface_source(source, how)
    text, path = os.fspath(source), Path(source)
    ending, is_digits = path.suffix.lower(), text == "digits"
    if text.startswith("hf:"):
        return packed.load_huggingface(text.removeprefix("hf:"), how)
    if not is_digits and (not text or not os.path.lexists(path)):
        near: list[str] = []
        with suppress(OSError, ValueError):
            near = difflib.get_close_matches(path.name, [one.name for one in path.parent.iterdir()], n=1)
        cure = f"Did you mean {plain(str(path.parent / near[0]))!r}?" if near else ""
        raise invalid("DATA", f"be {_KINDS}", f"{plain(text)!r}, which does not exist", cure)
    if not is_digits and path.is_dir():
        return _find_in(path, how)
    if path.is_file() and ending in READABLE:
        source = packed.read_parquet({path.name: text}, os.path.realpath(path), how, False) if ending == ".parquet" else None
        return source or read_table(path, how)
    if path.is_file() and text.lower().endswith((ENDING, *COMPRESSED)):
        return read_tars({path.name: text}, os.path.realpath(path), how, False)
    how.refuse_columns()
    if is_digits:
        return read_digits()
    if not path.is_file() or ending not in READERS:
        raise invalid("DATA", f"be {_KINDS}", f"{plain(text)}, {'a file' if path.is_file() else 'which is not a regular file'}")
    return READERS[ending](path)


def _find_in(folder: Path, how: Reading) -> Source:
    """Return what lies in a folder: CIFAR files, else Parquet files of pictures, else pictures with or without tables."""
    for name, called in (("run.json", "a run"), ("study.json", "a study")):
        with suppress(StoreError):
            said = store.read_json(folder / name) if (folder / name).is_file() else None
            if isinstance(said, dict) and {"format", "files"} <= said.keys():
                raise invalid("DATA", f"be {_KINDS}", f"{plain(folder)}, {called}", "Give the data that it was made of.")
    try:
        if not how.asked_column and (cifar := read_cifar(folder)):
            return cifar
        found = walk(folder)
    except PermissionError as error:
        raise InputError(f"cannot list {plain(folder)}: {error.strerror}.") from None
    files = found.ending_in((".parquet",))
    if files and (source := packed.read_parquet(files, found.base, how, True)):
        return source
    if not found.files and (tars := found.ending_in((ENDING, *COMPRESSED))):
        return read_tars(tars, found.base, how, True)
    if not found.files and (source := read_tables(found, how)):
        return source
    beside, said = read_beside(found, how) if how.labels is None or how.asked_column else (None, [])
    if beside is not None:
        return beside
    source = read_folder(folder, found, labelled=how.labels is not None)
    return replace(source, notes=(*source.notes, *said))


def _open(found: Source, split: str, how: Reading) -> Dataset:
    """Build the data set of one split: align labels, decode, refuse or skip what cannot be used."""
    if split not in found.parts:
        raise invalid("split", f"be one of {', '.join(name for name in SPLITS if name in found.parts)}", repr(split))
    part, train = found.parts[split], found.parts.get("train")
    where = f"{plain(found.path) or found.kind} ({split})"
    labels, classes, keep, notes = part.labels, found.classes, None, [*found.notes, *part.notes]
    if how.label_file is not None:
        aligned = how.label_file.align(part.ids, classes)
        labels, classes, keep = aligned.labels, aligned.classes, aligned.keep
        notes += aligned.notes
    if not part.ids:
        _refuse_bad(part.bad, where)
        raise InputError(f"{where} holds no example.")
    opened, encoder = None, None
    skipped, rows = list(part.bad), np.arange(len(part.ids))
    if part.pictures is not None:
        form = pack.Form(how.image_size, how.fit, how.scale)
        if split != "train" and train is not None and train.pictures is not None and train.pictures.count:
            form = pack.measured(train.pictures, form, how.workers)  # every split has the size and scale that train would choose
        opened = pack.open_pack(part.pictures, form, how.workers, how.progress)
        skipped += [Skipped(part.ids[row], reason) for row, reason in opened.skipped]
        rows = np.delete(rows, [row for row, _ in opened.skipped])
        notes += filter(None, [*opened.notes, pack.cache_root()[1]])
    if how.on_error == "fail" or not len(rows):
        _refuse_bad(skipped, where)  # all of them in one message, those found by listing and those found by decoding
    if labels is not None:
        labels = labels[rows]
        notes += class_notes(labels, classes, split)
    if opened is not None:
        inputs, digests = opened.images, opened.digests
    elif part.records is None:
        inputs, digests = _resized(part.inputs, how)
    elif how.image_size is not None:
        raise invalid("image_size", "be left out for texts and rows", how.image_size)
    else:
        inputs, encoder = vectors_of((train or part).records or part.records, part.records)
        digests = part.records.identities()
    assert inputs is not None
    dataset = Dataset(
        labels=labels,
        ids=np.asarray([part.ids[row] for row in rows.tolist()], dtype=IDS),
        classes=() if labels is None else classes,
        images=inputs if inputs.ndim == 4 else None,
        features=inputs if inputs.ndim == 2 else None,
        records=part.records,
        encoder=encoder,
        origin=Origin(found.kind, found.path, split, ({} if split == "train" else {"split": split}) | how.asked),
        paths=None if part.paths is None else np.array([Path(part.paths[row]) for row in rows.tolist()], object),
        skipped=tuple(skipped),
        notes=tuple(notes),
        pack=None if opened is None else opened.folder,
        known_digest=None if opened is None else opened.digest,
        digests=digests,
    )
    return dataset if keep is None else _without_dropped(dataset, keep[rows], how)


def _refuse_bad(bad: Iterable[Skipped], where: str) -> None:
    if items := list(bad):
        shown = join_some((f"{item.path} ({item.reason})" for item in items[:3]), len(items), most=3)
        cure = "Mend or remove them, or leave them out with on_error='skip' (--on-error)."
        raise InputError(f"{where}: {len(items)} item{'s' if len(items) > 1 else ''} cannot be used: {shown}. {cure}")


def _without_dropped(dataset: Dataset, keep: np.ndarray, how: Reading) -> Dataset:
    if not keep.any():
        raise invalid("labels", "keep at least one example", f"none in {how.labels}")
    note = f"{len(keep) - keep.sum():,} of {len(keep):,} examples are left out, as the column decision of {how.labels} says"
    return replace(dataset.take(np.flatnonzero(keep)), notes=(*dataset.notes, note))


def _resized(inputs: np.ndarray | None, how: Reading) -> tuple[np.ndarray, np.ndarray | None]:
    """Resize pictures that came as arrays, where that was asked for; then with digests of them as they were."""
    assert inputs is not None
    size = how.image_size
    if size is None or (inputs.ndim == 4 and inputs.shape[1:3] == (size, size)):
        return inputs, None
    if inputs.ndim == 2:
        raise invalid("image_size", "be left out for feature vectors", size)
    square = np.dtype((np.uint8, (size, size, inputs.shape[3])))
    made = np.fromiter((fit_square(pixels, size, how.fit) for pixels in inputs), square, len(inputs))
    return made, np.stack([np.frombuffer(digest_of(pixels), np.uint8) for pixels in inputs])
