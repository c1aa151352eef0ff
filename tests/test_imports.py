"""Rules that the import contract in pyproject.toml cannot say. Each gives its faults, and is shown one that it must see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "dataprune"
HOMES = {
    "ray": {"workers"},
    "cloudpickle": {"workers"},
    "loky": {"workers"},
    "filelock": {"store"},
    "safetensors": {"store"},
    "platformdirs": {"data"},
    "pyarrow": {"tables", "data"},
    "simplejpeg": {"data"},
    "datasets": {"data"},
    "PIL": {"data", "encoders"},
    "matplotlib": {"report", "notebook"},  # there as a type only
    "rich": {"cli"},
    "transformers": {"integrations"},
    "lightning": {"integrations"},
    "accelerate": {"integrations"},
}
SLOW = {"torch", "sklearn", "scipy", "matplotlib"}  # imported inside functions, so that `prune` and --help do not wait for them
MOST_LINES = 500
DRAWERS = {"utils", "util", "helpers", "common", "misc"}
SEEDING = {("torch", "manual_seed"), ("torch", "seed"), ("cuda", "manual_seed_all"), ("random", "seed"), ("random", "setstate")}


def imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.lineno, child.module or ""


def run_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when a module is imported: no bodies of functions, nothing that is for the type checker only."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from run_on_import(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            for part in ("body", "orelse", "finalbody"):
                yield from run_on_import(getattr(node, part, []))
        else:
            yield node


def homes(name: str, tree: ast.Module) -> list[str]:
    """A third party keeps to its room."""
    room = name.split(".")[0]
    return [f"{name}:{line} {what}" for line, what in imported(tree) if room not in HOMES.get(what.split(".")[0], {room})]


def slow_inside(name: str, tree: ast.Module) -> list[str]:
    """Slow libraries are imported inside functions; only training, here and elsewhere, and encoders' networks are about torch."""
    slow = SLOW - {"torch"} if name.startswith(("training", "integrations", "encoders.efficientnet", "encoders.pictures")) else SLOW
    found = (pair for node in run_on_import(tree.body) if isinstance(node, ast.Import | ast.ImportFrom) for pair in imported(node))
    return [f"{name}:{line} {what}" for line, what in found if what.split(".")[0] in slow]


def no_global_seed(name: str, tree: ast.Module) -> list[str]:
    """No global generator is seeded; `training.fit` may seed torch's inside a fork of it, and a clean pass puts back what was."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    paths = [(call.lineno, ast.unparse(call).split(".")) for call in calls]
    forks = any(path[-1] == "fork_rng" for _, path in paths) and name == "training.fit"
    if name == "integrations.clean_pass":
        paths = [(line, path) for line, path in paths if path != ["random", "setstate"]]
    return [f"{name}:{line} {path}" for line, path in paths if tuple(path[-2:]) in SEEDING and not (forks and path[0] == "torch")]


def reads_no_file(name: str, tree: ast.Module) -> list[str]:
    """The core opens no file."""
    if name.split(".")[0] not in ("noise", "selection", "scores", "clustering", "trace"):
        return []
    return [f"{name}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "open"]


def named_and_described(name: str, tree: ast.Module) -> list[str]:
    """A file is named for what it holds, and says it."""
    drawers = [part for part in name.split(".") if part.strip("_") in DRAWERS]
    return drawers + ([] if ast.get_docstring(tree) else [f"{name} has no docstring"])


RULES = (homes, slow_inside, no_global_seed, reads_no_file, named_and_described)
SEEN = [
    (homes, "study.trial", "def f():\n    import ray.util"),
    (slow_inside, "trace.record", "try:\n    import torch\nexcept ImportError:\n    pass"),
    (slow_inside, "scores.a", "class A:\n    from sklearn.cluster import KMeans"),
    (no_global_seed, "training.models", "with torch.random.fork_rng():\n    torch.manual_seed(0)"),
    (no_global_seed, "data.a", "np.random.seed(0)"),
    (reads_no_file, "scores.a", "def f():\n    open('a')"),
    (named_and_described, "data.utils", "'''Pixels.'''"),
    (named_and_described, "store.a", "import os"),
]


def test_the_package_keeps_the_rules():
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 50
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths]
    trees = [(name, ast.parse(path.read_text(encoding="utf-8"))) for name, path in zip(names, paths, strict=True)]
    assert [f"{rule.__name__}: {fault}" for rule in RULES for name, tree in trees for fault in rule(name, tree)] == []


@pytest.mark.parametrize(("rule", "name", "text"), SEEN)
def test_a_rule_sees_what_breaks_it(rule, name, text):
    assert rule(name, ast.parse(text))
    assert {rule for rule, _, _ in SEEN} == set(RULES)


def test_files_stay_small():
    paths = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert [str(path) for path in paths if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES] == []
