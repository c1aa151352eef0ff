"""Tables of pictures: which column names them, which says the labels, which split a row is of; and what is refused as ambiguous."""

import json
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprune.data import read, read_splits
from dataprune.errors import InputError


def put(folder, *names):
    """Write small pictures, each of another grey."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number + 1,) * 3).save(path)


def write(path, rows):
    """Write rows (dicts) as the table that the ending asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [mark.join(rows[0]), *(mark.join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    return path


def given(dataset):
    return dict(zip(dataset.ids.tolist(), (dataset.classes[label] for label in dataset.labels), strict=True))


def noted(dataset, *words):
    return any(all(word in note for word in words) for note in dataset.notes)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_of_paths(tmp_path, ending):
    put(tmp_path, "pics/a.png", "pics/b.png", "c.png", "not-named.png")
    rows = [{"path": "c.png", "label": "dog"}, {"path": "pics/b.png", "label": "cat"}, {"path": "./pics/a.png", "label": "dog"}]
    found = read(write(tmp_path / f"t{ending}", rows))
    assert given(found) == {"c.png": "dog", "pics/b.png": "cat", "pics/a.png": "dog"}
    assert found.images[:, 0, 0, 0].tolist() == [3, 2, 1]
    assert [path.name for path in found.paths] == ["c.png", "b.png", "a.png"]
    assert read(found.origin.path, **found.origin.options).fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("text", "is_noted"),
    [("{}", 1), ("{}.png", 1), ("train/{}.png", 0), ("{here}/train/{}.png", 0), ("/kaggle/input/x/train/{}.png", 1)],
)
def test_names_of_every_form(tmp_path, text, is_noted):
    put(tmp_path, *(f"train/{n}.png" for n in range(6)), "test/0.png")
    rows = [{"id": text.format(n, here=tmp_path), "breed": "ab"[n % 2]} for n in reversed(range(6))]
    found = read(write(tmp_path / "train.csv", rows))
    assert given(found) == {f"train/{n}.png": "ab"[n % 2] for n in range(6)}
    assert noted(found, "breed")


def test_the_labels_look_like_names_of_pictures_too(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(12)))
    rows = [{"": row, "id": 11 - row, "label": row % 3} for row in range(12)]
    with pytest.raises(InputError, match="image_column"):  # the row number and the id name pictures alike
        read(write(tmp_path / "t.csv", rows))
    assert read(tmp_path / "t.csv", image_column="id").ids.tolist() == [f"{11 - row}.png" for row in range(12)]
    rows = [{"id": 11 - row, "label": row % 3} for row in range(12)]
    assert given(read(write(tmp_path / "t.csv", rows))) == {f"{11 - row}.png": str(row % 3) for row in range(12)}


def test_unicode_forms(tmp_path):
    names = ["café.png", "naïve.png"]
    put(tmp_path, *names)
    rows = [{"file_name": unicodedata.normalize("NFD", name), "label": name[0]} for name in reversed(names)]
    assert given(read(write(tmp_path / "t.csv", rows))) == {name: name[0] for name in names}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_metadata_of_each_split(tmp_path, ending):
    put(tmp_path, "train/1.png", "train/2.png", "test/1.png")
    write(tmp_path / "train" / f"metadata{ending}", [{"file_name": "2.png", "label": "a"}, {"file_name": "1.png", "label": "b"}])
    write(tmp_path / "test" / f"metadata{ending}", [{"file_name": "1.png", "label": "a"}])
    splits = read_splits(tmp_path)
    assert given(splits.train) == {"train/2.png": "a", "train/1.png": "b"}
    assert given(splits.test) == {"test/1.png": "a"}


def test_metadata_says_more_than_folders(tmp_path):
    put(tmp_path, "part1/1.png", "part1/2.png", "part2/3.png", "part2/4.png")
    rows = [{"file_name": f"part{1 + n // 3}/{n}.png", "label": "ab"[n % 2]} for n in (1, 2, 3, 4)]
    write(tmp_path / "metadata.csv", rows)
    assert read(tmp_path).classes == ("a", "b")


def test_captions_leave_the_folders_their_say(tmp_path):
    put(tmp_path, "cat/1.png", "dog/2.png")
    write(tmp_path / "metadata.csv", [{"file_name": "cat/1.png", "text": "one"}, {"file_name": "dog/2.png", "text": "two"}])
    assert given(read(tmp_path)) == {"cat/1.png": "cat", "dog/2.png": "dog"}


def test_kaggle(tmp_path):
    put(tmp_path, *(f"train/{n}.jpg" for n in range(6)), *(f"test/{n}.jpg" for n in range(3)))
    write(tmp_path / "train.csv", [{"id": n, "breed": "xy"[n % 2]} for n in (4, 5, 0, 1, 2, 3)])
    write(tmp_path / "sample_submission.csv", [{"id": n, "breed": "x"} for n in range(3)])
    found = read(tmp_path)
    assert given(found) == {f"train/{n}.jpg": "xy"[n % 2] for n in range(6)}
    assert noted(found, "named by no table", "test/0.jpg")


