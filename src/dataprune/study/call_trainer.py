"""What a function that trains a trial is given, and how it is called in a process of its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune import plugins


@dataclass(frozen=True)
class TrainingRequest:
    """What a function that trains a trial is given.

    Attributes:
        ids, rows: of the training examples that it may use; `test` and `validation` are ids, empty where the study has none.
        budget: passes over these examples, 0 where none is asked for.
        out: a folder of its own, for whatever it writes.
    """

    ids: list[str]
    rows: list[int]
    test: list[str]
    validation: list[str]
    seed: int
    budget: float
    out: Path


def main(path: str) -> None:
    """Read the request, call, and write the result: an object of JSON, or one number."""
    asked: dict[str, str] = json.loads(Path(path).read_text())
    ids, rows, test, validation = (_lines(asked.get(name)) for name in ("ids", "rows", "test", "validation"))
    seed, budget, out = int(asked["seed"]), float(asked["budget"]), Path(asked["out"])
    request = TrainingRequest(ids, list(map(int, rows)), test, validation, seed, budget, out)
    result = plugins.load(asked["function"])(request)
    written = result if isinstance(result, dict) else {asked["metric"]: result}
    Path(asked["result"]).write_text(json.dumps(written, default=_plain))


def _lines(path: str | None) -> list[str]:
    return [] if path is None else Path(path).read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]


def _plain(value: Any) -> Any:
    return value.tolist()  # of arrays and their numbers
