"""Who may import whom, which library belongs where, and the other rules of the house that a parser can see.

Each rule takes one module and gives its faults in words; each is shown a module that breaks it, so that it can fail.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "dataprune"

# From top to bottom; a room imports what is below its line, never above. Rooms of one line do not import each other.
LINES = (
    ("__init__", "__main__"),
    ("cli",),
    ("report",),
    ("study",),
    ("run",),
    ("training", "noise", "selection"),
    ("scores",),
    ("kmeans",),
    ("trace", "data"),
    ("workers", "store"),
    ("tables",),
    ("plugins", "streams"),
    ("errors",),
)
DEPTH = {room: depth for depth, rooms in enumerate(LINES) for room in rooms}

HOMES = {
    "ray": {"workers"},
    "cloudpickle": {"workers"},
    "filelock": {"store"},
    "safetensors": {"store"},
    "platformdirs": {"data"},
    "pyarrow": {"tables", "data"},
    "simplejpeg": {"data"},
    "datasets": {"data"},
    "PIL": {"data"},
    "matplotlib": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
}
# Only training is about torch; the others reach for it inside a function, so that `prune` does not wait for its import.
TORCH_AT_THE_TOP = {"training"}
# Arrays in, arrays out: no files, no back end. Of the trace, `member` alone knows how one lies in a file.
CORE = {"noise", "selection", "scores", "kmeans", "trace"}
SHELL = {"run", "training", "data", "workers", "store", "tables"}
MOST_LINES = 500
DRAWERS = {"utils", "util", "helpers", "common", "misc"}
SEEDING = {
    "torch": {"manual_seed", "seed", "set_rng_state"},
    "cuda": {"manual_seed", "manual_seed_all"},
    "random": {"seed", "setstate", "manual_seed"},
}


@dataclass(frozen=True)
class Module:
    """A module of the package: `name` is dotted and without the package's own."""

    name: str
    text: str

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