def test_tables_of_splits_over_one_folder(tmp_path):
    put(tmp_path, *(f"images/{n}.jpg" for n in range(9)))
    for split, numbers in (("train", range(5)), ("val", range(5, 7)), ("test", range(7, 9))):
        write(tmp_path / f"{split}.csv", [{"image": f"{n}.jpg", "label": "xy"[n % 2]} for n in numbers])
    splits = read_splits(tmp_path)
    assert [one.ids.tolist() for one in (splits.validation, splits.test)] == [
        ["images/5.jpg", "images/6.jpg"],
        ["images/7.jpg", "images/8.jpg"],
    ]
    assert splits.test.labels.tolist() == [1, 0]


def test_a_column_of_splits(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(6)))
    rows = [{"file": f"{n}.png", "label": "xy"[n % 2], "data set": ("train", "valid", "test")[n % 3]} for n in range(6)]
    splits = read_splits(write(tmp_path / "birds.csv", rows))
    assert [one.ids.tolist() for one in (splits.train, splits.validation, splits.test)] == [
        ["0.png", "3.png"],
        ["1.png", "4.png"],
        ["2.png", "5.png"],
    ]


def test_folders_and_a_table_that_disagree_are_refused(tmp_path):
    names = [f"images_{n // 4}/{n}.png" for n in range(8)]
    put(tmp_path, *names)
    write(tmp_path / "entry.csv", [{"Image Index": f"{n}.png", "Finding": "xy"[n % 2]} for n in range(8)])
    with pytest.raises(InputError, match=r"entry\.csv"):
        read(tmp_path)
    assert given(read(tmp_path / "entry.csv")) == {name: "xy"[n % 2] for n, name in enumerate(names)}


def test_a_table_that_agrees_changes_nothing(tmp_path):
    put(tmp_path, *(f"{n % 2}/{n}.png" for n in range(6)))
    write(tmp_path / "Train.csv", [{"ClassId": n % 2, "Path": f"{n % 2}/{n}.png"} for n in range(6)])
    assert given(read(tmp_path)) == {f"{n % 2}/{n}.png": str(n % 2) for n in range(6)}


def test_two_tables_for_the_same_pictures_are_refused(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(4)))
    for name in ("labels", "folds"):
        write(tmp_path / f"{name}.csv", [{"id": n, "label": n % 2} for n in range(4)])
    with pytest.raises(InputError, match=r"folds\.csv.*labels\.csv"):
        read(tmp_path)
    assert len(read(tmp_path / "labels.csv")) == 4


def test_columns_that_say_different_things_are_refused(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(4)))
    rows = [{"image": f"{n}.png", "label": "ab"[n % 2], "category": "xy"[n // 2]} for n in range(4)]
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(InputError, match=r"label_column.*'a'.*'x'"):
        read(path)
    assert read(path, label_column="category").labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="categori"):
        read(path, label_column="categori")


def test_a_column_of_numbers_and_one_of_their_names(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(4)))
    rows = [{"image": f"{n}.png", "class_id": 7 - n % 2, "class_name": "ab"[n % 2]} for n in range(4)]
    found = read(write(tmp_path / "t.csv", rows))
    assert found.classes == ("a", "b")
    assert noted(found, "class_name")


def test_one_hot_columns(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(4)))
    rows = [{"image_id": n, "rust": int(n == 1), "scab": int(n == 2), "healthy": int(n in (0, 3))} for n in range(4)]
    found = read(write(tmp_path / "t.csv", rows))
    assert [found.classes[label] for label in found.labels] == ["healthy", "rust", "scab", "healthy"]
    rows[3]["rust"] = 1
    with pytest.raises(InputError, match="Multi-label"):
        read(write(tmp_path / "t.csv", rows))


@pytest.mark.parametrize(
    "rows",
    [
        [{"image": "0.png", "labels": ["a"]}, {"image": "1.png", "labels": ["a", "b"]}],
        [{"image": "0.png", "label": "a"}, {"image": "1.png", "label": "b"}, {"image": "0.png", "label": "b"}],
    ],
)
def test_multi_label_tables_are_refused(tmp_path, rows):
    put(tmp_path, "0.png", "1.png")
    with pytest.raises(InputError, match=r"Multi-label|one for each picture"):
        read(write(tmp_path / "t.jsonl", rows))


def test_rows_that_cannot_be_used_are_named(tmp_path):
    put(tmp_path, "0.png", "1.png", "2.png")
    rows = [{"image": f"{n}.png", "label": "ab"[n % 2] if n != 1 else ""} for n in range(4)]
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(InputError, match=r"2 items cannot be used: .*has no label"):
        read(path)
    found = read(path, on_error="skip")
    assert given(found) == {"0.png": "a", "2.png": "a"}
    assert [item.path for item in found.skipped] == ["1.png", "3.png"]


def test_pictures_that_two_names_could_mean_are_refused(tmp_path):
    put(tmp_path, "images/0.png", "masks/0.png", "images/1.png", "masks/1.png")
    write(tmp_path / "t.csv", [{"id": n, "label": n} for n in (0, 1)])
    with pytest.raises(InputError, match=r"images/0\.png.*masks/0\.png|column that names"):
        read(tmp_path / "t.csv")


