"""Options that several commands share, what is refused of values once they are parsed, and how DATA is read."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from cyclopts import ArgumentCollection, Group, Parameter

import dataprune as dp
from dataprune.cli.lines import say, warn
from dataprune.cli.progress import reading_progress
from dataprune.errors import InputError, StoreError, invalid, join_some
from dataprune.report.text import display_text, pluralise
from dataprune.training.settings import Hardware, Settings

if TYPE_CHECKING:
    import numpy as np

MANIFESTS = ("run.json", "study.json")
DEEPEST = 4  # study/run/trace/FILE

FLAT = Parameter(name="*")  # the fields of a settings dataclass as options; their help stands in its docstring


def help_of(settings: type, field: str) -> Parameter:
    """Return the help of one field of a settings dataclass, for a command that takes that field alone."""
    found = re.search(rf"\n +{field}: (.*?)(?=\n +\w+: |\n *\n|\s*$)", settings.__doc__ or "", re.DOTALL)
    assert found, f"{settings.__name__}.{field} has no help"
    return Parameter(help=" ".join(found[1].split()))


def at_least(least: int) -> Parameter:
    """Return the bound of a number, for an option that no settings check."""

    def check(_: Any, value: float | None) -> None:
        if value is not None and value < least:
            raise ValueError(f"be at least {least}")

    return Parameter(validator=check)


def written(_: Any, path: Any) -> None:
    """Mark an option whose value is a path that is written; `check_values` looks for it."""


def check_values(arguments: ArgumentCollection) -> None:
    """Refuse an empty value, and a file to write that is read by the same command or belongs to a run or a study.

    An empty path would mean the current folder: `--out "$UNSET"` would write there.
    """
    given = [(argument, token.value) for argument in arguments if argument.hint is not bool for token in argument.tokens]
    for argument, value in given:
        if not value:
            cure = "Is a variable of the shell not set? Leave out what is not needed."
            raise invalid(argument.name, "not be empty", "nothing", cure)
        if argument.value is None:  # cyclopts takes the word none for no value
            raise invalid(argument.name, "have a value", repr(value), "Leave the option out for its default.")
        if int in (argument.hint, *get_args(argument.hint)) and "." in value:  # which would be rounded
            raise invalid(argument.name, "be a whole number", repr(value))
    outputs = [(argument, value) for argument, value in given if written in cast(tuple[Any, ...], argument.parameter.validator)]
    inputs = [value for one in given if one not in outputs for value in (one[1], one[1].rpartition(":")[0]) if value]
    read = [value for value in inputs if is_file(value)]
    for argument, value in outputs:
        if not is_file(value):
            continue
        if any(Path(value).samefile(one) for one in read):
            raise invalid(argument.name, "be another file than those that are read", value, "It would be lost: name another file.")
        for folder in Path(value).absolute().parents[:DEEPEST]:
            if _belongs(Path(value), folder):
                raise invalid(argument.name, f"not be a file of {folder}", value, "It would be damaged: name another file.")


OPTIONS = Group("Options", validator=check_values)

Data = Annotated[
    str,
    Parameter(
        help="The training set: a folder class/*.jpg, or train/ and test/ with classes inside; a flat folder with --labels, or "
        "with a table of labels in it; a table (CSV, TSV, JSON lines, Parquet) of pictures, of texts, or of rows of numbers and "
        "categories; a tar of WebDataset, or a folder of such; a .npz file (x, y); a .npy file of features; CIFAR-10/100 files as "
        "their authors ship them; hf:NAME; or the built-in set digits."
    ),
]
Run = Annotated[Path, Parameter(help="A folder made by dataprune score.")]
Output = Annotated[Path, Parameter(validator=written)]
Encoder = Annotated[
    str,
    Parameter(
        help="The frozen network that turns pictures into vectors first: auto (the built-in one for colour photographs, if it is "
        "installed, else none), scratch (none), efficientnet-lite0, timm:NAME, hf:NAME or hf:FOLDER, torchhub:REPO:MODEL, "
        "open_clip:ARCH/TAG, onnx:FILE, or module:function of a batch of pictures (B, H, W, Ch) uint8 that gives (B, D) numbers. "
        "For texts: auto (words and their parts), all-minilm-l6-v2, st:NAME or hf:NAME (or folders), or module:function."
    ),
]
Seed = Annotated[int, help_of(Settings, "seed")]
Device = Annotated[str | None, help_of(Hardware, "device")]
Workers = Annotated[int | None, help_of(Hardware, "workers"), at_least(1)]
Address = Annotated[str | None, help_of(Hardware, "address")]
MovedData = Annotated[str | None, Parameter(help="Where the data lie now, if they were moved.")]
Test = Annotated[str | None, Parameter(help="Take the test split from here.")]
Balanced = Annotated[bool, Parameter(help="Keep the same share of every class.")]
Batch = Annotated[int | None, help_of(Settings, "batch"), at_least(1)]
Wait = Annotated[bool, Parameter(help="If another process works on the same output, wait for it.")]
Overwrite = Annotated[bool, Parameter(help="Replace an output that is there and holds something else.")]
Quiet = Annotated[bool, Parameter(help="Print warnings and errors only.")]


def is_file(path: str | Path) -> bool:
    """Return whether there is such a file; what no file can be called is none."""
    try:
        return Path(path).is_file()
    except OSError:  # too long a name, say: whoever reads it says so
        return False


def only_one(options: dict[str, Any], cure: str = "") -> str:
    """Return the one option of several that was given; none and more than one are refused."""
    given, names = [name for name, value in options.items() if value is not None and value is not False], list(options)
    if len(given) != 1:
        raise InputError(
            f"give one of {', '.join(names[:-1])} and {names[-1]}, got {' and '.join(given) or 'none'}. {cure}".strip()
        )
    return given[0]


def lost_classes(before: "np.ndarray", after: "np.ndarray", classes: tuple[str, ...]) -> str:
    """Name the classes that have examples before and none after; empty where there are none."""
    lost = sorted(set(before.tolist()) - set(after.tolist()))
    names = join_some(display_text(classes[index], 30) for index in lost)
    return f"{pluralise(len(lost), 'class')}: {names}" if lost else ""


@dataclass(frozen=True)
class Folders:
    """Folders of the pictures that stay.

    Attributes:
        copy_to: Copy the pictures that stay into a new folder DIR/class/; texts and rows of a table into DIR/train.parquet.
        link_to: As --copy-to, with symbolic links, which take no space.
        data: Where the data lie now, if they were moved.
    """

    copy_to: Path | None = None
    link_to: Path | None = None
    data: str | None = None

    @property
    def asked(self) -> dict[Path, Literal["copy", "link"]]:
        """The folders to write, and how."""
        if self.copy_to is not None and self.copy_to == self.link_to:
            raise invalid("link_to", "be another folder than --copy-to", str(self.link_to))
        both: tuple[tuple[Path | None, Literal["copy", "link"]], ...] = ((self.copy_to, "copy"), (self.link_to, "link"))
        return {folder: how for folder, how in both if folder is not None}

    def pictures_of(self, run: "dp.Run") -> "dp.Dataset | None":
        """Read the pictures of a run that go into the folders, which must lie outside of the data."""
        from dataprune.data.folders import refuse_output_inside_data

        dataset = run.dataset(self.data) if self.asked else None
        for folder, how in self.asked.items():
            assert dataset is not None
            refuse_output_inside_data(dataset, folder, f"--{how}-to")
        return dataset


@dataclass(frozen=True)
class Reading:
    """How DATA is read.

    Attributes:
        labels: Take the labels from this table or JSON, FILE or FILE:COLUMN: by the column that names the examples, else by row.
            Names, or indices where no class is called by a number.
        image_size: Side in pixels to which pictures are brought. Default: their own up to 128, else by the median picture.
        on_error: What to do about a file that cannot be read: stop before any work, or leave it out and list it.
        fit: How pictures become squares: their centre, or all of them with black borders, or stretched.
        image_column: Column of a table that names or holds the pictures. Default: the one that does.
        label_column: Column of a table with the labels. Default: the one whose name says so.
        text_column: Column of a table with texts. Default: the one whose name says so. A table of neither pictures nor texts is
            read as rows of numbers, categories and dates.
    """

    labels: str | None = None
    image_size: int | None = None
    on_error: Literal["fail", "skip"] = "fail"
    fit: Literal["crop", "pad", "stretch"] = "crop"
    image_column: str | None = None
    label_column: str | None = None
    text_column: str | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise invalid("image_size", "be at least 1", self.image_size)


def read_data(data: str, reading: Reading, workers: int | None = None) -> "dp.Dataset":
    """Read the training split of DATA, and say what it holds."""

    with reading_progress() as progress:
        dataset = dp.read(data, **vars(reading), workers=workers, progress=progress)
    say_data(data, dataset)
    return dataset


def encoded(splits: "dp.Splits", encoder: str, hardware: Hardware) -> "dp.Splits":
    """Turn the pictures of all splits into vectors, with progress, and say by what."""
    from dataprune.encoders import Encoding, encode_splits

    with reading_progress() as reading, reading_progress("encod") as progress:
        done = encode_splits(splits, encoder, Encoding(hardware.resolved_device(), hardware.workers, reading, progress))
    if (record := done.train.encoder) is not None and record != splits.train.encoder:
        seen = f"pictures of {record.size} x {record.size} pixels" if done.train.records is None else done.train.records.kind
        how = f"{seen} as {pluralise(done.train.inputs.shape[1], 'number')}"
        say(f"encoder: {display_text(record.name)}, {how}, in {record.precision}")
    warn(*(note for note in done.train.notes if note not in splits.train.notes))
    return done


def read_all(
    data: str, reading: Reading, workers: int | None = None, *, run: "dp.Run | None" = None, test: str | None = None
) -> "dp.Splits":
    """Read all splits of DATA; for a run as they were read for it, with the run's labels."""

    how: dict[str, Any] = vars(reading)
    if run is not None:
        for name in ("image_size", "labels", "fit", "image_column", "label_column", "text_column"):
            if how[name] != getattr(Reading(), name):
                raise InputError(f"`{name}` must be left out with --run: the run says how its data were read and labelled.")
        how = {"labels": None, **run.manifest.read}
    with reading_progress() as progress:
        splits = dp.read_splits(data, **how, workers=workers, test=test, progress=progress)
    if run is None or len(splits.train) != len(run.labels):
        return splits
    return replace(splits, train=splits.train.with_labels(run.labels, run.classes))


