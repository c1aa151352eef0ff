"""How every command reads DATA, and what it says of it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from dataprune.cli.lines import say, warn
from dataprune.cli.progress import reading_progress
from dataprune.errors import InputError, invalid, join_some
from dataprune.report.text import display_text, pluralise

if TYPE_CHECKING:
    from dataprune.data import Dataset, Splits
    from dataprune.run import Run


@dataclass(frozen=True)
class Reading:
    """How DATA is read.

    Attributes:
        labels: Take the labels from this CSV or Parquet file, FILE or FILE:COLUMN: by its column id if it has one, else by row.
            Indices or names.
        image_size: Side in pixels to which pictures are brought. Default: their own up to 128, else by the median picture.
        on_error: What to do about a file that cannot be read: stop before any work, or leave it out and list it.
    """

    labels: str | None = None
    image_size: int | None = None
    on_error: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise invalid("image_size", "be at least 1", self.image_size)


def read_data(data: str, reading: Reading, workers: int | None = None, *, quiet: bool = False) -> "Dataset":
    """Read the training split of DATA, and say what it holds."""
    from dataprune.data import read

    with reading_progress(quiet) as progress:
        dataset = read(data, **vars(reading), workers=workers, progress=progress)
    say_data(data, dataset, quiet)
    return dataset


def read_all(
    data: str,
    reading: Reading,
    workers: int | None = None,
    *,
    run: "Run | None" = None,
    test: str | None = None,
    quiet: bool = False,
) -> "Splits":
    """Read all splits of DATA; for a run as they were read for it, with the run's labels."""
    from dataprune.data import read_splits

    how: dict[str, Any] = vars(reading)
    if run is not None:
        for name in ("image_size", "labels"):
            if how[name] is not None:
                raise InputError(f"`{name}` must be left out with --run: the run says how its data were read and labelled.")
        how = {"labels": None, **run.manifest.read}
    with reading_progress(quiet) as progress:
        splits = read_splits(data, **how, workers=workers, test=test, progress=progress)
    if run is None or len(splits.train) != len(run.labels):
        return splits
    return replace(splits, train=splits.train.with_labels(run.labels, run.classes))


def say_data(data: str, dataset: "Dataset", quiet: bool) -> None:
    """Report what was read, what a person should know about it, and what was left out."""
    if not quiet:
        contents = [pluralise(len(dataset), "example")]
        contents.append(pluralise(dataset.n_classes, "class") if dataset.labels is not None else "no labels")
        if dataset.images is None:
            contents.append(f"features of {pluralise(dataset.inputs.shape[1], 'column')}")
        else:
            height, width, channels = dataset.images.shape[1:]
            contents.append(f"pictures of {height} x {width} pixels in {pluralise(channels, 'channel')}")
        if dataset.origin is not None:
            contents.append(f"source: {dataset.origin.kind}, split {dataset.origin.split}")
        say(f"read {display_text(data)}: {', '.join(contents)}")
    warn_all(dataset.notes)
    if dataset.skipped:
        bad = join_some((f"{display_text(item.path)} ({display_text(item.reason)})" for item in dataset.skipped), most=3)
        warn(f"left out {pluralise(len(dataset.skipped), 'item')} that cannot be used: {bad}")


def say_splits(data: str, splits: "Splits", quiet: bool) -> None:
    """Report how many examples each split has, and what a person should know about them."""
    parts = {name: part for name, part in vars(splits).items() if part is not None}
    if not quiet:
        classes = f" of {pluralise(splits.train.n_classes, 'class')}" if splits.train.labels is not None else ""
        say(f"read {display_text(data)}: {', '.join(f'{name} {len(part):,}' for name, part in parts.items())} examples{classes}")
    warn_all(dict.fromkeys(note for part in parts.values() for note in part.notes))


def warn_all(notes: Any) -> None:
    """Print each note as a warning."""
    for note in notes:
        warn(note)
