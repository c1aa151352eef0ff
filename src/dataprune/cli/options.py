"""Options that several commands share, and what is refused of values once they are parsed."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from cyclopts import Argument, ArgumentCollection, Group, Parameter

from dataprune.errors import InputError, StoreError, invalid
from dataprune.training.settings import Hardware, Settings

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


def is_written(argument: Argument) -> bool:
    """Return whether the value of an option is a path that is written."""
    return written in cast(tuple[Any, ...], argument.parameter.validator)


def check_values(arguments: ArgumentCollection) -> None:
    """Refuse an empty value, and a file to write that is read by the same command or belongs to a run or a study.

    An empty path would mean the current folder: `--out "$UNSET"` would write there.
    """
    given = [(argument, token.value) for argument in arguments if argument.hint is not bool for token in argument.tokens]
    for argument, value in given:
        if not value:
            raise invalid(
                argument.name, "not be empty", "nothing", "Is a variable of the shell not set? Leave out what is not needed."
            )
        if int in (argument.hint, *get_args(argument.hint)) and "." in value:  # which would be rounded
            raise invalid(argument.name, "be a whole number", repr(value))
    read = [value for argument, value in given if not is_written(argument)]
    files = [one for value in read for one in (value, value.rpartition(":")[0]) if one and is_file(one)]
    for argument, value in given:
        if not is_written(argument) or not is_file(value):
            continue
        if any(Path(value).samefile(one) for one in files):
            raise invalid(argument.name, "be another file than those that are read", value, "It would be lost: name another file.")
        for folder in Path(value).absolute().parents[:DEEPEST]:
            if _belongs(Path(value), folder):
                raise invalid(argument.name, f"be no file of {folder}", value, "It would be damaged: name another file.")


OPTIONS = Group("Options", validator=check_values)

Data = Annotated[
    str,
    Parameter(
        help="The training set: a folder class/*.jpg, or train/ and test/ with classes inside; a flat folder with --labels; a "
        "Parquet file or folder of images; a .npz file (x, y); a .npy file of features; CIFAR-10/100 files as their authors ship "
        "them; hf:NAME; or the built-in set digits."
    ),
]
Run = Annotated[Path, Parameter(help="A folder made by dataprune score.")]
Output = Annotated[Path, Parameter(validator=written)]
Seed = Annotated[int, help_of(Settings, "seed")]
Device = Annotated[str | None, help_of(Hardware, "device")]
Workers = Annotated[int | None, help_of(Hardware, "workers"), at_least(1)]
Address = Annotated[str | None, help_of(Hardware, "address")]
MovedData = Annotated[str | None, Parameter(help="Where the data lie now, if they were moved.")]
Balanced = Annotated[bool, Parameter(help="Keep the same share of every class.")]
LinkTo = Annotated[Path | None, Parameter(help="As --copy-to, with symbolic links, which take no space.")]
Batch = Annotated[int | None, help_of(Settings, "batch"), at_least(1)]
Wait = Annotated[bool, Parameter(help="If another process works on the same output, wait for it.")]
Quiet = Annotated[bool, Parameter(help="Print warnings and errors only.")]


def is_file(path: str | Path) -> bool:
    """Return whether there is such a file; what no file can be called is none."""
    try:
        return Path(path).is_file()
    except OSError:  # too long a name, say: whoever reads it says so
        return False


def only_one(options: dict[str, Any]) -> str:
    """Return the one option of several that was given.

    Raises:
        InputError: none was given, or more than one.
    """
    given, names = [name for name, value in options.items() if value is not None and value is not False], list(options)
    if len(given) != 1:
        raise InputError(f"give one of {', '.join(names[:-1])} and {names[-1]}, got {' and '.join(given) or 'none'}.")
    return given[0]


def folders_of(copy_to: Path | None, link_to: Path | None) -> dict[Path, Literal["copy", "link"]]:
    """Return the folders to write, and how."""
    if copy_to is not None and copy_to == link_to:
        raise invalid("link_to", "be another folder than --copy-to", str(link_to))
    folders: dict[Path, Literal["copy", "link"]] = {}
    folders |= {} if copy_to is None else {copy_to: "copy"}
    return folders | ({} if link_to is None else {link_to: "link"})


def _belongs(path: Path, folder: Path) -> bool:
    """Return whether the manifest of a run or study in `folder` has `path`."""
    from dataprune import store

    for name in MANIFESTS:
        try:
            manifest = store.read_json(folder / name) if (folder / name).is_file() else None
        except StoreError:
            continue
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if isinstance(files, dict) and path.absolute().relative_to(folder).as_posix() in files:
            return True
    return False