def say_data(data: str, dataset: "dp.Dataset") -> None:
    """Report what was read, what a person should know about it, and what was left out."""
    contents = [pluralise(len(dataset), "example")]
    contents.append("no labels" if dataset.labels is None else pluralise(dataset.n_classes, "class"))
    if dataset.records is not None:
        contents.append(f"{dataset.records.kind} as vectors of {pluralise(dataset.inputs.shape[1], 'number')}")
    elif dataset.images is None:
        contents.append(f"features of {pluralise(dataset.inputs.shape[1], 'column')}")
    else:
        height, width, channels = dataset.images.shape[1:]
        contents.append(f"pictures brought to {height} x {width} pixels in {pluralise(channels, 'channel')}")
    if dataset.origin is not None:
        contents.append(f"source: {dataset.origin.kind}, split {dataset.origin.split}")
    say(f"read {display_text(data)}: {', '.join(contents)}")
    warn(*dataset.notes)
    _warn_of_skipped(dataset)


def say_splits(data: str, splits: "dp.Splits") -> None:
    """Report how many examples each split has, and what a person should know about them."""
    parts = splits.parts
    classes = "" if splits.train.labels is None else f" of {pluralise(splits.train.n_classes, 'class')}"
    say(f"read {display_text(data)}: {', '.join(f'{name} {len(part):,}' for name, part in parts.items())} examples{classes}")
    warn(*dict.fromkeys(note for part in parts.values() for note in part.notes))
    _warn_of_skipped(*parts.values())


def _warn_of_skipped(*parts: "dp.Dataset") -> None:
    if skipped := [item for part in parts for item in part.skipped]:
        bad = join_some((f"{display_text(item.path)} ({display_text(item.reason)})" for item in skipped), most=3)
        warn(f"left out {pluralise(len(skipped), 'item')} that cannot be used: {bad}")


def _belongs(path: Path, folder: Path) -> bool:
    """Return whether the manifest of a run or study in `folder` has `path`."""
    from dataprune import store

    name = path.absolute().relative_to(folder).as_posix()
    for manifest in MANIFESTS:
        with suppress(StoreError):  # there is none, or it is damaged
            if store.speaks_for(store.read_json(folder / manifest), name):
                return True
    return False
