"""Parquet in the Hugging Face image layout, written by hand."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprune.data import read, read_splits
from dataprune.errors import InputError


def png(value, size=8):
    file = io.BytesIO()
    Image.new("RGB", (size, size), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def put(path, values, labels, *, names=None, paths=None, image="image", label="label", kind=None, row_group_size=2):
    """Write pictures whose red is `values`; None stands for no bytes."""
    paths = paths if paths is not None else [None] * len(values)
    blobs = [None if value is None else value if isinstance(value, bytes) else png(value) for value in values]
    struct = pa.StructArray.from_arrays([pa.array(blobs, pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"])
    columns = {image: struct} | ({} if labels is None else {label: pa.array(labels, kind)})
    table = pa.table(columns)
    if names is not None:
        told = {"info": {"features": {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def test_one_file(tmp_path):
    file = put(tmp_path / "any.parquet", [5, 6, 7, 8, 9], [0, 2, 2, 1, 0], names=["x", "y", "z"])
    found = read(file)
    assert found.images[:, 0, 0, 0].tolist() == [5, 6, 7, 8, 9]
    assert found.labels.tolist() == [0, 2, 2, 1, 0]
    assert found.classes == ("x", "y", "z")
    assert found.ids.tolist() == ["0", "1", "2", "3", "4"]
    assert found.paths is None
    assert read(found.origin.path, **found.origin.options).fingerprint == found.fingerprint


def test_paths_are_ids_where_they_are_unique(tmp_path):
    unique = put(tmp_path / "a.parquet", [1, 2, 3], [0, 1, 0], paths=["p/1.png", "../q", "z"])
    assert read(unique).ids.tolist() == ["p/1.png", "../q", "z"]
    double = put(tmp_path / "b.parquet", [1, 2, 3], [0, 1, 0], paths=["p", "p", "z"])
    assert read(double).ids.tolist() == ["0", "1", "2"]
    gap = put(tmp_path / "c.parquet", [1, 2, 3], [0, 1, 0], paths=["p", None, "z"])
    assert read(gap).ids.tolist() == ["0", "1", "2"]


def test_folder_with_splits(tmp_path):
    names = ["x", "y"]
    put(tmp_path / "data" / "train-00001-of-00002.parquet", [3], [1], names=names)
    put(tmp_path / "data" / "train-00000-of-00002.parquet", [1, 2], [0, 1], names=names)
    put(tmp_path / "data" / "test-0.parquet", [4], [0], names=names)
    put(tmp_path / "data" / "validation.parquet", [5], [0], names=names)
    pq.write_table(pa.table({"clean": [1, 2]}), tmp_path / "human_labels.parquet")
    splits = read_splits(tmp_path)
    assert splits.train.images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert splits.train.labels.tolist() == [0, 1, 1]
    assert splits.test.images[:, 0, 0, 0].tolist() == [4]
    assert splits.validation.images[:, 0, 0, 0].tolist() == [5]
    assert any("passed over beside the pictures: human_labels.parquet (no `image` column" in note for note in splits.train.notes)
    assert "no example in test of class 'y'" in splits.test.notes


def test_files_without_a_split_in_their_names(tmp_path):
    put(tmp_path / "b.parquet", [2], [1])
    put(tmp_path / "a.parquet", [1], [0])
    assert read(tmp_path).images[:, 0, 0, 0].tolist() == [1, 2]
    put(tmp_path / "train.parquet", [9, 9], [1, 0])
    found = read(tmp_path)
    assert len(found) == 2
    assert any("a.parquet (no split in its name), b.parquet" in note for note in found.notes)


def test_other_column_names(tmp_path):
    assert read(put(tmp_path / "a.parquet", [1, 2], [0, 1], image="img", label="fine_label", names=["x", "y"])).classes == (
        "x",
        "y",
    )
    texts = read(put(tmp_path / "b.parquet", [1, 2, 3], ["dog", "cat", "dog"]))
    assert texts.classes == ("cat", "dog")
    assert texts.labels.tolist() == [1, 0, 1]
    dictionary = pa.dictionary(pa.int8(), pa.string())
    assert read(put(tmp_path / "c.parquet", [1, 2], ["b", "a"], kind=dictionary)).labels.tolist() == [1, 0]


def test_without_labels(tmp_path):
    assert read(put(tmp_path / "a.parquet", [1, 2], None)).labels is None
    hidden = read(put(tmp_path / "b.parquet", [1, 2], [-1, -1], names=["x", "y"]))
    assert hidden.labels is None
    assert hidden.notes == ("the labels of train are all −1, so it counts as having none",)


@pytest.mark.parametrize(
    ("labels", "kind", "names", "message"),
    [
        ([0, 1, 7], None, ["x", "y"], r"`label of train` must be class indices in \[0, 2\), got 7 in row 2"),
        ([0, -3, 1], None, ["x", "y"], "from 0 on, got -3 in row 1"),
        ([0, None, 1], pa.int64(), ["x", "y"], r"row 1 \(has no label\).*--on-error"),
        ([0, 1.5, 1], None, ["x", "y"], "got 1.5 in row 1"),
        (["a", None, "b"], None, None, r"row 1 \(has no label\).*--on-error"),
    ],
)
def test_bad_labels(tmp_path, labels, kind, names, message):
    file = put(tmp_path / "a.parquet", [1, 2, 3], labels, kind=kind, names=names)
    with pytest.raises(InputError, match=message):
        read(file)


@pytest.mark.parametrize("row_group_size", [1, 2, 100])
def test_rows_without_a_label_can_be_left_out(tmp_path, row_group_size):
    file = put(
        tmp_path / "a.parquet",
        [1, 2, None, 4, 5],
        [0, None, 1, 1, 0],
        kind=pa.int64(),
        names=["x", "y"],
        row_group_size=row_group_size,
    )
    found = read(file, on_error="skip")
    assert found.ids.tolist() == ["0", "3", "4"]
    assert found.labels.tolist() == [0, 1, 0]
    assert found.images[:, 0, 0, 0].tolist() == [1, 4, 5]
    assert [item.path for item in found.skipped] == ["row 1", "2"]
    assert read(file, on_error="skip").fingerprint == found.fingerprint


def test_class_names_that_differ(tmp_path):
    put(tmp_path / "train.parquet", [1, 2], [0, 1], names=["x", "y"])
    put(tmp_path / "test.parquet", [1, 2], [0, 1], names=["y", "x"])
    with pytest.raises(InputError, match="the Parquet files name different classes: x/y, y/x"):
        read(tmp_path)


def test_bad_pictures(tmp_path):
    file = put(tmp_path / "a.parquet", [1, None, b"text", 4, 5], [0, 1, 1, 1, 0], paths=list("abcde"))
    with pytest.raises(InputError, match=r"2 items cannot be used: b \(has no bytes .*\), c \(no picture in a known format"):
        read(file)
    found = read(file, on_error="skip")
    assert found.ids.tolist() == ["a", "d", "e"]
    assert found.labels.tolist() == [0, 1, 0]
    assert found.images[:, 0, 0, 0].tolist() == [1, 4, 5]
    assert [item.path for item in found.skipped] == ["b", "c"]


def test_labels_by_row_count_also_skipped_rows(tmp_path):
    file = put(tmp_path / "a.parquet", [1, None, 3], [0, 1, 1])
    (tmp_path / "l.csv").write_text("label\n1\n0\n0\n")
    assert read(file, labels=tmp_path / "l.csv", on_error="skip").labels.tolist() == [1, 0]


def test_no_layout_and_no_parquet(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"column that names picture files, got .* a: '1'"):
        read(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"no picture in .*passed over: 1 \.parquet"):
        read(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 rubbish")
    with pytest.raises(InputError, match="readable Parquet file"):
        read(tmp_path / "b.parquet")


def test_other_tables_may_lie_beside_pictures(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(3))
    for place in (tmp_path, tmp_path / "a"):
        pq.write_table(pa.table({"el2n": [0.5]}), place / "scores.parquet")
    found = read(tmp_path)
    assert found.ids.tolist() == ["a/1.png", "b/1.png"]
    assert any("2 .parquet" in note for note in found.notes)


def test_a_damaged_page_is_an_error_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    blobs = []
    for _ in range(20):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
        blobs.append(file.getvalue())
    path = put(tmp_path / "a.parquet", blobs, [0, 1] * 10, row_group_size=20)
    data = bytearray(path.read_bytes())
    data[3000:3100] = bytes(100)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged|cannot be used"):
        read(path)


def test_a_snapshot_of_the_hub_is_links(tmp_path):
    put(tmp_path / "blobs" / "x.parquet", [1, 2], [0, 1])
    put(tmp_path / "blobs" / "y.parquet", [3], [1])
    data = tmp_path / "snapshots" / "0a1b" / "data"
    data.mkdir(parents=True)
    for name, blob in (("train-00000-of-00001.parquet", "x"), ("test-00000-of-00001.parquet", "y")):
        (data / name).symlink_to(f"../../../blobs/{blob}.parquet")
    splits = read_splits(data.parent)
    assert (len(splits.train), len(splits.test)) == (2, 1)


def test_what_may_be_two_splits_or_two_sets_is_refused(tmp_path):
    put(tmp_path / "one" / "train" / "test.parquet", [1, 2], [0, 1])
    with pytest.raises(InputError, match="may be train and test"):
        read(tmp_path / "one")
    for config in ("plain", "corrupted"):
        put(tmp_path / "two" / config / "train" / "0000.parquet", [1, 2], [0, 1])
    with pytest.raises(InputError, match=r"corrupted.*plain"):
        read(tmp_path / "two")
    assert len(read(tmp_path / "two" / "plain")) == 2


@pytest.mark.slow
def test_real_cifar(shared_data):
    folder = shared_data / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    found = read(folder / "test.parquet")
    assert len(found) == 10_000
    assert found.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(found.labels).tolist() == [1000] * 10
    assert found.classes[:3] == ("airplane", "automobile", "bird")
    rows = pq.ParquetFile(folder / "test.parquet").read_row_group(0, columns=["image"]).column(0).to_pylist()[:50]
    by_pillow = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in rows])
    assert np.abs(found.images[:50].astype(int) - by_pillow).max() <= 4


@pytest.mark.parametrize("labels", [[[0], [1], [0]], [[0, 1], [1, 2], [0, 1]], [{"a": 0}, {"a": 1}, {"a": 0}]])
def test_nested_labels_name_no_classes(tmp_path, labels):
    with pytest.raises(InputError, match=r"^`labels` must be one for each example, got a \w+ in row 0\.[^\n]*$"):
        read(put(tmp_path / "a.parquet", [1, 2, 3], labels))
