"""Prints what dataprune needs and this Python lacks, a line each, and notes dataprune's own version in .gpu-site (see gpu.sh).

Knows no third package: it runs before they are there. What a needed package needs in turn is asked for too.
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / ".gpu-site" / "packages"
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def lacking(wanted: list[str]) -> list[str]:
    """Return the requirements that are not installed, and of those that are, what they lack in turn; versions are not judged."""
    found, seen, left = [], set(), list(wanted)
    while left:
        one = left.pop()
        match = NAME.match(one)
        if match is None or match[0].lower() in seen or ("extra ==" in one) or _is_for_others(one):
            continue
        seen.add(match[0].lower())
        try:
            version(match[0])
        except PackageNotFoundError:
            found.append(one.split(";")[0].strip())
        else:
            left += requires(match[0]) or []
    return sorted(found)


def _is_for_others(requirement: str) -> bool:
    """Return whether a requirement has a condition: what is here works, so its conditions hold or are not wanted."""
    return ";" in requirement


def note_version(project: dict[str, str]) -> None:
    """Let `importlib.metadata` find dataprune's version where it runs from its sources."""
    try:
        version(project["name"])
    except PackageNotFoundError:
        folder = SITE / f"{project['name']}-{project['version']}.dist-info"
        folder.mkdir(parents=True, exist_ok=True)
        text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (folder / "METADATA").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    note_version(project)
    for one in lacking(project["dependencies"]):
        print(one)
