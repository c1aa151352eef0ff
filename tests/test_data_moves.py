"""No label moves: what was written as folders or tables, in any order, under any names and endings, is read as it was."""

import csv
import io
import json
import random
import tempfile
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dataprune.data import folders, table, walk
from dataprune.data.labels import Reading
from dataprune.data.source import Source
from dataprune.errors import InputError

ENDINGS = (".png", ".PNG", ".jpg", ".jfif")
NAMES = st.text(st.sampled_from("ab1Éé é-_.+"), min_size=1, max_size=6).filter(
    lambda name: name.strip(". ") == name and name[0] not in "."
)
CLASSES = ("cat", "dog", "0", "10", "2", "test tube", "Évora")
SPLITS = {
    "train": ("train", "Training", "seg_train"),
    "test": ("test", "Testing", "eval"),
    "validation": ("valid", "dev", "val_set"),
}
FORMS = ("whole", "name", "stem", "dotted", "composed")


def picture():
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


ONE = picture()


@st.composite
def sets(draw):
    """Draw pictures: split, class, name; the names differ in whatever case and Unicode form, also without ending."""
    names = draw(st.lists(NAMES, min_size=4, max_size=12, unique_by=lambda name: unicodedata.normalize("NFC", name).casefold()))
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    splits = draw(st.sampled_from([("train",), ("train", "test"), ("train", "validation", "test")]))
    rows = []
    for place, name in enumerate(names):
        split = splits[place % len(splits)]
        rows.append((split, draw(st.sampled_from(classes)), name + draw(st.sampled_from(ENDINGS))))
    return rows, splits, draw(st.integers(0, 2**32))


def said(source: Source) -> dict[str, dict[str, str]]:
    """Return the class of each picture by its name alone, for each split."""
    return {
        split: {name.rpartition("/")[2]: source.classes[label] for name, label in zip(part.ids, part.labels, strict=True)}
        for split, part in source.parts.items()
        if part.labels is not None
    }


def wanted(rows, splits):
    return {split: {name: label for where, label, name in rows if where == split} for split in splits}


def put(path, how):
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        store = path.parents[3] / "store"
        store.mkdir(exist_ok=True)
        (store / f"{len(list(store.iterdir()))}.bin").write_bytes(ONE)
        path.symlink_to(max(store.iterdir(), key=lambda one: int(one.stem)))
    else:
        path.write_bytes(ONE)


def folders_keep_their_labels(drawn):
    rows, splits, seed = drawn
    rng = random.Random(seed)
    if len({label for split, label, _ in rows if split == "train"}) < 2:
        return
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary, "base", "set")
        how = rng.choice(["file", "link"])
        called = {split: rng.choice(SPLITS[split]) for split in splits}
        again = rng.random() < 0.3
        for split, label, name in rng.sample(rows, len(rows)):
            top = base if splits == ("train",) else base / called[split]
            top = top / called[split] if again and splits != ("train",) else top
            put(top / label / name, how) if splits != ("train",) else put(top / label / name, "file")
        source = folders.read_folder(base, walk.walk(base), False)
        assert said(source) == wanted(rows, splits)
        assert not any(part.bad for part in source.parts.values())


def write_table(path, rows):
    names = list(rows[0])
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([names, *(row.values() for row in rows)])


def tables_keep_their_labels(drawn):
    rows, splits, seed = drawn
    rng = random.Random(seed)
    form, ending = rng.choice(FORMS), rng.choice([".csv", ".tsv", ".jsonl", ".parquet"])
    with tempfile.TemporaryDirectory() as temporary:
        base, written = Path(temporary), []
        for split, label, name in rng.sample(rows, len(rows)):
            whole = f"pictures/{rng.choice('xyz')}/{name}"
            put(base / whole, "file")
            text = {"whole": whole, "dotted": f"./{whole}", "name": name, "stem": name.rpartition(".")[0]}.get(form, whole)
            text = unicodedata.normalize("NFD", text) if form == "composed" else text
            written.append({"key": text, "label": label, "split": split})
        write_table(base / f"set{ending}", written)
        try:
            found = said(table.read_table(base / f"set{ending}", Reading()))
        except InputError:  # the names of two pictures may mean one another: refused, never astray
            assert form in ("name", "stem")
            return
        assert found == wanted(rows, splits)


@pytest.mark.parametrize("keep", [folders_keep_their_labels, tables_keep_their_labels])
def test_no_label_moves(keep):
    settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))(given(sets())(keep))()


@pytest.mark.slow
@pytest.mark.parametrize("keep", [folders_keep_their_labels, tables_keep_their_labels])
def test_no_label_moves_in_thousands(keep):
    settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))(given(sets())(keep))()
