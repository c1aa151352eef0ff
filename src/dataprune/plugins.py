"""Code of the user's own, named as `"module:function"` wherever a name is taken."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dataprune.errors import DatapruneError, InputError, invalid, unknown_choice

Kind = TypeVar("Kind")


def load(name: str) -> Callable[..., Any]:
    """Import the function (or class) `"package.module:function"`; dots after the colon reach into classes."""
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise invalid("name", "read module:function", repr(name))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"'{name}': there is no module '{error.name}'. Is it installed, or on PYTHONPATH?") from error
    except Exception as error:  # somebody else's module may fail in any way
        raise InputError(f"'{name}': importing {module_name} failed with {type(error).__name__}: {error}.") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise InputError(f"'{name}': {module_name} has no '{path}'. Check the spelling after the colon.")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"'{name}' is a {type(found).__name__}, not a function. Name something that can be called.")
    return found  # type: ignore[no-any-return]


def call(name: str, *arguments: object) -> Any:
    """Call the function `"package.module:function"`; where it fails, the error names it and what it raised."""
    function = load(name)
    try:
        return function(*arguments)
    except DatapruneError:
        raise
    except Exception as error:  # somebody else's function may fail in any way
        raise InputError(f"'{name}' failed with {type(error).__name__}: {' '.join(str(error).split())}") from error


def named(what: str, name: str, table: Mapping[str, Kind], kind: type[Kind]) -> Kind:
    """Look a name up, or call `"module:function"`, which must return one of the kind."""
    if ":" in name:
        made = call(name)
        if not isinstance(made, kind):
            raise invalid(what, f"be a function that returns a {kind.__name__}", f"{type(made).__name__} from {name}")
        return made
    if name not in table:
        raise unknown_choice(what, name, table)
    return table[name]
