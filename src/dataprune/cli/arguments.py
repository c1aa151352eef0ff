"""What of a command line is refused before any of it is understood?"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dataprune.errors import StoreError, invalid

WRITTEN = ("--out", "--plot")
MANIFESTS = ("run.json", "study.json")
DEEPEST = 4  # study/run/trace/FILE


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what no command can mean.

    Raises:
        InputError: an argument is empty, which as a path would mean the current folder (`--out "$UNSET"` would write there); or a
            file to write is read by the same command, or belongs to a run or a study, and would be lost.
    """
    values = list(_values(arguments))
    for name, value in values:
        if not value:
            raise invalid(name, "not be empty", "nothing", "Is a variable of the shell not set? Leave out what is not needed.")
    written = (*WRITTEN, "--probabilities") if "export" in arguments[:1] else WRITTEN
    for name, value in values:
        if name in written and _is_file(value):
            read = (other for other_name, other in values if other_name not in written)
            _check_written(name, Path(value), read)


def _check_written(name: str, path: Path, read: Iterator[str]) -> None:
    if any(path.samefile(one) for other in read for one in (other, other.rpartition(":")[0]) if _is_file(one)):
        raise invalid(name, "be another file than those that are read", str(path), "It would be lost: name another file.")
    for folder in path.absolute().parents[:DEEPEST]:
        if _belongs(path, folder):
            raise invalid(name, f"be no file of {folder}", str(path), "It would be damaged: name another file.")


def _values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each argument that is no option, with the option before it, if there is one."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.startswith("--"):
            yield (before if before.startswith("--") and "=" not in before else "argument"), argument
        elif "=" in argument:
            name, _, value = argument.partition("=")
            yield name, value


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long a name, say: told by who reads it
        return False


def _belongs(path: Path, folder: Path) -> bool:
    """Return whether the manifest of a run or study in `folder` has `path`."""
    from dataprune import store

    for name in MANIFESTS:
        try:
            told = store.read_json(folder / name) if (folder / name).is_file() else None
        except StoreError:
            continue
        files = told.get("files") if isinstance(told, dict) else None
        if isinstance(files, dict) and path.absolute().relative_to(folder).as_posix() in files:
            return True
    return False
