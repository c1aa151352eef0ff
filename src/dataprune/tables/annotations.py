"""Labels in JSON as FiftyOne and Label Studio write and read it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dataprune.errors import invalid, join_some
from dataprune.tables.files import reading, regular

LABELS = ("label", "ground_truth", "choice")  # what the labels are mostly called in such files
_LOCAL = "/data/local-files/?d="  # how Label Studio names files below its document root
_UPLOADED = re.compile(r"/data/upload/.*?([0-9a-f]{8}-)?([^/]+)")  # with what it puts before the name of an uploaded file
_FORMATS = "labels.json or samples.json of FiftyOne, or tasks of Label Studio"

Columns = dict[str, list[str]]


def read_annotations(path: Path) -> Columns:
    """Read the names of pictures, first, and what is said of them; pictures of which nothing is said are left out.

    Raises:
        InputError: another kind of file, or several labels of one picture.
    """
    with reading(regular(path), "JSON file in UTF-8"):
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
    fields = dict.fromkeys(field for row in rows for field in row)
    return {field: [row.get(field) or "" for row in rows] for field in fields}


def fiftyone_labels(labels: Mapping[str, int], classes: Sequence[str]) -> dict[str, Any]:
    """Return labels by id as `FiftyOneImageClassificationDataset` reads them: by paths without endings."""
    stems = {_stem(name): label for name, label in labels.items()}
    if len(stems) < len(labels):
        twice = [name for name in labels if sum(_stem(other) == _stem(name) for other in labels) > 1][:2]
        raise invalid("fiftyone", "name each picture once: it reads names without endings", join_some(twice))
    return {"classes": list(classes), "labels": stems}


def label_studio_task(name: str, about: Mapping[str, object], suggested: str, score: float, decided: str | None) -> dict[str, Any]:
    """Return a task with a suggested label as a prediction, and as an annotation what a person decided, if that is a label."""
    annotations = [] if decided is None else [{"result": [_choice(decided)]}]
    predictions = [{"model_version": "dataprune", "score": score, "result": [_choice(suggested)]}]
    return {"data": {"image": _LOCAL + quote(name), **about}, "predictions": predictions, "annotations": annotations}


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _named(target: Any, classes: Sequence[Any], path: Path) -> str | None:
    """Return the name of a label: a text, an index of the classes, or an object with a label."""
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
    """Return the path of a sample of FiftyOne, and each of its classifications."""
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
    found: dict[str, str | None] = {"image": _file(texts[key])}
    if data is task:
        return found | {field: value for field, value in texts.items() if field != key}
    said: dict[str, list[str]] = {}
    for annotation in task.get("annotations") or ():
        for one in () if annotation.get("was_cancelled") else annotation.get("result") or ():
            if one.get("type") == "choices":
                said.setdefault(str(one.get("from_name")), []).extend(one["value"]["choices"])
    return found | {field: _only(choices, texts[key], path) for field, choices in said.items()}


def _file(text: str) -> str:
    """Return the path of a picture in what Label Studio calls it: an address, an uploaded file, or one below its root."""
    if "?d=" in text:
        return unquote(text.partition("?d=")[2])
    text = unquote(urlsplit(text).path) if "://" in text else text
    uploaded = _UPLOADED.fullmatch(text)
    return text if uploaded is None else uploaded[2]
