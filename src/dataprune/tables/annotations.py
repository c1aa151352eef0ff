"""Labels in JSON as FiftyOne and Label Studio write and read it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dataprune.errors import invalid, join_some
from dataprune.tables.files import reading, regular, unicode_text

LABELS = ("label", "ground_truth", "choice")  # what the labels are mostly called in such files
_LOCAL = "/data/local-files/?d="  # how Label Studio names files below its document root
_UPLOADED = re.compile(r"/data/upload/.*?([0-9a-f]{8}-)?([^/]+)")  # with what it puts before the name of an uploaded file
_FORMATS = "labels.json or samples.json of FiftyOne, or tasks of Label Studio"

Columns = dict[str, list[str]]


def read_annotations(path: Path) -> Columns:
    """Read the names of pictures, first, and what is said of them; pictures of which nothing is said are left out. Another kind of
    file, or several labels of one picture, are an InputError."""
    with reading(regular(path), "JSON file in UTF-8", AttributeError, TypeError):  # of a value that is of another kind
        found = json.loads(path.read_text("utf-8-sig"))
        if isinstance(found, dict) and isinstance(found.get("labels"), dict):
            names = found.get("classes") or ()
            rows = [{"filepath": str(key), "label": _named(target, names, path)} for key, target in found["labels"].items()]
        elif isinstance(found, dict) and isinstance(found.get("samples"), list):
            rows = [_sample(one, path) for one in found["samples"]]
        elif isinstance(found, list) and all(isinstance(one, dict) for one in found):
            rows = [_task(one, path) for one in found]
        else:
            raise invalid(str(path), f"be {_FORMATS}", f"a JSON {type(found).__name__} of another kind")
    rows = [row for row in rows if any(value is not None for value in list(row.values())[1:])]
    if not rows:
        raise invalid(str(path), "hold a label", "none")
    fields = dict.fromkeys(unicode_text(field, str(path)) for row in rows for field in row)
    return {field: [unicode_text(row.get(field) or "", str(path)) for row in rows] for field in fields}


def fiftyone_labels(labels: Mapping[str, int], classes: Sequence[str]) -> dict[str, Any]:
    """Return labels by id as `FiftyOneImageClassificationDataset` reads them: by paths without endings."""
    stem_of = {name: str(PurePosixPath(name).with_suffix("")) for name in labels}
    if twice := [name for name, count in Counter(stem_of.values()).items() if count > 1]:
        twice = [name for name in labels if stem_of[name] == twice[0]]
        raise invalid("fiftyone", "name each picture once: it reads names without endings", join_some(twice[:2]))
    return {"classes": list(classes), "labels": {stem_of[name]: label for name, label in labels.items()}}


def label_studio_task(name: str, about: Mapping[str, object], suggested: str, score: float, decided: str | None) -> dict[str, Any]:
    """Return a task with a suggested label as a prediction, and as an annotation what a person decided, if that is a label."""

    def choice(label: str) -> dict[str, Any]:
        return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}

    annotations = [] if decided is None else [{"result": [choice(decided)]}]
    predictions = [{"model_version": "dataprune", "score": score, "result": [choice(suggested)]}]
    return {"data": {"image": _LOCAL + quote(name), **about}, "predictions": predictions, "annotations": annotations}


def _named(target: Any, classes: Sequence[Any], path: Path) -> str | None:
    target = target.get("label") if isinstance(target, dict) else target
    if isinstance(target, list):
        target = _only(target, "a picture", path)
    if isinstance(target, int) and classes:
        if not 0 <= target < len(classes):
            raise invalid(str(path), f"hold indices of its {len(classes)} classes", target)
        target = classes[target]
    return None if target is None else str(target)


def _only(labels: Iterable[Any], what: str, path: Path) -> str | None:
    different = list(dict.fromkeys(str(label) for label in labels))
    if len(different) > 1:
        raise invalid("labels", f"be one for {what} (multi-label data cannot be read)", f"{join_some(different)} in {path}")
    return different[0] if different else None


def _sample(sample: Any, path: Path) -> dict[str, str | None]:
    if not isinstance(sample, dict) or not isinstance(sample.get("filepath"), str):
        raise invalid(str(path), "name a file in each sample", repr(sample)[:60])
    said = {field: value for field, value in sample.items() if isinstance(value, dict) and value.get("_cls") == "Classification"}
    return {"filepath": sample["filepath"]} | {field: _named(value, (), path) for field, value in said.items()}


def _task(task: dict[str, Any], path: Path) -> dict[str, str | None]:
    """Return what a task of Label Studio is about, and its choices by the name of their control; also of its short form."""
    data = task.get("data", task)
    texts = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    key = "image" if "image" in texts else next((key for key, value in texts.items() if "/" in value), None)
    if key is None:
        raise invalid(str(path), f"be {_FORMATS}", f"an entry without a picture: {repr(task)[:60]}")
    name = texts[key]  # an address, an uploaded file, or one below the root of Label Studio
    path_of = unquote(name.partition("?d=")[2]) if "?d=" in name else unquote(urlsplit(name).path) if "://" in name else name
    uploaded = None if "?d=" in name else _UPLOADED.fullmatch(path_of)
    found: dict[str, str | None] = {"image": path_of if uploaded is None else uploaded[2]}
    if data is task:
        return found | {field: value for field, value in texts.items() if field != key}
    said: dict[str, list[str]] = {}
    for annotation in task.get("annotations") or ():
        for one in () if annotation.get("was_cancelled") else annotation.get("result") or ():
            if one.get("type") == "choices":
                said.setdefault(str(one.get("from_name")), []).extend(one["value"]["choices"])
    return found | {field: _only(choices, texts[key], path) for field, choices in said.items()}
