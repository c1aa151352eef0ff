"""Labels from a file: by id, by row, names and indices, and everything that must be refused."""

import numpy as np
import pytest

from dataprune.data import from_arrays, read
from dataprune.errors import InputError

DATA = from_arrays(np.zeros((4, 2), np.float32), [0, 1, 2, 0], ids=["p", "q", "r", "s"], classes=["ant", "bee", "cat"])


def labelled(tmp_path, text, column="", data=DATA):
    file = tmp_path / "labels.csv"
    file.write_text(text)
    return read(data, labels=f"{file}{column}")


def test_by_id_in_any_order(tmp_path):
    assert labelled(tmp_path, "id,label\ns,2\nr,1\nq,0\np,1\n").labels.tolist() == [1, 0, 1, 2]


def test_by_row(tmp_path):
    assert labelled(tmp_path, "label\n2\n1\n0\n1\n").labels.tolist() == [2, 1, 0, 1]


def test_names_of_known_classes(tmp_path):
    found = labelled(tmp_path, "label\ncat\nant\nant\nbee\n")
    assert found.labels.tolist() == [2, 0, 0, 1]
    assert found.classes == DATA.classes


def test_names_make_classes_where_none_are_known(tmp_path):
    bare = DATA.with_labels(None)
    assert labelled(tmp_path, "label\ndog\nant\nant\nbee\n", data=bare).classes == ("ant", "bee", "dog")
    assert labelled(tmp_path, "label\n3\n0\n0\n1\n", data=bare).classes == ("0", "1", "2", "3")


def test_a_column_by_name(tmp_path):
    text = "id,label,clean_label\np,0,1\nq,0,1\nr,0,0\ns,0,2\n"
    assert labelled(tmp_path, text, ":clean_label").labels.tolist() == [1, 1, 0, 2]
    assert labelled(tmp_path, text).labels.tolist() == [0, 0, 0, 0]


def test_the_fingerprint_follows_the_labels(tmp_path):
    same = labelled(tmp_path, "label\n0\n1\n2\n0\n")
    other = labelled(tmp_path, "label\n0\n1\n2\n1\n")
    assert same.fingerprint == DATA.fingerprint != other.fingerprint


def test_ids_that_are_not_in_the_data_are_noted(tmp_path):
    found = labelled(tmp_path, "id,label\np,0\nq,0\nr,0\ns,0\nt,1\n")
    assert found.labels.tolist() == [0, 0, 0, 0]
    assert any("has rows for ids that are not in the data: 't'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\n0\n1\n2\n", "one row for each of the 4 examples, got 3 rows in"),
        ("label\n0\n1\n2\n0\n1\n", "one row for each of the 4 examples, got 5 rows in"),
        ("id,label\np,0\nq,1\n", "a row for every example, got none for the id 'r', 's'"),
        ("id,label\np,0\nq,1\nr,1\ns,1\np,1\n", "name every id once, got 'p' more than once"),
        ("label\n0\n1\n3\n9\n", r"in \[0, 3\), got 3 in row 2, 9 in row 3"),
        ("label\n0\n-1\n1\n1\n", "got -1 in row 1"),
        ("label\n0\n1.5\n1\n1\n", "got 1.5 in row 1"),
        ("label\n0\nnan\n1\n1\n", "got nan in row 1"),
        ("label\nant\nbee\ndog\nant\n", r"known classes \(ant, bee, cat\), got 'dog' in row 2"),
        ("id,a,b\np,0,7\nq,0,7\nr,0,7\ns,0,7\n", r"followed by :COLUMN.*a, b"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        labelled(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "id,given_label,decision,label\ns,ant,relabel,cat\nr,cat,drop,cat\nq,bee,keep,bee\np,ant,,ant\n",
        "given_label,decision,label\nant,,ant\nbee,keep,bee\ncat,drop,cat\nant,relabel,cat\n",
    ],
)
def test_rows_that_a_person_dropped_are_left_out(tmp_path, text):
    found = labelled(tmp_path, text, ":label")
    assert found.ids.tolist() == ["p", "q", "s"]
    assert found.labels.tolist() == [0, 1, 2]
    assert any("1 of 4 examples" in note for note in found.notes)
    with pytest.raises(InputError, match="keep at least one"):
        labelled(tmp_path, "given_label,decision,label\n" + "ant,drop,ant\n" * 4, ":label")


def test_a_drop_of_an_example_that_is_not_here_drops_none(tmp_path):
    rows = "".join(f"{name},ant,{'drop' if name == 't' else ''},ant\n" for name in "tpqrs")
    found = labelled(tmp_path, f"id,given_label,decision,label\n{rows}", ":label")
    assert len(found) == 4
    assert not any("left out" in note for note in found.notes)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        read(DATA, labels=tmp_path / "nowhere.csv")
