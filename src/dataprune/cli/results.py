"""With --json: results as plain data, printed as one object in place of lines."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from dataprune.cli import lines

NAMED = ("label", "other_label")  # columns whose class indices become names
KINDS = {1: "work", 2: "input", 3: "store", 4: "machine"}  # of errors, by exit code; also internal and interrupted


@dataclass(frozen=True)
class Ended:
    """What a command came to that ends with another exit code than 0."""

    result: object
    exit_code: int


def take_json(words: Sequence[str]) -> tuple[list[str], bool]:
    """Take --json out of a command line, up to a `--`; return the other words, and whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    return [word for at, word in enumerate(words) if word != "--json" or at >= end], "--json" in words[:end]


def finish(command: str, result: object) -> int:
    """Print the object of a command that has ended, where one is asked for; return the exit code."""
    ended = result if isinstance(result, Ended) else Ended(result, 0)
    if lines.collected is not None:
        _print({"command": command, "exit_code": ended.exit_code, "result": plain(ended.result)})
    return ended.exit_code


def fail(line: str, exit_code: int, kind: str = "") -> int:
    """Print the one line, or the object, of a command that has failed; return the exit code."""
    if lines.collected is None:
        lines.complain(line)
    else:
        _print({"exit_code": exit_code, "error": {"kind": kind or KINDS[exit_code], "message": line}})
    return exit_code


def _print(said: dict[str, Any]) -> None:
    assert lines.collected is not None
    lines.write_out(json.dumps(said | asdict(lines.collected), allow_nan=False))


def plain(value: object) -> Any:
    """Turn a result into what JSON holds.

    A record becomes an object of its fields, and `text` where it has words of its own. What has arrays and is a table has `rows`
    in their place, an object each. A number that is not finite is null, a path is text.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy
        return plain(value.tolist())
    if not is_dataclass(value):
        return str(value)
    held = {one.name: getattr(value, one.name) for one in fields(value)}
    arrays = [name for name, one in held.items() if hasattr(one, "tolist")]
    if arrays and hasattr(value, "_columns"):
        rows = rows_of(value._columns(), held.get("classes", ()))
        held = {name: one for name, one in held.items() if name not in arrays} | {"rows": rows}
    words = {} if type(value).__str__ is object.__str__ else {"text": str(value)}
    return {name: plain(one) for name, one in held.items()} | words


def rows_of(columns: Mapping[str, Any], classes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of a table; class indices become names, no class becomes none."""
    cells = [_named(name, column.tolist(), classes) for name, column in columns.items()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]


def _named(name: str, cells: list[Any], classes: Sequence[str]) -> list[Any]:
    if name not in NAMED or not classes:
        return cells
    return [cell if isinstance(cell, str) else classes[cell] if cell >= 0 else None for cell in cells]
