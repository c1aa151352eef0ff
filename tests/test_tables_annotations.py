"""Labels of FiftyOne and Label Studio, in and out."""

import json

import numpy as np
import pytest

import dataprune as dp
from dataprune.errors import InputError
from dataprune.run.export import write_fiftyone, write_label_studio
from dataprune.tables import write_table

NAMES = ["lily/0.png", "lily/1 (2).png", "rose/0.png", "rose/é.png"]
GIVEN = dict(zip(NAMES, ("lily", "rose", "rose", "lily"), strict=True))
DATA = dp.from_arrays(np.eye(4, dtype=np.float32), ids=NAMES)


def choice(label, **more):
    return {"result": [{"from_name": "species", "to_name": "image", "type": "choices", "value": {"choices": [label]}}], **more}


LOCAL = "/data/local-files/?d=flowers%2Flily%2F0.png"
FORMS = {
    "fiftyone indices": {"classes": ["rose", "lily"], "labels": {name[:-4]: int(label == "lily") for name, label in GIVEN.items()}},
    "fiftyone names": {"classes": None, "labels": {name[:-4]: {"label": label, "confidence": 1} for name, label in GIVEN.items()}},
    "fiftyone samples": {
        "samples": [
            {"filepath": f"data/{name}", "tags": [], "ground_truth": {"_cls": "Classification", "label": label}, "number": 1}
            for name, label in reversed(GIVEN.items())
        ]
    },
    "tasks": [
        {
            "id": 7 - row,
            "data": {"image": f"https://host:8080/flowers/{name}"},
            "annotations": [choice("x", was_cancelled=True), choice(label)],
        }
        for row, (name, label) in enumerate(GIVEN.items())
    ],
    "short tasks": [
        {"id": row, "image": f"s3://bucket/{name}", "choice": label} for row, (name, label) in enumerate(GIVEN.items())
    ],
}


def read(path):
    found = dp.read(DATA, labels=path)
    return {name: found.classes[label] for name, label in zip(found.ids.tolist(), found.labels.tolist(), strict=True)}


@pytest.mark.parametrize("form", FORMS)
def test_labels_in(tmp_path, form):
    (tmp_path / "labels.json").write_text(json.dumps(FORMS[form]))
    assert read(tmp_path / "labels.json") == GIVEN


@pytest.mark.parametrize("prefix", ["/data/local-files/?d=flowers%2F{}", "/data/upload/3/0a1b2c3d-{}"])
def test_names_as_label_studio_writes_them(tmp_path, prefix):
    tasks = [
        {"data": {"image": prefix.format(f"{n}.png")}, "annotations": [choice(label)]} for n, label in enumerate(["rose", "lily"])
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    data = dp.from_arrays(np.eye(2, dtype=np.float32), ids=["1.png", "0.png"])
    found = dp.read(data, labels=tmp_path / "tasks.json")
    assert [found.classes[label] for label in found.labels] == ["lily", "rose"]


@pytest.mark.parametrize(
    "content",
    [
        [{"data": {"image": "a/b.png"}, "annotations": [choice("x"), choice("y")]}],
        {"classes": ["a", "b"], "labels": {"x": [0, 1]}},
        {"classes": ["a", "b"], "labels": {"x": 2}},
        {"images": [], "annotations": []},
        [1],
        "text",
    ],
)
def test_what_is_refused(tmp_path, content):
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"labels\.json"):
        dp.read(DATA, labels=tmp_path / "labels.json")


def test_decisions_out_and_in_again(tmp_path):
    ids = [f"{'ab'[row % 2]}/{row}.png" for row in range(40)]
    labels = np.arange(40) % 2
    p = np.where(np.eye(2)[labels] == 1, 0.97, 0.03)
    p[:3] = p[:3, ::-1]
    found = dp.find_suspects(dp.Evidence(labels, p, ids=np.array(ids), classes=("1", "0")))
    words = {"a/0.png": "relabel", "b/1.png": "drop", "a/2.png": "keep", "b/9.png": "keep"}
    write_table(tmp_path / "d.csv", {"filename": list(words), "decision": list(words.values())})
    assert write_fiftyone(found, tmp_path / "d.csv", tmp_path / "labels.json") == 39
    after = {name: found.classes[label] for name, label in zip(ids, labels.tolist(), strict=True)} | {"a/0.png": "0"}
    left = dp.from_arrays(np.ones((39, 1), np.float32), ids=[name for name in ids if name != "b/1.png"])
    read = dp.read(left, labels=tmp_path / "labels.json")
    assert [read.classes[label] for label in read.labels] == [after[name] for name in read.ids.tolist()]
    assert write_label_studio(found, tmp_path / "d.csv", tmp_path / "tasks.json") == 4
    tasks = {task["data"]["id"]: task for task in json.loads((tmp_path / "tasks.json").read_text())}
    assert tasks.keys() == words.keys()
    said = {name: [one["result"][0]["value"]["choices"] for one in task["annotations"]] for name, task in tasks.items()}
    assert said == {"a/0.png": [["0"]], "b/1.png": [], "a/2.png": [["1"]], "b/9.png": [["0"]]}
    kept = dp.from_arrays(np.ones((3, 1), np.float32), ids=["a/0.png", "a/2.png", "b/9.png"])
    read = dp.read(kept, labels=tmp_path / "tasks.json:label")
    assert [read.classes[label] for label in read.labels] == ["0", "1", "0"]
