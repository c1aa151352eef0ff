"""Which function does `"module:function"` name, and what does it give?"""

import importlib
from collections.abc import Callable
from typing import Any

from dataprune.errors import DatapruneError, InputError, invalid


def load(name: str) -> Callable[..., Any]:
    """Import the function (or class) that `name` points at.

    Args:
        name: `"package.module:function"`; dots after the colon reach into classes.

    Raises:
        InputError: `name` has no colon, the module is not found or fails on import, the attribute is missing or not callable.

    Example:
        >>> load("math:hypot")(3.0, 4.0)
        5.0
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise invalid("name", "read module:function", repr(name))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        cure = "Install it or put its folder on PYTHONPATH."
        raise InputError(f"'{name}': there is no module '{error.name}'. {cure}") from error
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
    """Call the function that `name` points at.

    Raises:
        InputError: there is none, or it failed; the message names it and what it raised.
    """
    function = load(name)
    try:
        return function(*arguments)
    except DatapruneError:
        raise
    except Exception as error:  # somebody else's function may fail in any way
        raise InputError(f"'{name}' failed with {type(error).__name__}: {' '.join(str(error).split())}") from error