@cache
def modules() -> list[Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [Module(".".join(path.relative_to(PACKAGE).with_suffix("").parts), path.read_text(encoding="utf-8")) for path in paths]


def imports(node: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every import below a node as (statement, dotted name of what is imported)."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from ((child, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((child, f"{'.' * child.level}{child.module or ''}.{alias.name}") for alias in child.names)


def executed_on_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements that run when a module is imported: not the bodies of functions, not those for the type checker."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            waiting += list(ast.iter_child_nodes(node))
        yield node


def order(module: Module) -> list[str]:
    """A room imports only rooms on lower lines, by their full names."""
    if module.room not in DEPTH:
        return [f"{module.name} is in no room: give it a line in LINES and in docs/design.md"]
    faults = []
    for statement, name in imports(module.tree):
        where = f"{module.name}:{statement.lineno}"
        if name.startswith("."):
            faults.append(f"{where} imports relatively: {name}")
            continue
        package, _, rest = name.partition(".")
        if package != "dataprune":
            continue
        room = rest.split(".")[0] or "__init__"
        if room not in DEPTH:
            faults.append(f"{where} imports `{room}` from the package's front, or from no room")
        elif room != module.room and DEPTH[room] <= DEPTH[module.room]:
            faults.append(f"{where} {module.room} imports {room}, which is not below it")
    return faults


def homes(module: Module) -> list[str]:
    """A third party keeps to its room."""
    found = [(statement.lineno, name.split(".")[0]) for statement, name in imports(module.tree)]
    return [
        f"{module.name}:{line} {name} belongs in {HOMES[name]}"
        for line, name in found
        if module.room not in HOMES.get(name, {module.room})
    ]


def torch_inside(module: Module) -> list[str]:
    """Torch is imported inside functions, outside of training."""
    if module.room in TORCH_AT_THE_TOP:
        return []
    found = {
        statement.lineno
        for node in executed_on_import(module.tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for statement, name in imports(node)
        if name.split(".")[0] in ("torch", "sklearn", "matplotlib")
    }
    return [f"{module.name}:{line} imports a slow library when it is imported itself" for line in sorted(found)]


def core(module: Module) -> list[str]:
    """The core opens no file and knows no back end."""
    if module.room not in CORE or module.name == "trace.member":
        return []
    faults = []
    for statement, name in imports(module.tree):
        package, _, rest = name.partition(".")
        if package == "dataprune" and rest.split(".")[0] in SHELL:
            faults.append(f"{module.name}:{statement.lineno} the core imports {rest}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            faults.append(f"{module.name}:{node.lineno} the core opens a file")
    return faults


def silent(module: Module) -> list[str]:
    """Only the command line prints."""
    if module.room in ("cli", "__main__"):
        return []
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    return [f"{module.name}:{call.lineno} prints" for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def no_global_seed(module: Module) -> list[str]:
    """No global generator is seeded; `training.fit` may seed torch's inside a fork of it."""
    faults = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module in SEEDING | {"numpy.random": ()}:
            faults += [f"{module.name}:{node.lineno} imports {a.name} from {node.module}" for a in node.names if "seed" in a.name]
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called = ast.unparse(node.func).split(".")
        owner = called[-2] if len(called) > 1 else ""
        forked = called == ["torch", "manual_seed"] and module.name == "training.fit" and "fork_rng" in module.text
        if called[-1] in SEEDING.get(owner, ()) and not forked:
            faults.append(f"{module.name}:{node.lineno} sets a global seed: {'.'.join(called)}")
    return faults


def size(module: Module) -> list[str]:
    """Files stay small."""
    n_lines = len(module.text.splitlines())
    return [f"{module.name} has {n_lines} lines, more than {MOST_LINES}"] if n_lines > MOST_LINES else []


def named(module: Module) -> list[str]:
    """A module is named for what it holds."""
    return [f"{module.name} is a drawer" for part in module.name.split(".") if part.strip("_") in DRAWERS]


def described(module: Module) -> list[str]:
    """Every module says which question it answers."""
    return [] if ast.get_docstring(module.tree) else [f"{module.name} has no docstring"]


Rule = Callable[[Module], list[str]]
RULES: tuple[Rule, ...] = (order, homes, torch_inside, core, silent, no_global_seed, size, named, described)

BROKEN = [
    (order, "trace", "from dataprune.scores import el2n"),
    (order, "training.fit", "from dataprune.selection import select"),
    (order, "noise", "def f():\n    from dataprune import training"),
    (order, "data.cache", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dataprune.run import Run"),
    (order, "scores.table", "from .score import Score"),
    (order, "scores.table", "from dataprune import read"),
    (order, "run.score", "import dataprune"),
    (order, "helpers", "import os"),
    (homes, "study.trials", "def f():\n    import ray.util"),
    (homes, "run.kept", "from PIL import Image"),
    (homes, "data.cache", "import safetensors.numpy"),
    (homes, "store", "import rich"),
    (torch_inside, "trace.record", "import torch"),
    (torch_inside, "data.dataset", "try:\n    from torch.utils.data import Dataset\nexcept ImportError:\n    pass"),
    (torch_inside, "scores", "class A:\n    import torch.nn"),
    (torch_inside, "cli", "import matplotlib.pyplot"),
    (core, "scores.geometry", "from dataprune.data import read"),
    (core, "selection.select", "def f():\n    open('a')"),
    (silent, "run.score", "def f():\n    print('done')"),
    (no_global_seed, "training.fit", "torch.manual_seed(0)"),
    (no_global_seed, "training.models", "with torch.random.fork_rng():\n    torch.manual_seed(0)"),
    (no_global_seed, "training.fit", "fork_rng\ntorch.cuda.manual_seed_all(0)"),
    (no_global_seed, "data", "np.random.seed(0)"),
    (no_global_seed, "data", "import random\nrandom.seed(0)"),
    (no_global_seed, "data", "from numpy.random import seed"),
    (size, "store", "x = 1\n" * (MOST_LINES + 1)),
    (named, "data.utils", ""),
    (named, "common.pixels", ""),
    (described, "store", "import os"),
]
SOUND = [
    (order, "run.score", "from dataprune.trace import Trace\nfrom dataprune import store\nfrom dataprune.run.run import Run"),
    (order, "__init__", "from dataprune.run import score"),
    (homes, "data.decode", "from PIL import Image\nimport numpy as np"),
    (
        torch_inside,
        "trace.record",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import torch",
    ),
    (core, "scores.table", "from dataprune.errors import must\nfrom dataprune.trace import Trace"),
    (silent, "cli.commands", "print('done')"),
    (no_global_seed, "training.fit", "with torch.random.fork_rng():\n    torch.manual_seed(0)"),
    (no_global_seed, "selection.kept", "torch.Generator().manual_seed(3)\nrng.manual_seed(3)"),
    (size, "store", "x = 1\n" * MOST_LINES),
    (described, "store", '"""What lies on disk?"""'),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_package_keeps_the_rule(rule: Rule) -> None:
    assert [fault for module in modules() for fault in rule(module)] == []


def test_no_file_of_the_tests_is_longer_either() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    assert [fault for path in paths for fault in size(Module(path.stem, path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(("rule", "name", "text"), BROKEN)
def test_rule_sees_what_breaks_it(rule: Rule, name: str, text: str) -> None:
    assert rule(Module(name, text))


@pytest.mark.parametrize(("rule", "name", "text"), SOUND)
def test_rule_lets_sound_code_pass(rule: Rule, name: str, text: str) -> None:
    assert rule(Module(name, text)) == []


def test_package_is_found_and_every_rule_has_a_broken_example() -> None:
    assert {"errors", "trace.trace", "training.fit"} <= {module.name for module in modules()}
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


def test_lines_are_those_of_the_design() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    drawn = re.search(r"^cli → .*$", text, re.MULTILINE)
    assert drawn, "docs/design.md draws no rooms"
    assert re.findall(r"\w+", drawn.group()) == [room for rooms in LINES[1:] for room in rooms]
