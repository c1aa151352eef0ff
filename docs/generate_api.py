"""Writes docs/api.md from the docstrings of the public names: `make api`. A test compares the two."""

import ast
import inspect
import textwrap
from functools import cached_property
from pathlib import Path
from types import ModuleType

WIDTH = 120
HEADER = """\
# API

The public names of `import dataprune as dp`, each with its first line; `help(dp.NAME)` tells arguments, units, ranges and errors.
Public too: the callbacks in `dataprune.integrations`, see [recorder.md](recorder.md). Everything else is internal and may change.
Written by `make api`: change the docstrings, not this page.
"""


def page(package: ModuleType) -> str:
    """Give the page for a package, its names sorted."""
    return "\n".join([HEADER, *(_entry(name, getattr(package, name)) for name in sorted(package.__all__))])


def _entry(name: str, found: object) -> str:
    if inspect.isclass(found):
        return _class(name, found)
    if inspect.isfunction(found):
        return f"## {name}\n\n{_first_line(found)}\n\n```text\n{_call(name, found)}\n```\n"
    if isinstance(found, dict):
        return f"## {name}\n\nA table by name: {', '.join(f'`{key}`' for key in found)}.\n"
    assert name == "__version__", f"say here what {name} is"
    return f"## {name}\n\nThe installed version, a string.\n"


def _class(name: str, found: type) -> str:
    lines = [f"## {name}\n\n{_first_line(found)}\n"]
    fields = [field for field in getattr(found, "__dataclass_fields__", {}) if not field.startswith("_")]
    if fields:
        lines.append(f"Fields: {', '.join(f'`{field}`' for field in fields)}.\n")
    elif "__init__" in vars(found):
        lines.append(f"```text\n{_call(name, found.__init__)}\n```\n")
    rows = []
    bases = [base for base in reversed(found.__mro__) if base.__module__.startswith("dataprune")]
    for attribute, value in {name: value for base in bases for name, value in vars(base).items()}.items():
        if attribute.startswith("_") or not _is_ours(value):
            continue
        function = value.fget if isinstance(value, property) else getattr(value, "func", getattr(value, "__func__", value))
        is_value = isinstance(value, property | cached_property)
        shown = attribute if is_value else f"{attribute}({', '.join(_arguments(function, with_types=False))})"
        rows.append(f"- `{shown}`: {_first_line(function)}")
    return "\n".join([*lines, *rows]) + ("\n" if rows else "")


def _is_ours(value: object) -> bool:
    return isinstance(value, property | cached_property | classmethod | staticmethod) or inspect.isfunction(value)


def _first_line(found: object) -> str:
    return (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ")


def _call(name: str, function: object) -> str:
    returns = _unquoted(_source(function).returns)
    tail = f" -> {ast.unparse(returns)}" if returns and not isinstance(returns, ast.Constant) else ""
    arguments = _arguments(function)
    line = f"{name}({', '.join(arguments)}){tail}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){tail}"])


def _arguments(function: object, with_types: bool = True) -> list[str]:
    """Give the arguments as they are written in the source: shapes read better there than as objects."""
    given = _source(function).args
    places = [argument for argument in (*given.posonlyargs, *given.args) if argument.arg not in ("self", "cls")]
    defaults = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    shown = [_argument(*pair, with_types) for pair in zip(places, defaults, strict=True)]
    if given.kwonlyargs:
        shown += ["*", *(_argument(*pair, with_types) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True))]
    return shown


def _argument(argument: ast.arg, default: ast.expr | None, with_type: bool) -> str:
    annotation = _unquoted(argument.annotation) if with_type else None
    shown = argument.arg + (f": {ast.unparse(annotation)}" if annotation else "")
    equals = " = " if annotation else "="
    return shown + (equals + ast.unparse(default).replace("'", '"') if default else "")


def _source(function: object) -> ast.FunctionDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]  # type: ignore[arg-type]
    assert isinstance(node, ast.FunctionDef)
    return node


def _unquoted(annotation: ast.expr | None) -> ast.expr | None:
    """Take the quotes off an annotation that is a text as a whole: a name for the type checker only."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


if __name__ == "__main__":
    import dataprune

    Path(__file__).with_name("api.md").write_text(page(dataprune), encoding="utf-8")