def test_columns_are_refused_where_there_are_none(tmp_path):
    put(tmp_path, "a/0.png", "b/1.png")
    for source in (tmp_path, "digits", np.zeros((4, 8, 8, 3), np.uint8)):
        with pytest.raises(InputError, match="label_column"):
            read(source, label_column="x")


@pytest.mark.parametrize(
    "text", ["", "image,label\n", "image,label\n0.png\n", '{"a": 1, "a": 2}', "[1]", '{"a": "\\ud800"}', "{", "\x00"]
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_tables_that_are_none_are_one_line(tmp_path, text, ending):
    put(tmp_path, "0.png")
    (tmp_path / f"t.{ending}").write_text(text)
    with pytest.raises(InputError) as refused:
        read(tmp_path / f"t.{ending}")
    assert "\n" not in str(refused.value)


def test_a_table_of_pictures_elsewhere_by_command(tmp_path, cli):
    put(tmp_path / "elsewhere", *(f"{n}.png" for n in range(4)))
    rows = [{"path": f"../elsewhere/{n}.png", "label": "ab"[n % 2], "other": "xy"[n // 2]} for n in range(4)]
    path = write(tmp_path / "set" / "t.csv", rows)
    code, out, err = cli("show", path, "--label-column", "other", "--out", tmp_path / "sheet.png")
    assert code == 0, err
    assert "4 examples" in out
    assert "2 classes" in out


def test_a_table_beside_folders_that_is_not_used_is_said(tmp_path):
    put(tmp_path, *(f"part_{n // 3}/{n}.jpg" for n in range(6)))
    write(tmp_path / "meta.csv", [{"image_id": n, "dx": "xy"[n % 2], "sex": "mf"[n // 3]} for n in range(6)])
    assert noted(read(tmp_path), "meta.csv", "label_column")
    assert given(read(tmp_path, label_column="dx")) == {f"part_{n // 3}/{n}.jpg": "xy"[n % 2] for n in range(6)}


def test_tables_of_other_pictures_disagree_with_no_folder(tmp_path):
    put(tmp_path, *(f"Train/{c}/{n}.png" for c in "01" for n in "ab"), "Test/x.png", "Test/y.png", "Meta/0.png", "Meta/1.png")
    write(tmp_path / "Meta.csv", [{"Path": f"Meta/{c}.png", "ClassId": c} for c in "01"])
    write(tmp_path / "Train.csv", [{"Path": f"Train/{c}/{n}.png", "ClassId": c} for c in "01" for n in "ab"])
    assert given(read(tmp_path)) == {f"Train/{c}/{n}.png": c for c in "01" for n in "ab"}


def test_several_rows_for_a_picture_are_multi_label(tmp_path):
    put(tmp_path, "images/aa.jpg", "images/bb.jpg")
    rows = [{"ImageID": name, "LabelName": label} for name in ("aa", "bb") for label in ("/m/0", "/m/1", "/m/2")]
    with pytest.raises(InputError, match="one for each picture"):
        read(write(tmp_path / "t.csv", rows))


def test_spaces_after_commas(tmp_path):
    put(tmp_path, "train/0.jpg", "train/1.jpg", "valid/2.jpg", "valid/3.jpg")
    for split, numbers in (("train", (0, 1)), ("valid", (2, 3))):
        rows = "".join(f"{n}.jpg, {n % 2}, {1 - n % 2}\n" for n in numbers)
        (tmp_path / split / "_classes.csv").write_text(f"filename, cat, dog\n{rows}")
    splits = read_splits(tmp_path)
    assert given(splits.validation) == {"valid/2.jpg": "dog", "valid/3.jpg": "cat"}


@pytest.mark.parametrize("name", ["t.csv", "metadata.tsv"])
def test_broken_rows_are_named_and_can_be_left_out(tmp_path, name):
    put(tmp_path, "a.png", "b.png", "c.png", "d.png")
    path = write(tmp_path / name, [{"file_name": f"{one}.png", "label": label} for one, label in zip("abcd", "xyxy", strict=True)])
    path.write_text("\n".join(line if number != 2 else "b.png" for number, line in enumerate(path.read_text().splitlines())))
    data = path if name == "t.csv" else tmp_path
    with pytest.raises(InputError, match=rf"row 1 \(has 1 of 2 cells, in line 3 of {name}\).*--on-error"):
        read(data)
    found = read(data, on_error="skip")
    assert given(found) == {"a.png": "x", "c.png": "x", "d.png": "y"}
    assert [item.path for item in found.skipped] == ["row 1"]


def test_classes_that_differ_in_white_space_or_capitals_alone_are_named(tmp_path):
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"words {n},{label}\n" for n, label in enumerate(("neg", "neg ", "Pos", "pos", "x y", "xy") * 2))
    )
    found = read(tmp_path / "t.csv")
    assert found.classes == ("Pos", "neg", "neg ", "pos", "x y", "xy")
    assert "are these one class? Only white space or capitals differ: 'Pos' and 'pos', 'neg' and 'neg '" in found.notes
