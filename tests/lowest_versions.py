"""Prints pip constraints that hold every declared dependency but torch at the lowest version that pyproject.toml allows.

    python tests/lowest_versions.py > constraints.txt        (make test-lowest)

torch is left out: its builds differ by machine, and its lowest version is in the compatibility promise of nobody else.
"""

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("huggingface", "tensorboard")
LOWEST = re.compile(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9][0-9.]*)")


def lowest(pyproject: str) -> list[str]:
    """Return `name==version` for each dependency of the core and of the extras that the default tests use.

    Example:
        >>> lowest('[project]\\ndependencies = ["torch>=2.10,<3", "numpy>=2.0"]')
        ['numpy==2.0']
    """
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {})
    declared = [*project["dependencies"], *(one for extra in EXTRAS for one in extras.get(extra, ()))]
    found = []
    for one in declared:
        match = LOWEST.match(one)
        if match is None:
            raise ValueError(f"pyproject.toml: {one!r} has no lowest version")
        if match[1] != "torch":
            found.append(f"{match[1]}=={match[2]}")
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))) + "\n")
