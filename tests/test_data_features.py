"""Feature files: npy, Parquet, and folders of shards."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import store
from dataprune.data import read_features
from dataprune.errors import InputError

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def listed_parquet(path, x, ids=None, fixed=True):
    kind = pa.list_(pa.float32(), x.shape[1]) if fixed else pa.list_(pa.float64())
    columns = {"embedding": pa.array(x.tolist(), kind), "label": pa.array([0] * len(x))}
    pq.write_table(pa.table(columns | ({} if ids is None else {"id": pa.array(ids)})), path)
    return path


def wide_parquet(path, x):
    pq.write_table(pa.table({f"f{i}": x[:, i] for i in range(x.shape[1])}), path)
    return path


def vectors(file):
    return np.concatenate(list(file)).astype(np.float64)


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f8", "<f2", ">f4", "i1", "<i4"])
def test_npy_of_every_type_and_layout(tmp_path, kind):
    for number, array in enumerate((X, np.asfortranarray(X))):
        np.save(tmp_path / f"{number}.npy", array.astype(kind))
        file = read_features(tmp_path / f"{number}.npy")
        assert (file.rows, file.width, len(file), file.keys) == (4, 3, 4, {})
        assert np.array_equal(vectors(file), X)
        assert np.array_equal(vectors(file), X), "a second time"


def test_npy_stays_mapped_and_ids_are_row_numbers(tmp_path):
    np.save(tmp_path / "x.npy", X)
    file = read_features(tmp_path / "x.npy")
    (block,) = file
    assert isinstance(block, np.memmap)
    assert file.ids.tolist() == ["0", "1", "2", "3"]
    assert file.digest == store.sha256(tmp_path / "x.npy")


@pytest.mark.parametrize("fixed", [True, False])
def test_parquet_of_lists(tmp_path, fixed):
    file = read_features(listed_parquet(tmp_path / "x.parquet", X, list("dcba"), fixed))
    assert (file.rows, file.width) == (4, 3)
    assert np.array_equal(vectors(file), X)
    assert file.ids.tolist() == list("dcba")


def test_parquet_of_columns_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("dataprune.data.features.BATCH_VALUES", 6)
    file = read_features(wide_parquet(tmp_path / "x.parquet", X))
    assert [block.shape for block in file] == [(2, 3), (2, 3)]
    assert np.array_equal(vectors(file), X)


def test_parquet_takes_whole_numbers_as_ids(tmp_path):
    assert read_features(listed_parquet(tmp_path / "x.parquet", X, [4, 3, 2, 1])).ids.tolist() == ["4", "3", "2", "1"]


def test_folder_is_read_by_name(tmp_path):
    for name, rows in (("part-01.npy", X[2:]), ("part-00.npy", X[:2])):
        np.save(tmp_path / name, rows)
    (tmp_path / "features.json").write_text("{}")
    file = read_features(tmp_path)
    assert [shard.name for shard in file.shards] == ["part-00.npy", "part-01.npy"]
    assert np.array_equal(vectors(file), X)
    before = file.digest
    np.save(tmp_path / "part-01.npy", X[2:] + 1)
    assert read_features(tmp_path).digest != before


def test_empty_cells_become_nan_for_the_reader_of_the_blocks_to_refuse(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1.0, None]), "b": pa.array([1.0, 2.0])}), tmp_path / "x.parquet")
    assert np.isnan(vectors(read_features(tmp_path / "x.parquet"))).tolist() == [[False, False], [True, False]]


def objects(folder):
    np.save(folder / "x.npy", np.array([[1, "a"]], object))
    return folder / "x.npy"


def gap(folder):
    for number in (0, 1, 3):
        np.save(folder / f"part-{number:05d}.npy", X)
    return folder


def short_of_total(folder):
    for number in (0, 1):
        np.save(folder / f"x-{number}-of-3.npy", X)
    return folder


def wider(folder):
    np.save(folder / "a.npy", X)
    np.save(folder / "b.npy", X[:, :2])
    return folder


def both_kinds(folder):
    np.save(folder / "a.npy", X)
    wide_parquet(folder / "b.parquet", X)
    return folder


def ragged(folder):
    pq.write_table(pa.table({"x": pa.array([[1.0, 2.0], [1.0], None])}), folder / "x.parquet")
    return folder / "x.parquet"


def text_column(folder):
    pq.write_table(pa.table({"x": pa.array([1.0]), "seen": pa.array([True])}), folder / "x.parquet")
    return folder / "x.parquet"


def flat(folder):
    np.save(folder / "x.npy", X[0])
    return folder / "x.npy"


def cut_short(folder):
    (folder / "x.parquet").write_bytes(b"PAR1nothing")
    return folder / "x.parquet"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (objects, "x.npy` must hold numbers or text (objects would be unpickled, which can run code), got dtype object"),
        (gap, "lacks the shard part-00002.npy. Add it, or renumber the others."),
        (short_of_total, "lacks the shard x-2-of-3.npy."),
        (wider, "`features` must have one width: a.npy has 3 columns, got 2 in b.npy."),
        (both_kinds, "must hold shards of one kind, got both .npy and .parquet files."),
        (lambda folder: folder, "must hold files that end in .npy or .parquet, got none."),
        (lambda folder: folder / "none.npy", "none.npy` must be an existing file, got no such file."),
        (lambda folder: folder / "x.txt", "must end in .npy or .parquet, or be a folder of such files, got '.txt'."),
        (text_column, "must hold feature vectors, got the columns x, seen."),
        (flat, "must hold numbers of shape (examples, dimensions), got float32 of shape (3,)."),
        (cut_short, "must be a readable Parquet file, but:"),
    ],
)
def test_names_what_is_wrong(tmp_path, make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_features(make(tmp_path))


def test_ragged_lists_are_named_when_they_are_read(tmp_path):
    file = read_features(ragged(tmp_path))
    with pytest.raises(InputError, match=r"must hold 2 numbers in each row, got 1 \(rows 1, 2\)\."):
        list(file)


def test_ids_that_repeat_are_refused(tmp_path):
    file = read_features(listed_parquet(tmp_path / "x.parquet", X, list("abca")))
    with pytest.raises(InputError, match=r"`features` must name every id once, got 'a' more than once\."):
        _ = file.ids


def test_it_shows_itself(tmp_path):
    np.save(tmp_path / "<x>.npy", X)
    file = read_features(tmp_path / "<x>.npy")
    assert repr(file) == "FeatureFile(<x>.npy: 4 vectors of 3 numbers)"
    assert "&lt;x&gt;.npy" in file._repr_html_()


def test_parts_are_rows_across_shards_and_row_groups(tmp_path):
    for number in range(3):
        pq.write_table(pa.table({"x": pa.array((X + 100 * number).tolist())}), tmp_path / f"p-{number}.parquet", row_group_size=3)
    file, whole = read_features(tmp_path), np.concatenate([X, X + 100, X + 200])
    for start in range(12):
        for stop in range(start + 1, 13):
            assert np.array_equal(np.concatenate(list(file.part(start, stop))), whole[start:stop])


def test_a_shard_that_goes_away_is_named(tmp_path):
    gap(tmp_path)
    np.save(tmp_path / "part-00002.npy", X)
    file = read_features(tmp_path)
    (tmp_path / "part-00003.npy").unlink()
    with pytest.raises(InputError, match=r"part-00003.npy` must be an existing file"):
        list(file)
